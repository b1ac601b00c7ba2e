"""The config of a run: YAML, validated, unknown keys refused with the nearest valid name.

The models below are the reference of every key. Relative paths are relative to the config file.
"""

from __future__ import annotations

import difflib
import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from attributes import remote
from xai.exceptions import ConfigError

YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What PyYAML raises for text that is no YAML: its own error, and for values such as 2020-13-45 what Python raises."""

ADDRESSES = ("models:/", "runs:/")
"""How places begin that MLflow knows: they stand where a path can, and are no path."""

Format = Literal["voc", "yolo", "coco"]
LabelFrame = Literal["auto", "displayed", "stored"]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _resolve(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str | Path):
        return value
    if str(value).startswith(ADDRESSES):
        return Path(str(value))
    base = (info.context or {}).get("base", Path())
    if "://" in str(value):
        raise ValueError("expected a path on this machine, a URL only names data sets and folders of photos")
    if "\0" in str(value):
        raise ValueError("expected a path, which holds no NUL character")
    try:
        return Path(os.path.normpath(base / Path(value).expanduser()))
    except RuntimeError as error:  # ~name of nobody
        raise ValueError(f"expected a path: {error}") from error


def _resolve_place(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str | Path):  # the text of a nest of anchors would fill the memory
        return value
    text = str(value)
    return remote.place(text) if "://" in text or remote.address(Path(text)) else _resolve(value, info)


ConfigPath = Annotated[Path, BeforeValidator(_resolve)]
"""A path, made absolute by the folder of the config file."""

Place = Annotated[Path, BeforeValidator(_resolve_place)]
"""A path likewise, or a URL that fsspec knows, such as s3://bucket/photos (``attributes.remote``)."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def _python_name(source: str) -> str:
    if not re.fullmatch(r"python:[\w.]+\.\w+", source):
        raise ValueError("expected python:MODULE.NAME with a dot before NAME, such as python:my_attributes.warmth")
    return source


class TrainData(_Section):
    """The data that the detector was trained on, or a reference set, or a profile of either."""

    path: Place | None = Field(default=None, description="data set folder or file, here or at a URL")
    profile: ConfigPath | None = Field(
        default=None,
        description="a directory that 'xai profile' made, in place of path; models:/NAME/VERSION takes the one that "
        "its training run logged to MLflow",
    )
    format: Format | None = Field(default=None, description="data set format")
    photos: Place | None = Field(default=None, description="folder of the photos of a COCO file, here or at a URL")
    split: str | None = Field(default=None, description="split of a YOLO data.yaml; default train")
    label_frame: LabelFrame = Field(default="auto", description="the frame that boxes were drawn in; see EvalData")
    is_training_set: bool = Field(
        default=True, description="false: the detector was not trained on it; sentences say so"
    )
    detect: int = Field(default=0, ge=0, description="run the detector on up to this many training photos")

    @model_validator(mode="after")
    def _one_source(self) -> TrainData:
        if (self.path is None) == (self.profile is None):
            raise ValueError("expected exactly one of 'path' (with 'format') and 'profile'")
        if self.path is not None and self.format is None:
            raise ValueError("expected 'format' beside 'path': voc, yolo or coco")
        return self


class EvalData(_Section):
    """The annotated evaluation set."""

    path: Place = Field(description="data set folder or file, here or at a URL")
    format: Format = Field(description="data set format")
    photos: Place | None = Field(default=None, description="folder of the photos of a COCO file, here or at a URL")
    split: str | None = Field(default=None, description="split of a YOLO data.yaml; default val")
    label_frame: LabelFrame = Field(
        default="auto",
        description="the frame that boxes were drawn in: stored = before EXIF orientation; auto = displayed, or stored "
        "where only the stored size matches what the label file states",
    )


class ProductionData(_Section):
    """The photos that the detector annotated and nobody labelled."""

    path: Place = Field(description="folder of photos, here or at a URL")


class Metadata(_Section):
    """A table of what is known of photos, joined by ``image_id``."""

    path: ConfigPath = Field(description="CSV or Parquet file with a column image_id, and split where ids repeat")
    types: Mapping[str, Literal["number", "text"]] = Field(
        default_factory=dict, description="type of a column, where what is inferred is wrong"
    )


class Data(_Section):
    """What is compared with what: an annotated evaluation set, or unlabelled production photos with reported misses."""

    train: TrainData | None = None
    eval: EvalData | None = None
    production: ProductionData | None = None
    reported: ConfigPath | None = Field(
        default=None, description="CSV of misses that people reported: image,label[,x1,y1,x2,y2][,note]"
    )
    audit: EvalData | None = Field(
        default=None, description="labels of a random sample of the production photos ('xai sample' draws it)"
    )
    classes: Mapping[str, str] = Field(default_factory=dict, description="data set name → detector name")
    metadata: Metadata | None = None
    attributes: tuple[Annotated[str, AfterValidator(_python_name)], ...] = Field(
        default=(),
        description="functions of yours, python:MODULE.NAME: a photo → a number, a word or None (xai/own.py)",
    )
    group: str | None = Field(
        default=None, description="column whose photos are one draw, as site; default: every photo is one"
    )
    max_bad: Fraction = Field(
        0.05, description="largest share of unusable photos before the run stops with exit code 3"
    )

    @model_validator(mode="after")
    def _one_question(self) -> Data:
        if self.eval is not None and (self.production or self.reported or self.audit):
            raise ValueError("expected either 'eval', or 'production' with 'reported'; got both")
        if self.eval is None and (self.production is None or self.reported is None):
            raise ValueError("expected 'eval' (an annotated set), or 'production' with 'reported' (a list of misses)")
        return self


KINDS = ("ultralytics", "torchvision", "transformers", "predictions")


def _known_kind(kind: str) -> str:
    if kind in KINDS or re.fullmatch(r"python:[\w.]+\.\w+", kind):
        return kind
    if kind.startswith("python:"):
        raise ValueError("expected python:MODULE.NAME with a dot before NAME, such as python:my_detector.detect")
    close = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.4)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    raise ValueError(f"expected {', '.join(KINDS)} or python:MODULE.NAME{hint}")


class DetectorConfig(_Section):
    """The detector as it is deployed."""

    kind: Annotated[
        str,
        AfterValidator(_known_kind),
        Field(description="adapter, or python:MODULE.NAME for a callable or detector of your own"),
    ]
    weights: ConfigPath | None = Field(
        default=None,
        description="checkpoint, or for kind predictions the COCO results file; models:/NAME/VERSION of a model "
        "registered with MLflow",
    )
    annotations: ConfigPath | None = Field(
        None, description="for kind predictions: COCO file naming images and categories"
    )
    names: tuple[str, ...] | None = Field(default=None, description="class names where the checkpoint does not tell")
    architecture: str | None = Field(
        default=None, description="torchvision builder, where the checkpoint does not tell"
    )
    score_threshold: Fraction = 0.25
    nms_iou: Fraction = 0.7
    max_detections: Annotated[int, Field(ge=1)] = 300
    image_size: Annotated[int, Field(ge=32)] = Field(default=640, description="default: the checkpoint's own, else 640")
    end_to_end: bool = Field(
        default=False, description="a YOLO v10 or 26 that is deployed without non-maximum suppression (nms=False)"
    )
    exif: Literal["apply", "ignore"] = Field(
        default="apply", description="ignore: the deployed pipeline reads pixels as stored, without EXIF orientation"
    )
    precision: Literal["auto", "full", "half"] = Field(
        default="auto", description="half: autocast to float16; auto: half on CUDA, full elsewhere"
    )
    trust_checkpoint: bool = Field(
        False, description="load a pickle that runs code of its own; only for files you made"
    )

    @model_validator(mode="after")
    def _has_weights(self) -> DetectorConfig:
        if self.weights is None and not self.kind.startswith("python:"):
            raise ValueError("expected 'weights': the checkpoint or results file")
        if self.kind.startswith("python:") and str(self.weights or "").startswith(ADDRESSES):
            raise ValueError("expected no 'weights' of MLflow for a function of your own: it would never see them")
        return self


class Match(_Section):
    """When a detection counts as finding an object."""

    iou: Annotated[float, Field(gt=0.1, lt=1)] = 0.5


class Promise(_Section):
    """The accuracy that the team maintains, of scored objects."""

    recall: Annotated[float, Field(gt=0, lt=1)] | None = None
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class Explain(_Section):
    """How much is spent on experiments."""

    budget: Annotated[int, Field(ge=0)] = Field(default=40, description="detector forwards per miss, on average")
    maps: Annotated[int, Field(ge=0)] = Field(default=20, description="misses that get a heat map")
    repairs: bool = Field(default=True, description="test causes by repairing the condition")
    stress: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="detector forwards spent on losing found objects by graded conditions; 0 does not, 2,000 do well",
    )


class Report(_Section):
    """What the report says besides the results."""

    title: str = "Why did the detector miss it?"
    logo: ConfigPath | None = Field(
        default=None, description="PNG, JPEG or WebP beside the title; left out where the file is gone"
    )
    earlier: ConfigPath | None = Field(
        default=None, description="an earlier run directory, whose funnel stands beside this one's"
    )
    cost_per_miss: Annotated[float, Field(gt=0)] | None = None
    currency: str = "USD"


class MLflow(_Section):
    """Where a triage is logged; MLFLOW_TRACKING_URI names the server."""

    experiment: str = Field(description="made if it is not there")
    run_name: str | None = Field(default=None, description="default: the name of the run directory")


class Config(_Section):
    """The whole config."""

    data: Data
    detector: DetectorConfig
    match: Match = Match()
    promise: Promise = Promise()
    explain: Explain = Explain()
    report: Report = Report()
    mlflow: MLflow | None = None
    seed: int = 0
    device: str = "auto"
    workers: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="threads that decode and tag; with engine: ray the CPUs of each worker"
    )
    engine: Literal["local", "ray"] = Field(
        default="local",
        description="ray: photos are scanned by a Ray cluster, the one of RAY_ADDRESS or one started here",
    )
    out: ConfigPath | None = Field(
        default=None, description="the run directory; default runs/NAME of the config, in the working directory"
    )

    @model_validator(mode="after")
    def _one_choice_of_gpus(self) -> Config:
        if self.engine == "ray" and ":" in self.device:
            raise ValueError(
                f"expected 'device' to be auto, cpu or cuda beside 'engine: ray', which gives each worker its GPU; got "
                f"{self.device!r}"
            )
        return self


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and validate a config file.

    Args:
        path: YAML file; relative paths in it are relative to its folder.
        overrides: ``key=value`` pairs with dotted keys (``promise.recall=0.95``); values are read as YAML.

    Raises:
        ConfigError: the file cannot be read, or a key or value is not valid; the message names it.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"expected a YAML config at {path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"expected a YAML config in UTF-8 at {path}: {error}") from error
    try:
        raw = yaml.safe_load(text)
    except YAML_ERRORS as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping with at least 'data' and 'detector', got {type(raw).__name__}")
    for override in overrides:
        _override(raw, override)
    return from_dict(raw, base=path.parent, where=str(path))


def from_dict(raw: Mapping[str, Any], *, base: Path | None = None, where: str = "config") -> Config:
    """Validate a config that is already a mapping.

    Args:
        raw: nested mapping of the keys above.
        base: folder that relative paths are relative to; the working directory if left out.
        where: what error messages call this config.

    Raises:
        ConfigError: a key or value is not valid.
    """
    try:
        return Config.model_validate(raw, context={"base": (base or Path()).resolve()})
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        rest = f" (and {len(problems) - 2} more problems)" if len(problems) > 2 else ""
        raise ConfigError("\n".join(f"{where}: {text}" for text in problems[:2]) + rest) from error


def _override(raw: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set expects key=value, for example promise.recall=0.95; got {override!r}")
    *parents, last = key.split(".")
    section = raw
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ConfigError(f"--set {override}: {parent!r} is a value, not a section")
    try:
        section[last] = yaml.safe_load(text)
    except YAML_ERRORS as error:
        raise ConfigError(f"--set {override}: {text!r} is not valid YAML") from error


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 300
_SHORT.maxlevel = 2
"""YAML anchors let a few lines stand for a list of billions; a message shows its beginning."""


def _explain(problem: Mapping[str, Any]) -> str:
    """Turn one pydantic error into a sentence with the dotted key, what was expected and what came."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location) or "the config"
    if problem["type"] == "extra_forbidden":
        valid = _valid_keys(location[:-1])
        close = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return f"unknown key '{key}': {hint}valid keys here: {', '.join(sorted(valid))}"
    if problem["type"] == "missing":
        return f"'{key}' is missing: it is required"
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    if problem["type"] == "model_type":
        message = "expected a section of keys"
    got = problem.get("input")
    came = f"; got {_SHORT.repr(got)}" if not isinstance(got, dict) else ""
    hint = ""
    if problem["type"].startswith("less_than") and isinstance(got, int | float) and 10 <= got <= 100:
        hint = f"; shares are written from 0 to 1: did you mean {got / 100:g}?"
    if problem["type"] == "literal_error" and isinstance(got, str):
        words = str(problem.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        close = difflib.get_close_matches(got, words, n=1, cutoff=0.4)
        hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"'{key}': {message[:1].lower()}{message[1:]}{came}{hint}"


def _valid_keys(location: Sequence[str]) -> list[str]:
    model: Any = Config
    for part in location:
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next(item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel))
    return list(model.model_fields)

"""The config of a run: YAML, validated, unknown keys refused with the nearest valid name.

The models below are the reference of every key. Relative paths are relative to the config file.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from xai.exceptions import ConfigError

Format = Literal["voc", "yolo"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class TrainData(_Section):
    """The data that the detector was trained on, or a reference set, or a profile of either."""

    path: Path | None = Field(None, description="data set folder or file")
    profile: Path | None = Field(None, description="a directory that 'xai profile' made, in place of path")
    format: Format | None = Field(None, description="data set format")
    split: str | None = Field(None, description="split of a YOLO data.yaml; default train")
    is_training_set: bool = Field(True, description="false: the detector was not trained on it; sentences say so")
    detect: int = Field(0, ge=0, description="run the detector on up to this many training photos")

    @model_validator(mode="after")
    def _one_source(self) -> TrainData:
        if (self.path is None) == (self.profile is None):
            raise ValueError("expected exactly one of 'path' (with 'format') and 'profile'")
        if self.path is not None and self.format is None:
            raise ValueError("expected 'format' beside 'path': voc or yolo")
        return self


class EvalData(_Section):
    """The annotated evaluation set."""

    path: Path = Field(description="data set folder or file")
    format: Format = Field(description="data set format")
    split: str | None = Field(None, description="split of a YOLO data.yaml; default val")


class Data(_Section):
    """What is compared with what."""

    train: TrainData | None = None
    eval: EvalData
    classes: Mapping[str, str] = Field(default_factory=dict, description="data set name → detector name")
    max_bad: Fraction = Field(0.05, description="largest share of unusable photos before the run stops with exit code 3")


class DetectorConfig(_Section):
    """The detector as it is deployed."""

    kind: Literal["ultralytics", "torchvision", "predictions"]
    weights: Path | None = Field(None, description="checkpoint, or for kind predictions the COCO results file")
    annotations: Path | None = Field(None, description="for kind predictions: COCO file naming images and categories")
    names: tuple[str, ...] | None = Field(None, description="class names where the checkpoint does not tell")
    architecture: str | None = Field(None, description="torchvision builder, where the checkpoint does not tell")
    score_threshold: Fraction = 0.25
    nms_iou: Fraction = 0.7
    max_detections: Annotated[int, Field(ge=1)] = 300
    image_size: Annotated[int, Field(ge=32)] = 640
    trust_checkpoint: bool = Field(False, description="load a pickle that runs code of its own; only for files you made")

    @model_validator(mode="after")
    def _has_weights(self) -> DetectorConfig:
        if self.weights is None:
            raise ValueError("expected 'weights': the checkpoint or results file")
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

    budget: Annotated[int, Field(ge=0)] = Field(40, description="detector forwards per miss, on average")
    maps: Annotated[int, Field(ge=0)] = Field(20, description="misses that get a heat map")
    repairs: bool = Field(True, description="test causes by repairing the condition")


class Report(_Section):
    """What the report says besides the results."""

    title: str = "Why did the detector miss it?"
    cost_per_miss: Annotated[float, Field(gt=0)] | None = None
    currency: str = "USD"


class Config(_Section):
    """The whole config."""

    data: Data
    detector: DetectorConfig
    match: Match = Match()
    promise: Promise = Promise()
    explain: Explain = Explain()
    report: Report = Report()
    seed: int = 0
    device: str = "auto"
    workers: Annotated[int, Field(ge=1)] | None = None
    out: Path | None = Field(None, description="the run directory; default runs/NAME beside the config")

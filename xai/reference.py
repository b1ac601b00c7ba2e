"""The training side of a run: a data set that is scanned, or a profile that was made of one before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from attributes import remote
from xai import alone, dataset, detect, engines, own, provenance, room, run_json, tables
from xai.config import Config, TrainData
from xai.dataset import watch
from xai.exceptions import ConfigError
from xai.files import owned
from xai.integrations import mlflow
from xai.progress import or_bars
from xai.scan import Split, scan
from xai.types import Dataset, Detector, ModelCard, PredictedOnly, Progress, no_progress

FEATURES = "features.parquet"
"""What the objects of a profile look like to its detector, beside the profile's tables."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Tagged tables of the training set, or of a set that stands for it.

    Attributes:
        tables: images, objects, predictions and issues.
        detected: whether the detector was run on (some of) its photos.
        is_training_set: whether the detector was trained on it.
        info: what ``run.json`` says of it.
        made_by: of a profile, SHA-256 of the weights that made its object features, "unknown" where nothing tells; None
            where this run's detector made them.
    """

    tables: Split
    detected: bool
    is_training_set: bool
    info: dict[str, Any]
    made_by: str | None = None

    def features_fit(self, card: ModelCard) -> bool:
        """Tell whether the object features were made by the weights of a detector, so that its own compare."""
        return self.made_by is None or self.made_by == card.sha256


def name_as_detector(data: Dataset, classes: Mapping[str, str], names: Sequence[str]) -> Dataset:
    """Give the labels of a split the detector's class names; classes that it lacks are kept and not scored.

    Names that differ from the detector's in case or in outer spaces only need no mapping, in no split.
    """
    mapping = dataset.spell(classes, data.labels["label"].unique().to_list(), names)
    labels, issues = dataset.map_classes(data.labels, mapping, names, split=data.split)
    named = tuple(mapping.get(name, name) for name in data.class_names)
    return replace(data, labels=labels, issues=tables.stack([data.issues, issues], tables.ISSUES), class_names=named)


def reference(
    config: Config, detector: Detector | PredictedOnly, folder: Path, progress: Progress = no_progress
) -> Reference | None:
    """Return the training side that the config names, or None where it names none."""
    section = config.data.train
    if section is None:
        return None
    if section.profile is not None:
        with mlflow.profile_folder(section.profile) as profiled:
            loaded = load_profile(profiled, config, detector)
        info = {**loaded.info, "is_training_set": section.is_training_set}
        return replace(loaded, is_training_set=section.is_training_set, info=info)
    as_read = _read(section)
    labels = watch.seen(as_read)
    data = name_as_detector(as_read, config.data.classes, detector.names)
    asked = [] if isinstance(detector, PredictedOnly) else draw(data.image_ids, section.detect, config.seed)
    split = scan(
        data,
        detector=detector,
        detect_ids=frozenset(asked),
        match_iou=config.match.iou,
        fingerprint={**fingerprint(config, detector), "detect": section.detect},
        folder=folder,
        workers=config.workers or os.cpu_count() or 1,
        progress=progress,
        as_stored=config.detector.exif == "ignore",
        attributes=own.load(config.data.attributes),
        engine=engines.engine(config, detector),
        opening=alone.opening(config, detector),
    )
    split = replace(split, issues=tables.stack([split.issues, watch.changes(labels)], tables.ISSUES))
    return Reference(
        split, bool(asked), section.is_training_set, describe(as_read, split, section.format, section.is_training_set)
    )


def _read(section: TrainData) -> Dataset:
    if section.path is None or section.format is None:
        raise ConfigError("expected 'data.train.path' and 'data.train.format', or 'data.train.profile'")
    return dataset.read(
        section.path,
        section.format,
        role="train",
        split=section.split,
        photos=section.photos,
        label_frame=section.label_frame,
    )


def draw(image_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """Draw up to ``count`` photos without replacement; the same for the same seed."""
    if count >= len(image_ids):
        return list(image_ids)
    chosen = np.random.default_rng(seed).choice(len(image_ids), size=count, replace=False)
    return [image_ids[index] for index in sorted(chosen.tolist())]


def fingerprint(config: Config, detector: Detector | PredictedOnly | None) -> dict[str, Any]:
    """Return what the rows of a scan depend on besides photos and labels."""
    made_by = config.detector.model_dump(mode="json") if detector else None
    weights = detector.card.sha256 if detector else None
    return {
        "detector": made_by,
        "weights": weights,
        "annotations": _sha256(config.detector.annotations),
        "classes": dict(config.data.classes),
        "iou": config.match.iou,
        "seed": config.seed,
        "device": config.device,
        "versions": provenance.versions(),
    }


def describe(data: Dataset, split: Split, format: str | None, is_training_set: bool | None) -> dict[str, Any]:
    """Return what ``run.json`` says of a data set; its digest is of the labels as they were read."""
    read = split.images.filter(pl.col("status") == "ok")
    return {
        "path": remote.address(data.root) or str(data.root),
        "format": format,
        "sha256": dataset.digest(data.labels, read.select("image_id", "sha256")),
        "is_training_set": is_training_set,
        "captured_at": provenance.captured_range(split.images),
        "photos": len(read),
        "objects": len(split.objects),
        "funnel": provenance.funnel(data, split.images, split.objects, split.issues),
    }


def profile(
    path: str | Path,
    *,
    out: str | Path,
    format: str | None = None,
    split: str | None = None,
    photos: str | Path | None = None,
    label_frame: str = "auto",
    config: Config | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> Split:
    """Tag a training set once, so that runs can be compared with it without its photos.

    Args:
        path: the data set.
        out: the profile directory.
        format: a name in ``dataset.READERS``; told from the folder if left out.
        split: split of the data set; ``train`` if left out.
        photos: the folder of a COCO file's photos, where it is not found by itself.
        label_frame: the frame that boxes were drawn in, ``auto``, ``displayed`` or ``stored``.
        config: a triage config; its detector is run on the photos too, on ``data.train.detect`` of them or, where that
            is 0, on all, and its class names and ``data.attributes`` are used. Detections from a file are not
            matched with training photos.
        workers: threads that decode and tag.
        progress: told how far the scan is; in a notebook a bar is drawn if left out.
        command: what the provenance names as the command that made the profile.
    """
    folder = Path(out)
    with owned(folder), room.told("the photos"):
        format = format or dataset.guess_format(Path(path))
        as_read = data = dataset.read(
            Path(path),
            format,
            role="train",
            split=split,
            photos=Path(photos) if photos else None,
            label_frame=label_frame,
        )
        detector = None
        asked: list[str] = []
        if config is not None:
            detector = detect.load(config.detector, config.device)
            data = name_as_detector(data, config.data.classes, detector.names)
            wanted = config.data.train.detect if config.data.train else 0
            if not isinstance(detector, PredictedOnly):
                asked = draw(data.image_ids, wanted or len(data.image_ids), config.seed)
        versions = {"versions": provenance.versions()}
        told = own.load(config.data.attributes) if config else ()
        tagged = scan(
            data,
            detector=detector,
            detect_ids=frozenset(asked),
            match_iou=config.match.iou if config else 0.5,
            fingerprint=fingerprint(config, detector) if config else versions,
            folder=folder / "shards",
            workers=workers or os.cpu_count() or 1,
            progress=or_bars(progress),
            as_stored=config is not None and config.detector.exif == "ignore",
            attributes=told,
            engine=engines.engine(config, detector),
            opening=alone.opening(config, detector),
        )
        for name in ("images", "objects", "predictions", "issues"):
            tables.write(getattr(tagged, name), folder / f"{name}.parquet")
        tables.write(tagged.features, folder / FEATURES)
        described = describe(as_read, tagged, format, None)
        info = {
            "versions": provenance.versions(),
            "command": command,
            "finished_at": provenance.now(),
            "model": provenance.model(detector.card) if detector else None,
            "detector": fingerprint(config, detector) if config else None,
            "attributes": own.fingerprint(told),
            "features": {
                "weights": (detector.card.sha256 if detector else None) or "unknown",
                "objects": len(tagged.features),
                "photos": tagged.features["image_id"].n_unique(),
                "photos_detected": len(asked),
            },
            "data": {"train": described},
        }
        run_json.write(info, folder)
        return tagged


def load_profile(path: Path, config: Config, detector: Detector | PredictedOnly) -> Reference:
    """Open a profile; its classes are renamed as the config says, and outcomes of another detector are refused.

    Raises:
        RunError: there is no finished profile.
        ConfigError: the profile's miss rates belong to another detector or threshold, or the user's own attributes in
            it were told by other code.
    """
    info = run_json.read(path)
    _check_attributes(path, dict(info.get("attributes") or ()), own.load(config.data.attributes))
    split = Split(*(tables.read(path, name) for name in ("images", "objects", "predictions", "issues")))
    detected = info["model"] is not None
    if detected and _asked(info["detector"]) != _asked(fingerprint(config, detector)):
        raise ConfigError(
            f"data.train.profile: {path} was made with another detector, threshold, data.classes or match.iou; "
            "make it again with 'xai profile --detector CONFIG', or without a detector"
        )
    if not detected:
        labels = split.objects["label"].unique().to_list()
        objects = dataset.rename_classes(split.objects, dataset.spell(config.data.classes, labels, detector.names))
        lacking = ~pl.col("label").is_in(list(detector.names))
        objects = objects.with_columns(
            outcome=pl.when(lacking).then(pl.lit("ignored")).otherwise("outcome"),
            ignore=pl.coalesce("ignore", pl.when(lacking).then(pl.lit("class"))),
        )
        split = replace(split, objects=objects)
    if (path / FEATURES).is_file():
        split = replace(split, features=pl.read_parquet(path / FEATURES))
    made_by = str((info.get("features") or {}).get("weights", "unknown"))
    return Reference(split, detected, True, info["data"]["train"], made_by)


def _check_attributes(path: Path, told: dict[str, str], wanted: Sequence[own.Own]) -> None:
    changed = [item.source for item in wanted if item.source in told and told[item.source] != item.sha256]
    if changed:
        raise ConfigError(
            f"data.train.profile: {path} was tagged with other code of {', '.join(changed)} (data.attributes); make it "
            "again with 'xai profile'"
        )


def _asked(made: dict[str, Any]) -> dict[str, Any]:
    """What of a fingerprint decides which objects are found; where the weights lie does not."""
    kept = {key: value for key, value in made["detector"].items() if key not in {"weights", "trust_checkpoint"}}
    return {"detector": kept, **{name: made[name] for name in ("weights", "classes", "iou")}}


def _sha256(path: Path | None) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else None

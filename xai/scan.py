"""Reads a split once: photos and labels in, tables of images, objects, predictions and issues out, shard by shard.

A shard is a folder that appears whole (written aside, then renamed), so a killed scan loses at most one and resumes
with the next. Each carries the fingerprint of what its rows depend on, so that after a change of photos, labels,
detector or thresholds only those shards are made anew that it touches. Shards are cut by the order of the photos: one
that is added moves all behind it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from attributes import ATTRIBUTES
from attributes.decode import Photo
from xai import batch, dataset, own, tables
from xai.detect.matching import match
from xai.types import Boxes, Dataset, Detections, Detector, PredictedOnly, Progress

CASE_IOU = 0.75
"""A reported miss counts as found only by a detection that fits this closely: the object beside it, which nobody
annotated, may well be covered half by the same detection."""

SHARD_SIZE = 128
"""Photos a shard: the unit that is lost when a run is killed."""

STAMP = "fingerprint"
"""File of a shard that holds the digest of what its rows depend on."""

IMAGE_ATTRIBUTES = [name for name, attribute in ATTRIBUTES.items() if attribute.level == "image"]
OBJECT_ATTRIBUTES = [name for name, attribute in ATTRIBUTES.items() if attribute.level == "object"]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The tables of one scanned split; columns as in ``tables.TABLES`` plus attributes.

    Attributes:
        images: all photos that the data set names, ``status`` tells which could be read; also ``sha256``.
        objects: annotated objects of the photos that were read, ``outcome`` null where the detector was not asked;
            also ``ignore`` (null, or why it is not scored) and
            the columns of ``tables.CANDIDATES``.
        predictions: deployed detections.
        issues: problems of photos and labels.
        features: what objects look like to the detector, columns of ``tables.FEATURES``; the objects of photos that it
            was asked about, none where it has no features.
    """

    images: pl.DataFrame
    objects: pl.DataFrame
    predictions: pl.DataFrame
    issues: pl.DataFrame
    features: pl.DataFrame = field(default_factory=lambda: tables.features([]))


def scan(
    data: Dataset,
    *,
    detector: Detector | PredictedOnly | None,
    detect_ids: Collection[str],
    match_iou: float,
    fingerprint: Mapping[str, object],
    folder: Path,
    workers: int,
    progress: Progress,
    as_stored: bool = False,
    attributes: Sequence[own.Own] = (),
) -> Split:
    """Tag all photos of a split, run the detector on ``detect_ids`` and match what it finds.

    Args:
        data: the split, its labels already in the detector's class names.
        detector: None to tag only.
        detect_ids: photos that the detector is asked about.
        match_iou: IoU at which a detection finds an object.
        fingerprint: what the rows depend on besides the labels (detector, thresholds); JSON values.
        folder: where the shards are kept.
        workers: threads that decode and tag; they do not change the rows.
        progress: told after each batch.
        as_stored: the detector (or the pipeline that wrote its results file) reads pixels without EXIF orientation.
        attributes: a user's own, told of every photo.
    """
    if attributes:
        fingerprint = {**fingerprint, "attributes": own.fingerprint(attributes)}
    labels = data.labels.sort("image_id", "object_id")
    shards = [data.image_ids[start : start + SHARD_SIZE] for start in range(0, len(data.image_ids), SHARD_SIZE)]
    annotated = _annotated(data)
    shared = _shared(data, annotated, fingerprint)
    _tidy(folder, len(shards))
    done = 0
    for index, image_ids in enumerate(shards):
        target = folder / f"{index:05d}"
        rows = _between(labels, image_ids[0], image_ids[-1])
        stamp = _fingerprint(shared, data.root, image_ids, rows, detect_ids)
        if not _is_made(target, stamp):
            shard = _scan_shard(
                data,
                image_ids,
                rows,
                annotated=annotated,
                detector=detector,
                detect_ids=detect_ids,
                match_iou=match_iou,
                workers=workers,
                as_stored=as_stored,
                attributes=attributes,
                progress=lambda stage, count, total, base=done: progress(stage, base + count, total),  # type: ignore[misc]
            )
            _write(shard, target, stamp)
        done += len(image_ids)
        progress(f"scan {data.split}", done, len(data.image_ids))
    return _read(folder, len(shards), data)


def _annotated(data: Dataset) -> frozenset[str]:
    """Return the classes that the data set annotates."""
    named = frozenset(data.labels["label"].unique().to_list())
    # An audit has few photos: a class that is not in them may still have been looked for.
    return named | frozenset(data.class_names) if data.split == "audit" else named


def _shared(data: Dataset, annotated: Collection[str], fingerprint: Mapping[str, object]) -> str:
    """Return what all shards depend on, as one text."""
    columns = [IMAGE_ATTRIBUTES, OBJECT_ATTRIBUTES, list(tables.CANDIDATES), tables.FEATURES]
    parts = [fingerprint, str(data.root), data.split, data.label_frame, sorted(annotated), columns]
    return json.dumps(parts, sort_keys=True, default=str)


def _fingerprint(
    shared: str, root: Path, image_ids: Sequence[str], labels: pl.DataFrame, detect_ids: Collection[str]
) -> str:
    """Return the digest of what one shard's rows depend on; photos count by size and time of their last change."""
    digest = hashlib.sha256(shared.encode())
    for image_id in image_ids:
        digest.update(f"{image_id}\0{_stamp(root / image_id)}\0{image_id in detect_ids}\n".encode())
    digest.update(labels.write_csv().encode())
    return digest.hexdigest()


def _tidy(folder: Path, count: int) -> None:
    """Remove what a killed scan left aside, and shards of a data set that was larger."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {f"{index:05d}" for index in range(count)}
    for path in list(folder.iterdir()):
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path)


def _is_made(target: Path, stamp: str) -> bool:
    """Whether the shard is there and of this fingerprint; one of another is removed."""
    file = target / STAMP
    if file.is_file() and file.read_text(encoding="ascii") == stamp:
        return True
    if target.exists():
        shutil.rmtree(target)
    return False


def _stamp(path: Path) -> str:
    """Return what changes when a photo is mended or replaced."""
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _write(shard: Split, target: Path, stamp: str) -> None:
    aside = Path(tempfile.mkdtemp(prefix=".shard-", dir=target.parent))
    for name in ("images", "objects", "predictions", "issues", "features"):
        getattr(shard, name).write_parquet(aside / f"{name}.parquet")
    (aside / STAMP).write_text(stamp, encoding="ascii")
    aside.rename(target)


def _read(folder: Path, count: int, data: Dataset) -> Split:
    def parts(name: str) -> list[pl.DataFrame]:
        return [pl.read_parquet(folder / f"{index:05d}" / f"{name}.parquet") for index in range(count)]

    def load(name: str) -> pl.DataFrame:
        return tables.stack(parts(name), tables.TABLES[name])

    issues = tables.stack([data.issues, load("issues")], tables.ISSUES)
    own.agree(parts("images"))
    images = load("images")
    issues = tables.stack([issues, dataset.duplicates(images)], tables.ISSUES)
    return Split(images, load("objects"), load("predictions"), issues, tables.features(parts("features")))


def _scan_shard(
    data: Dataset,
    image_ids: Sequence[str],
    labels: pl.DataFrame,
    *,
    annotated: Collection[str],
    detector: Detector | PredictedOnly | None,
    detect_ids: Collection[str],
    match_iou: float,
    workers: int,
    as_stored: bool,
    attributes: Sequence[own.Own],
    progress: Progress,
) -> Split:
    names = detector.names if detector else ()
    codes = {name: code for code, name in enumerate(names)}
    objects: list[pl.DataFrame] = []
    issues: list[pl.DataFrame] = []

    def label(ids: Sequence[str], photos: Sequence[Photo]) -> list[batch.Labelled]:
        of_batch = labels.filter(pl.col("image_id").is_in(list(ids)))
        resolved, found = dataset.resolve(of_batch, _sizes(ids, photos), data.label_frame)
        objects.append(resolved)
        issues.append(found)
        return _labelled(resolved, ids, codes)

    images: list[pl.DataFrame] = []
    measured: list[pl.DataFrame] = []
    features: list[pl.DataFrame] = []
    detections: dict[str, Detections] = {}
    live = None if isinstance(detector, PredictedOnly) else detector
    for result in batch.process(
        data.root,
        image_ids,
        label=label,
        detector=live,
        detect_ids=detect_ids,
        match_iou=match_iou,
        workers=workers,
        as_stored=as_stored,
        attributes=attributes,
    ):
        images.append(_image_rows(data.split, result, attributes))
        issues.append(_failure_rows(data, result))
        formats = [photo.format for photo in result.photos]
        issues.append(dataset.misnamed(result.image_ids, formats, split=data.split))
        measured.append(_object_columns(result, names))
        features.append(_feature_rows(objects[-1], result))
        for image_id, photo, found in zip(result.image_ids, result.photos, result.detections, strict=True):
            if isinstance(detector, PredictedOnly) and image_id in detect_ids:
                told = detector.by_image.get(image_id, _NOTHING)
                detections[image_id] = batch.displayed(told, photo) if as_stored else told
            elif found is not None:
                detections[image_id] = found
        progress(f"scan {data.split}", sum(map(len, images)), len(data.image_ids))
    table = pl.concat([tables.stack(objects, {}), pl.concat(measured, how="diagonal_relaxed")], how="horizontal")
    table = table.with_columns(split=pl.lit(data.split))
    matched, predictions = _match(table, detections, names, match_iou, annotated, data.split)
    if data.split == "production":
        matched, predictions = _doubt(matched, predictions)
    own.agree(images)
    return Split(
        tables.stack(images, tables.TABLES["images"]).sort("image_id"),
        matched,
        predictions,
        tables.stack([frame.with_columns(split=pl.lit(data.split)) for frame in issues], tables.ISSUES),
        tables.features(features).sort("image_id", "object_id"),
    )


_NOTHING = Detections(np.empty((0, 4)), np.empty(0), np.empty(0, dtype=np.int64))


def _between(labels: pl.DataFrame, first: str, last: str) -> pl.DataFrame:
    """Return the rows of photos from ``first`` to ``last`` of a table sorted by photo; the rest is not touched."""
    start = labels["image_id"].search_sorted(first, side="left")
    return labels.slice(start, labels["image_id"].search_sorted(last, side="right") - start)


def _sizes(ids: Sequence[str], photos: Sequence[Photo]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "image_id": list(ids),
            "width": [photo.width for photo in photos],
            "height": [photo.height for photo in photos],
            "exif_orientation": [photo.exif_orientation for photo in photos],
        },
        schema={"image_id": pl.String, "width": pl.Int64, "height": pl.Int64, "exif_orientation": pl.Int64},
    )


def _labelled(objects: pl.DataFrame, ids: Sequence[str], codes: Mapping[str, int]) -> list[batch.Labelled]:
    """Split a table that is sorted by photo into one ``Labelled`` per photo."""
    boxes: Boxes = objects.select("x1", "y1", "x2", "y2").to_numpy(writable=True).astype(np.float64)
    labels = objects["label"].replace_strict(codes, default=-1, return_dtype=pl.Int64).to_numpy(writable=True)
    repeats = (objects["ignore"] == "duplicate").fill_null(False).to_numpy(writable=True)
    counts = dict(objects.group_by("image_id").len().iter_rows())
    ends = np.cumsum([counts.get(image_id, 0) for image_id in ids]).tolist()
    starts = [0, *ends[:-1]]
    return [batch.Labelled(boxes[a:b], labels[a:b], repeats[a:b]) for a, b in zip(starts, ends, strict=True)]


def _image_rows(split: str, result: batch.Batch, attributes: Sequence[own.Own]) -> pl.DataFrame:
    photos = result.photos
    read = {
        "image_id": list(result.image_ids),
        "status": ["ok"] * len(photos),
        "width": [photo.width for photo in photos],
        "height": [photo.height for photo in photos],
        "exif_orientation": [photo.exif_orientation for photo in photos],
        "captured_at": [photo.captured_at for photo in photos],
        "camera": [photo.camera for photo in photos],
        "focal_length": [photo.focal_length for photo in photos],
        "sha256": [photo.sha256 for photo in photos],
    }
    schema = {**{name: tables.TABLES["images"].get(name, pl.String) for name in read}}
    frame = pl.DataFrame(read, schema=schema).with_columns(_series(result.measured.images, IMAGE_ATTRIBUTES))
    frame = frame.with_columns(own.columns(attributes, result.own))
    failed = pl.DataFrame(
        {
            "image_id": [image_id for image_id, _ in result.failures],
            "status": [error.code for _, error in result.failures],
        },
        schema={"image_id": pl.String, "status": pl.String},
    )
    return pl.concat([frame, failed], how="diagonal").with_columns(split=pl.lit(split))


def _failure_rows(data: Dataset, result: batch.Batch) -> pl.DataFrame:
    rows = [
        {
            "split": data.split,
            "image_id": image_id,
            "code": error.code,
            "severity": "error",
            "message": str(error).removesuffix(f": {data.root / image_id}"),  # the row names the photo
            "file": image_id,
        }
        for image_id, error in result.failures
    ]
    return tables.conform(pl.DataFrame(rows, schema=None if rows else dict(tables.ISSUES)), tables.ISSUES)


def _series(values: Mapping[str, np.ndarray], names: Sequence[str]) -> list[pl.Series]:
    """NaN means unknown in arrays and null in tables."""
    return [pl.Series(name, values[name], dtype=pl.Float64).fill_nan(None) for name in names]


def _object_columns(result: batch.Batch, names: Sequence[str]) -> pl.DataFrame:
    """Attributes and candidate summaries of a batch's objects, one row per object."""
    columns = _series(result.measured.objects, OBJECT_ATTRIBUTES)
    count = len(columns[0]) if columns else 0
    for name, dtype in tables.CANDIDATES.items():
        values = result.candidates.get(name, np.full(count, np.nan))
        series = pl.Series(name, values, dtype=pl.Float64).fill_nan(None)
        if dtype == pl.String:
            series = series.cast(pl.Int64).replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String)
        columns.append(series.alias(name))
    return pl.DataFrame(columns)


def _feature_rows(objects: pl.DataFrame, result: batch.Batch) -> pl.DataFrame:
    """Features of the objects of a batch that have some, rounded to float16."""
    known = np.isfinite(result.features).all(axis=1) & bool(result.features.shape[1])
    rows = objects.select("image_id", "object_id").filter(pl.Series(known, dtype=pl.Boolean))
    limits = np.finfo(np.float16)
    values = result.features[known].clip(limits.min, limits.max).astype(np.float16)
    return tables.features([rows.with_columns(features=pl.Series(values))] if len(rows) else [])


def _match(
    objects: pl.DataFrame,
    detections: Mapping[str, Detections],
    names: Sequence[str],
    match_iou: float,
    annotated: Collection[str],
    split: str,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give objects and detections of a shard their outcomes."""
    order = {image_id: index for index, image_id in enumerate(detections)}
    vocabulary = {name: code for code, name in enumerate([*names, *sorted(set(annotated) - set(names))])}
    asked = objects["image_id"].is_in(list(order))
    part = objects.filter(asked)
    counts = [len(item) for item in detections.values()]
    result = match(
        object_photo=part["image_id"].replace_strict(order, return_dtype=pl.Int64).to_numpy(),
        object_boxes=part.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float64),
        object_labels=part["label"].replace_strict(vocabulary, return_dtype=pl.Int64).to_numpy(),
        object_ignored=part["ignore"].is_not_null().to_numpy(),
        detection_photo=np.repeat(np.arange(len(counts)), counts),
        detection_boxes=np.concatenate([_NOTHING.boxes, *(item.boxes for item in detections.values())]),
        detection_labels=np.concatenate([_NOTHING.labels, *(item.labels for item in detections.values())]),
        detection_scores=np.concatenate([_NOTHING.scores, *(item.scores for item in detections.values())]),
        iou_threshold=match_iou,
        annotated_labels=frozenset(vocabulary[name] for name in annotated),
    )
    predictions = _prediction_rows(detections, names, split).with_columns(
        outcome=pl.Series(result.detection_outcome, dtype=pl.String),
        object_row=pl.Series(result.detection_object, dtype=pl.Int64),
    )
    part = part.with_columns(
        outcome=pl.Series(result.object_outcome, dtype=pl.String),
        detection_row=pl.Series(result.object_detection, dtype=pl.Int64),
        iou=pl.Series(result.object_iou, dtype=pl.Float64).fill_nan(None),
    )
    part = part.with_columns(
        prediction_id=_pick(predictions["prediction_id"], part["detection_row"]),
        score=_pick(predictions["score"], part["detection_row"]),
    ).drop("detection_row")
    predictions = predictions.with_columns(object_id=_pick(part["object_id"], predictions["object_row"]))
    rest = objects.filter(~asked).with_columns(
        outcome=pl.when(pl.col("ignore").is_not_null()).then(pl.lit("ignored")).otherwise(None).cast(pl.String)
    )
    matched = tables.stack([part, rest], tables.TABLES["objects"]).sort("image_id", "object_id")
    return matched, tables.conform(predictions.drop("object_row"), tables.TABLES["predictions"])


def _doubt(objects: pl.DataFrame, predictions: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give objects and detections their outcomes where only reported cases are annotated.

    What meets no case is neither right nor wrong, and what covers one loosely may be of the object beside it.
    """
    loose = (pl.col("outcome") == "found") & (pl.col("iou") < CASE_IOU)
    objects = objects.with_columns(outcome=pl.when(loose).then(pl.lit("mislocated")).otherwise("outcome"))
    cases = objects.select("image_id", "prediction_id", case=pl.col("outcome")).drop_nulls("prediction_id")
    judged = predictions.join(cases, on=["image_id", "prediction_id"], how="left", maintain_order="left")
    outcome = pl.when(pl.col("case") == "found").then(pl.lit("matched")).otherwise("case")
    judged = judged.with_columns(outcome=outcome, object_id=pl.when(pl.col("case").is_not_null()).then("object_id"))
    return objects, judged.drop("case")


def _pick(values: pl.Series, rows: pl.Series) -> pl.Series:
    """``values[rows]``, null where the row is −1."""
    return values.gather(rows.replace(-1, None)) if len(values) else pl.Series([None] * len(rows), dtype=values.dtype)


def _prediction_rows(detections: Mapping[str, Detections], names: Sequence[str], split: str) -> pl.DataFrame:
    parts = [
        pl.DataFrame(
            {
                "image_id": [image_id] * len(found),
                "prediction_id": np.arange(len(found)),
                "label": found.labels,
                "score": found.scores,
                **{name: found.boxes[:, column] for column, name in enumerate(("x1", "y1", "x2", "y2"))},
            },
            schema={
                "image_id": pl.String,
                "prediction_id": pl.Int64,
                "label": pl.Int64,
                "score": pl.Float64,
                "x1": pl.Float64,
                "y1": pl.Float64,
                "x2": pl.Float64,
                "y2": pl.Float64,
            },
        )
        for image_id, found in detections.items()
    ]
    if not parts:
        return tables.empty(tables.TABLES["predictions"]).drop("outcome", "object_id")
    return pl.concat(parts).with_columns(
        pl.col("label").replace_strict(dict(enumerate(names)), return_dtype=pl.String), split=pl.lit(split)
    )

"""One shard of a split: photos and labels in, tables of images, objects, predictions and issues out.

All that the rows are made of stands in ``Work``, so that another process or machine can make them as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from attributes import ATTRIBUTES
from attributes.decode import Photo
from attributes.remote import StoreError
from xai import batch, dataset, own, tables
from xai.detect.matching import match
from xai.exceptions import DataError
from xai.types import Boxes, Dataset, Detections, Detector, PredictedOnly

CASE_IOU = 0.75
"""A reported miss counts as found only by a detection that fits this closely: the object beside it, which nobody
annotated, may well be covered half by the same detection."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A shard to be made.

    Attributes:
        index: its place in the split.
        data: its photos and their labels, in the detector's class names; the issues of reading are left out.
        annotated: the classes that the whole data set annotates.
        detect_ids: the photos that the detector is asked about.
        match_iou: IoU at which a detection finds an object.
        as_stored: the detector reads pixels without EXIF orientation.
        crashed: photos that ended the process that worked on them, twice; they get a row that says so.
    """

    index: int
    data: Dataset
    annotated: frozenset[str]
    detect_ids: frozenset[str]
    match_iou: float
    as_stored: bool
    crashed: frozenset[str] = frozenset()


Engine = Callable[[Iterable[Work], Callable[[int], None]], Iterator[tuple[int, Split]]]
"""Makes shards, in any order, and says which one each is; it tells the function how many more photos are done."""


def make(
    work: Work,
    *,
    detector: Detector | PredictedOnly | None,
    workers: int,
    attributes: Sequence[own.Own],
    advance: Callable[[int], None],
) -> Split:
    """Tag the photos of a shard, run the detector on them and match what it finds.

    Args:
        work: the shard.
        detector: None to tag only.
        workers: threads that decode and tag; they do not change the rows.
        attributes: a user's own, told of every photo.
        advance: told after each batch how many photos it had.

    Raises:
        DataError: the photos lie at a URL, and nobody answers.
    """
    try:
        return _make(work, detector, workers, attributes, advance)
    except StoreError as error:
        raise DataError(f"{error}; run the same command again, what is done is kept") from error


def _make(
    work: Work,
    detector: Detector | PredictedOnly | None,
    workers: int,
    attributes: Sequence[own.Own],
    advance: Callable[[int], None],
) -> Split:
    data, detect_ids = work.data, work.detect_ids
    names = detector.names if detector else ()
    codes = {name: code for code, name in enumerate(names)}
    objects: list[pl.DataFrame] = []
    issues: list[pl.DataFrame] = []

    def label(ids: Sequence[str], photos: Sequence[Photo]) -> list[batch.Labelled]:
        of_batch = data.labels.filter(pl.col("image_id").is_in(list(ids)))
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
        data.image_ids,
        label=label,
        detector=live,
        detect_ids=detect_ids,
        match_iou=work.match_iou,
        workers=workers,
        as_stored=work.as_stored,
        attributes=attributes,
        crashed=work.crashed,
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
                detections[image_id] = batch.displayed(told, photo) if work.as_stored else told
            elif found is not None:
                detections[image_id] = found
        advance(len(images[-1]))
    table = pl.concat([tables.stack(objects, {}), pl.concat(measured, how="diagonal_relaxed")], how="horizontal")
    table = table.with_columns(split=pl.lit(data.split))
    matched, predictions = _match(table, detections, names, work.match_iou, work.annotated, data.split)
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
    starts = [0, *ends][:-1]  # of no photo none
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

"""The table of errors: objects that are not found, and detections that found nothing new."""

from __future__ import annotations

import hashlib

import polars as pl

from xai import tables
from xai.detect.mechanism import mechanisms
from xai.rules import MISSES

FALSE_DETECTIONS = ("duplicate", "background")
"""Outcomes of a detection that are errors of their own; confused and mislocated ones stand in the object's row."""


def errors(
    objects: pl.DataFrame,
    predictions: pl.DataFrame,
    *,
    score_threshold: float,
    match_iou: float,
    neighbours: bool = True,
) -> pl.DataFrame:
    """List the errors of a split, and say of each miss where in the detector it was lost.

    Args:
        objects: rows of ``tables.TABLES["objects"]`` with outcomes and the columns of ``tables.CANDIDATES``.
        predictions: rows of ``tables.TABLES["predictions"]`` with outcomes.
        score_threshold: the deployed threshold.
        match_iou: IoU at which a detection finds an object.
        neighbours: whether other objects of the photos are annotated too; False for reported misses.

    Returns:
        Rows of ``tables.TABLES["errors"]``, in the order of ``error_rows``.
    """
    rows = error_rows(objects, predictions)
    return mechanisms(
        rows, objects, predictions, score_threshold=score_threshold, match_iou=match_iou, neighbours=neighbours
    )


def error_rows(objects: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """List the errors, their mechanisms still null.

    Returns:
        Misses in the order of ``objects``, then false detections in the order of ``predictions``. ``label`` is the
        object's class, or the detection's where no object is missed.
    """
    columns = [pl.col("outcome").alias("kind"), "image_id", "object_id", "prediction_id", "label"]
    parts = [
        objects.filter(pl.col("outcome").is_in(MISSES)).select(columns),
        predictions.filter(pl.col("outcome").is_in(FALSE_DETECTIONS)).select(columns),
    ]
    frame = pl.concat(parts, how="vertical_relaxed")
    keys = frame.select("kind", "image_id", "object_id", "prediction_id").iter_rows()
    identities = pl.Series("error_id", [error_id(*key) for key in keys], dtype=pl.String)
    return tables.conform(frame.with_columns(identities), tables.TABLES["errors"])


def error_id(kind: str, image_id: str, object_id: int | None, prediction_id: int | None) -> str:
    """Name an error by what it is about, so that a miss keeps its name from run to run.

    >>> error_id("missed", "a.jpg", 0, None)
    'fcbb63da9d84'
    """
    parts = [kind, image_id, *("" if part is None else str(part) for part in (object_id, prediction_id))]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:12]

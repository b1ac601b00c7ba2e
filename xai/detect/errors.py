"""The table of errors: objects that are not found, and detections that found nothing new."""

from __future__ import annotations

import hashlib

import polars as pl

from xai import tables

MISSES = ("missed", "confused", "mislocated")
"""Outcomes of an object that is not found; each is a kind of error."""

FALSE_DETECTIONS = ("duplicate", "background")
"""Outcomes of a detection that are errors of their own; confused and mislocated ones stand in the object's row."""


def errors(objects: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """List the errors of a split; the mechanism is still null.

    Args:
        objects: columns of ``tables.TABLES["objects"]``, outcomes decided.
        predictions: columns of ``tables.TABLES["predictions"]``, outcomes decided.

    Returns:
        Rows of ``tables.TABLES["errors"]``: misses in the order of ``objects``, then false detections in the order of
        ``predictions``. ``label`` is the object's class, or the detection's where there is no missed object.
    """
    columns = ["image_id", "object_id", "prediction_id", "label"]
    found = [
        objects.filter(pl.col("outcome").is_in(MISSES)).select(pl.col("outcome").alias("kind"), *columns),
        predictions.filter(pl.col("outcome").is_in(FALSE_DETECTIONS)).select(pl.col("outcome").alias("kind"), *columns),
    ]
    frame = pl.concat(found, how="vertical_relaxed")
    keys = frame.select("kind", "image_id", "object_id", "prediction_id").iter_rows()
    identities = pl.Series("error_id", [error_id(*key) for key in keys], dtype=pl.String)
    return tables.conform(frame.with_columns(identities), tables.TABLES["errors"])


def error_id(kind: str, image_id: str, object_id: int | None, prediction_id: int | None) -> str:
    """Name an error by what it is about, so that runs of one detector give it one name.

    >>> error_id("missed", "a.jpg", 0, None)
    'fcbb63da9d84'
    """
    parts = [kind, image_id, *("" if part is None else str(part) for part in (object_id, prediction_id))]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:12]

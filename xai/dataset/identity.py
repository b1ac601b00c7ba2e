"""What a data set is made of: its digest, photos that repeat, photos that leak from training into evaluation."""

from __future__ import annotations

import hashlib
import json

import polars as pl

from xai.dataset import codes

_PLACE = {"file", "line", "file_width", "file_height"}


def digest(labels: pl.DataFrame, photo_hashes: pl.DataFrame) -> str:
    """Return SHA-256 over label rows and photo hashes; the order of either does not matter.

    Where a label stands (file, line) is left out: the same labels in another file are the same labels.

    Args:
        labels: columns of ``tables.LABELS`` and ``label_*``.
        photo_hashes: ``image_id`` and ``sha256`` of the photos.
    """
    columns = sorted(set(labels.columns) - _PLACE)
    rows = labels.select(columns).sort(
        "image_id", "object_id", *[c for c in columns if c not in ("image_id", "object_id")]
    )
    hashes = photo_hashes.select("image_id", "sha256").sort("image_id", "sha256")
    total = hashlib.sha256()
    for frame in (rows, hashes):
        for column in frame.iter_columns():
            # Column by column as JSON: floats in their shortest exact form, independent of the library's version.
            total.update(json.dumps([column.name, column.to_list()], separators=(",", ":")).encode())
            total.update(b"\n")
    return total.hexdigest()


def duplicates(images: pl.DataFrame) -> pl.DataFrame:
    """Return an issue for every photo whose content an earlier photo of its split has.

    Args:
        images: ``split image_id sha256``; photos without a hash are passed over.
    """
    first = pl.col("image_id").sort().first().over("split", "sha256")
    found = (
        images.filter(pl.col("sha256").is_not_null())
        .with_columns(first=first)
        .filter(pl.col("image_id") != pl.col("first"))
        .sort("split", "image_id")
    )
    return _issues(found, "duplicate_photo", pl.format("the same photo as {}", "first"))


def leaks(train: pl.DataFrame, evaluation: pl.DataFrame) -> pl.DataFrame:
    """Return an issue for every evaluation photo whose content is in the training set too.

    Args:
        train: ``split image_id sha256`` of the training (or reference) photos.
        evaluation: the same of the evaluation photos.
    """
    known = train.filter(pl.col("sha256").is_not_null()).group_by("sha256").agg(first=pl.col("image_id").min())
    found = evaluation.join(known, on="sha256", how="inner").sort("image_id")
    return _issues(found, "leaked_photo", pl.format("the same photo as {} of the training or reference set", "first"))


def _issues(found: pl.DataFrame, code: str, message: pl.Expr) -> pl.DataFrame:
    named = found.select("split", "image_id", code=pl.lit(code), message=message, file="image_id")
    return codes.from_labels(named.drop("split"), split=None).with_columns(split=named["split"])

"""Which model, which data, which versions: what a run must be able to answer later."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from xai.types import Dataset, ModelCard

_PACKAGES = (
    "xai-toolkit",
    "torch",
    "torchvision",
    "captum",
    "opencv-python",
    "albumentations",
    "ultralytics",
    "transformers",
    "simplejpeg",
    "numpy",
    "polars",
    "scipy",
)


def version() -> str:
    """Return the toolkit's own version."""
    return importlib.metadata.version("xai-toolkit")


_ROWS_COME_FROM = (
    "attributes/**/*.py",
    "attributes/*.npz",
    "xai/batch.py",
    "xai/shard.py",
    "xai/dataset/**/*.py",
    "xai/detect/**/*.py",
)
"""The toolkit's own files that decide what a scan finds."""

EXPERIMENTS = ("xai/evidence/**/*.py", "xai/experiments.py")
"""Those that decide what experiments and heat maps find."""


@functools.cache
def code(patterns: tuple[str, ...] = _ROWS_COME_FROM) -> str:
    """Return a digest of the code that a scan's rows come from: its version stays the same between two commits.

    Args:
        patterns: of other files that decide, from the folder of the packages.
    """
    root = Path(__file__).parents[1]
    total = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        total.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return total.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the figures depend on; absent extras are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def model(card: ModelCard) -> dict[str, Any]:
    """Return a model card for ``run.json``; what nothing tells is ``unknown``."""
    return {
        "kind": card.kind,
        "file": card.file or "unknown",
        "sha256": card.sha256 or "unknown",
        "architecture": card.architecture or "unknown",
        "trained_at": card.trained_at or "unknown",
        "details": dict(card.details),
    }


def captured_range(images: pl.DataFrame) -> list[str] | None:
    """Return the first and last ``captured_at``, or None where no photo tells."""
    known = images["captured_at"].drop_nulls()
    return [str(known.min()), str(known.max())] if len(known) else None


def now() -> str:
    """Return the time in UTC, ISO 8601, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


_NAMELESS_PHOTOS = ("path_leaves_root", "path_not_unicode", "photo_without_name")
"""Issues of photos that have no ``image_id``, because they cannot or must not be opened: one photo each."""

ROWS_ALONE = ("annotation_without_photo", "unparsable_line")
"""Issues of label rows of which neither photo nor line is known: entries of a list that is no text."""


def funnel(data: Dataset, images: pl.DataFrame, objects: pl.DataFrame, issues: pl.DataFrame) -> list[dict[str, Any]]:
    """Count photos and annotated objects from what was found to what was used, with every loss by its reason.

    Args:
        data: the split as it was read, before any photo was opened.
        images: all its photos.
        objects: the objects that survived validation.
        issues: all problems of the split. An error that names an object is one lost label row; an error of the reader
            without one is a row that could not be understood.
    """
    unread = images.filter(pl.col("status") != "ok")
    left_out = data.issues.filter(pl.col("image_id").is_not_null() & pl.col("line").is_null())
    left_out = left_out.filter(~pl.col("image_id").is_in(images["image_id"].to_list())).unique("image_id")
    nameless = pl.col("image_id").is_null() & pl.col("code").is_in(_NAMELESS_PHOTOS)
    left_out = pl.concat([left_out, data.issues.filter(nameless)])
    row = pl.col("line").is_not_null() | pl.col("object_id").is_not_null()
    row |= pl.col("image_id").is_null() & pl.col("code").is_in(ROWS_ALONE)
    by_reader = data.issues.filter((pl.col("severity") == "error") & row & ~nameless)
    invalid = issues.filter((pl.col("severity") == "error") & pl.col("object_id").is_not_null())
    invalid = invalid.join(data.issues, on=["image_id", "object_id", "code"], how="anti", nulls_equal=True)
    unseen = data.labels.filter(pl.col("image_id").is_in(unread["image_id"].to_list()))
    unseen = unseen.join(unread.select("image_id", "status"), on="image_id")
    reasons = objects["ignore"].drop_nulls()
    lost = _counts(pl.concat([by_reader["code"], invalid["code"], unseen["status"]]))
    return [
        _step("found", len(images) + len(left_out), "photos"),
        _step("read", len(images) - len(unread), "photos", _counts(pl.concat([unread["status"], left_out["code"]]))),
        _step("found", len(objects) + sum(lost.values()), "objects"),
        _step("valid", len(objects), "objects", lost),
        _step("used", len(objects) - len(reasons), "objects", _counts(reasons)),
    ]


def _step(step: str, count: int, unit: str, lost: Mapping[str, int] | None = None) -> dict[str, Any]:
    return {"step": step, "count": count, "unit": unit, "lost": dict(lost or {})}


def _counts(values: pl.Series) -> dict[str, int]:
    frame: Sequence[tuple[str, int]] = values.value_counts(sort=True).rows()
    return {str(name): int(count) for name, count in frame}

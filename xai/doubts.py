"""What the detections of a whole split make doubtful: misses by the hundred whose cause is no photo but a mistake.

A detector that is fed the wrong way, class names that are mapped wrongly, or boxes in another unit make every object a
miss. Explaining those one by one would be true and useless, so such a run says first what looks wrong.
"""

from __future__ import annotations

import polars as pl

from xai.dataset import codes
from xai.rules import MISSES

FEWEST_PHOTOS = 10
"""Photos below which it is no wonder that nothing is found."""

FEWEST_OBJECTS = 20
"""Scored objects of a class below which it is no wonder that none is found."""

LARGEST_FRACTION = 2.0
"""px: boxes that never reach further into photos are fractions of them, even where they stick out."""

OFF_PHOTO = 0.02
"""Share of a photo's side by which a box may stick out: detectors that do not clip leave it by a little."""


def doubts(objects: pl.DataFrame, predictions: pl.DataFrame, images: pl.DataFrame) -> pl.DataFrame:
    """Name what makes the detections of a split doubtful as a whole.

    Args:
        objects: of the split, with outcomes.
        predictions: of the split.
        images: of the split; the detector was asked about all that could be read.

    Returns:
        Rows of ``tables.ISSUES``, about no single photo: ``detector_silent``, ``boxes_as_fractions``,
        ``boxes_off_photo``, ``class_never_detected``.
    """
    photos = images.filter(pl.col("status") == "ok")
    if len(photos) < FEWEST_PHOTOS:
        return codes.table([])
    split = photos["split"][0]
    if predictions.is_empty():
        message = f"the detector found nothing in any of {len(photos):,} photos"
        return codes.table([_issue("detector_silent", message, split)])
    rows = [*_units(predictions, photos, split), *_never_detected(objects, predictions, split)]
    return codes.table(rows)


def _units(predictions: pl.DataFrame, photos: pl.DataFrame, split: str) -> list[codes.Row]:
    placed = predictions.join(photos.select("image_id", "width", "height"), on="image_id")
    reach, narrowest = placed.select(reach=pl.max_horizontal("x2", "y2").max(), width=pl.col("width").min()).row(0)
    if reach is not None and reach <= LARGEST_FRACTION < narrowest:
        message = f"all {len(placed):,} boxes end within {reach:.3g} px of the photo's corner"
        return [_issue("boxes_as_fractions", message, split)]
    beyond = (pl.col("x2") > pl.col("width") * (1 + OFF_PHOTO)) | (pl.col("y2") > pl.col("height") * (1 + OFF_PHOTO))
    n_beyond = placed.filter(beyond).height
    if 2 * n_beyond <= len(placed):
        return []
    message = f"{n_beyond:,} of {len(placed):,} boxes reach beyond the right or lower edge of their photo"
    return [_issue("boxes_off_photo", message, split)]


def _never_detected(objects: pl.DataFrame, predictions: pl.DataFrame, split: str) -> list[codes.Row]:
    said = predictions["label"].unique().to_list()
    scored = objects.filter(pl.col("outcome").is_in(["found", *MISSES]))
    counts = scored.group_by("label").agg(objects=pl.len(), photos=pl.col("image_id").n_unique())
    never = counts.filter(~pl.col("label").is_in(said) & (pl.col("objects") >= FEWEST_OBJECTS)).sort("label")
    return [
        _issue(
            "class_never_detected",
            f"the detector never says {label!r}, of which {n_objects:,} objects in {n_photos:,} photos are annotated",
            split,
        )
        for label, n_objects, n_photos in never.iter_rows()
    ]


def _issue(code: str, message: str, split: str) -> codes.Row:
    """Return an issue whose message says what to do, as it is shown where no table of advice is at hand."""
    return codes.issue(code, f"{message}: {codes.CODES[code].advice}", split=split)

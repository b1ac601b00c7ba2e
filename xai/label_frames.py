"""On which frame labels were drawn, judged by the detector where nothing else tells.

Labels drawn by a tool that ignores EXIF stand in the frame of the photo as stored. Where a file states that frame's
size, or boxes fit it alone, `dataset.placing` turns them. Frames of one shape (mirrored or upside-down photos, square
ones) and boxes that fit both give no such hint; then labels that lie on the wrong places lie where the detector finds
nothing, and turned they lie on what it finds. They are not moved: a detector that is judged by its labels must not
choose them.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from attributes.frames import displayed_boxes
from xai import tables
from xai.dataset import codes
from xai.rules import MISSES

MARGIN = 0.2
"""Mean overlap with detections that turning the labels must gain. On 1,554 readings of VOC photos of orientations 2 to
4 (tuning half, YOLO11n at 320 px and its deployed threshold) it tells 71% of those drawn as stored and one of those
drawn as displayed; with 0.1, 82% and three. Of boxes in fractions on orientations 5 to 8 it tells 83%, and none."""

MOST_ODDS = 19.0
"""As sure as a detection of the highest score is that contradicts a label."""

_CORNERS = ("x1", "y1", "x2", "y2")
_PHOTOS_AT_ONCE = 256


def mismatches(
    objects: pl.DataFrame, predictions: pl.DataFrame, images: pl.DataFrame, labels: pl.DataFrame
) -> pl.DataFrame:
    """Return the photos whose labels fit the detections clearly better as labels of the photo as stored.

    Judged are photos with an EXIF orientation of 2 to 8 whose labels may stand in either frame: those of one shape in
    both, and others where boxes are fractions, or pixels and no size is stated.

    Args:
        objects: of the split, with outcomes; those that are scored are compared with all detections of their photo,
            whatever the class.
        predictions: of the split.
        images: of the split.
        labels: ``types.Dataset.labels``, read with ``label_frame: auto``.

    Returns:
        ``image_id``, ``drawn`` and ``turned``: the mean over the photo's objects of the best IoU with a detection, with
        the labels as they were read and turned into the displayed frame; sorted by photo.
    """
    scored = objects.filter(pl.col("outcome").is_in(["found", *MISSES]))
    open_boxes = scored.select("image_id", *_CORNERS).join(_undecided(images, labels), on="image_id")
    if open_boxes.is_empty():
        return pl.DataFrame(schema={"image_id": pl.String, "drawn": pl.Float64, "turned": pl.Float64})
    placed = _with_turned(open_boxes)
    photos = placed["image_id"].unique().sort()
    parts = [
        _agreement(placed.join(some, on="image_id", how="semi"), predictions)
        for some in photos.to_frame().iter_slices(_PHOTOS_AT_ONCE)
    ]
    return pl.concat(parts).filter(pl.col("turned") - pl.col("drawn") > MARGIN).sort("image_id")


def issues(found: pl.DataFrame, split: str) -> pl.DataFrame:
    """Return an ``exif_mismatch`` issue for each photo of ``mismatches``."""
    return codes.table(
        codes.issue(
            "exif_mismatch",
            f"the labels overlap what is detected by {drawn:.0%} as they are, by {turned:.0%} turned from the photo as "
            "stored into the photo as displayed; they were not moved",
            split=split,
            image_id=image_id,
            file=image_id,
        )
        for image_id, drawn, turned in found.select("image_id", "drawn", "turned").iter_rows()
    )


def evidence(found: pl.DataFrame, errors: pl.DataFrame) -> pl.DataFrame:
    """Return a line of evidence for each miss on the photos of ``mismatches``.

    ``kind`` is ``mechanism``, ``name`` is ``exif_mismatch``, ``before`` and ``after`` the overlap with detections as
    drawn and turned, ``effect`` after / before, at most 19: the odds that the label is to blame.
    """
    lost = errors.filter(pl.col("kind").is_in(list(MISSES))).join(found, on="image_id")
    odds = (pl.col("turned") / pl.col("drawn")).clip(upper_bound=MOST_ODDS)
    lines = lost.select(
        "error_id",
        kind=pl.lit("mechanism"),
        name=pl.lit("exif_mismatch"),
        before=pl.col("drawn"),
        after=pl.col("turned"),
        effect=odds,
    )
    return tables.conform(lines, tables.TABLES["evidence"])


def _undecided(images: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Photos whose frames may both be meant: ``image_id width height orientation normalised``."""
    stated = [pl.col(name).is_not_null() for name in ("file_width", "file_height") if name in labels.columns]
    told = labels.group_by("image_id").agg(
        normalised=pl.col("normalised").any(), stated=pl.all_horizontal(stated).all() if stated else pl.lit(False)
    )
    turned = images.filter((pl.col("status") == "ok") & pl.col("exif_orientation").is_between(2, 8))
    photos = turned.select("image_id", "width", "height", orientation="exif_orientation").join(told, on="image_id")
    one_shape = (pl.col("orientation") <= 4) | (pl.col("width") == pl.col("height"))
    return photos.filter(one_shape | pl.col("normalised") | ~pl.col("stated")).drop("stated")


def _with_turned(boxes: pl.DataFrame) -> pl.DataFrame:
    """Add ``turned_x1`` and so on: where the boxes lie if they were drawn on the photo as stored."""
    drawn = boxes.select(_CORNERS).to_numpy().astype(np.float64)
    width, height = (boxes[side].to_numpy().astype(np.float64) for side in ("width", "height"))
    orientation = boxes["orientation"].to_numpy()
    # Fractions were multiplied by the displayed sides; where the stored ones are swapped, that is made good.
    swapped = boxes["normalised"].to_numpy() & (orientation >= 5)
    scale = np.where(swapped[:, None], np.stack([height / width, width / height], axis=1), 1.0)
    moved = displayed_boxes(
        drawn * np.tile(scale, 2), orientation, boxes["width"].to_numpy(), boxes["height"].to_numpy()
    )
    turned = [pl.Series(f"turned_{corner}", moved[:, column]) for column, corner in enumerate(_CORNERS)]
    return boxes.with_row_index("row").with_columns(turned)


def _agreement(boxes: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Mean over each photo's boxes of the best IoU with its detections: ``image_id drawn turned``."""
    detected = predictions.select("image_id", *[pl.col(corner).alias(f"found_{corner}") for corner in _CORNERS])
    pairs = boxes.join(detected, on="image_id", how="left")
    best = pairs.group_by("image_id", "row").agg(
        drawn=_iou("").max().fill_null(0), turned=_iou("turned_").max().fill_null(0)
    )
    return best.group_by("image_id").agg(pl.col("drawn", "turned").mean())


def _iou(side: str) -> pl.Expr:
    """IoU of the box with corners ``SIDEx1`` ... and the detection beside it; null without one."""
    x1, y1, x2, y2 = (pl.col(f"{side}{corner}") for corner in _CORNERS)
    a1, b1, a2, b2 = (pl.col(f"found_{corner}") for corner in _CORNERS)
    width = pl.min_horizontal(x2, a2) - pl.max_horizontal(x1, a1)
    height = pl.min_horizontal(y2, b2) - pl.max_horizontal(y1, b1)
    common = width.clip(lower_bound=0) * height.clip(lower_bound=0)
    return common / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - common)

"""Labels meet their photos: boxes in pixels of the displayed photo, and what is wrong with them.

Readers judge what a text can tell (is it a number, has the class a name). Geometry is judged here, once for all
formats, because only the decoded photo tells how large it is.
"""

from __future__ import annotations

import polars as pl

from xai.dataset import codes
from xai.dataset.placing import CORNERS, place, sticks_out

DUPLICATE_IOU = 0.95
"""Objects of one class that overlap more are taken for one object that was labelled twice."""

MAX_GROUP = 2000
"""Objects of one class in one photo up to which all pairs are compared; beyond, only equal boxes are found."""


def resolve(labels: pl.DataFrame, images: pl.DataFrame, frame: str = "auto") -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put labels into pixels of their photos and judge their geometry.

    Args:
        labels: ``types.Dataset.labels``: columns of ``tables.LABELS``, ``label_*``, and where the file states the
            photo's size ``file_width`` and ``file_height``.
        images: photos that were read: ``image_id``, ``width``, ``height`` in pixels as displayed,
            ``exif_orientation`` 1–8 or null. Labels of other photos are left out without an issue: the photo has one.
        frame: what the boxes were drawn on: the photo as ``displayed``, as ``stored`` (before EXIF orientation), or
            ``auto``, told photo by photo as in ``placing.place``.

    Returns:
        Objects: ``image_id object_id label x1 y1 x2 y2 ignore`` and ``label_*``; boxes in pixels, within the photo, of
        positive area; ``ignore`` is ``duplicate`` for all but the first of boxes that repeat each other. Their order
        is that of ``labels``. Issues: columns of ``tables.ISSUES``, ``split`` null. Every label of the photos is an
        object or has an issue of severity ``error``, never both.

    Raises:
        ConfigError: there is no such frame.
    """
    placed, frames = place(labels, images, frame)
    judged = _judge(placed)
    severity = pl.col("code").replace_strict({name: code.severity for name, code in codes.CODES.items()}, default=None)
    rejected = judged.filter(severity == "error")
    kept = judged.filter((severity != "error").fill_null(True))
    outside = kept.filter(pl.col("code").is_not_null())
    kept = _clip(kept).drop("code", "message")
    repeats = _duplicates(kept)
    first = repeats.select("image_id", "object_id", repeats_id="first_id")
    kept = kept.join(first, on=["image_id", "object_id"], how="left", maintain_order="left").with_columns(
        ignore=pl.coalesce("ignore", pl.when(pl.col("repeats_id").is_not_null()).then(pl.lit("duplicate")))
    )
    repeated = kept.filter(pl.col("repeats_id").is_not_null()).with_columns(
        code=pl.lit("duplicate_box"),
        message=pl.format("the {} repeats object {} of the photo; it is not scored", "label", "repeats_id"),
    )
    own = [name for name in labels.columns if name.startswith("label_")]
    objects = kept.select("image_id", "object_id", "label", *CORNERS, "ignore", *own)
    told = ["image_id", "object_id", "code", "message", "file", "line"]
    found = pl.concat([frame.select(told) for frame in (frames, rejected, outside, repeated)])
    return objects, codes.from_labels(found, split=None)


def _judge(placed: pl.DataFrame) -> pl.DataFrame:
    """Add ``code`` and ``message`` by the box's geometry; null where nothing is wrong."""
    width, height = pl.col("x2") - pl.col("x1"), pl.col("y2") - pl.col("y1")
    off = (pl.col("x1") >= pl.col("width")) | (pl.col("y1") >= pl.col("height"))
    off = off | (pl.col("x2") <= 0) | (pl.col("y2") <= 0)
    unknown = pl.any_horizontal([~pl.col(corner).is_finite().fill_null(False) for corner in CORNERS])
    code = (
        pl.when(unknown)
        .then(pl.lit("not_finite"))
        .when((width < 0) | (height < 0))
        .then(pl.lit("negative_area"))
        .when((width == 0) | (height == 0))
        .then(pl.lit("zero_area"))
        .when(off)
        .then(pl.lit("box_off_photo"))
        .when(sticks_out(pl.col("width"), pl.col("height")))
        .then(pl.lit("box_outside_photo"))
    )
    box = pl.format("{} {} {} {}", *[pl.col(corner).round(1) for corner in CORNERS])
    message = pl.format(
        "expected x1 < x2 and y1 < y2 within the {} x {} photo, got {} ({})",
        pl.col("width").cast(pl.Int64),
        pl.col("height").cast(pl.Int64),
        box,
        "label",
    )
    return placed.with_columns(code=code).with_columns(message=pl.when(pl.col("code").is_not_null()).then(message))


def _clip(kept: pl.DataFrame) -> pl.DataFrame:
    sides = {"x1": "width", "y1": "height", "x2": "width", "y2": "height"}
    return kept.with_columns(pl.col(corner).clip(0, pl.col(side)) for corner, side in sides.items())


def _duplicates(kept: pl.DataFrame) -> pl.DataFrame:
    """Return ``image_id object_id first_id`` of boxes that repeat an earlier one; a scored box counts as earlier."""
    group = ["image_id", "label"]
    boxes = kept.select(
        *group,
        "object_id",
        *CORNERS,
        order=pl.struct(pl.col("ignore").is_not_null(), "object_id").rank("ordinal").over(group),
    )
    counts = pl.len().over(group)
    few = boxes.filter((counts > 1) & (counts <= MAX_GROUP))
    pairs = few.join(few, on=group, suffix="_first").filter(pl.col("order_first") < pl.col("order"))
    near = pairs.filter(_iou() >= DUPLICATE_IOU)
    many = boxes.filter(counts > MAX_GROUP)
    equal = many.join(
        many.sort("order").unique([*group, *CORNERS], keep="first"), on=[*group, *CORNERS], suffix="_first"
    ).filter(pl.col("order_first") < pl.col("order"))
    columns = ["image_id", "object_id", "order_first", pl.col("object_id_first").alias("first_id")]
    found = pl.concat([near.select(columns), equal.select(columns)])
    return found.sort("order_first").unique(["image_id", "object_id"], keep="first").drop("order_first")


def _iou() -> pl.Expr:
    """Return the IoU of ``x1 ...`` with ``x1_first ...``, both of positive area."""
    width = pl.min_horizontal("x2", "x2_first") - pl.max_horizontal("x1", "x1_first")
    height = pl.min_horizontal("y2", "y2_first") - pl.max_horizontal("y1", "y1_first")
    common = width.clip(0) * height.clip(0)
    area = (pl.col("x2") - pl.col("x1")) * (pl.col("y2") - pl.col("y1"))
    other = (pl.col("x2_first") - pl.col("x1_first")) * (pl.col("y2_first") - pl.col("y1_first"))
    return common / (area + other - common)

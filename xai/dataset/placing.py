"""Boxes from the unit and the frame of their label file into pixels of the photo as it is displayed.

A photo taken with the camera on its side is stored lying and displayed turned (EXIF orientation). Most tools show it
turned, and boxes drawn there need no move. Tools that ignore EXIF draw on the photo as stored: their boxes are moved
here, where the config says so (``stored``) or the file gives it away (``auto``).
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import polars as pl

from attributes.frames import displayed_boxes
from xai.config import LabelFrame
from xai.exceptions import ConfigError

TOLERANCE_PIXELS = 2.0
"""Boxes may stick out this far before it is reported: conventions differ by a pixel, rounding adds another."""

TOLERANCE_SHARE = 0.005
"""The same as a share of the photo's side, for large photos that were labelled on a smaller copy."""

CORNERS = ("x1", "y1", "x2", "y2")
FRAMES: tuple[str, ...] = get_args(LabelFrame)

_SIDES = {"x1": "width", "y1": "height", "x2": "width", "y2": "height"}
_STATED = ("file_width", "file_height")


def place(labels: pl.DataFrame, images: pl.DataFrame, frame: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put boxes into pixels of the displayed photos, and tell what their file says of the photo's size.

    With ``auto``, the boxes of a photo that is displayed on its side (orientation 5–8) are taken for drawn in the
    stored frame where the file states that frame's size and not the displayed one, unless boxes fit the displayed photo
    only; where it states none and counts in pixels, where all boxes fit the stored photo and not all fit the displayed
    one. Anything else stays as displayed: orientations 2–4 have one size in both frames, and fractions fit both. There
    the detector may tell (``xai.label_frames``).

    Args:
        labels: as for ``validate.resolve``.
        images: ``image_id``, ``width``, ``height`` of the displayed photo, ``exif_orientation`` 1–8 or null.
        frame: ``displayed``, ``stored`` or ``auto``.

    Returns:
        Labels of these photos, in their order, with ``width`` and ``height``, and at most one row a photo with ``code``
        and ``message``.

    Raises:
        ConfigError: there is no such frame.
    """
    check_frame(frame)
    sizes = images.select(
        "image_id",
        pl.col("width", "height").cast(pl.Float64),
        orientation=pl.col("exif_orientation").cast(pl.Int64).fill_null(1),
    )
    placed = labels.join(sizes, on="image_id", how="inner", maintain_order="left").with_columns(
        pl.lit(None, pl.Int64).alias(side) for side in _STATED if side not in labels.columns
    )
    turned = pl.col("orientation").is_between(5, 8)
    stored = {"auto": _looks_stored() & turned, "stored": pl.lit(True), "displayed": pl.lit(False)}[frame]
    placed = placed.with_columns(stored=stored.fill_null(False)).with_columns(
        frame_width=pl.when(pl.col("stored") & turned).then("height").otherwise("width"),
        frame_height=pl.when(pl.col("stored") & turned).then("width").otherwise("height"),
    )
    told = _told(placed, frame)
    pixels = placed.with_columns(
        pl.when("normalised").then(pl.col(corner) * pl.col(f"frame_{side}")).otherwise(corner).alias(corner)
        for corner, side in _SIDES.items()
    )
    return _turned(pixels).drop("orientation", "stored", "frame_width", "frame_height"), told


def check_frame(frame: str) -> None:
    """Refuse a frame that there is not."""
    if frame not in FRAMES:
        raise ConfigError(f"expected label_frame to be one of {', '.join(FRAMES)}, got {frame!r}")


def sticks_out(width: pl.Expr, height: pl.Expr) -> pl.Expr:
    """Tell where a box ``x1 y1 x2 y2`` leaves a photo by more than the tolerance."""
    xs, ys = pl.col("x1", "x2"), pl.col("y1", "y2")
    slack = [pl.max_horizontal(pl.lit(TOLERANCE_PIXELS), side * TOLERANCE_SHARE) for side in (width, height)]
    out = [
        (pl.min_horizontal(values) < -room) | (pl.max_horizontal(values) > side + room)
        for values, side, room in zip((xs, ys), (width, height), slack, strict=True)
    ]
    return out[0] | out[1]


def _looks_stored() -> pl.Expr:
    """Tell whether the boxes of each row's photo fit the stored photo only; the caller asks of turned photos alone."""
    width, height = pl.col("width"), pl.col("height")
    swapped = (pl.col("file_width") == height) & (pl.col("file_height") == width) & (width != height)
    silent = pl.any_horizontal(pl.col(*_STATED).is_null())
    sound = pl.all_horizontal(pl.col(*CORNERS).is_finite().fill_null(False)) & ~pl.col("normalised")
    leaves_displayed = (sound & sticks_out(width, height)).any().over("image_id")
    leaves_stored = (sound & sticks_out(height, width)).any().over("image_id")
    fits_displayed_only = leaves_stored & ~leaves_displayed
    return pl.when(silent).then(leaves_displayed & ~leaves_stored).otherwise(swapped & ~fits_displayed_only)


def _turned(pixels: pl.DataFrame) -> pl.DataFrame:
    """Move the boxes that stand in the stored frame."""
    if not pixels["stored"].any():
        return pixels
    moved = displayed_boxes(
        pixels.select(CORNERS).to_numpy().astype(np.float64),
        np.where(pixels["stored"].to_numpy(), pixels["orientation"].to_numpy(), 1),
        pixels["width"].to_numpy(),
        pixels["height"].to_numpy(),
    )
    return pixels.with_columns(pl.Series(corner, moved[:, column]) for column, corner in enumerate(CORNERS))


def _told(placed: pl.DataFrame, frame: str) -> pl.DataFrame:
    """Return one row with ``code`` and ``message`` per photo whose boxes were moved or whose stated size is wrong."""
    given = pl.format("{} x {}", *[pl.col(side).cast(pl.String).fill_null("?") for side in _STATED])
    expected = pl.format("{} x {}", *_whole("frame_width", "frame_height"))
    differs = (pl.col("file_width") != pl.col("frame_width")) | (pl.col("file_height") != pl.col("frame_height"))
    swapped = (pl.col("file_width") == pl.col("frame_height")) & (pl.col("file_height") == pl.col("frame_width"))
    other = pl.when("stored").then(pl.lit("as displayed")).otherwise(pl.lit("before it was turned"))
    hint = pl.when(swapped).then(pl.format(", which is its size {}", other)).otherwise(pl.lit(""))
    mismatch = pl.format(
        "the label file says {}{}, the photo as {} is {}",
        given,
        hint,
        pl.when("stored").then(pl.lit("stored")).otherwise(pl.lit("displayed")),
        expected,
    )
    reason = (
        pl.when(pl.any_horizontal(pl.col(*_STATED).is_null()))
        .then(pl.lit("boxes fit"))
        .otherwise(pl.lit("the label file states"))
    )
    moved = pl.format(
        "{} {}, the photo before it was turned to {} (EXIF orientation {}); the boxes were turned with it",
        reason,
        expected,
        pl.format("{} x {}", *_whole("width", "height")),
        "orientation",
    )
    guessed = pl.col("stored") & pl.lit(frame == "auto")
    nothing = pl.lit(None, pl.Int64)
    return (
        placed.with_columns(
            code=pl.when(guessed).then(pl.lit("label_frame_stored")).when(differs).then(pl.lit("size_mismatch")),
            message=pl.when(guessed).then(moved).otherwise(mismatch),
            object_id=nothing,
            line=nothing,
        )
        .filter(pl.col("code").is_not_null())
        .unique("image_id", keep="first", maintain_order=True)
    )


def _whole(*sides: str) -> list[pl.Expr]:
    return [pl.col(side).cast(pl.Int64) for side in sides]

"""How unlike its class a box is: size, shape and place against what training shows, and what a slip would explain."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CORNERS = ("x1", "y1", "x2", "y2")

MIN_OBJECTS = 20
"""Objects of a class from which it can be said what is usual."""

EDGE = 0.01
"""A side within this share of the photo's from its edge is cut there: what lies beyond may have had any shape."""

_MEASURES = ("aspect", "size", "middle_x", "middle_y", "bottom")
_LEAST = {"aspect": 0.1, "size": 0.2, "middle_x": 0.1, "middle_y": 0.1, "bottom": 0.1}
"""The least robust standard deviations, for classes that look all alike: decades, and shares of the photo's sides."""


def measure(boxes: Floats, sizes: Floats) -> dict[str, Floats]:
    """Measure boxes against their photos.

    Args:
        boxes: (..., 4) pixels; those without area give NaN.
        sizes: (..., 2) width and height of their photos.

    Returns:
        Arrays (...): ``aspect`` log10 of width over height, ``size`` log10 of the root of the box's share of the photo,
        ``middle_x``, ``middle_y``, ``bottom`` as shares of the photo's sides; ``cut`` edges of the photo reached.
    """
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
    width, height = np.moveaxis(sizes, -1, 0)
    wide, high = x2 - x1, y2 - y1
    legal = (wide > 0) & (high > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        aspect = np.where(legal, np.log10(wide / high), np.nan)
        size = np.where(legal, np.log10(wide * high / (width * height)) / 2, np.nan)
    reached = (x1 <= EDGE * width) * 1.0 + (y1 <= EDGE * height) + (x2 >= (1 - EDGE) * width)
    return {
        "aspect": aspect,
        "size": size,
        "middle_x": (x1 + x2) / 2 / width,
        "middle_y": (y1 + y2) / 2 / height,
        "bottom": y2 / height,
        "cut": reached + (y2 >= (1 - EDGE) * height),
    }


def usual(objects: pl.DataFrame) -> pl.DataFrame:
    """Say what is usual of each class: ``label objects`` and, of each measure, median and robust standard deviation.

    The deviation is 1.4826 times the median absolute deviation (Rousseeuw & Croux, JASA 1993), so that a twentieth of
    wrong labels moves it by little. Shapes are those of objects that no edge cuts.

    Args:
        objects: ``label x1 y1 x2 y2 width height``, the last two of the photo.
    """
    found = measure(corners(objects), objects.select("width", "height").to_numpy().astype(np.float64))
    frame = objects.select("label").with_columns(pl.Series(name, values) for name, values in found.items())
    frame = frame.with_columns(pl.when(pl.col("cut") == 0).then("aspect").alias("aspect")).fill_nan(None)
    spread = {
        name: ((pl.col(name) - pl.col(name).median()).abs().median() * 1.4826).clip(lower_bound=_LEAST[name])
        for name in _MEASURES
    }
    told = frame.group_by("label").agg(
        pl.len().alias("objects"),
        *[pl.col(name).median().alias(f"{name}_median") for name in _MEASURES],
        *[spread[name].alias(f"{name}_deviation") for name in _MEASURES],
    )
    return told.filter(pl.col("objects") >= MIN_OBJECTS)


def strangeness(boxes: Floats, sizes: Floats, classes: pl.DataFrame) -> tuple[Floats, NDArray[np.str_]]:
    """Say how many robust standard deviations a box is from what is usual of its class, in the worst measure.

    Args:
        boxes: (n, 4) or (n, h, 4).
        sizes: (n, 2).
        classes: (n,) rows of ``usual``; null for a class of which too little is known.

    Returns:
        (n,) or (n, h) deviations, 0 where nothing is known and infinite for a box without area; and the measure.
    """
    many = boxes.ndim == 3
    found = measure(boxes, sizes[:, None] if many else sizes)
    off = []
    for name in _MEASURES:
        middle, deviation = (
            classes[f"{name}_{part}"].cast(pl.Float64).fill_null(np.nan).to_numpy() for part in ("median", "deviation")
        )
        if many:
            middle, deviation = middle[:, None], deviation[:, None]
        apart = np.abs(found[name] - middle) / deviation
        off.append(np.where((found["cut"] > 0) & (name == "aspect"), 0.0, np.nan_to_num(apart, nan=0.0)))
    illegal = np.isnan(found["aspect"])
    stacked = np.stack(off)
    return np.where(illegal, np.inf, stacked.max(axis=0)), np.array(_MEASURES)[stacked.argmax(axis=0)]


def slips(boxes: Floats) -> tuple[tuple[str, ...], Floats]:
    """Undo the slips that could have made boxes: (n, 4) → names and (n, h, 4) boxes as they were meant.

    A dot misplaced by one digit in one of four numbers, x and y exchanged, width and height in place of the far corner.
    """
    made, names = [], []
    for column in range(4):
        for factor in (10.0, 0.1):
            moved = boxes.copy()
            moved[:, column] *= factor
            made.append(moved)
            names.append("misplaced_dot")
    made.append(boxes[:, [1, 0, 3, 2]])
    names.append("swapped_axes")
    made.append(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
    names.append("size_as_corner")
    return tuple(names), np.stack(made, axis=1)


def corners(frame: pl.DataFrame) -> Floats:
    """Return the boxes (n, 4) of a table."""
    return frame.select(CORNERS).to_numpy().astype(np.float64).reshape(-1, 4)


def iou(left: Floats, right: Floats) -> Floats:
    """IoU of paired boxes (..., 4); 0 where an area is empty or inside out."""
    top = np.maximum(left[..., :2], right[..., :2])
    end = np.minimum(left[..., 2:], right[..., 2:])
    common = np.prod(np.clip(end - top, 0, None), axis=-1)
    areas = [np.prod(np.clip(side[..., 2:] - side[..., :2], 0, None), axis=-1) for side in (left, right)]
    union = areas[0] + areas[1] - common
    overlap: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlap

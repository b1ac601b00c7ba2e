"""How much of an object the photo's edge cuts off, told by its shape: a dog cut in half is as high as long.

That a box ends at the edge says little, for most such objects are found. The share that lies beyond cannot be measured,
but whole objects of the class show how long it should be across the edge that cuts it.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from attributes.objects import EDGE_TOLERANCE
from xai import tables
from xai.verdict.conditions import misses

LEAST_WHOLE = 6
"""Whole objects of a class from which its usual shape is told."""

LEAST_SPREAD = 0.1
"""Octaves added to the spread of a class: few objects may happen to be alike."""

_KEYS = ["image_id", "object_id"]


def cut_lines(
    errors: pl.DataFrame, splits: Sequence[tuple[pl.DataFrame, pl.DataFrame]], judged: tuple[pl.DataFrame, pl.DataFrame]
) -> pl.DataFrame:
    """Return a line of evidence for each miss whose box ends at the photo's edge and whose class has a usual shape.

    ``kind`` is ``cut``, ``name`` ``truncation``; ``before`` is how many times as wide as high the middle whole object
    of the class is, ``after`` this one; ``effect`` how much shorter it is across the edge than that, in spreads: the
    distance, on the same side and in octaves, between the median and the outermost tenth of whole objects. Where edges
    of both directions cut it, either may be short.

    Args:
        errors: all errors of the run.
        splits: (objects, images) whose whole objects tell the usual shape; of those with an outcome only the found.
        judged: (objects, images) of the errors.
    """
    schema = tables.TABLES["evidence"]
    lost = misses(errors).select("error_id", *_KEYS, "label")
    objects, images = judged
    if any("truncation" not in frame.columns for frame, _ in [*splits, judged]):
        return tables.empty(schema)
    shapes = pl.concat([_whole(frame) for frame, _ in splits])
    usual = shapes.group_by("label").agg(
        count=pl.len(),
        middle=pl.col("octaves").median(),
        low=pl.col("octaves").quantile(0.1),
        high=pl.col("octaves").quantile(0.9),
    )
    at_edge = objects.filter(pl.col("truncation") > 0).join(images.select("image_id", "width", "height"), on="image_id")
    told = lost.join(at_edge.drop("label"), on=_KEYS).join(usual.filter(pl.col("count") >= LEAST_WHOLE), on="label")
    told = told.with_columns(octaves=_octaves(), sides=_cut("x", "width"), ends=_cut("y", "height"))
    shorter = pl.col("middle") - pl.col("octaves")
    narrow = shorter / (pl.col("middle") - pl.col("low") + LEAST_SPREAD)
    flat = -shorter / (pl.col("high") - pl.col("middle") + LEAST_SPREAD)
    corner = pl.when(pl.col("sides") & pl.col("ends")).then(pl.max_horizontal(narrow, flat))
    lack = corner.when(pl.col("sides")).then(narrow).when(pl.col("ends")).then(flat)
    lines = told.select(
        "error_id",
        kind=pl.lit("cut"),
        name=pl.lit("truncation"),
        before=2.0 ** pl.col("middle"),
        after=2.0 ** pl.col("octaves"),
        effect=lack,
    )
    return tables.conform(lines.filter(pl.col("effect").is_finite()), schema)


def _whole(objects: pl.DataFrame) -> pl.DataFrame:
    inside = objects.filter((pl.col("truncation") == 0) & (pl.col("x2") > pl.col("x1")) & (pl.col("y2") > pl.col("y1")))
    if "outcome" in inside.columns:
        inside = inside.filter(pl.col("outcome").fill_null("found") == "found")
    return inside.select("label", octaves=_octaves())


def _octaves() -> pl.Expr:
    return ((pl.col("x2") - pl.col("x1")) / (pl.col("y2") - pl.col("y1"))).log(2)


def _cut(axis: str, side: str) -> pl.Expr:
    """Whether the box ends at an edge across the axis, as ``attributes.objects.truncation`` has it."""
    gap = pl.max_horizontal(pl.lit(EDGE_TOLERANCE[0]), EDGE_TOLERANCE[1] * pl.col(side))
    return (pl.col(f"{axis}1").round(3) <= gap) | (pl.col(f"{axis}2").round(3) >= pl.col(side) - gap)

"""Labels that the detector contradicts although they lie in the right place: another class, or a box drawn too large.

Labels that lie beside what is detected, or repeat another one, are told by the mechanism ``annotation``.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from xai import tables
from xai.verdict.conditions import misses

SURE = 0.2
"""A detection contradicts a label if its score exceeds the threshold by this much."""

FITS = 0.75
"""IoU from which a detection of another class is of this very object."""

UNLIKELY = 100.0
"""How many times likelier the other class has to be: look-alikes keep some score, others none."""

WIDER, INSIDE, OFF = 1.25, 0.9, 0.2
"""A box is drawn too large if it is this many times longer on both sides than a detection of its class, which lies
inside it by this share and about whose middle it lies, off by at most this share of its side."""

MOST_ODDS = 19.0


def label_lines(
    errors: pl.DataFrame, objects: pl.DataFrame, predictions: pl.DataFrame, score_threshold: float
) -> pl.DataFrame:
    """Return a line of evidence for each miss whose label is contradicted so.

    ``kind`` is ``mechanism``, ``name`` is ``label_class`` or ``label_box``, ``before`` the overlap with the detection,
    ``after`` its score, ``effect`` the odds that the label is to blame: of the detection's score, at most 19.

    Args:
        errors: all errors of the run.
        objects: evaluation objects with boxes, and ``cand_score`` where the detector's candidates were seen.
        predictions: evaluation detections.
        score_threshold: the deployed threshold.
    """
    if "cand_score" not in objects.columns or predictions.is_empty():
        return tables.empty(tables.TABLES["evidence"])
    corners = ["x1", "y1", "x2", "y2"]
    keys = ["image_id", "object_id"]
    lost = misses(errors).select("error_id", *keys, "label", "mechanism")
    lost = lost.join(objects.select(*keys, *corners, "cand_score"), on=keys).filter(pl.col("x1").is_not_null())
    free = predictions.filter(~pl.col("outcome").is_in(["matched", "ignored"]))
    free = free.select("image_id", "score", found="label", **{f"d{corner}": pl.col(corner) for corner in corners})
    pairs = lost.join(free.filter(pl.col("score") >= score_threshold + SURE), on="image_id")
    width, height = (
        (pl.min_horizontal(f"{axis}2", f"d{axis}2") - pl.max_horizontal(f"{axis}1", f"d{axis}1")).clip(lower_bound=0)
        for axis in ("x", "y")
    )
    own, other = (
        (pl.col(f"{side}x2") - pl.col(f"{side}x1")) * (pl.col(f"{side}y2") - pl.col(f"{side}y1")) for side in ("", "d")
    )
    pairs = pairs.with_columns(common=width * height, own=own, other=other)
    pairs = pairs.with_columns(iou=pl.col("common") / (pl.col("own") + pl.col("other") - pl.col("common")))
    wrong = (
        (pl.col("found") != pl.col("label"))
        & (pl.col("iou") >= FITS)
        & (pl.col("cand_score").fill_null(0.0) * UNLIKELY <= pl.col("score"))
    )
    large = (pl.col("found") == pl.col("label")) & (pl.col("common") >= INSIDE * pl.col("other"))
    for axis in ("x", "y"):
        low, high = pl.col(f"{axis}1"), pl.col(f"{axis}2")
        found_low, found_high = pl.col(f"d{axis}1"), pl.col(f"d{axis}2")
        off = ((low + high) - (found_low + found_high)).abs() / 2
        large &= (high - low >= WIDER * (found_high - found_low)) & (off <= OFF * (high - low))
    kinds: Mapping[str, pl.Expr] = {"label_class": wrong, "label_box": large}
    lines = [
        pairs.filter(told & (pl.col("mechanism") != "annotation"))
        .sort("score", descending=True)
        .unique("error_id", keep="first")
        .select(
            "error_id",
            kind=pl.lit("mechanism"),
            name=pl.lit(name),
            before="iou",
            after="score",
            effect=(pl.col("score").clip(0.05, 0.95) / (1 - pl.col("score").clip(0.05, 0.95))),
        )
        for name, told in kinds.items()
    ]
    return tables.stack(lines, tables.TABLES["evidence"])

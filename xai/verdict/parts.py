"""Parts of missed objects that the detector sees: their own, or a found neighbour's."""

from __future__ import annotations

import polars as pl

from xai.rules import PART_SHARE
from xai.verdict.features import THEIRS
from xai.verdict.seen import area, common

EXPLAINS = 0.75
"""Share of how close a part is to being found that the box of a found neighbour gives it: then that box is what is seen
there. What is told of parts lies near 1 or far below on VOC photos."""

_KEYS = ["image_id", "object_id"]


def own_parts(
    evidence: pl.DataFrame, errors: pl.DataFrame, objects: pl.DataFrame, predictions: pl.DataFrame
) -> pl.DataFrame:
    """Call lines of kind ``part`` ``neighbours_part`` where a found neighbour of the same class explains them.

    Such an object is crowded; that something hides it is not shown.

    Args:
        evidence: lines of evidence.
        errors: all errors of the run.
        objects: evaluation objects with boxes.
        predictions: evaluation detections.
    """
    told = evidence.filter(pl.col("kind") == "part").select("error_id", side="name", part="after")
    found = predictions.filter(pl.col("outcome") == "matched") if len(told) else predictions
    if told.is_empty() or found.is_empty():
        return evidence
    corners = ["x1", "y1", "x2", "y2"]
    boxes = told.join(errors.select("error_id", *_KEYS, "label"), on="error_id")
    boxes = boxes.join(objects.select(*_KEYS, *corners), on=_KEYS)
    width, height = (PART_SHARE * (pl.col(f"{axis}2") - pl.col(f"{axis}1")) for axis in ("x", "y"))
    boxes = boxes.with_columns(
        x1=pl.when(pl.col("side") == "right").then(pl.col("x2") - width).otherwise("x1"),
        y1=pl.when(pl.col("side") == "bottom").then(pl.col("y2") - height).otherwise("y1"),
        x2=pl.when(pl.col("side") == "left").then(pl.col("x1") + width).otherwise("x2"),
        y2=pl.when(pl.col("side") == "top").then(pl.col("y1") + height).otherwise("y2"),
    )
    neighbours = found.select(
        "image_id", "label", "score", whose="object_id", **{f"d{corner}": pl.col(corner) for corner in corners}
    )
    pairs = boxes.join(neighbours, on=["image_id", "label"]).filter(pl.col("whose") != pl.col("object_id"))
    overlap = common("", "d") / (area("") + area("d") - common("", "d"))
    theirs = pairs.filter(pl.col("score") * overlap >= EXPLAINS * pl.col("part"))["error_id"].to_list()
    renamed = (pl.col("kind") == "part") & pl.col("error_id").is_in(theirs)
    return evidence.with_columns(kind=pl.when(renamed).then(pl.lit(THEIRS)).otherwise("kind"))

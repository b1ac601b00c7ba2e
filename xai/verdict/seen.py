"""What the tables tell of the box that a miss's mechanism speaks of: whose it is, and what else it could be called."""

from __future__ import annotations

from typing import Any

import polars as pl

from xai.verdict.conditions import misses
from xai.verdict.label_checks import FITS

SAME_SCORE = 1e-4
"""Scores of a candidate and of the detection that was made of it differ by less: floats of another width."""

_KEYS = ["image_id", "object_id"]


def seen(
    errors: pl.DataFrame, objects: pl.DataFrame, predictions: pl.DataFrame | None, *, complete: bool
) -> dict[str, dict[str, Any]]:
    """Return by ``error_id`` what ``Scene`` says of the detector's view: ``own unused likewise claimed box_iou``.

    Args:
        errors: all errors of the run.
        objects: evaluation objects with boxes, and ``cand_score`` where the detector's candidates were seen.
        predictions: evaluation detections; None: not known.
        complete: whether all objects of the photos are annotated; not so beside reported misses.
    """
    found = misses(errors).select("error_id", *_KEYS, "label", "mechanism", "best_label", "best_score", "best_iou")
    own = "cand_score" if "cand_score" in objects.columns else pl.lit(None, pl.Float64)
    corners = [name for name in ("x1", "y1", "x2", "y2") if name in objects.columns]
    facts = found.join(objects.select(*_KEYS, *corners, own=own), on=_KEYS, how="left", maintain_order="left")
    fits = (pl.col("best_iou") >= FITS).fill_null(False)
    used = objects["label"].unique().to_list()
    facts = facts.with_columns(
        unused=pl.lit(complete) & pl.col("best_label").is_not_null() & ~pl.col("best_label").is_in(used),
        likewise=fits.cast(pl.Int64).sum().over("label", "best_label", "mechanism") - fits.cast(pl.Int64),
    )
    claims = _claims(facts, predictions) if predictions is not None and len(corners) == len("xyxy") else {}
    return {
        row["error_id"]: {
            "own": row["own"],
            "unused": row["unused"],
            "likewise": row["likewise"],
            "claimed": claims.get(row["error_id"], (False, None))[0],
            "box_iou": claims.get(row["error_id"], (False, None))[1],
        }
        for row in facts.select("error_id", "own", "unused", "likewise").iter_rows(named=True)
    }


def _claims(facts: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, tuple[bool, float]]:
    """Whether the detection that a mechanism speaks of counts for another object, and its overlap with the miss."""
    needed = ["image_id", "label", "score", "outcome", "object_id", "x1", "y1", "x2", "y2"]
    if any(name not in predictions.columns for name in needed):
        return {}
    boxes = predictions.select(
        "image_id", "outcome", best_label="label", d_score="score", whose="object_id",
        dx1="x1", dy1="y1", dx2="x2", dy2="y2",
    )  # fmt: skip
    pairs = facts.join(boxes, on=["image_id", "best_label"])
    pairs = pairs.filter((pl.col("d_score") - pl.col("best_score")).abs() < SAME_SCORE)
    pairs = pairs.with_columns(iou=common("", "d") / (area("") + area("d") - common("", "d")))
    claimed = (pl.col("outcome") == "matched") & (pl.col("whose") != pl.col("object_id"))
    nearest = (
        pairs.filter(pl.col("iou").fill_nan(None) > 0).sort("iou", descending=True).unique("error_id", keep="first")
    )
    return {
        key: (bool(theirs), iou)
        for key, theirs, iou in nearest.select("error_id", claimed.fill_null(False), "iou").iter_rows()
    }


def common(one: str, other: str) -> pl.Expr:
    """Area that two boxes share, their corners in columns of these prefixes."""
    width, height = (
        (
            pl.min_horizontal(f"{one}{axis}2", f"{other}{axis}2")
            - pl.max_horizontal(f"{one}{axis}1", f"{other}{axis}1")
        ).clip(lower_bound=0)
        for axis in ("x", "y")
    )
    return width * height


def area(side: str) -> pl.Expr:
    """Area of the box whose corners are in columns of this prefix."""
    return (pl.col(f"{side}x2") - pl.col(f"{side}x1")) * (pl.col(f"{side}y2") - pl.col(f"{side}y1"))

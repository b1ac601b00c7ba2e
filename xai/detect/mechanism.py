"""Where in the detector an object was lost, told from the candidates before threshold and suppression.

The mechanisms are those of Miller et al., "What's in the black box? The false negative mechanisms inside object
detectors", IEEE Robotics and Automation Letters 2022 (arXiv 2203.07662), under names that a user can act on:

================  =========================  ==========================================================================
here              Miller et al.              what is seen
================  =========================  ==========================================================================
no_candidate      proposal process           no candidate covers the object with any class above noise
poor_box          regressor                  the class is seen at the place, but no box of it covers the object
wrong_class       interclass classification  a box covers the object, with another class ahead
low_score         background classification  a box covers the object with its class below the threshold
suppressed        classifier calibration     such a box passed the threshold, and suppression or the limit took it
================  =========================  ==========================================================================

"Covers" is an IoU of at least ``match.iou``. Two departures from the paper:

*Dense heads.* The paper asks whether an anchor or a proposal lies on the object. A dense head without anchors (YOLO,
FCOS) puts a box at every location, and with thousands of boxes of noise one may cover an object by luck. A box is
therefore a candidate only if its score is above noise: a tenth of the deployed threshold (``NOISE``). Below that, no
threshold that a team would deploy brings the object back, which is what the paper means by a missing proposal. Another
class is the best of many, so it must reach half of the deployed threshold (``HEARD``) to be more than noise.

*Neighbours.* A box that covers or touches the object may be about the object next to it, and so it is where most misses
are. Boxes that fit another annotated object of their class better don't count for another class or a poor box.

Beside the paper's five, ``annotation``: the label is contradicted. Either a confident detection of the class has the
size of the annotated box but is shifted against it (a detector that reads the object wrongly rarely gets its size
right), or a found object of the same class has nearly the same box (the object is annotated twice).
"""

from __future__ import annotations

import polars as pl

from xai import tables
from xai.rules import MISSES

NOISE = 0.1
"""A candidate whose score is below this share of the deployed threshold is noise."""

HEARD = 0.5
"""Another class whose score reaches this share of the deployed threshold is ahead, where the own class is noise."""

SURE = 0.2
"""A detection contradicts the label if its score exceeds the threshold by this much."""

SAME_SIDE = 1.33
"""Two boxes are of one size if neither side of one is longer than this times that of the other."""

SAME_BOX_IOU = 0.8
"""Two annotated boxes of one class with this IoU (or ``match.iou``, if greater) are one object annotated twice."""


def mechanisms(
    errors: pl.DataFrame,
    objects: pl.DataFrame,
    predictions: pl.DataFrame,
    *,
    score_threshold: float,
    match_iou: float,
    neighbours: bool = True,
) -> pl.DataFrame:
    """Say of every miss where it was lost, and how close the detector came.

    The first rule that applies decides (σ is the deployed threshold, ν the noise below a tenth of it, "own" the score
    for the object's class):

    1. ``annotation``: the label is contradicted, as said above; never where neighbours are not annotated, since the
       contradicting detection may be of one.
    2. ``unknown``: no candidates were kept. ``poor_box``: the miss is ``mislocated`` by a detection that covers it, as
       happens only to reported misses, of which a closer fit than ``match.iou`` is asked.
    3. ``suppressed``: own ≥ σ on a covering box; ``unknown`` where only what the detector returned is seen.
    4. ``wrong_class``: the miss is ``confused``, or another class that passes σ is ahead of own on a covering box.
    5. ``poor_box``: own ≥ σ beside the object, and the miss is ``mislocated`` or own < ν on every covering box.
    6. ``low_score``: own ≥ ν on a covering box.
    7. ``wrong_class``: another class ≥ σ/2 on a covering box.
    8. ``poor_box``: own ≥ ν beside the object.
    9. ``unknown`` where only what the detector returned is seen.
    10. ``low_score`` where the first of two stages proposed a box that covers the object: the second lost it.
    11. ``no_candidate``.

    Args:
        errors: rows of ``tables.TABLES["errors"]``.
        objects: rows of ``tables.TABLES["objects"]`` with the columns of ``tables.CANDIDATES``.
        predictions: rows of ``tables.TABLES["predictions"]``.
        score_threshold: the deployed threshold σ.
        match_iou: IoU at which a detection finds an object.
        neighbours: whether other objects of the photos are annotated too; False for reported misses.

    Returns:
        ``errors`` with ``mechanism``, ``best_score``, ``best_iou`` and ``best_label`` of misses: the score, IoU and
        class of the candidate or detection that the mechanism speaks of; null where there is none.
    """
    misses = errors.filter(pl.col("kind").is_in(MISSES)).select("error_id", "kind", "image_id", "object_id")
    facts = misses.join(objects, on=["image_id", "object_id"], how="left", maintain_order="left")
    facts = _with_detection(facts, predictions)
    facts = _with_twin(facts, objects, max(SAME_BOX_IOU, match_iou))
    own, other, loose = (pl.col(f"cand_{name}").fill_null(0.0) for name in ("score", "other_score", "loose_score"))
    noise = NOISE * score_threshold
    confused, mislocated = pl.col("kind") == "confused", pl.col("kind") == "mislocated"
    unseen = pl.col("cand_max_iou").is_null()
    passed = (own >= score_threshold) & ~(confused & (other > own))
    contradicted = (_shifted(score_threshold) | pl.col("twin_iou").is_not_null()) & neighbours
    rules = [
        ("annotation", contradicted),
        ("unknown", pl.col("cand_target").is_null() | (passed & unseen)),
        ("poor_box", _covered_by_detection(match_iou)),
        ("suppressed", passed),
        ("wrong_class", confused | ((other >= score_threshold) & (other > own))),
        ("poor_box", (loose >= score_threshold) & (mislocated | (own < noise))),
        ("low_score", own >= noise),
        ("wrong_class", other >= HEARD * score_threshold),
        ("poor_box", loose >= noise),
        ("unknown", unseen),
        ("low_score", pl.col("cand_proposal_iou") >= match_iou),
    ]
    mechanism = pl.coalesce(*[pl.when(applies).then(pl.lit(name)) for name, applies in rules], pl.lit("no_candidate"))
    told = facts.with_columns(mechanism=mechanism).select("error_id", "mechanism", *_closest(match_iou))
    kept = errors.drop("mechanism", "best_score", "best_iou", "best_label")
    joined = kept.join(told, on="error_id", how="left", maintain_order="left")
    return tables.conform(joined, tables.TABLES["errors"])


def _covered_by_detection(match_iou: float) -> pl.Expr:
    return ((pl.col("kind") == "mislocated") & (pl.col("iou") >= match_iou)).fill_null(False)


def _with_detection(facts: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Put the detection beside each miss that was confused with it or mislocated by it."""
    detection = predictions.select(
        "image_id",
        "prediction_id",
        *[pl.col(name).alias(f"detection_{name}") for name in ("label", "outcome", "x1", "y1", "x2", "y2")],
    )
    return facts.join(detection, on=["image_id", "prediction_id"], how="left", maintain_order="left")


def _shifted(score_threshold: float) -> pl.Expr:
    """Whether a sure detection has the annotated box's size but not its place, and no other object claims it."""
    sure = min(score_threshold + SURE, (1 + score_threshold) / 2)
    ratios = [
        (pl.col(f"detection_{high}") - pl.col(f"detection_{low}")) / (pl.col(high) - pl.col(low))
        for low, high in (("x1", "x2"), ("y1", "y2"))
    ]
    one_size = pl.all_horizontal(*[ratio.is_between(1 / SAME_SIDE, SAME_SIDE) for ratio in ratios])
    covered = pl.col("cand_score").fill_null(0.0) >= score_threshold
    shifted = (pl.col("detection_outcome") == "mislocated") & (pl.col("score") >= sure) & one_size & ~covered
    return shifted.fill_null(False)


def _with_twin(facts: pl.DataFrame, objects: pl.DataFrame, least_iou: float) -> pl.DataFrame:
    """Put the found object beside each miss that is annotated as nearly the same box of the same class."""
    corners = ["x1", "y1", "x2", "y2"]
    misses = facts.select("error_id", "image_id", "label", *corners)
    found = objects.filter(pl.col("outcome") == "found").select("image_id", "label", *corners, twin_score="score")
    pairs = misses.join(found, on=["image_id", "label"], suffix="_twin")
    width, height = (
        (pl.min_horizontal(high, f"{high}_twin") - pl.max_horizontal(low, f"{low}_twin")).clip(lower_bound=0)
        for low, high in (("x1", "x2"), ("y1", "y2"))
    )
    areas = [
        (pl.col(f"x2{side}") - pl.col(f"x1{side}")) * (pl.col(f"y2{side}") - pl.col(f"y1{side}"))
        for side in ("", "_twin")
    ]
    pairs = pairs.with_columns(twin_iou=width * height / (areas[0] + areas[1] - width * height))
    twins = pairs.filter(pl.col("twin_iou") >= least_iou).sort("twin_iou", descending=True)
    twins = twins.unique("error_id", keep="first").select("error_id", "twin_iou", "twin_score")
    return facts.join(twins, on="error_id", how="left", maintain_order="left")


def _closest(match_iou: float) -> list[pl.Expr]:
    """``best_score``, ``best_iou`` and ``best_label`` of each mechanism."""
    of_detection = ("score", "iou", "detection_label")
    of_class = ("cand_score", "cand_iou", "label")
    of_other = ("cand_other_score", None, "cand_other_label")
    sources: list[tuple[pl.Expr, tuple[str | None, str | None, str | None]]] = [
        (pl.col("twin_iou").is_not_null(), ("twin_score", "twin_iou", "label")),
        (pl.col("mechanism").is_in(["annotation", "unknown"]), of_detection),
        ((pl.col("mechanism") == "wrong_class") & (pl.col("kind") == "confused"), of_detection),
        (pl.col("mechanism") == "wrong_class", of_other),
        (pl.col("mechanism").is_in(["suppressed", "low_score"]), of_class),
        ((pl.col("mechanism") == "poor_box") & _covered_by_detection(match_iou), of_detection),
        (pl.col("mechanism") == "poor_box", ("cand_loose_score", "cand_loose_iou", "label")),
        (pl.col("mechanism") == "no_candidate", ("cand_score", "cand_max_iou", None)),
    ]
    columns = []
    for position, name in enumerate(("best_score", "best_iou", "best_label")):
        value = pl.lit(None)
        for applies, source in reversed(sources):
            column = source[position]
            value = pl.when(applies).then(pl.col(column) if column else pl.lit(None)).otherwise(value)
        columns.append(value.alias(name))
    return columns

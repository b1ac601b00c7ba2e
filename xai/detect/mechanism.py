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

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xai import tables
from xai.detect.matching import NEAR_IOU
from xai.rules import MISSES
from xai.types import Boxes, Candidates, Prepared

if TYPE_CHECKING:
    from torch import Tensor

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


def summarise(
    candidates: Candidates,
    prepared: Prepared,
    boxes: Sequence[Boxes],
    labels: Sequence[NDArray[np.int64]],
    match_iou: float,
    *,
    complete: bool = True,
) -> dict[str, NDArray[np.float64]]:
    """Reduce the candidates to what they say about each annotated object.

    Args:
        candidates: of the n photos of ``prepared``.
        prepared: tells how photo pixels become input pixels.
        boxes: per photo the annotated boxes (m, 4) in photo pixels.
        labels: per photo (m,) score columns of the annotated classes; −1 for a class that the detector lacks.
        match_iou: IoU at which a candidate covers an object.
        complete: these are all candidates (``Detector.sees_candidates``), not only what the detector returned.

    Returns:
        Columns of ``tables.CANDIDATES`` over all objects, photo after photo; NaN where there is no such candidate:
        ``cand_score``, ``cand_iou`` – the best score for the object's own class among the candidates that cover it;
        ``cand_other_score``, ``cand_other_label`` – the best score for another class among these (a score column);
        ``cand_loose_score``, ``cand_loose_iou`` – the best score for its own class among 0.1 ≤ IoU < ``match_iou``;
        ``cand_max_iou`` – the greatest IoU of any candidate, whatever its scores; NaN where not all are seen;
        ``cand_proposal_iou`` – the same where candidates are proposals of a first stage, else NaN;
        ``cand_target`` – the greatest product of IoU and own score over all candidates.
    """
    parts = [
        _photo(
            candidates.boxes[index].detach(),
            candidates.scores[index].detach(),
            photo_boxes * np.tile(prepared.scale[index], 2) + np.tile(prepared.offset[index], 2),
            photo_labels,
            match_iou,
        )
        for index, (photo_boxes, photo_labels) in enumerate(zip(boxes, labels, strict=True))
    ]
    summary = {name: np.concatenate([part[name] for part in parts]) for name in tables.CANDIDATES} if parts else {}
    if summary and candidates.proposals:
        summary["cand_proposal_iou"] = summary["cand_max_iou"].copy()
    if summary and not complete:
        summary["cand_max_iou"][:] = np.nan
    return summary


def _photo(
    boxes: Tensor, scores: Tensor, truth: Boxes, labels: NDArray[np.int64], match_iou: float
) -> dict[str, NDArray[np.float64]]:
    """Summarise one photo's candidates: boxes (c, 4) or (c, k, 4), scores (c, k), truth (m, 4), labels (m,)."""
    import torch
    from torchvision.ops import box_iou

    if not len(truth) or not len(boxes):
        # A detector that was asked and considered nothing: known to be no candidate, unlike one that was not asked.
        nothing = {name: np.full(len(truth), np.nan) for name in tables.CANDIDATES}
        return nothing | {name: np.zeros(len(truth)) for name in ("cand_max_iou", "cand_target")}
    objects = torch.from_numpy(truth).to(boxes)
    column = torch.from_numpy(labels).to(boxes.device)
    known = column >= 0
    # (m, c, 1) where the classes share a box, else (m, c, k); boxes of noise may be inside out and overlap nothing.
    iou = box_iou(objects, boxes.reshape(-1, 4)).reshape(len(objects), len(boxes), -1).nan_to_num_(0)
    own_column = column.clamp(min=0)
    own_iou = iou[:, :, 0] if iou.shape[2] == 1 else iou[torch.arange(len(objects)), :, own_column]
    own_score = scores[:, own_column].T.where(known[:, None], torch.nan)

    kinds, kind = torch.unique(column, return_inverse=True)
    fit = torch.stack([iou[column == value].amax(dim=0) for value in kinds])  # the best IoU of each class's objects
    own_fit = fit[kind, :, 0] if iou.shape[2] == 1 else fit[kind, :, own_column]

    covers = own_iou >= match_iou
    loose = (own_iou >= NEAR_IOU) & ~covers & (own_iou >= own_fit)
    other_score, other_label = _other(iou, scores, column, fit, kinds, match_iou)
    result = {
        **dict(zip(("cand_score", "cand_iou"), _best(own_score, own_iou, covers), strict=True)),
        **dict(zip(("cand_loose_score", "cand_loose_iou"), _best(own_score, own_iou, loose), strict=True)),
        "cand_max_iou": iou.amax(dim=(1, 2)),
        "cand_proposal_iou": iou.new_full((len(objects),), torch.nan),
        "cand_target": (own_iou * own_score).amax(dim=1),
    }
    arrays = {name: values.double().cpu().numpy() for name, values in result.items()}
    return {**arrays, "cand_other_score": other_score, "cand_other_label": other_label}


def _best(score: Tensor, iou: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Greatest allowed score of each row and the IoU beside it; NaN where nothing is allowed."""
    best, place = score.where(allowed, -1.0).max(dim=1)
    beside = iou.gather(1, place[:, None])[:, 0]
    return best.where(best >= 0, float("nan")), beside.where(best >= 0, float("nan"))


def _other(
    iou: Tensor, scores: Tensor, column: Tensor, fit: Tensor, kinds: Tensor, match_iou: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Best score and column of another class among covering boxes that fit no object of that class better."""
    import torch

    rows, places = (iou >= match_iou).any(dim=2).nonzero(as_tuple=True)
    values = scores[places].clone()
    if iou.shape[2] > 1:
        values[iou[rows, places] < match_iou] = -1
    values[column[rows][:, None] == torch.arange(values.shape[1], device=values.device)] = -1
    for index, kind in enumerate(kinds.tolist()):
        if kind >= 0:
            layer = kind if iou.shape[2] > 1 else 0
            values[fit[index, places, layer] > iou[rows, places, layer], kind] = -1
    best, label = values.max(dim=1)
    order = best.argsort().cpu().numpy()
    count = len(iou)
    score, name = np.full(count, np.nan), np.full(count, np.nan)
    # The last assignment to a repeated row stays, which is the greatest.
    score[rows.cpu().numpy()[order]] = best.double().cpu().numpy()[order]
    name[rows.cpu().numpy()[order]] = label.double().cpu().numpy()[order]
    nothing = ~(score >= 0)
    score[nothing], name[nothing] = np.nan, np.nan
    return score, name


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

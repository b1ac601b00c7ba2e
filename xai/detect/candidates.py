"""What the candidates say about each annotated object: a row of numbers each, from which the mechanism is told.

Works on tensors alone, so that the batch core runs wherever torch does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from xai.detect.matching import NEAR_IOU
from xai.types import Boxes, Candidates, Prepared

COLUMNS = (
    "cand_score",
    "cand_iou",
    "cand_other_score",
    "cand_other_label",
    "cand_loose_score",
    "cand_loose_iou",
    "cand_max_iou",
    "cand_proposal_iou",
    "cand_target",
)
"""Those of ``tables.CANDIDATES``."""


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
    summary = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS} if parts else {}
    if summary and candidates.proposals:
        summary["cand_proposal_iou"] = summary["cand_max_iou"].copy()
    if summary and not complete:
        summary["cand_max_iou"][:] = np.nan
    return summary


def _photo(
    boxes: Tensor, scores: Tensor, truth: Boxes, labels: NDArray[np.int64], match_iou: float
) -> dict[str, NDArray[np.float64]]:
    """Summarise one photo's candidates: boxes (c, 4) or (c, k, 4), scores (c, k), truth (m, 4), labels (m,)."""
    if not len(truth) or not len(boxes):
        # A detector that was asked and considered nothing: known to be no candidate, unlike one that was not asked.
        nothing = {name: np.full(len(truth), np.nan) for name in COLUMNS}
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

"""Scalars of a detector's candidates that say how close it came to finding an object.

A target takes the candidates of n inputs and k objects and returns (n, k). It looks at candidates before the score
threshold and non-maximum suppression, so that it changes smoothly where no detection is deployed: on a miss. The
product of overlap and class score is the similarity of D-RISE (Petsiuk et al., "Black-box explanation of object
detectors via saliency maps", CVPR 2021) without its objectness term, taken over candidates instead of detections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from xai.types import Candidates

if TYPE_CHECKING:
    from xai.types import Boxes, Prepared


class Target(Protocol):
    """Candidates of n inputs, boxes (k, 4) or (n, k, 4) and labels (k,) of k objects → (n, k)."""

    def __call__(self, candidates: Candidates, boxes: Tensor, labels: Tensor) -> Tensor:
        """Score the objects in each input."""


def iou_times_score(candidates: Candidates, boxes: Tensor, labels: Tensor) -> Tensor:
    """Highest IoU(candidate, box) × score(candidate, class) over all candidates, in 0–1.

    Differentiable in the candidates' boxes and scores. Zero where no candidate overlaps the box; never NaN, since
    candidates that are not finite count as absent.

    Args:
        candidates: boxes (n, c, 4) or (n, c, classes, 4), scores (n, c, classes).
        boxes: (k, 4), or (n, k, 4) where the object lies elsewhere in each input; pixels of the network's input.
        labels: (k,) columns of ``scores``.

    Returns:
        (n, k).

    Raises:
        ValueError: shapes do not fit, or a label is not a column of the scores.
    """
    overlap, score = _overlap_and_score(candidates, boxes, labels)
    return _highest(overlap * score)


def class_score(candidates: Candidates, boxes: Tensor, labels: Tensor, *, near: float = 0.1) -> Tensor:
    """Highest score(class) among the candidates whose IoU with the box is at least ``near``; shapes as above.

    Tells a doubtful class from a poor box. Zero where no candidate is near.
    """
    overlap, score = _overlap_and_score(candidates, boxes, labels)
    return _highest(torch.where(overlap >= near, score, 0.0))


def box_quality(candidates: Candidates, boxes: Tensor, labels: Tensor) -> Tensor:
    """Highest IoU(candidate, box) whatever the score; shapes as above.

    ``labels`` matter only where every class regresses a box of its own.
    """
    overlap, _ = _overlap_and_score(candidates, boxes, labels)
    return _highest(overlap)


def other_class(candidates: Candidates, boxes: Tensor, labels: Tensor, *, others: Tensor) -> Tensor:
    """How much closer the detector is to finding the object as ``others`` (k,) than as ``labels``; −1 to 1."""
    return iou_times_score(candidates, boxes, others) - iou_times_score(candidates, boxes, labels)


def forward_func(
    forward: Callable[[Tensor], Candidates], boxes: Tensor, labels: Tensor, target: Target = iou_times_score
) -> Callable[[Tensor], Tensor]:
    """Wrap a detector's forward as Captum expects it: inputs (n, 3, h, w) → (n, k), one column per object."""

    def score(inputs: Tensor) -> Tensor:
        return target(forward(inputs), boxes, labels)

    return score


def to_input(boxes: Boxes, prepared: Prepared, row: int) -> Tensor:
    """Carry boxes (k, 4) from photo pixels to pixels of the network's input; float32 on the input's device."""
    scale, offset = prepared.scale[row], prepared.offset[row]
    moved = boxes.reshape(-1, 2, 2) * scale + offset
    return torch.as_tensor(moved.reshape(-1, 4), dtype=torch.float32, device=prepared.inputs.device)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes (..., 4) that broadcast against each other, in 0–1; two empty boxes overlap with 0."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - intersection
    return intersection / union.clamp(min=1e-9)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def _overlap_and_score(candidates: Candidates, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the IoU with each object and the score of its class, both (n, c, k)."""
    _check(candidates, boxes, labels)
    labels = labels.to(candidates.scores.device)
    corners = candidates.boxes[:, :, labels] if candidates.boxes.ndim == 4 else candidates.boxes[:, :, None]
    corners = corners.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    score = candidates.scores[:, :, labels].nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    objects = boxes.to(corners)[..., None, :, :]
    return iou(corners, objects), score


def _highest(values: Tensor) -> Tensor:
    """Take the maximum over candidates (n, c, k) → (n, k); 0, with its gradient path, where there are none."""
    return values.amax(1) if values.shape[1] else values.sum(1)


def _check(candidates: Candidates, boxes: Tensor, labels: Tensor) -> None:
    n, c, classes = candidates.scores.shape
    if candidates.boxes.shape not in {(n, c, 4), (n, c, classes, 4)}:
        raise ValueError(
            f"expected candidate boxes ({n}, {c}, 4) or ({n}, {c}, {classes}, 4) beside scores "
            f"{tuple(candidates.scores.shape)}, got {tuple(candidates.boxes.shape)}"
        )
    k = labels.numel()
    if tuple(boxes.shape) not in {(k, 4), (n, k, 4)}:
        raise ValueError(f"expected boxes ({k}, 4) or ({n}, {k}, 4) for {k} labels, got {tuple(boxes.shape)}")
    if k and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise ValueError(f"expected labels in 0–{classes - 1}, the detector's classes; got {labels.tolist()}")
    if not bool(torch.isfinite(boxes).all()):
        raise ValueError("expected finite boxes, got NaN or infinity")

"""Scalars of a detector's candidates that say how close it came to finding an object.

A target takes the candidates of n inputs and k objects and returns (n, k). It looks at candidates before the score
threshold and non-maximum suppression, so that it changes smoothly where no detection is deployed: on a miss. The
product of overlap and class score is the similarity of D-RISE (Petsiuk et al., "Black-box explanation of object
detectors via saliency maps", CVPR 2021) without its objectness term, taken over candidates instead of detections.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from xai.types import Candidates, Prepared

if TYPE_CHECKING:
    from xai.types import Boxes, Detector


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


def strongest_rival(candidates: Candidates, boxes: Tensor, labels: Tensor) -> Tensor:
    """Find the other class as which each object comes closest to being found: the ``others`` of ``other_class``.

    Args:
        candidates: of one input, as in ``iou_times_score``.
        boxes: (k, 4).
        labels: (k,).

    Returns:
        (k,) columns of the scores, never the object's own; the first one where no other class comes close.

    Raises:
        ValueError: more than one input, or a detector of a single class.
    """
    n, _, classes = candidates.scores.shape
    if n != 1 or classes < 2:
        raise ValueError(f"expected the candidates of one input for at least 2 classes, got {n} and {classes}")
    every = torch.arange(classes, device=labels.device)
    closeness = torch.stack([iou_times_score(candidates, boxes, every[code].expand(len(labels)))[0] for code in every])
    return closeness.scatter(0, labels[None].to(closeness.device), -torch.inf).argmax(0)


def deployed_score(detector: Detector, prepared: Prepared) -> Target:
    """Make the target of D-RISE as it was published, for comparison: it sees deployed detections and nothing else.

    Highest IoU(detection, box) × score over the detections of the class, 0 where there are none: on a miss it is flat.
    It passes no gradient.

    Args:
        detector: chooses the detections.
        prepared: one photo, whose changed copies are scored.
    """

    def target(candidates: Candidates, boxes: Tensor, labels: Tensor) -> Tensor:
        _check(candidates, boxes, labels)
        n = len(candidates.scores)
        copies = Prepared(
            indices=tuple(range(n)),
            inputs=prepared.inputs[:1].expand(n, -1, -1, -1),
            scale=np.repeat(prepared.scale[:1], n, axis=0),
            offset=np.repeat(prepared.offset[:1], n, axis=0),
            sizes=np.repeat(prepared.sizes[:1], n, axis=0),
        )
        values = candidates.scores.new_zeros(n, len(labels))
        seen = Candidates(candidates.boxes.detach(), candidates.scores.detach(), proposals=candidates.proposals)
        for row, found in enumerate(detector.select(seen, copies)):
            own = boxes if boxes.ndim == 2 else boxes[row]
            overlap = iou(to_input(found.boxes, copies, row)[:, None], own.to(values))
            same = torch.as_tensor(found.labels)[:, None].to(labels) == labels
            scores = torch.as_tensor(found.scores)[:, None].to(values)
            values[row] = _highest((overlap * scores * same.to(values))[None])[0]
        return values

    return target


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """How close a detector comes to finding k objects of a photo: a forward function in Captum's sense.

    Attributes:
        detector: whose ``forward`` is asked.
        boxes: (k, 4) pixels of the network's input (``to_input``).
        labels: (k,) columns of the candidates' scores.
        target: what is told of the candidates.
    """

    detector: Detector
    boxes: Tensor
    labels: Tensor
    target: Target = iou_times_score

    def __call__(self, inputs: Tensor) -> Tensor:
        """Score inputs (n, 3, h, w) → (n, k), one column per object."""
        return self.target(self.detector.forward(inputs), self.boxes, self.labels)


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

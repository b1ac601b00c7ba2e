"""How the detection transformers of the transformers package get from queries to detections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Family:
    """One way to get from queries to detections.

    Attributes:
        model: name of the package's class.
        processor: likewise, of its image processor.
        scores: logits (n, q, columns) → class scores (n, q, k).
        choose: scores (q, k) of one photo → queries and classes of what would be detected at any threshold.
        projections: model → the layers whose outputs the encoder reads as one flat sequence; none where it keeps maps.
    """

    model: str
    processor: str
    scores: Callable[[Tensor], Tensor]
    choose: Callable[[Tensor], tuple[Tensor, Tensor]]
    projections: Callable[[Any], Sequence[nn.Module]]


def _without_no_object(logits: Tensor) -> Tensor:
    """Softmax over the classes and, in the last column, "no object"."""
    return logits.softmax(-1)[..., :-1]


def _best_class(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Every query with its best class."""
    return torch.arange(len(scores), device=scores.device), scores.argmax(-1)


def _best_pairs(scores: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The best pairs of query and class; a query may be taken more than once."""
    pairs = scores.flatten().topk(min(limit, scores.numel())).indices
    return pairs // scores.shape[1], pairs % scores.shape[1]


_RT_DETR = Family(
    model="RTDetrForObjectDetection",
    processor="RTDetrImageProcessor",
    scores=torch.sigmoid,
    choose=lambda scores: _best_pairs(scores, len(scores)),
    projections=lambda model: (),
)

FAMILIES: Mapping[str, Family] = {
    "deformable_detr": Family(
        model="DeformableDetrForObjectDetection",
        processor="DeformableDetrImageProcessor",
        scores=torch.sigmoid,
        choose=lambda scores: _best_pairs(scores, 100),  # the package's default
        projections=lambda model: model.model.input_proj,
    ),
    "detr": Family(
        model="DetrForObjectDetection",
        processor="DetrImageProcessor",
        scores=_without_no_object,
        choose=_best_class,
        projections=lambda model: (model.model.input_projection,),
    ),
    "rt_detr": _RT_DETR,
    "rt_detr_v2": replace(_RT_DETR, model="RTDetrV2ForObjectDetection"),
}
"""By ``model_type`` of config.json."""

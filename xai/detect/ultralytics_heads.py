"""What the heads of ultralytics' detectors consider, and how ``predict`` selects from it.

Three ways lead to detections. A *one-to-many* head (v8, v11; v10 and 26 as ``predict`` deploys them by default) says
everything several times and needs non-maximum suppression. A *one-to-one* head (v10 and 26 where the package deploys
it) says everything once: the best are taken. The *queries* of RT-DETR are as many boxes as it may ever find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor, nn

Found = tuple[Tensor, Tensor, Tensor]
"""Boxes (d, 4), scores (d,) and labels (d,) by falling score."""

_CLASS_OFFSET = 7680.0
"""``max_wh`` of the package's non-maximum suppression: shifts classes apart so that they don't suppress each other."""

_NMS_LIMIT = 30_000
"""``max_nms`` of the same: boxes that enter the suppression."""


class Limits(NamedTuple):
    """The deployed thresholds."""

    score: float
    nms_iou: float
    detections: int


class Family(NamedTuple):
    """How candidates come from a head, and detections from candidates.

    Attributes:
        decode: head, its output and the input's (height, width) → boxes (n, c, 4) in input pixels, scores (n, c, k).
        choose: head, one photo's boxes (c, 4) and scores (c, k) → what is detected.
    """

    decode: Callable[[Any, Any, tuple[int, int]], tuple[Tensor, Tensor]]
    choose: Callable[[Any, Tensor, Tensor, Limits], Found]


def family_of(head: Any) -> str:
    """Name the family in ``FAMILIES`` of a head that is ready to predict."""
    if type(head).__name__ == "RTDETRDecoder":
        return "queries"
    return "one-to-one" if head.end2end else "one-to-many"


def run(model: nn.Module, head: nn.Module, inputs: Tensor) -> tuple[Any, tuple[Tensor, ...]]:
    """Run a model once; return its output and the maps that entered the head."""
    entered: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda module, arguments: entered.extend(arguments[0]))
    try:
        output = model(inputs)
    finally:
        handle.remove()
    return output, tuple(level.float() for level in entered)


def _decode_anchor_points(head: Any, output: Any, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    raw = output[1]
    raw = raw.get("one2one" if head.end2end else "one2many", raw)
    # Decoded again, in float32: float16 holds pixels beyond 1024 as whole ones at best.
    decoded = head._inference({**raw, "boxes": raw["boxes"].float(), "scores": raw["scores"].float()}).transpose(1, 2)
    return decoded[..., :4], decoded[..., 4:]


def _decode_queries(head: Any, output: Any, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    boxes, logits = (part[0].float() for part in output[1][:2])
    height, width = size
    centre, sides = boxes.chunk(2, dim=-1)
    corners = torch.cat([centre - sides / 2, centre + sides / 2], dim=-1)
    return corners * corners.new_tensor([width, height, width, height]), logits.sigmoid()


def _suppress(head: Any, boxes: Tensor, scores: Tensor, limits: Limits) -> Found:
    """Threshold the best class of each box and suppress overlaps within a class."""
    best, labels = scores.max(dim=-1)
    kept = (best > limits.score).nonzero().squeeze(1)
    if len(kept) > _NMS_LIMIT:
        kept = kept[best[kept].argsort(descending=True)[:_NMS_LIMIT]]
    shifted = boxes[kept] + (labels[kept] * _CLASS_OFFSET)[:, None]
    kept = kept[torchvision.ops.nms(shifted, best[kept], limits.nms_iou)[: limits.detections]]
    return boxes[kept], best[kept], labels[kept]


def _take_best(head: Any, boxes: Tensor, scores: Tensor, limits: Limits) -> Found:
    """Let the head take the best pairs of box and class, then threshold."""
    (best,) = head.postprocess(torch.cat([boxes, scores], dim=-1)[None])
    return _above(best, limits)


def _take_best_queries(head: Any, boxes: Tensor, scores: Tensor, limits: Limits) -> Found:
    (best,) = head.postprocess(boxes[None], scores[None])
    return _above(best, limits)


def _above(rows: Tensor, limits: Limits) -> Found:
    """Threshold rows of ``x1 y1 x2 y2 score label`` by falling score."""
    rows = rows[rows[:, 4] > limits.score][: limits.detections]
    return rows[:, :4], rows[:, 4], rows[:, 5].long()


FAMILIES: Mapping[str, Family] = {
    "one-to-many": Family(_decode_anchor_points, _suppress),
    "one-to-one": Family(_decode_anchor_points, _take_best),
    "queries": Family(_decode_queries, _take_best_queries),
}

"""What torchvision's detection heads consider before threshold and suppression, and how they then choose.

One family a way of choosing. ``candidates`` runs the head up to boxes and class scores, differentiable; ``choose``
repeats the family's own post-processing on them, for one photo. Boxes and scores are float32 also under autocast, of
which torchvision itself makes boxes in half pixels.

RPN and box head apart
    Faster R-CNN loses an object in one of two networks. Its candidates are the box head's rows for those proposals
    that the region proposal network (RPN) let through its own suppression and top k, and nothing else. So where no
    candidate comes near an object, the RPN proposed nothing there and the mechanism is ``no_candidate``; where one
    covers it with a low score for its class, the RPN did its work and the box head took the object for background:
    ``low_score``, even if that score is noise, since a proposal is made to lie on an object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

Considered = tuple[Tensor, Tensor, Sequence[int]]
"""Boxes (n, c, 4) or (n, c, k, 4), scores (n, c, k) with background where the head has it, candidates per level."""

Chosen = tuple[Tensor, Tensor, Tensor]
"""Boxes (d, 4), scores (d,) and classes (d,) by falling score."""


@dataclass(frozen=True, slots=True)
class Family:
    """One way to get from features to detections.

    Attributes:
        candidates: model, padded images and features → what the head considers.
        choose: boxes and scores of one photo without background, candidates per level, options → detections.
        options: where the model keeps its thresholds.
        two_stage: what the head considers was proposed by a first stage.
    """

    candidates: Callable[[Any, ImageList, Mapping[str, Tensor]], Considered]
    choose: Callable[[Tensor, Tensor, Sequence[int], Any], Chosen]
    options: Callable[[Any], Any]
    two_stage: bool = False


def _fcos(model: Any, images: ImageList, features: Mapping[str, Tensor]) -> Considered:
    """Class and centerness of each location, joined as their geometric mean."""
    levels, outputs = _dense(model, features)
    boxes = _decoded(model, model.box_coder.decode, outputs["bbox_regression"], images, levels)
    # The square root of the product, in logarithms: its gradient stays finite where a sigmoid underflows.
    scores = ((logsigmoid(outputs["cls_logits"]) + logsigmoid(outputs["bbox_ctrness"])) / 2).exp()
    return boxes, scores, [level.shape[-2] * level.shape[-1] for level in levels]


def _retinanet(model: Any, images: ImageList, features: Mapping[str, Tensor]) -> Considered:
    """Sigmoid scores of each anchor."""
    levels, outputs = _dense(model, features)
    boxes = _decoded(model, model.box_coder.decode_single, outputs["bbox_regression"], images, levels)
    locations = [level.shape[-2] * level.shape[-1] for level in levels]
    anchors = boxes.shape[1] // sum(locations)
    return boxes, outputs["cls_logits"].sigmoid(), [count * anchors for count in locations]


def _ssd(model: Any, images: ImageList, features: Mapping[str, Tensor]) -> Considered:
    """Softmax scores of each default box."""
    levels, outputs = _dense(model, features)
    boxes = _decoded(model, model.box_coder.decode_single, outputs["bbox_regression"], images, levels)
    return boxes, outputs["cls_logits"].softmax(-1), [boxes.shape[1]]


def _faster_rcnn(model: Any, images: ImageList, features: Mapping[str, Tensor]) -> Considered:
    """Softmax scores of each proposal that the region proposal network lets through, a box for every class."""
    features = {name: level.float() for name, level in features.items()}
    with torch.autocast(images.tensors.device.type, enabled=False):  # it decodes its boxes in its head's precision
        proposals, _ = model.rpn(images, features)
    heads = model.roi_heads
    pooled = heads.box_head(heads.box_roi_pool(features, proposals, images.image_sizes))
    logits, regression = (outputs.float() for outputs in heads.box_predictor(pooled))
    decoded = heads.box_coder.decode(regression, proposals).reshape(*logits.shape, 4)  # flat if there are no proposals
    boxes = clip_boxes_to_image(decoded, images.image_sizes[0])
    counts = [len(part) for part in proposals]
    longest = max(counts)
    padded = [
        torch.nn.utils.rnn.pad_sequence(list(values.split(counts)), batch_first=True)
        for values in (boxes, logits.softmax(-1))
    ]
    return padded[0], padded[1], [longest]


def _dense(model: Any, features: Mapping[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Levels and outputs of a head that looks at every location."""
    outputs = model.head(list(features.values()))
    return [level.float() for level in features.values()], {name: values.float() for name, values in outputs.items()}


def _decoded(
    model: Any, decode: Callable[[Tensor, Tensor], Tensor], codes: Tensor, images: ImageList, levels: list[Tensor]
) -> Tensor:
    """Boxes of all photos from codes (n, c, 4) and the anchors of the levels, clipped to the photo."""
    anchors = torch.cat(model.anchor_generator(images, levels))
    boxes = decode(codes.reshape(-1, 4), anchors).reshape(codes.shape)
    clipped: Tensor = clip_boxes_to_image(boxes, images.image_sizes[0])
    return clipped


def _choose_by_level(boxes: Tensor, scores: Tensor, levels: Sequence[int], options: Any) -> Chosen:
    """Best pairs of box and class of each level above the threshold, then suppression within a class."""
    kept = []
    first = 0
    for count in levels:
        flat = scores[first : first + count].flatten()
        above = (flat > options.score_thresh).nonzero()[:, 0]
        best = flat[above].topk(min(len(above), options.topk_candidates)).indices
        kept.append(above[best] + first * scores.shape[1])
        first += count
    pairs = torch.cat(kept)
    return _suppress(boxes[pairs // scores.shape[1]], scores.flatten()[pairs], pairs % scores.shape[1], options)


def _choose_by_class(boxes: Tensor, scores: Tensor, levels: Sequence[int], options: Any) -> Chosen:
    """Best boxes of each class above the threshold, then suppression within a class."""
    values, places = scores.topk(min(len(scores), options.topk_candidates), dim=0)
    classes, ranks = (values > options.score_thresh).T.nonzero(as_tuple=True)
    return _suppress(boxes[places[ranks, classes]], values[ranks, classes], classes, options)


def _choose_by_proposal(boxes: Tensor, scores: Tensor, levels: Sequence[int], options: Any) -> Chosen:
    """All pairs of proposal and class above the threshold, then suppression within a class."""
    places, classes = (scores > options.score_thresh).nonzero(as_tuple=True)
    large = remove_small_boxes(boxes[places, classes], min_size=1e-2)
    places, classes = places[large], classes[large]
    return _suppress(boxes[places, classes], scores[places, classes], classes, options)


def _suppress(boxes: Tensor, scores: Tensor, classes: Tensor, options: Any) -> Chosen:
    kept = batched_nms(boxes, scores, classes, options.nms_thresh)[: options.detections_per_img]
    return boxes[kept], scores[kept], classes[kept]


FAMILIES: Mapping[str, Family] = {
    "FCOS": Family(_fcos, _choose_by_level, lambda model: model),
    "RetinaNet": Family(_retinanet, _choose_by_level, lambda model: model),
    "SSD": Family(_ssd, _choose_by_class, lambda model: model),
    "FasterRCNN": Family(_faster_rcnn, _choose_by_proposal, lambda model: model.roi_heads, two_stage=True),
}
"""By the name of torchvision's class."""

"""What objects look like to the detector: its own feature maps, averaged over each object's box.

Two objects that the detector sees alike have features that are near each other, whatever their pixels. That is what
``novelty`` and the nearest training objects are told from.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import roi_align

from xai.types import Boxes, Candidates, Prepared

WIDTH = 512
"""Features of an object are at most this many numbers: 1 KB as float16, so 100 MB for a hundred thousand objects."""


@torch.no_grad()
def object_features(candidates: Candidates, prepared: Prepared, boxes: Sequence[Boxes]) -> list[NDArray[np.float32]]:
    """Average every feature map over every box.

    All levels count for every object: on one level only, chosen by size, a large and a small object could not be
    compared, since each level has channels of its own. Wider maps are reduced to ``WIDTH`` numbers (``_projection``).

    Args:
        candidates: of the n photos of ``prepared``, with features.
        prepared: tells how photo pixels become input pixels.
        boxes: per photo (m, 4) in photo pixels; what lies outside of the photo doesn't count, and a box without area
            is sampled at its place.

    Returns:
        Per photo (m, d), d the channels of all levels together but at most ``WIDTH``; 0 for a detector without
        features.
    """
    counts = [len(photo) for photo in boxes]
    if not candidates.features:
        return [np.zeros((count, 0), dtype=np.float32) for count in counts]
    height, width = prepared.inputs.shape[-2:]
    rois = [_input_boxes(prepared, index, photo) for index, photo in enumerate(boxes)]
    pooled = torch.cat([_average(level, rois, height, width) for level in candidates.features], dim=1)
    if pooled.shape[1] > WIDTH:
        pooled = pooled @ torch.from_numpy(_projection(pooled.shape[1])).to(pooled)
    return np.split(pooled.float().cpu().numpy(), np.cumsum(counts)[:-1])


def _input_boxes(prepared: Prepared, index: int, boxes: Boxes) -> Boxes:
    """Boxes in input pixels, cut at the photo's edges."""
    inside = np.clip(boxes.reshape(-1, 4), 0, np.tile(prepared.sizes[index], 2))
    moved: Boxes = inside * np.tile(prepared.scale[index], 2) + np.tile(prepared.offset[index], 2)
    return moved


def _average(level: Tensor, rois: Sequence[Boxes], height: int, width: int) -> Tensor:
    """Average a map (n, d, h, w) over boxes in pixels of an input (height, width): (objects, d)."""
    rows, columns = level.shape[-2:]
    factor = np.array([columns / width, rows / height] * 2)
    cells = [torch.from_numpy((photo * factor).astype(np.float32)).to(level.device) for photo in rois]
    for photo in cells:
        photo[:, 2:] = torch.maximum(photo[:, 2:], photo[:, :2] + torch.finfo(torch.float16).eps)
    averages: Tensor = roi_align(level.detach(), cells, output_size=1, sampling_ratio=0, aligned=True)
    return averages.flatten(1)


@functools.cache
def _projection(channels: int) -> NDArray[np.float32]:
    """Random signs that take ``channels`` numbers to ``WIDTH`` and keep distances (within some 3% of them, typically).

    Neighbouring channels have nothing in common, so leaving some out or averaging them would lose what the others say.
    The signs come from numpy's frozen generator: features of a profile stay comparable with those of later versions.

    Source: Achlioptas, "Database-friendly random projections", Journal of Computer and System Sciences 2003.
    """
    signs = np.random.RandomState(0).randint(0, 2, (channels, WIDTH)) * 2 - 1
    projection: NDArray[np.float32] = (signs / np.sqrt(WIDTH)).astype(np.float32)
    return projection

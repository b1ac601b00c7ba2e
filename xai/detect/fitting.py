"""Photos made to fit a network: resized ones grouped, padding hidden, shapes that no framework can resize mended.

Boxes and object features are told in pixels of the network's input before it is padded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from xai.types import Pixels, Prepared


def group(resized: Sequence[Tensor], photos: Sequence[Pixels]) -> list[Prepared]:
    """Stack resized photos of one shape, in the order in which the shapes first come.

    Args:
        resized: (3, h, w) each, 0–1.
        photos: what they were resized from.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, pixels in enumerate(resized):
        groups.setdefault((pixels.shape[-2], pixels.shape[-1]), []).append(index)
    prepared = []
    for (height, width), indices in groups.items():
        sizes = np.array([photos[index].shape[1::-1] for index in indices], dtype=np.int64)
        prepared.append(
            Prepared(
                indices=tuple(indices),
                inputs=torch.stack([resized[index] for index in indices]),
                scale=np.array([width, height]) / sizes,
                offset=np.zeros((len(indices), 2)),
                sizes=sizes,
            )
        )
    return prepared


def pad(images: Tensor, height: int, width: int) -> Tensor:
    """Pad images (..., h, w) with zeros on the right and below to ``height`` × ``width``."""
    return nn.functional.pad(images, (0, width - images.shape[-1], 0, height - images.shape[-2]))


def crop(maps: Iterable[Tensor], padded: Tensor, images: Tensor) -> tuple[Tensor, ...]:
    """Cut feature maps of padded images down to the cells that lie on the images.

    Args:
        maps: (n, d, h, w) each, spread evenly over ``padded``.
        padded: (n, 3, H, W), what the maps were computed from.
        images: the same before padding.

    Returns:
        The maps as float32; a cell that the image covers in part is kept.
    """
    rows, columns = (images.shape[axis] / padded.shape[axis] for axis in (-2, -1))
    return tuple(
        level[..., : math.ceil(level.shape[-2] * rows), : math.ceil(level.shape[-1] * columns)].float()
        for level in maps
    )


def thicken(photo: Tensor, longest: int) -> Tensor:
    """Stretch a photo so thin that, its longer side resized to ``longest`` pixels, nothing of the shorter were left.

    Frameworks fail on such photos. Others are returned as they are.

    Args:
        photo: (3, h, w).
        longest: largest side of the network's input.
    """
    height, width = photo.shape[-2:]
    least = math.ceil(max(height, width) / longest)
    if min(height, width) >= least:
        return photo
    return nn.functional.interpolate(photo[None], size=(max(height, least), max(width, least)), mode="nearest")[0]

"""What an input needs to fit a network, hidden from everyone else.

Boxes and object features are told in pixels of the network's input before it is padded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor, nn


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

"""What several measures look at, for many photos of one size at once, on whatever device they lie.

Every step rounds as OpenCV does on the CPU, so that both give the same pixels, not merely similar ones: medians,
thresholds and edges would otherwise jump.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from attributes.reduced import BAND_ROWS, DETAIL, SMALL, reductions, starts_of_bands

Shared = TypeVar("Shared")

# Weights of red, green and blue in luma (ITU-R BT.601), of 2 ** 15.
_LUMA = (9798, 19235, 3735)
_LUMA_BITS = 15

# Weights between two pixels, of 2 ** 11.
_LINEAR_BITS = 11


class TensorViews:
    """Photos of one size on one device, and the reduced versions of them that measures share.

    Attributes:
        photos: (n, 3, H, W) uint8 RGB.
    """

    def __init__(self, photos: Tensor) -> None:
        """Check the shape once, here.

        Raises:
            ValueError: ``photos`` is not (n, 3, H, W) uint8, or its photos are empty.
        """
        if photos.ndim != 4 or photos.shape[1] != 3 or photos.dtype != torch.uint8 or 0 in photos.shape[2:]:
            raise ValueError(
                f"expected photos as a (n, 3, H, W) uint8 tensor of at least one pixel each, got {photos.dtype} "
                f"{tuple(photos.shape)}"
            )
        self.photos = photos
        self._shared: dict[str, object] = {}

    def __len__(self) -> int:
        return len(self.photos)

    @cached_property
    def _reduced(self) -> Tensor:
        return fit(self.photos, DETAIL)

    @cached_property
    def detail(self) -> Tensor:
        """(n, h, w) luma of at most ``DETAIL`` px."""
        return luma(self._reduced)

    @cached_property
    def bands(self) -> Tensor:
        """(n, bands, rows, w) luma of bands of rows of each photo at ``DETAIL``; of all rows where they are few."""
        starts = starts_of_bands(self._reduced.shape[2])
        rows = BAND_ROWS if len(starts) > 1 else self._reduced.shape[2]
        return torch.stack([luma(self._reduced[:, :, start : start + rows]) for start in starts], dim=1)

    @cached_property
    def small(self) -> Tensor:
        """(n, 3, h, w) RGB of at most ``SMALL`` px."""
        return fit(self._reduced, SMALL)

    @cached_property
    def gray(self) -> Tensor:
        """(n, h, w) luma of at most ``SMALL`` px."""
        return luma(self.small)

    @cached_property
    def sizes(self) -> Tensor:
        """(n, 2) float64 width and height of the photos."""
        height, width = self.photos.shape[2:]
        size = torch.tensor([width, height], dtype=torch.float64)
        return size.to(self.photos.device, non_blocking=True).expand(len(self), 2)

    def shared(self, key: str, compute: Callable[[], Shared]) -> Shared:
        """Return what an earlier measure left under ``key``, or compute and leave it there."""
        if key not in self._shared:
            self._shared[key] = compute()
        return cast(Shared, self._shared[key])


def luma(photos: Tensor) -> Tensor:
    """Rec. 601 luma as ``cv2.cvtColor`` gives it.

    Args:
        photos: (n, 3, H, W) uint8 RGB.

    Returns:
        (n, H, W) uint8.
    """
    red, green, blue = (photos[:, channel].int() * weight for channel, weight in enumerate(_LUMA))
    return ((red + green + blue + (1 << _LUMA_BITS >> 1)) >> _LUMA_BITS).byte()


def fit(photos: Tensor, longest: int) -> Tensor:
    """Reduce photos so that their longest side is at most ``longest`` px; never enlarge them.

    Args:
        photos: (..., H, W) uint8.
        longest: in px.
    """
    height, width = photos.shape[-2:]
    whole, (reduced_height, reduced_width) = reductions(height, width, longest)
    if whole > 1:
        photos = average(photos, whole)
    if photos.shape[-2:] != (reduced_height, reduced_width):
        photos = _bilinear(photos, reduced_height, reduced_width)
    return photos


def average(photos: Tensor, factor: int) -> Tensor:
    """Means over squares, as ``cv2.resize`` by a whole factor with ``INTER_AREA``; what is left at the end is dropped.

    Args:
        photos: (..., H, W) uint8.
        factor: side of the squares in px, from 1.
    """
    height, width = (side // factor for side in photos.shape[-2:])
    squares = photos[..., : height * factor, : width * factor].reshape(
        *photos.shape[:-2], height, factor, width, factor
    )
    total = squares.sum(dim=(-3, -1), dtype=torch.int32)
    # OpenCV rounds halves up in squares of 2×2 and to even numbers in others.
    return (((total + 2) >> 2) if factor == 2 else (total * _inverse(factor)).round()).byte()


def _inverse(factor: int) -> float:
    """1 / factor², in single precision."""
    return float(np.float32(1.0) / np.float32(factor * factor))


def _bilinear(photos: Tensor, height: int, width: int) -> Tensor:
    """As ``cv2.resize`` with ``INTER_LINEAR``, which truncates between the two directions."""
    below = _neighbours(photos.shape[-2], height, photos.device)
    right = _neighbours(photos.shape[-1], width, photos.device)
    pixels = photos.int()
    rows = (pixels[..., right.first] * right.near + pixels[..., right.second] * right.far) >> 4
    near, far = rows[..., below.first, :] * below.near[:, None], rows[..., below.second, :] * below.far[:, None]
    return (((near >> 16) + (far >> 16) + 2) >> 2).byte()


class _Neighbours(NamedTuple):
    """For each pixel of a line: the two pixels of the line to be reduced between which it lies, and their weights."""

    first: Tensor
    second: Tensor
    near: Tensor
    far: Tensor


@lru_cache(maxsize=64)
def _neighbours(length: int, reduced: int, device: torch.device) -> _Neighbours:
    """Neighbours in a line of ``length`` px of each of ``reduced`` pixels; weights int32, of 2 ** 11."""
    # OpenCV's own order of double and single precision: another one moves a weight by one now and then.
    position = ((np.arange(reduced) + 0.5) * (1.0 / (reduced / length)) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    far = position - first.astype(np.float32)
    beyond = (first < 0) | (first >= length - 1)
    far[beyond] = 0.0
    first = first.clip(0, length - 1)
    second = np.minimum(first + 1, length - 1)
    weights = np.rint(np.stack([np.float32(1.0) - far, far]) * np.float32(1 << _LINEAR_BITS)).astype(np.int32)
    first_at, second_at = torch.from_numpy(np.stack([first, second])).to(device).unbind()
    near_weight, far_weight = torch.from_numpy(weights).to(device).unbind()
    return _Neighbours(first_at, second_at, near_weight, far_weight)

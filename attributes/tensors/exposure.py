"""Brightness, contrast and clipped highlights on tensors, and the coarse planes that measures of tone share."""

from __future__ import annotations

import torch
from torch import Tensor

from attributes.exposure import CLIPPED_LEVEL
from attributes.reduced import COARSE
from attributes.tensors.views import TensorViews, fit


def brightness(views: TensorViews) -> Tensor:
    """(n,) mean luma, 0–1; as ``attributes.exposure.brightness``."""
    return _luma(views)[0]


def contrast(views: TensorViews) -> Tensor:
    """(n,) standard deviation of luma, 0–0.5; as ``attributes.exposure.contrast``."""
    return _luma(views)[1]


def clipped(views: TensorViews) -> Tensor:
    """(n,) share of burned-out pixels, 0–1; as ``attributes.exposure.clipped``."""
    return (darkest(views) >= CLIPPED_LEVEL).double().mean(dim=(1, 2))


def planes(views: TensorViews) -> Tensor:
    """(n, 3, h, w) uint8 RGB of at most ``COARSE`` px."""
    return views.shared("planes", lambda: fit(views.small, COARSE))


def darkest(views: TensorViews) -> Tensor:
    """(n, h, w) uint8, the darkest of the three channels of each pixel, of at most ``COARSE`` px."""
    return views.shared("darkest", lambda: planes(views).amin(dim=1))


def coarse(views: TensorViews) -> Tensor:
    """(n, h, w) uint8 luma of at most ``COARSE`` px."""
    return views.shared("coarse", lambda: fit(views.gray, COARSE))


def _luma(views: TensorViews) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of luma, from sums that are exact."""
    return views.shared("luma", lambda: _moments(views.gray))


def _moments(gray: Tensor) -> tuple[Tensor, Tensor]:
    pixels = gray.shape[1] * gray.shape[2]
    mean = gray.sum(dim=(1, 2), dtype=torch.int64).double() / pixels
    squares = gray.int().square().sum(dim=(1, 2), dtype=torch.int64).double()
    return mean / 255.0, (squares / pixels - mean**2).clamp(min=0.0).sqrt() / 255.0

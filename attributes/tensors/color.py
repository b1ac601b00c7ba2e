"""Colourfulness on tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from attributes.tensors.exposure import planes
from attributes.tensors.views import TensorViews


def colorfulness(views: TensorViews) -> Tensor:
    """(n,) colourfulness from 0, in levels of 255; as ``attributes.color.colorfulness``."""
    red, green, blue = planes(views).int().unbind(dim=1)
    # The second is twice yellow − blue, so that it stays whole.
    (mean, variance), (mean_2, variance_2) = _moments(red - green), _moments(red + green - 2 * blue)
    return (variance + variance_2 / 4).sqrt() + 0.3 * torch.hypot(mean, mean_2 / 2)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) mean and variance over each photo, from sums that are exact."""
    pixels = values.shape[1] * values.shape[2]
    mean = values.sum(dim=(1, 2), dtype=torch.int64).double() / pixels
    squares = values.square().sum(dim=(1, 2), dtype=torch.int64).double() / pixels
    return mean, (squares - mean**2).clamp(min=0.0)

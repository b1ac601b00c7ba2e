"""Sharpness on tensors."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from attributes.sharpness import COARSE, FIFTHS, FINE, LEAST, MARGIN, MIN_EDGES, MIXED_DETERMINANT, curve, looked_at
from attributes.tensors.views import TensorViews


def sharpness(views: TensorViews) -> Tensor:
    """(n,) float64 sharpness from 0, NaN where there are too few edges; as ``attributes.sharpness.sharpness``."""
    bands = views.bands
    if bands.shape[2] < 2 * MARGIN + 2 or bands.shape[3] < 2 * MARGIN + 1:
        return torch.full((len(views),), math.nan, dtype=torch.float64, device=bands.device)
    # Whole numbers under 2 ** 24, which single precision holds exactly. A convolution might round them (TF32).
    fine = functional.avg_pool2d(bands.float(), FINE, stride=1, divisor_override=1)
    coarse = functional.avg_pool2d(fine, COARSE, stride=1, divisor_override=1)
    at = MARGIN - FINE // 2
    gradient_x = fine[..., at:-at, at + 1 : 1 - at] - fine[..., at:-at, at - 1 : -1 - at]
    gradient_y = fine[..., at + 1 : 1 - at, at:-at] - fine[..., at - 1 : -1 - at, at:-at]
    across, down = coarse[..., 1:-1, 2:] - coarse[..., 1:-1, :-2], coarse[..., 2:, 1:-1] - coarse[..., :-2, 1:-1]
    edges = _ridges(across.abs(), down.abs()) & _looked_at(*bands.shape[2:], bands.device)
    coarse_x, coarse_y = across[..., 1:-1, 1:-1] / COARSE**2, down[..., 1:-1, 1:-1] / COARSE**2
    gradients = torch.stack([gradient_x, gradient_y, coarse_x, coarse_y], dim=1) * edges[:, None]
    flat = gradients.flatten(2).double()
    return _from_energy(flat @ flat.transpose(1, 2), edges.sum(dim=(1, 2, 3)))


def _ridges(across: Tensor, down: Tensor) -> Tensor:
    """Where the coarse gradient is a ridge and strong, without the outer row and column."""
    x, y = across[..., 1:-1, 1:-1], down[..., 1:-1, 1:-1]
    ridge_x = (x >= across[..., 1:-1, :-2]) & (x > across[..., 1:-1, 2:])
    ridge_y = (y >= down[..., :-2, 1:-1]) & (y > down[..., 2:, 1:-1])
    return torch.where(y > x, ridge_y, ridge_x) & (torch.maximum(x, y) >= LEAST)


@lru_cache(maxsize=32)
def _looked_at(height: int, width: int, device: torch.device) -> Tensor:
    return torch.from_numpy(looked_at(height, width, FIFTHS)[MARGIN:-MARGIN, MARGIN:-MARGIN]).to(device)


def _from_energy(energy: Tensor, count: Tensor) -> Tensor:
    """Sharpness from (n, 4, 4) summed products of the fine and coarse gradients and (n,) numbers of edge pixels."""
    constants = _constants(energy.device)
    pooled = energy.flatten(1)[:, constants.products].view(-1, 2, 3)
    determinants = pooled @ constants.mixed_determinant @ pooled.transpose(1, 2)
    fine, mixed, coarse = determinants[:, 0, 0], determinants[:, 0, 1], determinants[:, 1, 1]
    ratio = (mixed - (mixed.square() - fine * coarse).clamp(min=0.0).sqrt()) / coarse
    # Between the two neighbours on the curve, and straight on beyond its end.
    ratios, values = constants.ratios, constants.values
    right = torch.searchsorted(ratios, ratio).clamp(1, len(ratios) - 1)
    slope = (values[right] - values[right - 1]) / (ratios[right] - ratios[right - 1])
    told = values[right - 1] + slope * (ratio.clamp(min=ratios[0]) - ratios[right - 1])
    return torch.where((count >= MIN_EDGES * FIFTHS) & (coarse > 0), told, math.nan)


class _Constants(NamedTuple):
    """What does not depend on the photos: places of xx, xy and yy of both blurs in a flat 4×4 matrix, and so on."""

    products: Tensor
    mixed_determinant: Tensor
    ratios: Tensor
    values: Tensor


@cache
def _constants(device: torch.device) -> _Constants:
    """Kept on each device: every copy to a GPU would wait for it."""
    places = torch.tensor([0, 1, 5, 10, 11, 15])
    arrays = (torch.from_numpy(part) for part in (MIXED_DETERMINANT, *curve()))
    return _Constants(*(part.to(device) for part in (places, *arrays)))

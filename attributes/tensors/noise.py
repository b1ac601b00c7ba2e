"""Noise on tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attributes.noise import (
    BLOCK,
    BRIGHTEST,
    DARKEST,
    FAINT,
    FLAT_SHARE,
    GAIN,
    LUCK,
    MIN_BLOCKS,
    TEXTURED,
    UNEVEN,
)
from attributes.tensors.views import TensorViews, average


def noise(views: TensorViews) -> Tensor:
    """(n,) float64 standard deviation of noise in grey levels, NaN where it cannot be told; as ``attributes.noise``."""
    gray = views.bands.flatten(1, 2)
    rows, columns = gray.shape[1] // BLOCK, gray.shape[2] // BLOCK
    if rows * columns == 0:
        return torch.full((len(views),), math.nan, dtype=torch.float64, device=gray.device)
    gray = gray[:, : rows * BLOCK, : columns * BLOCK]
    half = average(gray, 2)
    mean = average(average(average(half, 2), 2), 2)
    usable = (mean >= DARKEST) & (mean <= BRIGHTEST)
    count = (usable.sum(dim=(1, 2)).double() * FLAT_SHARE).long()
    levels, halves = (_blocks(image, rows, columns) for image in (gray, half))
    rough = torch.where(usable, _roughness(halves), torch.iinfo(torch.int32).max).flatten(1)
    last = rough.sort(dim=1).values.gather(1, (count - 1).clamp(min=0)[:, None])
    flattest = (rough <= last).view_as(usable)
    (fine, spread), (coarse, _) = (_residual(blocks, flattest) for blocks in (levels, halves))
    uneven = spread > UNEVEN * fine
    fine, coarse = fine.square(), coarse.square()
    # Of white noise a quarter of the energy is left at half size.
    sigma = ((fine - coarse).clamp(min=0.0) / (1 - 1 / 4)).sqrt() / LUCK
    textured = (sigma > FAINT) & ((coarse > TEXTURED * fine) | uneven)
    return torch.where((count < MIN_BLOCKS) | textured, math.nan, sigma)


def _blocks(images: Tensor, rows: int, columns: int) -> Tensor:
    """(n, rows, y, columns, x) int32."""
    height, width = images.shape[1:]
    return images.int().reshape(-1, rows, height // rows, columns, width // columns)


def _roughness(halves: Tensor) -> Tensor:
    """(n, rows, columns) sums over blocks (n, rows, y, columns, x) of the absolute steps to the right and down."""
    here = halves[:, :, :-1, :, :-1]
    right, below = (halves[:, :, :-1, :, 1:] - here).abs(), (halves[:, :, 1:, :, :-1] - here).abs()
    return (right + below).clamp(max=255).sum(dim=(2, 4), dtype=torch.int32)


def _residual(blocks: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) mean and standard deviation, over the chosen blocks, of the normal noise that leaves their residuals."""
    bent = blocks[..., 2:] + blocks[..., :-2] - 2 * blocks[..., 1:-1]
    residual = (bent[:, :, 2:] + bent[:, :, :-2] - 2 * bent[:, :, 1:-1]).abs()
    sigma = residual.sum(dim=(2, 4)).double() / (residual.shape[2] * residual.shape[4]) / GAIN
    count = chosen.sum(dim=(1, 2))
    mean = (sigma * chosen).sum(dim=(1, 2)) / count
    squares = ((sigma - mean[:, None, None]).square() * chosen).sum(dim=(1, 2))
    return mean, (squares / count).sqrt()

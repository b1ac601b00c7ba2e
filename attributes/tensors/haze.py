"""Haze on tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attributes.haze import AIRLIGHT, CLEARER, FEWEST, FLOOR, PATCHES, SMALLEST, STRUCTURE
from attributes.tensors import exposure
from attributes.tensors.views import TensorViews


def haze(views: TensorViews) -> Tensor:
    """(n,) share of light that a veil has added, 0–1, NaN where it cannot be told; as ``attributes.haze.haze``."""
    darkest, gray = exposure.darkest(views), exposure.coarse(views)
    if min(darkest.shape[1:]) < SMALLEST:
        return torch.full((len(darkest),), math.nan, dtype=torch.float64, device=darkest.device)
    dark = _patches(darkest).amin(dim=(2, 4)).flatten(1).double() / 255.0
    airlight = _brightest(darkest).clamp(*AIRLIGHT)[:, None]
    structure = _deviation(gray) > STRUCTURE * ((airlight - dark).clamp(min=0.0) + FLOOR)
    fewer = structure.sum(dim=1, keepdim=True)
    # Patches that do not count are sorted behind all others.
    seen = torch.where(structure, dark, math.inf).sort(dim=1).values
    taken = seen.gather(1, (CLEARER * fewer).long())
    return torch.where(fewer < FEWEST, math.nan, (taken / airlight).clamp(max=1.0)).flatten()


def _patches(values: Tensor) -> Tensor:
    """Cut planes into a grid of equal patches: (n, row, y, column, x); what is left at the end is dropped."""
    height, width = (side // PATCHES for side in values.shape[1:])
    return values[:, : height * PATCHES, : width * PATCHES].reshape(-1, PATCHES, height, PATCHES, width)


def _deviation(gray: Tensor) -> Tensor:
    """(n, patches) standard deviation of luma in each patch, from sums that are exact."""
    patches = _patches(gray).int()
    pixels = patches.shape[2] * patches.shape[4]
    total = patches.sum(dim=(2, 4)).flatten(1).double()
    squares = patches.square().sum(dim=(2, 4)).flatten(1).double()
    return (squares / pixels - (total / pixels) ** 2).clamp(min=0.0).sqrt() / 255.0


def _brightest(values: Tensor) -> Tensor:
    """(n,) 99th percentile of planes, 0–1."""
    levels = values.flatten(1)
    return levels.kthvalue(math.ceil(0.99 * levels.shape[1])).values.double() / 255.0

"""JPEG quality on tensors."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from attributes import compression as cpu
from attributes.reduced import middle_of
from attributes.tensors.views import TensorViews, luma

_LEAST_SIDE = 32
_N_CELLS = cpu.LARGEST * cpu.CELLS_PER_LEVEL


def jpeg_quality(views: TensorViews) -> Tensor:
    """(n,) JPEG quality, 10–100, NaN where it cannot be told; as ``attributes.compression.jpeg_quality``."""
    height, width = views.photos.shape[2:]
    if len(views) == 0 or min(height, width) < 8:
        return torch.full((len(views),), math.nan, dtype=torch.float64, device=views.photos.device)
    rows, columns = middle_of(height, width)
    whole = views.detail.shape[1:] == (height, width)
    middle = views.detail[:, rows, columns] if whole else luma(views.photos[:, :, rows, columns])
    start = torch.zeros(len(middle), dtype=torch.int64, device=middle.device)
    quality = _fit(middle, start, start)
    if min(middle.shape[1:]) < _LEAST_SIDE:
        return quality
    (down, sure_down), (right, sure_right) = _phase(middle), _phase(middle.mT)
    shifted = ((down > 0) | (right > 0)) & (torch.minimum(sure_down, sure_right) >= cpu.PHASE_EVIDENCE)
    # For all photos, because to ask which of them need it would wait for the device.
    return torch.where(quality.isnan() & shifted, _fit(middle, down, right), quality)


def _fit(middle: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """(n,) most likely quality of luma whose blocks begin (n,) rows down and (n,) columns right of its corner."""
    height, width = middle.shape[1:]
    y = torch.arange(height, device=middle.device) + down[:, None]
    x = torch.arange(width, device=middle.device) + right[:, None]
    photo = torch.arange(len(middle), device=middle.device)[:, None, None]
    shifted = middle[photo, y.clamp(max=height - 1)[:, :, None], x.clamp(max=width - 1)[:, None, :]]
    counts = _histograms(shifted, height - down, width - right)
    total = counts.sum(dim=2)
    telling = (total >= cpu.FEWEST_OF_ONE) & (counts.amax(dim=2) <= cpu.MOST_IN_ONE_CELL * total)
    used = total * telling
    n_used = used.sum(dim=1)
    constants = _constants(middle.device)
    shares = counts / total.clamp(min=1.0)[:, :, None]
    mean = (shares @ constants.multiples).clamp(min=1.0 + 1e-6)
    on_comb = shares @ constants.comb + (mean - 1) * torch.log(1 - 1 / mean) - torch.log(mean)
    smooth = -torch.log((shares @ constants.values - cpu.SMALLEST).clamp(min=1e-6)) - 1
    gain = ((on_comb - smooth).transpose(1, 2)[..., None] - constants.costs).amax(dim=1)
    per_coefficient = (gain * used[:, :, None]).sum(dim=1) / n_used.clamp(min=1.0)[:, None]
    best = per_coefficient.amax(dim=1)
    alike = (per_coefficient >= best[:, None] - cpu.AS_GOOD).double()
    quality = (alike * constants.qualities).sum(dim=1) / alike.sum(dim=1)
    untold = (n_used < cpu.FEWEST) | (best < cpu.LEAST_GAIN) | (_continues(shifted, y, x) > cpu.DRAWN)
    return torch.where(untold, math.nan, quality)


def _histograms(luma: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """(n, 9, cells) float64 counts of coefficients, of the blocks that lie in the first (n,) rows and columns."""
    rows, columns = luma.shape[1] // 8, luma.shape[2] // 8
    constants = _constants(luma.device)
    blocks = luma[:, : rows * 8, : columns * 8].double().reshape(-1, rows, 8, columns, 8)
    both = torch.einsum("vy,nrycx,hx->nvhrc", constants.waves, blocks, constants.waves)
    cells = (both[:, constants.vertical, constants.horizontal].abs() * cpu.CELLS_PER_LEVEL).long().clamp(max=_N_CELLS)
    n_rows, n_columns = (height // 8)[:, None], (width // 8)[:, None]
    row, column = torch.arange(rows, device=luma.device), torch.arange(columns, device=luma.device)
    stride = 1 + (n_rows > cpu.MOST_ROWS).long()
    inside = ((row < n_rows) & (row % stride == 0))[:, :, None] & (column < n_columns)[:, None, :]
    # What lies outside goes to the cell beyond the last, which is dropped.
    cells = torch.where(inside[:, None], cells, _N_CELLS).flatten(2)
    counts = torch.zeros(len(luma), 9, _N_CELLS + 1, dtype=torch.int32, device=luma.device)
    counts.scatter_add_(2, cells, torch.ones_like(cells, dtype=torch.int32))
    return counts[:, :, cpu.SMALLEST * cpu.CELLS_PER_LEVEL : _N_CELLS].double()


def _continues(luma: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(n,) share of pixels equal to the one above them where a block's row begins; 0 where none does."""
    height, width = luma.shape[1:]
    equal = luma[:, 7:-1:8] == luma[:, 8::8]
    inside = (y[:, 8::8] < height)[:, :, None] & (x < width)[:, None, :]
    return (equal & inside).sum(dim=(1, 2)).double() / inside.sum(dim=(1, 2)).clamp(min=1)


def _phase(luma: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) row, 0–7, at which blocks begin, and (n,) by how many standard deviations their edges stand out there."""
    steps = (luma[:, 1:].int() - luma[:, :-1].int()).abs().sum(dim=2).double() / luma.shape[2]
    edges = steps[:, 1:-1] - 0.5 * (steps[:, :-2] + steps[:, 2:])
    n_groups = edges.shape[1] // 8
    groups = edges[:, : n_groups * 8].reshape(-1, n_groups, 8).sort(dim=1).values
    by_row = 0.5 * (groups[:, n_groups // 2] + groups[:, (n_groups - 1) // 2])
    best = by_row.argmax(dim=1)
    others = by_row.gather(1, (best[:, None] + torch.arange(1, 8, device=luma.device)) % 8)
    top = by_row.gather(1, best[:, None])[:, 0]
    # The first of these edges lies between rows 1 and 2.
    return (best + 2) % 8, (top - others.mean(dim=1)) / (others.std(dim=1, correction=0) + 1e-3)


class _Constants(NamedTuple):
    """What does not depend on the photos."""

    waves: Tensor
    vertical: Tensor
    horizontal: Tensor
    qualities: Tensor
    values: Tensor
    multiples: Tensor
    comb: Tensor
    costs: Tensor


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> _Constants:
    """Kept on each device: every copy to a GPU would wait for it."""
    tables = [table.astype(np.float64) for table in cpu.comb_tables()]
    arrays = (cpu.dct_waves(), cpu.VERTICAL, cpu.HORIZONTAL, cpu.QUALITIES, *tables)
    return _Constants(*(torch.from_numpy(array).to(device) for array in arrays))

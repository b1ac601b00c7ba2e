"""Smooth weights of a photo's cells from scores of masked copies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_LENGTHS = (0.05, 0.1, 0.2, 0.4)
"""How far neighbours resemble each other, in shares of the longest side."""

_RATIOS = tuple(float(value) for value in torch.logspace(-2, 2, 15))
"""Signal to noise, of variances."""


def smooth_weights(design: Tensor, values: Tensor, lattice: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Regress values on cells whose weights vary smoothly over a lattice: a Gaussian process with a linear link.

    Neighbours resemble each other by exp(−distance / length). Length and noise are not set but averaged by the
    probability that they give to the values (Rasmussen & Williams, "Gaussian processes for machine learning", 2006,
    chapters 2 and 5), for each column by itself: few values give smooth weights, many give detail.

    Args:
        design: (n, rows · columns) what each cell adds to a value, centred.
        values: (n, k), centred.
        lattice: rows and columns of the cells.

    Returns:
        weights (k, rows · columns) and their standard errors, what other values of the same noise would move them by;
        both exactly 0 for a column of zeros.
    """
    design, values = design.double().cpu(), values.double().cpu()
    n, total = len(values), values.square().sum(0)
    weights, variances, evidences = [], [], []
    for length in _LENGTHS:
        root = torch.linalg.cholesky(_likeness(lattice, length))
        power, along, reach = _decomposed(design @ root, values)
        scale = (power.sum() / n).clamp(min=1e-300)
        power, reach = power / scale, reach @ root.T / scale.sqrt()
        rest = (total - along.square().sum(0)).clamp(min=0)
        for ratio in _RATIOS:
            spread = power * ratio + 1
            noise = (((along.square() / spread[:, None]).sum(0) + rest) / n).clamp(min=1e-300)
            gain = ratio * power.sqrt() / spread
            evidences.append(-0.5 * (n * noise.log() + spread.log().sum()))
            weights.append((gain[:, None] * along).T @ reach)
            variances.append(noise[:, None] * (gain[:, None] * reach).square().sum(0))
    share = torch.softmax(torch.stack(evidences), 0)[..., None]
    mean, variance = ((share * torch.stack(parts)).sum(0) for parts in (weights, variances))
    moved = (values != 0).any(0).double()[:, None]
    return (mean * moved).float(), (variance.sqrt() * moved).float()


def _decomposed(matrix: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared singular values (q,), the values along the left vectors (q, k), the right vectors (q, cells)."""
    if len(matrix) <= matrix.shape[1]:
        power, left = torch.linalg.eigh(matrix @ matrix.T)
        power = power.clamp(min=1e-12 * float(power.max()) + 1e-300)
        return power, left.T @ values, left.T @ matrix / power.sqrt()[:, None]
    power, right = torch.linalg.eigh(matrix.T @ matrix)
    power = power.clamp(min=1e-12 * float(power.max()) + 1e-300)
    return power, (matrix @ right).T @ values / power.sqrt()[:, None], right.T


def _likeness(lattice: Sequence[int], length: float) -> Tensor:
    """Covariance of the cells' weights, (cells, cells)."""
    rows, columns = (torch.arange(side, dtype=torch.float64) / max(lattice) for side in lattice)
    points = torch.cartesian_prod(rows, columns)
    return torch.exp(-torch.cdist(points, points) / length)

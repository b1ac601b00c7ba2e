"""The probability of a yes, from a few traits: logistic regression with a weak prior, where data may be few."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR_DEVIATION = 3.0
"""Standard deviation of the weights of standardised traits before any data."""

_STEPS = 50
_TOLERANCE = 1e-8


def fit(traits: Floats, yes: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """Fit by Newton's method on the penalised likelihood (le Cessie & van Houwelingen, Applied Statistics 1992).

    Args:
        traits: (n, d).
        yes: (n,).

    Returns:
        A function of traits (m, d) to probabilities (m,).
    """
    middle, spread = traits.mean(axis=0), traits.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def design(values: Floats) -> Floats:
        return np.column_stack([np.ones(len(values)), (values - middle) / spread])

    x = design(traits)
    penalty = np.full(x.shape[1], PRIOR_DEVIATION**-2)
    penalty[0] = 1e-6  # of the intercept nothing is presumed
    weights = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        probability = _logistic(x @ weights)
        gradient = x.T @ (yes - probability) - penalty * weights
        curvature = (x * (probability * (1 - probability))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        weights += step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _TOLERANCE:
            break
    return lambda values: _logistic(design(values) @ weights)


def _logistic(values: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return result

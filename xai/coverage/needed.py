"""How many photos would show that the promise is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xai.coverage.intervals import clopper_pearson, t_quantile

MOST_PHOTOS = 10**9
"""No more photos than this are ever asked for."""


@dataclass(frozen=True, slots=True)
class Present:
    """What is labelled already.

    Attributes:
        photos: in all, those without objects too.
        objects: scored objects, or detections.
        draws: independent draws that hold one.
        rate: of misses, 0–1.
        effect: design effect of the rate, at least 1.
    """

    photos: int
    objects: int
    draws: int
    rate: float
    effect: float


def photos_needed(present: Present, budget: float, confidence: float) -> int | None:
    """Return the smallest number of photos whose upper bound of the miss rate is within the budget, by bisection.

    The bound is that of ``intervals.rates_of`` for as many more objects and draws at the same rate and design effect,
    the ratio of t quantiles for the degrees of freedom (Korn & Graubard, Survey Methodology 1998) included.

    Args:
        present: what is labelled already and too little.
        budget: miss rate that is allowed, above the present one.
        confidence: of the one-sided bound.
    """
    alpha = 1 - confidence

    def shown(photos: int) -> bool:
        grown = photos / present.photos
        size = np.array([grown * present.objects])
        freedom = np.array([grown * max(present.draws, 2) - 1])
        correction = np.minimum((t_quantile(alpha, size - 1) / t_quantile(alpha, freedom)) ** 2, 1.0)
        high = clopper_pearson(np.array([present.rate]), size / present.effect * correction, alpha)[1]
        return bool(high[0] <= budget + 1e-12)

    low, high = present.photos, 2 * present.photos
    while not shown(high):
        low, high = high, 2 * high
        if high > MOST_PHOTOS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high

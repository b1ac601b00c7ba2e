"""Intervals of shares that are counted over photos: the objects of one photo are not independent draws."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from xai.tables import draws

Z95 = 1.959963984540054
"""The 97.5% point of the normal distribution: two-sided 95%."""


def wilson(proportion: float, size: float) -> tuple[float, float]:
    """Return Wilson's 95% score interval of a proportion (Wilson 1927); ``size`` need not be whole.

    >>> low, high = wilson(0.5, 10)
    >>> round(low, 4), round(high, 4)
    (0.2366, 0.7634)
    """
    middle = proportion + Z95**2 / (2 * size)
    spread = Z95 * math.sqrt(proportion * (1 - proportion) / size + Z95**2 / (4 * size**2))
    scale = 1 + Z95**2 / size
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def effective_size(image_ids: pl.Series, images: pl.DataFrame | None = None, objects: pl.Series | None = None) -> float:
    """Return how many independent draws the objects of some photos are worth at least.

    Kish's effective sample size (Survey Sampling, 1965) with a photo's objects as copies of one draw: n² / Σ nᵢ² over
    photos (or groups of photos). Exact for a condition that all objects of a photo share, cautious for others.

    Args:
        image_ids: (n,) the photo of each object.
        images: ``image_id`` and, where photos are drawn in groups, ``group``.
        objects: (n,) objects that each row stands for; 1 if left out.

    >>> effective_size(pl.Series(["a", "a", "b", "b"])), effective_size(pl.Series(["a", "b"]))
    (2.0, 2.0)
    """
    if image_ids.is_empty():
        return 0.0
    weights = None if objects is None else objects.to_numpy()
    counts = np.bincount(draws(image_ids, images).to_numpy(), weights).astype(np.float64)
    return float(counts.sum() ** 2 / (counts**2).sum())


def of_counts(successes: int, total: int, squares: tuple[float, float, float], photos: int) -> tuple[float, float]:
    """Return the 95% interval of a proportion counted over photos.

    Wilson's at the effective sample size ``total / design effect``, the design effect being that of a ratio over photos
    as clusters (Korn and Graubard, Survey Methodology 1998). With few successes, failures or photos nothing can be said
    about how alike the objects of a photo are: they count as one draw, the effective size is the number of photos.

    Args:
        successes: of ``total``.
        total: things counted, 1 or more.
        squares: Σ total², Σ total · successes and Σ successes² over photos.
        photos: that hold one.
    """
    share = successes / total
    if min(successes, total - successes) >= MIN_EVENTS and photos >= MIN_PHOTOS:
        together = squares[2] - 2 * share * squares[1] + share**2 * squares[0]
        variance = photos / (photos - 1) * together / total**2
        return wilson(share, total / max(1.0, variance * total / (share * (1 - share))))
    return wilson(share, float(photos))


MIN_EVENTS, MIN_PHOTOS = 5, 20
"""With fewer successes or failures, or fewer photos, a design effect is not trusted."""

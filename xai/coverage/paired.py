"""Two detectors on the same objects: what one finds that the other misses, cell by cell, respecting photos.

An object is *fixed* where A misses and B finds it, *broken* where A finds and B misses it; all others are unchanged.
``inside`` is (n, T): whether an object lies in a cell; ``draws`` the sparse (D, n) indicator of photos or groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

from xai.coverage.intervals import MIN_CLUSTERS, MIN_EVENTS, MIN_POOLED_EVENTS, Bools, Floats, Integers

MOST_EXACT = 4096
"""Changes in all draws up to which the sign-flip distribution is summed exactly; beyond, it is normal to 3 digits."""

_CHUNK = 32


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """What changed in T cells.

    Attributes:
        objects: (T,) objects.
        draws: (T,) photos or groups that hold one.
        fixed: (T,) objects that A misses and B finds.
        broken: (T,) objects that A finds and B misses.
        changed: (T,) draws in which fixed and broken objects do not cancel.
        difference: (T,) miss rate of B minus that of A, −1 to 1; NaN where the cell is empty.
        low: (T,) lower bound.
        high: (T,) upper bound.
        p_value: (T,) two-sided, of A and B being alike.
    """

    objects: Integers
    draws: Integers
    fixed: Integers
    broken: Integers
    changed: Integers
    difference: Floats
    low: Floats
    high: Floats
    p_value: Floats


def paired(inside: Bools, a: Bools, b: Bools, draws: sparse.csr_array, *, confidence: float = 0.95) -> Paired:
    """Compare the misses of two detectors on the same objects.

    The p-value is that of the sign-flip test over draws (``sign_flip``). The interval is Tango's score interval of a
    paired difference (Statistics in Medicine 1998), which is honest where nothing changed, on counts divided by the
    design effect: the Taylor-linearised variance of the mean change over draws against that of as many independent
    objects (Obuchowski, Statistics in Medicine 1998), with the pooled correlation of changes where a cell has fewer
    than 5 changed draws or 20 draws, and never below it. The quantile is Student's with one less than the draws.

    Args:
        inside: (n, T).
        a: (n,) misses of A.
        b: (n,) misses of B.
        draws: (D, n) indicator.
        confidence: of the two-sided interval.
    """
    change = b.astype(np.float64) - a
    icc = change_correlation(change, draws)
    parts = [
        _paired(inside[:, start : start + _CHUNK], change, draws, icc, 1 - confidence)
        for start in range(0, inside.shape[1], _CHUNK)
    ] or [_paired(inside, change, draws, icc, 1 - confidence)]
    return Paired(*(np.concatenate([getattr(part, name) for part in parts]) for name in Paired.__slots__))


def change_correlation(change: Floats, draws: sparse.csr_array) -> float:
    """Return how alike the changes (−1, 0, 1) of one draw's objects are, 0–1; 1 with fewer than 10 changes.

    The analysis-of-variance estimator for unequal cluster sizes (Donner, Int. Stat. Rev. 1986).
    """
    size = draws.sum(axis=1)
    total, squares = draws @ change, draws @ change**2
    size, total, squares = size[size > 0], total[size > 0], squares[size > 0]
    objects, clusters = size.sum(), len(size)
    if squares.sum() < MIN_POOLED_EVENTS or clusters < 2 or objects == clusters:
        return 1.0
    between = (size * (total / size - total.sum() / objects) ** 2).sum() / (clusters - 1)
    within = (squares - total**2 / size).sum() / (objects - clusters)
    typical = (objects - (size**2).sum() / objects) / (clusters - 1)
    scale = between + (typical - 1) * within
    return float(np.clip((between - within) / scale, 0, 1)) if scale > 0 else 1.0


def sign_flip(sums: Floats) -> Floats:
    """Return (T,) two-sided p-values of the sum of changes being no more than chance.

    If A and B are alike, swapping them in any draw is as likely as not, so the sum over draws is one of Σ ±|sᵢ|, all
    signs equally likely (Fisher, The Design of Experiments, 1935, section 21). Its distribution is exact: the inverse
    Fourier transform of Π cos(t |sᵢ|). Where every draw changes by one object this is the exact McNemar test (binomial,
    p = ½); Durkalski et al. (Statistics in Medicine 2003) is the normal approximation that clustered data are often
    given, and is used beyond ``MOST_EXACT`` changes.

    Args:
        sums: (D, T) broken minus fixed objects of each draw, whole numbers.
    """
    size = np.abs(sums)
    observed, most = np.abs(sums.sum(axis=0)), size.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        p_value = 2 * special.ndtr(-observed / np.sqrt((sums**2).sum(axis=0)))
    p_value = np.where(most > 0, p_value, 1.0)
    exact = np.flatnonzero((most > 0) & (most <= MOST_EXACT))
    if not len(exact):
        return np.asarray(p_value)
    kinds = np.unique(size[:, exact])
    kinds = kinds[kinds > 0]
    counts = np.stack([(size[:, exact] == kind).sum(axis=0) for kind in kinds]).astype(np.float64)
    length = 2 * int(most[exact].max()) + 1
    cosine = np.cos(2 * np.pi * np.arange(length)[:, None] / length * kinds)
    magnitude = np.exp(np.log(np.maximum(np.abs(cosine), 1e-300)) @ counts)
    negative = np.rint((cosine < 0).astype(np.float64) @ counts) % 2
    mass = np.fft.fft(magnitude * (1 - 2 * negative), axis=0).real / length
    position = np.minimum(np.arange(length), length - np.arange(length))
    tail = np.where(position[:, None] >= observed[exact], mass, 0.0).sum(axis=0)
    draws = np.count_nonzero(size[:, exact], axis=0)
    p_value[exact] = np.clip(tail, np.exp2(1.0 - np.minimum(draws, 1000)), 1.0)
    return np.asarray(p_value)


def tango(fixed: Floats, broken: Floats, size: Floats, quantile: Floats) -> tuple[Floats, Floats]:
    """Return the score interval of (broken − fixed) / size (Tango, Statistics in Medicine 1998, equation 15).

    Args:
        fixed: (T,) may be fractional.
        broken: (T,) likewise.
        size: (T,) pairs.
        quantile: (T,) of the score.
    """
    centre = (broken - fixed) / size

    def score(value: Floats) -> Floats:
        second = -broken - fixed + (2 * size - broken + fixed) * value
        third = -fixed * value * (1 - value)
        share = (np.sqrt(np.maximum(second**2 - 8 * size * third, 0)) - second) / (4 * size)
        spread = size * np.maximum(2 * share + value * (1 - value), 0)
        reach = broken - fixed - size * value
        return np.asarray(np.where(spread > 0, reach / np.sqrt(np.maximum(spread, 1e-300)), np.sign(reach) * np.inf))

    bounds = []
    for side in (-1.0, 1.0):
        near, far = centre.copy(), np.full(len(centre), side)
        for _ in range(50):
            middle = (near + far) / 2
            within = np.abs(score(middle)) <= quantile
            near, far = np.where(within, middle, near), np.where(within, far, middle)
        bounds.append(np.where(size > 0, (near + far) / 2, np.nan))
    return bounds[0], bounds[1]


def _paired(inside: Bools, change: Floats, draws: sparse.csr_array, icc: float, alpha: float) -> Paired:
    within = inside.astype(np.float64)
    counts, sums = draws @ within, draws @ (within * change[:, None])
    size = counts.sum(axis=0)
    broken, fixed = within[change > 0].sum(axis=0), within[change < 0].sum(axis=0)
    clusters, changed = (counts > 0).sum(axis=0), (sums != 0).sum(axis=0)
    moved = (draws @ (within * (change != 0)[:, None]) > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = (broken - fixed) / size
        pooled = 1 + ((counts**2).sum(axis=0) / size - 1) * icc
        variance = clusters / (clusters - 1) * ((sums - counts * difference) ** 2).sum(axis=0) / size**2
        own = variance * size / ((broken + fixed) / size - difference**2)
        trusted = (moved >= MIN_EVENTS) & (clusters >= MIN_CLUSTERS)
        effect = np.maximum(pooled, np.where(trusted & np.isfinite(own), own, 1.0))
        quantile = -special.stdtrit(np.maximum(clusters - 1.0, 1.0), alpha / 2)
        low, high = tango(fixed / effect, broken / effect, size / effect, quantile)
    return Paired(
        size.astype(np.int64),
        clusters.astype(np.int64),
        fixed.astype(np.int64),
        broken.astype(np.int64),
        changed.astype(np.int64),
        difference,
        low,
        high,
        sign_flip(sums),
    )

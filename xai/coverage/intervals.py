"""Intervals that respect photos: objects of one photo share its glare, so photos are the independent draws.

All functions work on T cells at once. ``inside`` is (n, T): whether an object lies in a cell; ``photos`` is the sparse
(P, n) indicator of ``indicator(photo)``, so that ``photos @ x`` sums over the objects of each photo. Objects that are
alike in everything that is asked may share a row: then (P, n) holds how many of each kind a photo has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special, stats

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.integer[Any]]
Sums = TypeVar("Sums", bound="HasSlots")


class HasSlots(Protocol):
    """A record of arrays."""

    __slots__: tuple[str, ...]


_FIGURES = 2**22
"""Figures of rows that are held at a time."""

MIN_EVENTS = 5
"""Fewer misses (or finds, or photos with either) than this in a cell: no variance of its own is trusted."""

MIN_CLUSTERS = 20
"""Fewer photos than this in a cell: its own design effect is not trusted."""

MANY_GROUPS = 1000
"""Groups beyond which the rows of each are not added up one group after the other."""

MIN_POOLED_EVENTS = 10
"""Fewer misses (or finds) than this in all: nothing tells how alike the objects of a photo are."""


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Shares of misses in T cells; NaN where a cell is empty.

    Attributes:
        rate: (T,) misses / objects.
        low: (T,) lower bound in 0–1.
        high: (T,) upper bound in 0–1.
        design_effect: (T,) variance relative to as many independent objects, at least 1.
        effective: (T,) independent objects that would tell as much.
    """

    rate: Floats
    low: Floats
    high: Floats
    design_effect: Floats
    effective: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """All that intervals of rates need of n objects and l misses per photo, summed over photos; equal shapes.

    Attributes:
        size: Σ n.
        lost: Σ l.
        clusters: photos with n > 0.
        size_squares: Σ n².
        lost_squares: Σ l².
        products: Σ n l.
    """

    size: Floats
    lost: Floats
    clusters: Floats
    size_squares: Floats
    lost_squares: Floats
    products: Floats

    @classmethod
    def of(cls, size: Floats, lost: Floats, groups: sparse.csr_array | None = None) -> Moments:
        """Sum over photos.

        Args:
            size: (P, T) objects of each photo in each cell.
            lost: (P, T) misses among them.
            groups: (G, P) indicator: sums are taken in each group apart, (G, T); left out, over all photos, (T,).
        """
        parts = (size, lost, size > 0, size**2, lost**2, size * lost)
        if groups is None:
            groups = indicator(np.zeros(len(size), dtype=np.int64), 1)
            return cls(*(part[0] for part in _alike([sum_rows(part, groups) for part in parts])))
        return cls(*_alike([sum_rows(part, groups) for part in parts]))


def _alike(sums: list[Floats]) -> list[Floats]:
    """Bring all to the shape of the second."""
    return [np.broadcast_to(total, sums[1].shape).astype(np.float64) for total in sums]


def added(parts: Iterable[Sums]) -> Sums:
    """Add up records of sums, field by field."""

    def add(one: Sums, other: Sums) -> Sums:
        return type(one)(*(getattr(one, name) + getattr(other, name) for name in one.__slots__))

    return reduce(add, parts)


def split_rows(
    table: sparse.csr_array, group: Integers, groups: int, width: int
) -> Iterator[tuple[sparse.csr_array, sparse.csr_array]]:
    """Yield some rows at a time, with the (G, r) indicator of their groups, so that the figures of rows stay few.

    Args:
        table: (R, C).
        group: (R,) codes 0–G−1.
        groups: G.
        width: figures that are made of each row.
    """
    rows, step = len(group), max(_FIGURES // max(width, 1), 1)
    if rows <= step:
        yield table, indicator(group, groups)
        return
    for start in range(0, rows, step):
        yield table[start : start + step], indicator(group[start : start + step], groups)


def indicator(codes: NDArray[np.integer], count: int) -> sparse.csr_array:
    """Return the sparse (count, n) matrix whose row i has ones where ``codes == i``."""
    ones = np.ones(len(codes))
    return sparse.csr_array((ones, (codes, np.arange(len(codes)))), shape=(count, len(codes)))


def sum_rows(values: Floats | Bools, groups: sparse.csr_array) -> Floats:
    """Return (G, T) sums of the rows (P, T) of each group, from its (G, P) indicator of ones.

    Sums of rows are products with ones, which is several times as fast as adding up along the longer axis. Truths are
    counted in float32, which holds whole numbers up to 2²⁴.
    """
    count = values.dtype == np.bool_
    numbers = values.astype(np.float32 if count and len(values) < 2**24 else np.float64, copy=False)
    if groups.shape[0] == 1:
        return np.asarray((np.ones(len(numbers), dtype=numbers.dtype) @ numbers)[None], dtype=np.float64)
    place = groups.indices
    if len(place) == len(values) and groups.shape[0] < MANY_GROUPS and bool((place[1:] > place[:-1]).all()):
        ones = np.ones(len(numbers), dtype=numbers.dtype)
        parts = [ones[i:j] @ numbers[i:j] for i, j in pairwise(groups.indptr.tolist())]
        return np.asarray(np.stack(parts), dtype=np.float64)
    return np.asarray(groups @ values.astype(np.float64))


def intraclass_correlation(miss: Bools, photos: sparse.csr_array) -> float:
    """Return how alike the outcomes of one photo's objects are, 0–1, as ``correlations_of`` does."""
    size, lost = photos.sum(axis=1), photos @ miss.astype(np.float64)
    return float(correlations_of(size[:, None], lost[:, None])[0])


def correlations_of(size: Floats, lost: Floats) -> Floats:
    """Return (T,) how alike the outcomes of one photo's objects are, 0–1, in T data sets.

    The analysis-of-variance estimator for unequal cluster sizes (Donner, Int. Stat. Rev. 1986), cut to 0–1. With fewer
    than 10 misses or finds it says nothing, and 1 is returned: then photos count, not objects.

    Args:
        size: (P, T) objects of each photo.
        lost: (P, T) misses among them.
    """
    objects, clusters, misses = size.sum(axis=0), (size > 0).sum(axis=0), lost.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(size > 0, lost / size, 0.0)
        between = (size * (rate - misses / objects) ** 2).sum(axis=0) / (clusters - 1)
        within = (lost * (1 - rate)).sum(axis=0) / (objects - clusters)
        typical = (objects - (size**2).sum(axis=0) / objects) / (clusters - 1)
        found = np.clip((between - within) / (between + (typical - 1) * within), 0, 1)
    untold = np.minimum(misses, objects - misses) < MIN_POOLED_EVENTS
    return np.asarray(np.where(untold | (clusters < 2) | (objects == clusters), 1.0, found))


def rates(
    inside: Bools,
    miss: Bools,
    photos: sparse.csr_array,
    *,
    icc: float,
    confidence: float = 0.95,
    two_sided: bool = True,
) -> Rates:
    """Estimate the miss rate of each cell with a photo-clustered interval, as ``rates_of`` says.

    Args:
        inside: (n, T).
        miss: (n,).
        photos: (P, n) indicator.
        icc: pooled intraclass correlation, 0–1.
        confidence: of the interval, or of each of two one-sided bounds.
        two_sided: False for one-sided bounds, each at ``confidence``.
    """
    within = inside.astype(np.float64)
    moments = Moments.of(photos @ within, photos @ (within * miss[:, None]))
    return rates_of(moments, icc, (1 - confidence) / (2 if two_sided else 1), photos.shape[0])


def shares(inside: Bools, photos: sparse.csr_array) -> Rates:
    """Estimate the share of objects in each cell with a 95% interval, as ``rates_of`` does; NaN without objects.

    The objects of a photo are taken to be alike, as they are in what is measured on the photo.

    Args:
        inside: (n, T).
        photos: (P, n) indicator.
    """
    moments = Moments.of(photos.sum(axis=1)[:, None], photos @ inside.astype(np.float64))
    return rates_of(moments, 1.0, 0.025, photos.shape[0])


def rates_of(moments: Moments, icc: float | Floats, alpha: float, photos: int) -> Rates:
    """Estimate misses / objects in each cell; each bound is missed with probability ``alpha``.

    Clopper–Pearson on the effective sample size (Korn & Graubard, Survey Methodology 1998): n / deff, and misses in
    proportion, n corrected by the ratio of t quantiles for the degrees of freedom. The design effect comes from the
    Taylor-linearised variance of the ratio misses / objects over photos (Särndal, Swensson & Wretman, Model Assisted
    Survey Sampling, 1992, eq. 5.6.10). Where a cell has fewer than 5 misses or finds or 20 photos, and wherever it is
    larger, the pooled one is used: 1 + (Σ nᵢ² / n − 1) · icc (Kish, Survey Sampling, 1965) with nᵢ the cell's objects
    in photo i. It is never below 1, so the effective sample is at most the number of objects; with zero misses the
    bound rests on ``icc`` alone.

    Args:
        moments: of the cells.
        icc: pooled intraclass correlation, 0–1.
        alpha: of each bound.
        photos: that ``icc`` was told from.
    """
    size, misses, clusters = moments.size, moments.lost, moments.clusters
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = misses / size
        pooled = 1 + (moments.size_squares / size - 1) * icc
        spread = moments.lost_squares - 2 * rate * moments.products + rate**2 * moments.size_squares
        variance = clusters / (clusters - 1) * spread / size**2
        own = variance * size / (rate * (1 - rate))
    trusted = (np.minimum(misses, size - misses) >= MIN_EVENTS) & (clusters >= MIN_CLUSTERS)
    effect = np.maximum(pooled, np.where(trusted, own, 1.0))
    freedom = np.where(trusted & (own > pooled), clusters, max(photos, 2)) - 1.0
    correction = np.minimum((t_quantile(alpha, size - 1) / t_quantile(alpha, freedom)) ** 2, 1.0)
    effective = size / effect * correction
    low, high = clopper_pearson(rate, effective, alpha)
    return Rates(rate, low, high, effect, effective)


def clopper_pearson(rate: Floats, size: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Return exact binomial bounds, each missed with probability ``alpha`` (Clopper & Pearson, Biometrika 1934).

    ``size`` may be fractional; the misses are ``rate * size``.
    """
    events = np.asarray(rate * size)
    rest = np.maximum(size - events, 0)
    with np.errstate(invalid="ignore"):
        low = np.where(events <= 0, 0.0, special.betaincinv(np.maximum(events, 1e-12), rest + 1, alpha))
        high = np.where(rest <= 0, 1.0, special.betaincinv(events + 1, np.maximum(rest, 1e-12), 1 - alpha))
    empty = ~(size > 0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def false_discovery(p_values: Floats, families: int = 1) -> Floats:
    """Return Benjamini–Hochberg q-values (J. R. Stat. Soc. B 1995); NaN is no test and stays NaN.

    Args:
        p_values: (m,) of one family.
        families: that are asked side by side: q-values are multiplied by it (Bonferroni), so that where nothing is the
            matter all of them together report something as seldom as one alone would.
    """
    result = np.full(len(p_values), np.nan)
    tested = ~np.isnan(p_values)
    if tested.any():
        result[tested] = np.minimum(stats.false_discovery_control(p_values[tested]) * families, 1.0)
    return result


def t_quantile(alpha: float, freedom: Floats) -> Floats:
    """Return the upper ``alpha`` quantile of Student's t; at least one degree of freedom."""
    return np.asarray(-special.stdtrit(np.maximum(freedom, 1.0), alpha), dtype=np.float64)

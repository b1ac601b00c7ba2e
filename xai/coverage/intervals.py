"""Intervals that respect photos: objects of one photo share its glare, so photos are the independent draws.

All functions work on T cells at once. ``inside`` is (n, T): whether an object lies in a cell; ``photos`` is the sparse
(P, n) indicator of ``indicator(photo)``, so that ``photos @ x`` sums over the objects of each photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special, stats

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

MIN_EVENTS = 5
"""Fewer misses (or finds, or photos with either) than this in a cell: no variance of its own is trusted."""

MIN_CLUSTERS = 20
"""Fewer photos than this in a cell: its own design effect is not trusted."""

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
    """

    rate: Floats
    low: Floats
    high: Floats
    design_effect: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Ratios:
    """Risk ratios of T cells; NaN where nothing can be compared.

    Attributes:
        ratio: (T,) risk inside / risk outside.
        low: (T,) lower bound, ≥ 0.
        high: (T,) upper bound; ``inf`` where the data set none.
        p_value: (T,) two-sided, of the ratio being 1.
    """

    ratio: Floats
    low: Floats
    high: Floats
    p_value: Floats


def indicator(codes: NDArray[np.integer], count: int) -> sparse.csr_array:
    """Return the sparse (count, n) matrix whose row i has ones where ``codes == i``."""
    ones = np.ones(len(codes))
    return sparse.csr_array((ones, (codes, np.arange(len(codes)))), shape=(count, len(codes)))


def intraclass_correlation(miss: Bools, photos: sparse.csr_array) -> float:
    """Return how alike the outcomes of one photo's objects are, 0–1.

    The analysis-of-variance estimator for unequal cluster sizes (Donner, Int. Stat. Rev. 1986), cut to 0–1. With fewer
    than 10 misses or finds it says nothing, and 1 is returned: then photos count, not objects.
    """
    size = photos.sum(axis=1)
    lost = photos @ miss.astype(np.float64)
    size, lost = size[size > 0], lost[size > 0]
    objects, clusters, misses = size.sum(), len(size), lost.sum()
    if min(misses, objects - misses) < MIN_POOLED_EVENTS or clusters < 2 or objects == clusters:
        return 1.0
    between = (size * (lost / size - misses / objects) ** 2).sum() / (clusters - 1)
    within = (lost * (1 - lost / size)).sum() / (objects - clusters)
    typical = (objects - (size**2).sum() / objects) / (clusters - 1)
    return float(np.clip((between - within) / (between + (typical - 1) * within), 0, 1))


def rates(
    inside: Bools,
    miss: Bools,
    photos: sparse.csr_array,
    *,
    icc: float,
    confidence: float = 0.95,
    two_sided: bool = True,
) -> Rates:
    """Estimate the miss rate of each cell with a photo-clustered interval.

    Clopper–Pearson on the effective sample size (Korn & Graubard, Survey Methodology 1998): n / deff, and misses in
    proportion, n corrected by the ratio of t quantiles for the degrees of freedom. The design effect comes from the
    Taylor-linearised variance of the ratio misses / objects over photos (Särndal, Swensson & Wretman, Model Assisted
    Survey Sampling, 1992, eq. 5.6.10). Where a cell has fewer than 5 misses or finds or 20 photos, and wherever it is
    larger, the pooled one is used: 1 + (Σ nᵢ² / n − 1) · icc (Kish, Survey Sampling, 1965) with nᵢ the cell's objects
    in photo i. It is never below 1, so the effective sample is at most the number of objects; with zero misses the
    bound rests on ``icc`` alone.

    Args:
        inside: (n, T).
        miss: (n,).
        photos: (P, n) indicator.
        icc: pooled intraclass correlation, 0–1.
        confidence: of the interval, or of each of two one-sided bounds.
        two_sided: False for one-sided bounds, each at ``confidence``.
    """
    within = inside.astype(np.float64)
    counts, lost = photos @ within, photos @ (within * miss[:, None])
    return _of_totals(lost, counts, icc, (1 - confidence) / (2 if two_sided else 1))


def shares(inside: Bools, photos: sparse.csr_array) -> Rates:
    """Estimate the share of objects in each cell with a 95% interval, as ``rates`` does; NaN without objects.

    The objects of a photo are taken to be alike, as they are in what is measured on the photo.

    Args:
        inside: (n, T).
        photos: (P, n) indicator.
    """
    held = photos @ inside.astype(np.float64)
    counts = np.broadcast_to(photos.sum(axis=1)[:, None], held.shape)
    return _of_totals(held, counts, 1.0, 0.025)


def _of_totals(lost: Floats, counts: Floats, icc: float, alpha: float) -> Rates:
    """Estimate lost / counts, (P, T) by photo and cell; each bound is missed with probability ``alpha``."""
    size, misses = counts.sum(axis=0), lost.sum(axis=0)
    clusters = (counts > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = misses / size
        pooled = 1 + ((counts**2).sum(axis=0) / size - 1) * icc
        variance = clusters / (clusters - 1) * ((lost - counts * rate) ** 2).sum(axis=0) / size**2
        own = variance * size / (rate * (1 - rate))
    trusted = (np.minimum(misses, size - misses) >= MIN_EVENTS) & (clusters >= MIN_CLUSTERS)
    effect = np.maximum(pooled, np.where(trusted, own, 1.0))
    freedom = np.where(trusted & (own > pooled), clusters, max(len(counts), 2)) - 1.0
    correction = np.minimum((_t_quantile(alpha, size - 1) / _t_quantile(alpha, freedom)) ** 2, 1.0)
    low, high = clopper_pearson(rate, size / effect * correction, alpha)
    return Rates(rate, low, high, effect)


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


def risk_ratios(
    inside: Bools,
    compared: Bools,
    miss: Bools,
    photos: sparse.csr_array,
    stratum: Integers | None = None,
    *,
    icc: float,
    confidence: float = 0.95,
) -> Ratios:
    r"""Compare the miss rate inside each cell with that of the other compared objects, stratum by stratum.

    Without strata this is the crude risk ratio. With strata k it is the Mantel–Haenszel risk ratio R / S with
    R = Σ aₖ n₀ₖ / Nₖ and S = Σ bₖ n₁ₖ / Nₖ (Greenland & Robins, Biometrics 1985), where aₖ of n₁ₖ objects inside and bₖ
    of n₀ₖ objects outside are missed; strata without objects on both sides carry no weight.

    The interval is on the log scale with the linearised (Taylor) variance over photos (Binder, Int. Stat. Rev. 1983).
    R and S are functions of the totals aₖ, bₖ, n₁ₖ, n₀ₖ; differentiating log R − log S by them gives each object's
    influence, with y = 1 for a miss and μₖ = (aₖ + RR bₖ) / Nₖ, the common-ratio estimate of the risk inside:

    - inside:  n₀ₖ / Nₖ · (y − μₖ) / R
    - outside: −n₁ₖ / Nₖ · (RR y − μₖ) / R

    Influences are summed per photo, and m / (m − 1) Σ u² is the variance; the quantile is Student's with one less than
    the photos of the smaller side. Where a side has fewer than 5 misses, finds, or photos with either, the interval and
    the p-value are exact instead: given the stratum's misses, those inside are binomial (Przyborowski & Wilenski,
    Biometrika 1940, stratified), with counts divided by the pooled design effect of their side. There the ratio itself
    stays R / S, and where no object outside is missed it is the one at which half a miss would have been added to both
    sides, since R / 0 is no number.

    Args:
        inside: (n, T).
        compared: (n, T) or (n, 1): objects that count at all, ``inside`` among them.
        miss: (n,).
        photos: (P, n) indicator.
        stratum: (n,) codes from 0; None for the crude ratio.
        icc: pooled intraclass correlation, 0–1.
        confidence: of the two-sided interval.
    """
    inner = (inside & compared).astype(np.float64)
    outer = (~inside & compared).astype(np.float64)
    codes = np.zeros(len(miss), dtype=np.int64) if stratum is None else stratum
    strata = indicator(codes, int(codes.max(initial=0)) + 1)
    lost = miss.astype(np.float64)[:, None]
    table = _Table(strata @ (inner * lost), strata @ inner, strata @ (outer * lost), strata @ outer)
    result = _linearised(table, inner, outer, lost, codes, photos, 1 - confidence)
    few = np.flatnonzero(_few(inner, outer, lost, photos))
    if len(few):
        exact = _exact(table.cells(few), inner[:, few], outer[:, few], photos, icc, 1 - confidence)
        result.ratio[few] = np.where(np.isinf(result.ratio[few]), exact.ratio, result.ratio[few])
        result.low[few], result.high[few], result.p_value[few] = exact.low, exact.high, exact.p_value
    return result


def false_discovery(p_values: Floats) -> Floats:
    """Return Benjamini–Hochberg q-values (J. R. Stat. Soc. B 1995); NaN is no test and stays NaN."""
    result = np.full(len(p_values), np.nan)
    tested = ~np.isnan(p_values)
    if tested.any():
        result[tested] = stats.false_discovery_control(p_values[tested])
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Counts per stratum and cell, (S, T) each: misses and objects inside, misses and objects outside."""

    lost_in: Floats
    size_in: Floats
    lost_out: Floats
    size_out: Floats

    def cells(self, keep: Integers) -> _Table:
        return _Table(self.lost_in[:, keep], self.size_in[:, keep], self.lost_out[:, keep], self.size_out[:, keep])


def _linearised(
    table: _Table, inner: Floats, outer: Floats, lost: Floats, codes: Integers, photos: sparse.csr_array, alpha: float
) -> Ratios:
    total = table.size_in + table.size_out
    with np.errstate(divide="ignore", invalid="ignore"):
        weight_in = np.where(total > 0, table.size_out / total, 0.0)
        weight_out = np.where(total > 0, table.size_in / total, 0.0)
        upper, lower = (table.lost_in * weight_in).sum(axis=0), (table.lost_out * weight_out).sum(axis=0)
        ratio = upper / lower
        risk = np.where(total > 0, (table.lost_in + ratio * table.lost_out) / total, 0.0)
        influence = inner * weight_in[codes] * (lost - risk[codes])
        influence -= outer * weight_out[codes] * (ratio * lost - risk[codes])
        sums = photos @ (influence / upper)
        clusters = ((photos @ (inner + outer)) > 0).sum(axis=0)
        error = np.sqrt(clusters / (clusters - 1) * (sums**2).sum(axis=0))
        smaller = np.minimum(((photos @ inner) > 0).sum(axis=0), ((photos @ outer) > 0).sum(axis=0))
        freedom = np.maximum(smaller - 1.0, 1.0)
        reach = _t_quantile(alpha / 2, freedom) * error
        low, high = ratio * np.exp(-reach), ratio * np.exp(reach)
        p_value = 2 * special.stdtr(freedom, -np.abs(np.log(ratio)) / error)
    return Ratios(ratio, low, high, p_value)


def _few(inner: Floats, outer: Floats, lost: Floats, photos: sparse.csr_array) -> Bools:
    """Whether any of misses and finds, inside and outside, comes from fewer than ``MIN_EVENTS`` photos."""
    parts = [inner * lost, inner * (1 - lost), outer * lost, outer * (1 - lost)]
    fewest = np.min([((photos @ part) > 0).sum(axis=0) for part in parts], axis=0)
    return np.asarray(fewest < MIN_EVENTS)


def _exact(table: _Table, inner: Floats, outer: Floats, photos: sparse.csr_array, icc: float, alpha: float) -> Ratios:
    """Conditional binomial bounds of the ratio on counts that are divided by the design effect of their side."""
    both = (table.size_in > 0) & (table.size_out > 0)
    thin_in, thin_out = _design_effect(inner, photos, icc), _design_effect(outer, photos, icc)
    lost_in, lost_out = np.where(both, table.lost_in, 0) / thin_in, np.where(both, table.lost_out, 0) / thin_out
    misses = lost_in + lost_out
    events, total = lost_in.sum(axis=0), misses.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_odds = np.where(both, np.log((table.size_in / thin_in) / (table.size_out / thin_out)), 0.0)
        weight = np.where(total > 0, misses / total, np.nan)
    low_share, high_share = clopper_pearson(events / np.where(total > 0, total, np.nan), total, alpha / 2)
    expected = (weight * special.expit(log_odds)).sum(axis=0)
    rest = total - events
    with np.errstate(invalid="ignore"):
        as_many = np.where(events > 0, special.betainc(np.maximum(events, 1e-12), rest + 1, expected), 1.0)
        as_few = np.where(rest > 0, 1 - special.betainc(events + 1, np.maximum(rest, 1e-12), expected), 1.0)
    p_value = np.where(total > 0, np.minimum(2 * np.minimum(as_many, as_few), 1.0), np.nan)
    shares = np.stack([(events + 0.5) / (total + 1), low_share, high_share])
    ratio, low, high = _solve(shares, weight, log_odds)
    return Ratios(ratio, low, high, p_value)


def _design_effect(part: Floats, photos: sparse.csr_array, icc: float) -> Floats:
    counts = photos @ part
    size = counts.sum(axis=0)
    return np.asarray(1 + ((counts**2).sum(axis=0) / np.maximum(size, 1) - np.minimum(size, 1)) * icc)


def _solve(shares: Floats, weight: Floats, log_odds: Floats) -> Floats:
    """Return r with Σ weight · expit(log r + log_odds) = share, by bisection of log r; NaN where undefined.

    Args:
        shares: (3, T).
        weight: (S, T), each column adds up to 1.
        log_odds: (S, T).
    """
    if len(weight) == 1:
        with np.errstate(divide="ignore"):
            middle = special.logit(shares) - log_odds
    else:
        low, high = np.full(shares.shape, -30.0), np.full(shares.shape, 30.0)
        for _ in range(45):
            middle = (low + high) / 2
            above = np.einsum("st,qst->qt", weight, special.expit(middle[:, None] + log_odds)) > shares
            low, high = np.where(above, low, middle), np.where(above, middle, high)
    result = np.where(shares <= 0, 0.0, np.where(shares >= 1, np.inf, np.exp(middle)))
    return np.asarray(np.where(np.isnan(shares) | np.isnan(weight).any(axis=0), np.nan, result))


def _t_quantile(alpha: float, freedom: Floats) -> Floats:
    """Return the upper ``alpha`` quantile of Student's t; at least one degree of freedom."""
    return np.asarray(-special.stdtrit(np.maximum(freedom, 1.0), alpha), dtype=np.float64)

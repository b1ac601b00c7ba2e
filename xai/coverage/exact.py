"""Risk ratios where misses or finds are few: tests and bounds that rest on no variance of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from xai.coverage.intervals import Bools, Floats, clopper_pearson

MOST_OUTCOMES = 1000
"""Values of the misses inside up to which the hypergeometric distribution is summed; beyond, a binomial stands in."""

_FAR = 30.0
"""Log ratio beyond which a bound is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Figures of T cells, as in ``ratios.Ratios``.

    Attributes:
        ratio: (T,) one that is finite where no object outside is missed too.
        low: (T,).
        high: (T,).
        p_value: (T,).
    """

    ratio: Floats
    low: Floats
    high: Floats
    p_value: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Counts per stratum and cell, (S, ...) each: misses and objects inside, misses and objects outside."""

    lost_in: Floats
    size_in: Floats
    lost_out: Floats
    size_out: Floats

    def cells(self, keep: Bools) -> Table:
        """Return the counts of some cells, (S, kept)."""
        return Table(*(getattr(self, name)[:, keep] for name in Table.__slots__))

    def thinned(self, inside: Floats, outside: Floats) -> Table:
        """Divide (S, T) counts by the design effects (T,) of their side; strata without both sides count nothing."""
        both = (self.size_in > 0) & (self.size_out > 0)
        effects = (inside, inside, outside, outside)
        return Table(
            *(
                np.where(both, getattr(self, name), 0.0) / effect
                for name, effect in zip(Table.__slots__, effects, strict=True)
            )
        )


def exact_ratios(table: Table, misses_few: Bools, finds_few: Bools, alpha: float) -> Bounds:
    """Return bounds and p-values of the ratio, from counts that are thinned by the design effect of their side.

    Where misses alone are few, both are conditional: given the stratum's misses, those inside are binomial
    (``conditional_binomial``). That takes risks to be small; where most objects are missed it asks for far more than
    there is to see. Where finds are few, the p-value is therefore twice the smaller tail of the hypergeometric
    distribution of the misses inside given all four margins, summed over strata (``hypergeometric_tails``), and the
    interval is of scores (``score_bounds``). Where misses are few as well, the interval stays the wider conditional
    one, but for a bound that would hold 1 against both. No interval leaves out a 1 that its p-value allows.

    Args:
        table: (S, T), thinned.
        misses_few: (T,) whether misses of a side are in few photos.
        finds_few: (T,) the same of finds.
        alpha: two-sided.
    """
    found = conditional_binomial(table, alpha)
    some = np.flatnonzero(finds_few & ~np.isnan(found.p_value))
    if not len(some):
        return found
    dense = table.cells(np.isin(np.arange(len(finds_few)), some))
    p_value = np.minimum(2 * np.min(hypergeometric_tails(dense), axis=0), 1.0)
    low, high = score_bounds(dense, alpha)
    sure = p_value <= alpha
    wide_low, wide_high = found.low[some], found.high[some]
    # Rare misses as well: of the wider interval, only a bound on the wrong side of 1 is drawn in.
    rare = misses_few[some]
    low = np.where(rare & ~((wide_low <= 1) & (low > 1)), wide_low, low)
    high = np.where(rare & ~((wide_high >= 1) & (high < 1)), wide_high, high)
    found.low[some] = np.where(sure, low, np.minimum(low, 1.0))
    found.high[some] = np.where(sure, high, np.maximum(high, 1.0))
    found.p_value[some] = p_value
    return found


def conditional_binomial(table: Table, alpha: float) -> Bounds:
    """Return bounds and p-values for rare misses: given the stratum's, those inside are binomial.

    Przyborowski & Wilenski (Biometrika 1940), stratified, with Clopper–Pearson bounds of the share. The sum of the
    strata's binomials spreads no wider than one binomial with their mean share (Hoeffding, Ann. Math. Stat. 1956). The
    ratio is the one at which half a miss would have been added to both sides.

    Args:
        table: (S, T), thinned.
        alpha: two-sided.
    """
    misses = table.lost_in + table.lost_out
    events, total = table.lost_in.sum(axis=0), misses.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_odds = np.where(table.size_in > 0, np.log(table.size_in / table.size_out), 0.0)
        weight = np.where(total > 0, misses / total, np.nan)
    low_share, high_share = clopper_pearson(events / np.where(total > 0, total, np.nan), total, alpha / 2)
    expected = (weight * special.expit(log_odds)).sum(axis=0)
    tails = _binomial_tails(events, total, expected)
    p_value = np.where(total > 0, np.minimum(2 * np.min(tails, axis=0), 1.0), np.nan)
    shares = np.stack([(events + 0.5) / (total + 1), low_share, high_share])
    ratio, low, high = _solve(shares, weight, log_odds)
    return Bounds(ratio, low, high, p_value)


def _binomial_tails(events: Floats, total: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Return the chance of as many events or more, and of as few or less; counts may be fractional."""
    rest = np.maximum(total - events, 0)
    with np.errstate(invalid="ignore"):
        as_many = np.where(events > 0, special.betainc(np.maximum(events, 1e-12), rest + 1, share), 1.0)
        as_few = np.where(rest > 0, special.betaincc(events + 1, np.maximum(rest, 1e-12), share), 1.0)
    return as_many, as_few


def hypergeometric_tails(table: Table) -> tuple[Floats, Floats]:
    """Return (T,) the chance of as many misses inside, or more, and of as few, or fewer, if both sides are alike.

    Given the misses and the objects of both sides, the misses inside a stratum are hypergeometric (Fisher, J. R. Stat.
    Soc. 1935; stratified: Gart, Biometrika 1970); those of the strata are independent, so their sum is a convolution.
    Thinned counts are no whole numbers: values are then counted in steps of one from the observed ones, with Γ for the
    factorials, as far as all four counts stay above −1, where Γ makes an end of it. Where more than ``MOST_OUTCOMES``
    values are possible, the sum is taken as binomial with the smallest of the four margins for the trials, which has
    the same mean and spreads wider (Hoeffding, J. Am. Stat. Assoc. 1963, theorem 4).

    Args:
        table: (S, T), thinned.
    """
    four = np.stack(
        [table.lost_in, table.size_in - table.lost_in, table.lost_out, table.size_out - table.lost_out]
    )  # a, b, c, d
    four = np.maximum(four, 0.0)
    down = np.ceil(np.minimum(four[0], four[3])).astype(np.int64)
    up = np.ceil(np.minimum(four[1], four[2])).astype(np.int64)
    tails = np.stack(_wide_tails(four))
    summed = (down + up).sum(axis=0) <= MOST_OUTCOMES
    for cell in np.flatnonzero(summed).tolist():
        mass, below = np.ones(1), 0
        for stratum in np.flatnonzero(down[:, cell] + up[:, cell]).tolist():
            steps = np.arange(-down[stratum, cell], up[stratum, cell] + 1)
            mass = np.convolve(mass, _hypergeometric(four[:, stratum, cell], steps))
            below += int(down[stratum, cell])
        tails[:, cell] = np.array([mass[below:].sum(), mass[: below + 1].sum()]) / mass.sum()
    return tails[0], tails[1]


def _hypergeometric(four: Floats, steps: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    """Return the hypergeometric chances of the table of four counts after steps of one miss from outside to inside."""
    a, b, c, d = four
    moved = np.stack([a + steps, b - steps, c - steps, d + steps])
    logs = -special.gammaln(np.maximum(moved, -1.0) + 1).sum(axis=0)
    mass = np.exp(logs - logs.max())
    return np.asarray(mass / mass.sum())


def _wide_tails(four: Floats) -> tuple[Floats, Floats]:
    """Return tails (T,) of the binomial with the smallest margin: misses, finds, objects inside, or outside."""
    a, b, c, d = four
    total = four.sum(axis=0)
    margins = ((a, c, a + b), (b, d, a + b), (a, b, a + c), (c, d, a + c))
    with np.errstate(divide="ignore", invalid="ignore"):
        trials = np.stack([(part + other).sum(axis=0) for part, other, _ in margins])
        expected = np.stack(
            [np.where(total > 0, (part + other) * mate / total, 0.0).sum(axis=0) for part, other, mate in margins]
        )
        share = expected / trials
    events = np.stack([part.sum(axis=0) for part, _, _ in margins])
    many, few = _binomial_tails(events, trials, share)
    best = np.argmin(trials, axis=0)[None]
    as_many, as_few = (np.take_along_axis(tail, best, axis=0)[0] for tail in (many, few))
    swapped = (best[0] == 1) | (best[0] == 3)  # many finds inside, or many misses outside, are few misses inside
    return np.where(swapped, as_few, as_many), np.where(swapped, as_many, as_few)


def score_bounds(table: Table, alpha: float) -> tuple[Floats, Floats]:
    """Return (T,) score bounds of the common risk ratio (Miettinen & Nurminen, Statistics in Medicine 1985).

    The ratio r is within them where |Σ wₖ (p₁ₖ − r p₀ₖ)| ≤ z √(Σ wₖ² Vₖ), with Mantel–Haenszel weights
    wₖ = n₁ₖ n₀ₖ / Nₖ and Vₖ = (q₁ₖ (1 − q₁ₖ) / n₁ₖ + r² q₀ₖ (1 − q₀ₖ) / n₀ₖ) Nₖ / (Nₖ − 1), where q are the risks that
    are likeliest under q₁ₖ = r q₀ₖ. By bisection of log r.

    Args:
        table: (S, T), thinned.
        alpha: two-sided.
    """
    a, n1, b, n0 = table.lost_in, table.size_in, table.lost_out, table.size_out
    total = n1 + n0
    both = (n1 > 0) & (n0 > 0)

    def score(log_ratio: Floats) -> Floats:
        ratio = np.exp(log_ratio)
        with np.errstate(divide="ignore", invalid="ignore"):
            middle = ratio * (n1 + b) + a + n0
            root = np.sqrt(np.maximum(middle**2 - 4 * total * ratio * (a + b), 0.0))
            outside = np.where(both, 2 * (a + b) / (middle + root), 0.0)
            inside = np.clip(ratio * outside, 0.0, 1.0)
            spread = inside * (1 - inside) / n1 + ratio**2 * outside * (1 - outside) / n0
            spread = spread * (n1 * n0 / total) ** 2 * total / np.maximum(total - 1, 1e-9)
            distance = np.where(both, (a * n0 - ratio * b * n1) / total, 0.0).sum(axis=0)
            found = distance / np.sqrt(np.where(both, spread, 0.0).sum(axis=0))
        return np.where(distance == 0, 0.0, found)

    quantile = -special.ndtri(alpha / 2)
    bounds = []
    for side in (1.0, -1.0):
        low, high = np.full(a.shape[1], -_FAR), np.full(a.shape[1], _FAR)
        for _ in range(50):
            middle = (low + high) / 2
            beyond = score(middle) > side * quantile
            low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
        bounds.append((low + high) / 2)
    edge = _FAR - 1e-6
    return (
        np.where(bounds[0] < -edge, 0.0, np.exp(bounds[0])),
        np.where(bounds[1] > edge, np.inf, np.exp(bounds[1])),
    )


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
        low, high = np.full(shares.shape, -_FAR), np.full(shares.shape, _FAR)
        for _ in range(45):
            middle = (low + high) / 2
            above = np.einsum("st,qst->qt", weight, special.expit(middle[:, None] + log_odds)) > shares
            low, high = np.where(above, low, middle), np.where(above, middle, high)
    result = np.where(shares <= 0, 0.0, np.where(shares >= 1, np.inf, np.exp(middle)))
    return np.asarray(np.where(np.isnan(shares) | np.isnan(weight).any(axis=0), np.nan, result))

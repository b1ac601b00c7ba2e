"""Whether shares moved between two data sets more than chance explains, where photos may be in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

from xai.coverage.intervals import MIN_EVENTS, Bools, Floats, Integers, clopper_pearson, intraclass_correlation
from xai.coverage.ratios import risk_ratios


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """How the shares of T cells moved.

    Attributes:
        before: (T,) share in the earlier data set.
        after: (T,) share in the later one.
        count_before: (T,) rows in the cell.
        count_after: (T,) likewise.
        ratio: (T,) after / before.
        low: (T,) lower bound of the ratio, 95%.
        high: (T,) upper bound; ``inf`` where the data set none.
        p_value: (T,) two-sided, of the share being the same.
    """

    before: Floats
    after: Floats
    count_before: Integers
    count_after: Integers
    ratio: Floats
    low: Floats
    high: Floats
    p_value: Floats


def moved(inside: Bools, later: Bools, draws: sparse.csr_array) -> Moved:
    """Compare the shares of cells in two data sets.

    The share ratio is p₂ / p₁, its log with the Taylor-linearised variance over draws (Binder, Int. Stat. Rev. 1983):
    m / (m − 1) Σ z², z = (k₂ − n₂ p₂) / (N₂ p₂) − (k₁ − n₁ p₁) / (N₁ p₁) for a draw with k of n rows in the cell. A
    photo that is in both data sets is one draw, so that what the sets have in common cancels, as it does for paired
    photos. The quantile is Student's with one less than the draws of the smaller set. Where fewer than 5 draws of a set
    are in the cell, or out of it, interval and p-value are exact (``ratios.risk_ratios``).

    Args:
        inside: (n, T) whether a row (photo or object) lies in a cell.
        later: (n,) whether a row is of the later data set.
        draws: (D, n) indicator of photos by content, or of groups.
    """
    ones = inside.astype(np.float64)
    counts, held = [], []
    for side in (~later, later):
        counts.append(draws @ side.astype(np.float64))
        held.append(draws @ (ones * side[:, None]))
    size, lying = [part.sum() for part in counts], [part.sum(axis=0) for part in held]
    with np.errstate(divide="ignore", invalid="ignore"):
        before, after = (part / total for part, total in zip(lying, size, strict=True))
        ratio = after / before
        first, second = (
            (part - total[:, None] * share) / (whole * share)
            for part, total, share, whole in zip(held, counts, (before, after), size, strict=True)
        )
        drawn = int(((counts[0] + counts[1]) > 0).sum())
        error = np.sqrt(drawn / max(drawn - 1, 1) * ((second - first) ** 2).sum(axis=0))
        freedom = max(float(min((part > 0).sum() for part in counts)) - 1, 1.0)
        reach = -special.stdtrit(freedom, 0.025) * error
        low, high = ratio * np.exp(-reach), ratio * np.exp(reach)
        p_value = np.asarray(2 * special.stdtr(freedom, -np.abs(np.log(ratio)) / error))
    parts = [*held, *(total[:, None] - part for part, total in zip(held, counts, strict=True))]
    few = np.flatnonzero(np.min([(part > 0).sum(axis=0) for part in parts], axis=0) < MIN_EVENTS)
    everything = np.ones((len(later), 1), dtype=np.bool_)
    for cell in few.tolist():
        icc = intraclass_correlation(inside[:, cell], draws)
        exact = risk_ratios(later[:, None], everything, inside[:, cell], draws, icc=icc)
        ratio[cell], low[cell], high[cell], p_value[cell] = (
            float(getattr(exact, name)[0]) for name in ("ratio", "low", "high", "p_value")
        )
    # Where every draw is in both sets alike there is no spread to divide by: nothing moved.
    still = np.isnan(p_value) & (before == after)
    return Moved(
        before, after, lying[0].astype(np.int64), lying[1].astype(np.int64), ratio, low, high,
        np.where(still, 1.0, p_value),
    )  # fmt: skip


def share_bounds(inside: Bools, draws: sparse.csr_array) -> tuple[Floats, Floats]:
    """Return 95% bounds (T,) of the shares of cells (n, T): Clopper–Pearson on the effective number of rows.

    The design effect is 1 + (Σ nᵢ² / n − 1) · icc (Kish, Survey Sampling, 1965) with each cell's own correlation.
    """
    size = draws.sum(axis=1)
    rows = max(float(size.sum()), 1.0)
    icc = np.array([intraclass_correlation(cell, draws) for cell in inside.T])
    effect = 1 + ((size**2).sum() / rows - 1) * icc
    share = inside.sum(axis=0) / rows
    return clopper_pearson(share, len(inside) / effect, 0.025)

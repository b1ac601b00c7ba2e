"""Whether shares moved between two data sets more than chance explains, where photos may be in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from xai.coverage.intervals import Bools, Floats, Integers, clopper_pearson, intraclass_correlation
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

    The share ratio with the Taylor-linearised variance over draws, exact where a side has few of the cell or few of the
    rest (``ratios.risk_ratios``). A photo that is in both data sets is one draw: its contributions to both sides add
    up before they are squared, so that what the sets have in common cancels, as it does for paired photos.

    Args:
        inside: (n, T) whether a row (photo or object) lies in a cell.
        later: (n,) whether a row is of the later data set.
        draws: (D, n) indicator of photos by content, or of groups.
    """
    side, everything = later[:, None], np.ones((len(later), 1), dtype=np.bool_)
    found = [risk_ratios(side, everything, cell, draws, icc=intraclass_correlation(cell, draws)) for cell in inside.T]
    sizes = np.array([(~later).sum(), later.sum()], dtype=np.float64)
    counts = np.stack([inside[~later].sum(axis=0), inside[later].sum(axis=0)])
    with np.errstate(divide="ignore", invalid="ignore"):
        before, after = counts / sizes[:, None]
    ratio, low, high, p_value = (
        np.array([float(getattr(part, name)[0]) for part in found]) for name in ("ratio", "low", "high", "p_value")
    )
    # Where every draw is in both sets alike there is no spread to divide by: nothing moved.
    still = np.isnan(p_value) & (before == after)
    return Moved(
        before, after, counts[0].astype(np.int64), counts[1].astype(np.int64), ratio, low, high,
        np.where(still | (counts.sum(axis=0) == 0), 1.0, p_value),
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

"""What an attribute's measured error does to shares, rates and ratios: bounds that a wrong bin cannot leave.

A value lies in a bin or not, and is told as in it or not. Of those in it a share m is told as in another (``missed``),
of the others a share f as in it (``stray``); both were measured on photos whose true bin is known and are kept beside
the bin. They are taken to be the same for found and missed objects: the measure has not seen the detector. Such
errors make a share p look like p (1 − m) + (1 − p) f (Rogan & Gladen, Am. J. Epidemiol. 1978), and draw a risk ratio
towards 1 (Bross, Biometrics 1954), so that a test of 1 stays valid and a lower bound above 1 stays a lower bound.

How large m and f are on the photos at hand nobody knows: anything from 0 to what was measured, where more values lie
near a threshold than in most data. A bound is therefore the furthest that any such m and f move it (probabilistic bias
analysis without a prior: Lash, Fox & Fink, Applying Quantitative Bias Analysis to Epidemiologic Data, 2009, chapter 6).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from xai.coverage.bins import Catalog
from xai.coverage.intervals import Floats

COLUMNS: dict[str, type[pl.Float64]] = dict.fromkeys(
    ("train_share_low", "train_share_high", "eval_share_low", "eval_share_high", "tag_error"), pl.Float64
)
"""What the coverage table has after the contract's columns."""


@dataclass(frozen=True, slots=True, eq=False)
class Misread:
    """How K bins are told, shares in 0–1; 0 where a bin is exact or nobody measured it.

    Attributes:
        missed: (K,) of the values in the bin, told as in another.
        stray: (K,) of the values in other bins, told as in this one.
        error: (K,) of the values told as in the bin, lying in another; NaN where not measured.
    """

    missed: Floats
    stray: Floats
    error: Floats


def misread(attribute: str, bins: int, catalog: Catalog) -> Misread:
    """Return what the catalog knows of an attribute's bins, ``unknown`` and a user's own bins being exact.

    Where a bin was not judged by itself, the share of wrong bins of its attribute stands for it.

    Args:
        attribute: or a user's column.
        bins: K, as in ``bins.bin_names``.
        catalog: attributes by name.
    """
    error, missed, stray = np.full(bins, np.nan), np.zeros(bins), np.zeros(bins)
    if attribute in catalog:
        overall = catalog[attribute].bin_error
        for place, part in enumerate(catalog[attribute].bins):
            error[place] = _first(part.error, overall, np.nan)
            missed[place] = _first(part.missed, overall, 0.0)
            stray[place] = _first(part.stray, overall, 0.0)
    return Misread(missed, stray, error)


def widen_shares(low: Floats, high: Floats, told: Misread) -> tuple[Floats, Floats]:
    """Widen the bounds (K,) of the shares of bins.

    Solved for the true share, p = (t − f) / (1 − m − f) (Rogan & Gladen, Am. J. Epidemiol. 1978), which is least at
    m = 0 with all of f, and greatest at f = 0 with all of m.

    >>> low, high = widen_shares(np.array([0.05]), np.array([0.08]), Misread(*np.array([[0.2], [0.01], [0.1]])))
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.04], [0.1])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.where(told.stray > 0, np.maximum((low - told.stray) / (1 - told.stray), 0.0), low)
        most = np.where(told.missed > 0, np.minimum(high / (1 - told.missed), 1.0), high)
    return least, most


def widen_rates(
    low: Floats, high: Floats, share: Floats, overall: float | Floats, told: Misread
) -> tuple[Floats, Floats]:
    """Widen the bounds (K,) of the miss rates of bins; NaN bounds stay.

    Of the objects told as in a bin some have strayed there. With the share t of objects told as in it, at a miss rate
    r, and a miss rate M of all, those that lie in it are missed at (r t − f M) / (t − f), whatever share m is told as
    in others: A = (r t − f M) / (1 − m − f) misses of T = (t − f) / (1 − m − f) objects.

    Args:
        low: lower bounds.
        high: upper bounds.
        share: the bins' shares of the objects, as told.
        overall: miss rate of all these objects.
        told: how the bins are told.

    Returns:
        Bounds in 0–1; 0 and 1 where no more objects are told as in the bin than may have strayed there.
    """
    rest = share - told.stray
    untold = (rest <= 0) | (told.missed + told.stray >= 1)

    def undone(rate: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.clip((rate * share - told.stray * overall) / rest, 0.0, 1.0)

    least = np.where(low < overall, np.where(untold, 0.0, undone(low)), low)
    most = np.where(high > overall, np.where(untold, 1.0, undone(high)), high)
    exact = (told.missed == 0) & (told.stray == 0)
    return np.where(exact | np.isnan(low), low, least), np.where(exact | np.isnan(high), high, most)


def widen_ratios(low: Floats, high: Floats, share: Floats, told: Misread) -> tuple[Floats, Floats]:
    """Widen the bounds (K,) of risk ratios of bins against the other known bins.

    Errors that do not depend on the outcome draw a ratio towards 1 (Bross, Biometrics 1954): only what lies beyond 1
    moves, by ``_undone``.

    Args:
        low: lower bounds.
        high: upper bounds.
        share: the bins' shares of the objects that are compared.
        told: how the bins are told.

    Returns:
        Lower bounds, 0 where errors may hide any smaller ratio, and upper ones, infinite where they may hide any
        greater one: where no more objects are told as in the bin than may have strayed there.
    """
    return np.where(low < 1, _undone(low, share, told), low), np.where(high > 1, _undone(high, share, told), high)


def _undone(ratio: Floats, share: Floats, told: Misread) -> Floats:
    """Risk ratio that errors of the full size have turned into ``ratio``: counts of misses and of all objects apart.

    In units of the risk among those told as outside, and of all objects: M = ratio · p + 1 − p misses, of which
    A = (ratio · p − f M) / (1 − m − f) lie in the bin, as do T = (p − f) / (1 − m − f) of the objects.
    """
    exact = (told.missed == 0) & (told.stray == 0)
    scale = 1 - told.missed - told.stray
    with np.errstate(divide="ignore", invalid="ignore"):
        misses = ratio * share + 1 - share
        inside, size = (ratio * share - told.stray * misses) / scale, (share - told.stray) / scale
        undone = (np.maximum(inside, 0) / size) / (np.maximum(misses - inside, 0) / (1 - size))
    untold = (scale <= 0) | (size <= 0) | (size >= 1)
    bound = np.where(np.isnan(ratio), np.nan, np.where(ratio > 1, np.inf, 0.0))
    return np.asarray(np.where(exact | ~np.isfinite(ratio), ratio, np.where(untold, bound, undone)))


def _first(own: float | None, of_attribute: float | None, otherwise: float) -> float:
    return own if own is not None else of_attribute if of_attribute is not None else otherwise

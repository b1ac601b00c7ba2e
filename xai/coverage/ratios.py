"""Risk ratios that respect photos: crude and Mantel–Haenszel, linearised, exact where events are few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

from xai.coverage.exact import Table, exact_ratios
from xai.coverage.intervals import MIN_EVENTS, Bools, Floats, Integers, indicator, sum_rows, t_quantile


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


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Groups that are compared apart in one go: labels, each with photos and kinds of objects of its own.

    Attributes:
        of_row: (P,) group of each row of ``photos``: a photo counts once in each group that it holds objects of.
        of_kind: (n,) group of each row of ``inside``.
        count: G.
    """

    of_row: Integers
    of_kind: Integers
    count: int


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
    the photos of the smaller side. Where misses or finds of a side come from fewer than 5 photos, the interval and the
    p-value are those of ``exact.exact_ratios`` instead, from counts divided by the pooled design effect of their side:
    conditional on the misses where these are few, hypergeometric where finds are. There the ratio itself stays R / S,
    and where no object outside is missed it is the one at which half a miss would have been added to both sides, since
    R / 0 is no number.

    Args:
        inside: (n, T).
        compared: (n, T) or (n, 1): objects that count at all, ``inside`` among them.
        miss: (n,).
        photos: (P, n) indicator, or how many objects of each kind a photo holds.
        stratum: (n,) codes from 0; None for the crude ratio.
        icc: pooled intraclass correlation, 0–1.
        confidence: of the two-sided interval.
    """
    (result,) = compare(inside, compared, miss, photos, [stratum], icc=icc, confidence=confidence)
    return Ratios(*(getattr(result, name)[0] for name in Ratios.__slots__))


def compare(
    inside: Bools,
    compared: Bools,
    miss: Bools,
    photos: sparse.csr_array,
    strata: list[Integers | None],
    *,
    icc: float,
    confidence: float = 0.95,
    groups: Grouping | None = None,
    counted: tuple[Floats, Floats] | None = None,
) -> list[Ratios]:
    """Return ``risk_ratios`` under each stratification, as (G, T) for G groups; arguments as there.

    ``counted`` are (P, T) objects of each photo inside each cell, and misses among them, where these are known already
    and every compared object lies in one cell.
    """
    if groups is None:
        groups = Grouping(np.zeros(photos.shape[0], dtype=np.int64), np.zeros(len(miss), dtype=np.int64), 1)
    inner = (inside & compared).astype(np.float64)
    both = np.broadcast_to(compared, inner.shape).astype(np.float64)
    lost = miss.astype(np.float64)[:, None]
    all_of = compared.astype(np.float64)
    if counted is None:
        parts = photos @ np.concatenate([inner, inner * lost, all_of, all_of * lost], axis=1)
        width = inner.shape[1]
        held_in, lost_in, rest = parts[:, :width], parts[:, width : 2 * width], parts[:, 2 * width :]
        held, lost_all = np.split(rest, 2, axis=1)
    else:
        held_in, lost_in = counted
        held, lost_all = (part @ np.ones((part.shape[1], 1)) for part in counted)
    by_photo = _ByPhoto(held_in, lost_in, held - held_in, lost_all - lost_in, indicator(groups.of_row, groups.count))
    misses_few, finds_few = by_photo.few()
    few = misses_few | finds_few
    clusters = by_photo.clusters()
    weight = np.asarray(photos.sum(axis=0))[:, None]
    results = []
    for stratum in strata:
        codes = np.zeros(len(miss), dtype=np.int64) if stratum is None else stratum
        width = int(codes.max(initial=0)) + 1
        codes = groups.of_kind * width + codes
        sums = indicator(codes, groups.count * width)
        totals = (sums @ (weight * part) for part in (inner * lost, inner, (both - inner) * lost, both - inner))
        table = Table(*(part.reshape(groups.count, width, -1).swapaxes(0, 1) for part in totals))
        result = _linearised(
            table, inner, both - inner, lost, groups.of_kind, codes, photos, by_photo.groups, clusters, 1 - confidence
        )
        if few.any():
            thin = by_photo.effects(icc)
            counts = table.cells(few).thinned(thin[0][few], thin[1][few])
            exact = exact_ratios(counts, misses_few[few], finds_few[few], 1 - confidence)
            result.ratio[few] = np.where(np.isinf(result.ratio[few]), exact.ratio, result.ratio[few])
            result.low[few], result.high[few], result.p_value[few] = exact.low, exact.high, exact.p_value
        results.append(result)
    return results


@dataclass(frozen=True, slots=True, eq=False)
class _ByPhoto:
    """Objects and misses inside and outside each cell by photo, (P, T) each, and the (G, P) indicator of groups."""

    held_in: Floats
    lost_in: Floats
    held_out: Floats
    lost_out: Floats
    groups: sparse.csr_array

    def clusters(self) -> tuple[Floats, Floats]:
        """Return (G, T) photos that hold compared objects, and those of the smaller side."""
        inside, outside = self.held_in > 0, self.held_out > 0
        all_, left, right = (sum_rows(part, self.groups) for part in (inside | outside, inside, outside))
        return all_, np.minimum(left, right)

    def few(self) -> tuple[Bools, Bools]:
        """Whether misses (G, T), and whether finds, of a side come from fewer than ``MIN_EVENTS`` photos."""
        sides = ((self.held_in, self.lost_in), (self.held_out, self.lost_out))
        lost = [sum_rows(lost > 0, self.groups) for _, lost in sides]
        found = [sum_rows(held > lost, self.groups) for held, lost in sides]
        return np.min(lost, axis=0) < MIN_EVENTS, np.min(found, axis=0) < MIN_EVENTS

    def effects(self, icc: float) -> tuple[Floats, Floats]:
        """Return the pooled design effects of both sides, (G, T)."""
        sides = (self.held_in, self.held_out)
        left, right = (
            design_effect(sum_rows(side, self.groups), sum_rows(side**2, self.groups), icc) for side in sides
        )
        return left, right


def design_effect(size: Floats, squares: Floats, icc: float) -> Floats:
    """Return 1 + (Σ nᵢ² / n − 1) · icc (Kish, Survey Sampling, 1965), 1 without objects."""
    return np.asarray(1 + (squares / np.maximum(size, 1) - np.minimum(size, 1)) * icc)


def _linearised(
    table: Table,
    inner: Floats,
    outer: Floats,
    lost: Floats,
    group: Integers,
    codes: Integers,
    photos: sparse.csr_array,
    groups: sparse.csr_array,
    clusters: tuple[Floats, Floats],
    alpha: float,
) -> Ratios:
    """Mantel–Haenszel ratios (Greenland & Robins, Biometrics 1985) and the influence of photos, as ``risk_ratios``."""
    total = table.size_in + table.size_out
    with np.errstate(divide="ignore", invalid="ignore"):
        weight_in = np.where(total > 0, table.size_out / total, 0.0)
        weight_out = np.where(total > 0, table.size_in / total, 0.0)
        upper, lower = (table.lost_in * weight_in).sum(axis=0), (table.lost_out * weight_out).sum(axis=0)
        ratio = upper / lower
        risk = np.where(total > 0, (table.lost_in + ratio * table.lost_out) / total, 0.0)

        def by_kind(values: Floats) -> Floats:
            """From (S, G, T) to the kinds of objects, whose codes count groups first."""
            return np.asarray(values.swapaxes(0, 1).reshape(-1, values.shape[2])[codes])

        own = by_kind(risk)
        influence = inner * by_kind(weight_in) * (lost - own)
        influence -= outer * by_kind(weight_out) * (ratio[group] * lost - own)
        squares = sum_rows((photos @ (influence / upper[group])) ** 2, groups)
    return of_variance(ratio, squares, *clusters, alpha)


def of_variance(ratio: Floats, squares: Floats, clusters: Floats, smaller: Floats, alpha: float) -> Ratios:
    """Return log-scale bounds from m / (m − 1) Σ u², the variance over photos (Binder, Int. Stat. Rev. 1983).

    The quantile is Student's with one less than the photos of the smaller side.

    Args:
        ratio: risk ratios.
        squares: sums of the squared influences of photos.
        clusters: photos that are compared.
        smaller: photos of the smaller side.
        alpha: two-sided.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        error = np.sqrt(clusters / (clusters - 1) * squares)
        freedom = np.maximum(smaller - 1.0, 1.0)
        reach = t_quantile(alpha / 2, freedom) * error
        low, high = ratio * np.exp(-reach), ratio * np.exp(reach)
        p_value = 2 * special.stdtr(freedom, -np.abs(np.log(ratio)) / error)
    return Ratios(ratio, low, high, p_value)

"""Risk ratios that respect photos: crude and Mantel–Haenszel, linearised, exact where events are few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy import sparse, special

from xai.coverage.exact import Table, exact_ratios
from xai.coverage.intervals import (
    MIN_EVENTS,
    Bools,
    Floats,
    Integers,
    added,
    indicator,
    split_rows,
    sum_rows,
    t_quantile,
)


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
) -> list[Ratios]:
    """Return ``risk_ratios`` under each stratification, as (G, T) for G groups; arguments as there."""
    if groups is None:
        groups = Grouping(np.zeros(photos.shape[0], dtype=np.int64), np.zeros(len(miss), dtype=np.int64), 1)
    inner = (inside & compared).astype(np.float64)
    both = np.broadcast_to(compared, inner.shape).astype(np.float64)
    lost = miss.astype(np.float64)[:, None]
    told = _Told(inner, compared.astype(np.float64), lost, photos, groups)
    sums = added(part.sums() for part in told.by_photo())
    misses_few, finds_few = sums.few()
    few = misses_few | finds_few
    weight = np.asarray(photos.sum(axis=0))[:, None]
    thin = []
    if few.any():
        thin = [design_effect(*squares, icc) for squares in added(part.squares() for part in told.by_photo()).sides]
    results = []
    for stratum in strata:
        codes = np.zeros(len(miss), dtype=np.int64) if stratum is None else stratum
        width = int(codes.max(initial=0)) + 1
        codes = groups.of_kind * width + codes
        of_stratum = indicator(codes, groups.count * width)
        totals = (of_stratum @ (weight * part) for part in (inner * lost, inner, (both - inner) * lost, both - inner))
        table = Table(*(part.reshape(groups.count, width, -1).swapaxes(0, 1) for part in totals))
        result = _linearised(table, told, both - inner, codes, sums, 1 - confidence)
        if few.any():
            counts = table.cells(few).thinned(thin[0][few], thin[1][few])
            exact = exact_ratios(counts, misses_few[few], finds_few[few], 1 - confidence)
            result.ratio[few] = np.where(np.isinf(result.ratio[few]), exact.ratio, result.ratio[few])
            result.low[few], result.high[few], result.p_value[few] = exact.low, exact.high, exact.p_value
        results.append(result)
    return results


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What is compared, by kind of object: n rows.

    Attributes:
        inner: (n, T) inside a cell.
        compared: (n, T) or (n, 1).
        lost: (n, 1).
        photos: (P, n).
        groups: of photos and kinds.
    """

    inner: Floats
    compared: Floats
    lost: Floats
    photos: sparse.csr_array
    groups: Grouping

    def rows(self) -> Iterator[tuple[sparse.csr_array, sparse.csr_array]]:
        """Yield the (p, n) rows of some photos, with the (G, p) indicator of their groups."""
        yield from split_rows(self.photos, self.groups.of_row, self.groups.count, 4 * self.inner.shape[1])

    def by_photo(self) -> Iterator[_ByPhoto]:
        """Count some photos' objects at a time."""
        width = self.inner.shape[1]
        wanted = [self.inner, self.inner * self.lost, self.compared, self.compared * self.lost]
        for photos, groups in self.rows():
            parts = photos @ np.concatenate(wanted, axis=1)
            held_in, lost_in = parts[:, :width], parts[:, width : 2 * width]
            held, lost_all = np.split(parts[:, 2 * width :], 2, axis=1)
            yield _ByPhoto(held_in, lost_in, held - held_in, lost_all - lost_in, groups)


@dataclass(frozen=True, slots=True, eq=False)
class _ByPhoto:
    """Objects and misses inside and outside each cell by photo, (P, T) each, and the (G, P) indicator of groups."""

    held_in: Floats
    lost_in: Floats
    held_out: Floats
    lost_out: Floats
    groups: sparse.csr_array

    def sums(self) -> _Sums:
        """Return how many photos hold what."""
        inside, outside = self.held_in > 0, self.held_out > 0
        parts = (
            inside | outside, inside, outside, self.lost_in > 0, self.lost_out > 0,
            self.held_in > self.lost_in, self.held_out > self.lost_out,
        )  # fmt: skip
        return _Sums(*(sum_rows(part, self.groups) for part in parts))

    def squares(self) -> _Squares:
        """Return what design effects need."""
        parts = (self.held_in, self.held_in**2, self.held_out, self.held_out**2)
        return _Squares(*(sum_rows(part, self.groups) for part in parts))


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Photos (G, T) with compared objects, with some inside and outside the cell, with misses and with finds there."""

    compared: Floats
    inside: Floats
    outside: Floats
    lost_in: Floats
    lost_out: Floats
    found_in: Floats
    found_out: Floats

    def few(self) -> tuple[Bools, Bools]:
        """Whether misses (G, T), and whether finds, of a side come from fewer than ``MIN_EVENTS`` photos."""
        lost, found = np.minimum(self.lost_in, self.lost_out), np.minimum(self.found_in, self.found_out)
        return lost < MIN_EVENTS, found < MIN_EVENTS


@dataclass(frozen=True, slots=True, eq=False)
class _Squares:
    """Objects (G, T) inside and outside each cell, and the sums over photos of their squares."""

    inside: Floats
    inside_squares: Floats
    outside: Floats
    outside_squares: Floats

    @property
    def sides(self) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """Objects and squares of both sides."""
        return (self.inside, self.inside_squares), (self.outside, self.outside_squares)


def design_effect(size: Floats, squares: Floats, icc: float) -> Floats:
    """Return 1 + (Σ nᵢ² / n − 1) · icc (Kish, Survey Sampling, 1965), 1 without objects."""
    return np.asarray(1 + (squares / np.maximum(size, 1) - np.minimum(size, 1)) * icc)


def _linearised(table: Table, told: _Told, outer: Floats, codes: Integers, sums: _Sums, alpha: float) -> Ratios:
    """Mantel–Haenszel ratios (Greenland & Robins, Biometrics 1985) and the influence of photos, as ``risk_ratios``."""
    group, lost = told.groups.of_kind, told.lost
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
        influence = told.inner * by_kind(weight_in) * (lost - own)
        influence -= outer * by_kind(weight_out) * (ratio[group] * lost - own)
        influence /= upper[group]
        squares = reduce(np.add, (sum_rows((photos @ influence) ** 2, groups) for photos, groups in told.rows()))
    return of_variance(ratio, squares, sums.compared, np.minimum(sums.inside, sums.outside), alpha)


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

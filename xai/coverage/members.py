"""Many slices at once: who is in them, how many of each draw, and their clustered ratios against their parents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xai.coverage.exact import Table, exact_ratios
from xai.coverage.intervals import MIN_EVENTS, Bools, Floats, Integers, Moments, Rates, rates_of
from xai.coverage.joint import Codes
from xai.coverage.ratios import Ratios, design_effect, of_variance

_MOST, _SPREAD = 32, 2**24
"""Slices that are spread out over all objects at a time, and slices × objects."""


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Objects by the conditions that they show; those of one draw stand side by side.

    Attributes:
        codes: (A, n) as in ``joint``.
        attribute: (B,) attribute of each condition, 0–A−1.
        place: (B,) place of each condition in its attribute's codes.
    """

    codes: Codes
    attribute: Integers
    place: Integers

    def of(self, combination: Integers) -> Bools:
        """Return (K, n) which slice holds which object; (K, 3) conditions, −1 for none."""
        inside = np.ones((len(combination), self.codes.shape[1]), dtype=np.bool_)
        for conditions in combination.T:
            used = np.flatnonzero(conditions >= 0)
            chosen = conditions[used]
            shown = self.codes[self.attribute[chosen]] == self.place[chosen].astype(np.uint8)[:, None]
            if len(used) == len(inside):
                inside &= shown
            else:
                inside[used] &= shown
        return inside

    def where(self, keep: Bools) -> Members:
        """Return the same of some objects."""
        return Members(self.codes[:, keep], self.attribute, self.place)

    def chunk(self) -> int:
        """Return how many slices are spread out over the objects at a time."""
        return min(max(_SPREAD // max(int(self.codes.shape[1]), 1), 1), _MOST)

    def held(self, combination: Integers, unit: Integers, miss: Bools) -> Held:
        """Count slices (K, 3) by units (n,) that stand side by side, without holding all objects of all at once."""
        size = self.chunk()
        parts = [
            Held.of(self.of(combination[start : start + size]), unit, miss)
            for start in range(0, len(combination), size)
        ]
        which = [part.which + place * size for place, part in enumerate(parts)]
        return Held(
            np.concatenate([np.empty(0, dtype=np.int64), *which]),
            np.concatenate([np.empty(0, dtype=np.int64), *(part.unit for part in parts)]),
            np.concatenate([np.empty(0), *(part.size for part in parts)]),
            np.concatenate([np.empty(0), *(part.lost for part in parts)]),
            len(combination),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Pairs of slice and unit (draw or photo) that share objects.

    Attributes:
        which: (E,) slice.
        unit: (E,) unit.
        size: (E,) objects.
        lost: (E,) misses among them.
        slices: K.
    """

    which: Integers
    unit: Integers
    size: Floats
    lost: Floats
    slices: int

    @classmethod
    def of(cls, inside: Bools, unit: Integers, miss: Bools) -> Held:
        """Count by unit; ``inside`` is (K, n), objects of one unit stand side by side."""
        slices, objects = inside.shape
        flat = np.flatnonzero(inside)
        which = np.repeat(np.arange(slices), inside.sum(axis=1))
        item = flat - which * objects
        units = unit[item]
        key = which * (int(unit.max(initial=0)) + 1) + units
        first = np.flatnonzero(np.diff(key, prepend=-1))
        size = np.diff(first, append=len(key)).astype(np.float64)
        lost = np.add.reduceat(miss[item].astype(np.float64), first) if len(first) else np.zeros(0)
        return cls(which[first], units[first], size, lost, slices)

    def sum(self, values: Floats | Bools) -> Floats:
        """Return (K,) sums of (E,) values over the units of each slice."""
        return np.bincount(self.which, weights=values, minlength=self.slices).astype(np.float64)

    def moments(self) -> Moments:
        """Return what intervals of the slices' miss rates need, (K,)."""
        parts = (self.size, self.lost, np.ones(len(self.size)), self.size**2, self.lost**2, self.size * self.lost)
        return Moments(*(self.sum(part) for part in parts))

    def dense(self, units: int) -> tuple[Floats, Floats]:
        """Return (K, units) objects and misses."""
        size, lost = np.zeros((self.slices, units)), np.zeros((self.slices, units))
        size[self.which, self.unit], lost[self.which, self.unit] = self.size, self.lost
        return size, lost


def within_parents(
    members: Members, combination: Integers, parent: Integers, draw: Integers, miss: Bools, icc: float
) -> tuple[Ratios, Rates]:
    """Compare slices with the rest of their parents; crude ``risk_ratios`` for all at once, and the slices' rates.

    The variance is that of ``risk_ratios``: with a of n₁ objects missed inside and b of n₀ outside, a photo's influence
    is (l₁ − r₁ m₁) / a − (l₀ − r₀ m₀) / b for its m₁, m₀ objects and l₁, l₀ misses. Its square over photos needs sums
    over the photos of the slice, sums over those of the parent, and of their products, no dense matrix of both.

    Args:
        members: the objects.
        combination: (K, 3) conditions, −1 for none.
        parent: (K, 3) likewise, its conditions among those of the slice; all −1 for all objects.
        draw: (n,) codes from 0, side by side.
        miss: (n,).
        icc: pooled intraclass correlation, 0–1.

    Returns:
        95% ratios and rates, (K,).
    """
    unique, parent_of = np.unique(parent, axis=0, return_inverse=True)
    parent_of = parent_of.reshape(-1)
    order = np.argsort(parent_of, kind="stable")
    draws = int(draw.max(initial=-1)) + 1
    ratios, rates = [], []
    size = members.chunk()
    for start in range(0, len(order), size):
        some = order[start : start + size]
        used, local = np.unique(parent_of[some], return_inverse=True)
        whole = Held.of(members.of(unique[used]), draw, miss)
        part = Held.of(members.of(combination[some]), draw, miss)
        ratios.append(_against(part, whole, local, draws, icc))
        rates.append(rates_of(part.moments(), icc, 0.025, draws))
    back = np.argsort(order)
    return (
        Ratios(*(_joined(ratios, name)[back] for name in Ratios.__slots__)),
        Rates(*(_joined(rates, name)[back] for name in Rates.__slots__)),
    )


def _joined(parts: list[Ratios] | list[Rates], name: str) -> Floats:
    return np.concatenate([np.empty(0), *(getattr(part, name) for part in parts)])


def _against(part: Held, whole: Held, parent: Integers, draws: int, icc: float) -> Ratios:
    """Compare slices with the rest of their parents, the rows ``parent`` (K,) of ``whole``."""
    inner, outer = part.moments(), whole.moments()
    every = Moments(*(getattr(outer, name)[parent] for name in Moments.__slots__))
    dense_size, dense_lost = whole.dense(draws)
    row = parent[part.which]
    size_all, lost_all = dense_size[row, part.unit], dense_lost[row, part.unit]
    size_size, size_lost = part.sum(part.size * size_all), part.sum(part.size * lost_all)
    lost_size, lost_lost = part.sum(part.lost * size_all), part.sum(part.lost * lost_all)
    size_out, lost_out = every.size - inner.size, every.lost - inner.lost
    with np.errstate(divide="ignore", invalid="ignore"):
        rate_in, rate_out = inner.lost / inner.size, lost_out / size_out
        # u = l · p + m · q + L · s + M · t, for the l of m objects in the slice and the L of M in the parent.
        p, q = 1 / inner.lost + 1 / lost_out, -rate_in / inner.lost - rate_out / lost_out
        s, t = -1 / lost_out, rate_out / lost_out
        squares = p**2 * inner.lost_squares + q**2 * inner.size_squares + 2 * p * q * inner.products
        squares += s**2 * every.lost_squares + t**2 * every.size_squares + 2 * s * t * every.products
        squares += 2 * (p * s * lost_lost + p * t * lost_size + q * s * size_lost + q * t * size_size)
        ratio = rate_in / rate_out
    finds = whole.sum(whole.size > whole.lost)[parent]
    misses = whole.sum(whole.lost > 0)[parent]
    left_size, left_lost = size_all - part.size, lost_all - part.lost
    lost_outside = misses - part.sum((lost_all > 0) & (left_lost == 0))
    found_outside = finds - part.sum((size_all > lost_all) & (left_size == left_lost))
    misses_few = np.minimum(part.sum(part.lost > 0), lost_outside) < MIN_EVENTS
    finds_few = np.minimum(part.sum(part.size > part.lost), found_outside) < MIN_EVENTS
    emptied = part.sum(left_size == 0)
    smaller = np.minimum(inner.clusters, every.clusters - emptied)
    result = of_variance(ratio, np.maximum(squares, 0), every.clusters, smaller, 0.05)
    few = misses_few | finds_few
    if few.any():
        table = Table(*(values[None, few] for values in (inner.lost, inner.size, lost_out, size_out)))
        thin_in = design_effect(inner.size, inner.size_squares, icc)
        thin_out = design_effect(size_out, every.size_squares - 2 * size_size + inner.size_squares, icc)
        exact = exact_ratios(table.thinned(thin_in[few], thin_out[few]), misses_few[few], finds_few[few], 0.05)
        result.ratio[few] = np.where(np.isinf(result.ratio[few]), exact.ratio, result.ratio[few])
        result.low[few], result.high[few], result.p_value[few] = exact.low, exact.high, exact.p_value
    return result

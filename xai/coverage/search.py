"""The exact search: every combination of one to three bins with its misses, and the parent that explains it best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xai.coverage.intervals import Bools, Floats, Integers
from xai.coverage.joint import Codes, count_pairs, count_triples

MIN_MISSES = 5
"""Misses that a slice holds at least where it is searched."""


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """K combinations, and the worst parent of each.

    Attributes:
        combination: (K, 3) conditions, −1 for none.
        parent: (K, 3) likewise; all −1 for all objects.
        size: (K,) objects.
        lost: (K,) misses.
        parent_size: (K,) objects of the parent.
        parent_lost: (K,) misses of the parent.
    """

    combination: Integers
    parent: Integers
    size: Floats
    lost: Floats
    parent_size: Floats
    parent_lost: Floats

    def take(self, rows: Integers) -> Counted:
        """Return some of the combinations."""
        return Counted(*(getattr(self, name)[rows] for name in self.__slots__))

    @property
    def excess(self) -> Floats:
        """(K,) miss rate over that of the rest of the parent; inf where the rest has no miss, NaN where it is empty."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rest = (self.parent_lost - self.lost) / (self.parent_size - self.size)
            return np.asarray((self.lost / self.size) / rest)

    def z(self, design_effect: float) -> Floats:
        """Return (K,) log risk ratios against the rest of the parent over their standard errors.

        Katz et al., Biometrics 1978, with half a miss more on both sides, which keeps slices beside a rest without
        misses comparable.
        """
        rest_size, rest_lost = self.parent_size - self.size, self.parent_lost - self.lost
        rate_in, rate_out = (self.lost + 0.5) / (self.size + 0.5), (rest_lost + 0.5) / (rest_size + 0.5)
        variance = 1 / (self.lost + 0.5) - 1 / (self.size + 0.5) + 1 / (rest_lost + 0.5) - 1 / (rest_size + 0.5)
        score = np.log(rate_in / rate_out) / np.sqrt(np.maximum(variance, 1e-12) * design_effect)
        return np.asarray(np.where(rest_size > 0, score, -np.inf))


def search(codes: Codes, sizes: Integers, miss: Bools, max_conditions: int, min_support: int) -> Counted:
    """Count all combinations with enough objects and misses, and find the worst parent of each.

    A combination that is too small, or that holds too few misses, has no part that is large enough, so those that are
    left out lose nothing.

    Args:
        codes: (A, n) as in ``joint``.
        sizes: (A,) conditions of each attribute.
        miss: (n,).
        max_conditions: 1–3.
        min_support: objects that a combination holds at least.
    """
    counts = count_pairs(codes, sizes, miss)
    everything = float(codes.shape[1]), float(miss.sum())

    def enough(objects: Floats, misses: Floats) -> Bools:
        return np.asarray((objects >= min_support) & (misses >= MIN_MISSES))

    single = np.diagonal(counts, axis1=1, axis2=2)
    # A single bin of most objects is the usual state; what its few others do well is no slice that fails.
    ones = np.flatnonzero(enough(*single) & (single[0] <= everything[0] / 2))
    none = np.full((len(ones), 3), -1)
    whole = (np.full(len(ones), amount) for amount in everything)
    levels = [Counted(np.column_stack([ones, none[:, :2]]), none, single[0, ones], single[1, ones], *whole)]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    allowed = enough(*counts) & (owner[:, None] < owner[None])
    if max_conditions > 1:
        pairs = np.column_stack(np.nonzero(allowed))
        size, lost = counts[:, pairs[:, 0], pairs[:, 1]]
        levels.append(_with_worst_parent(pairs, size, lost, counts))
    if max_conditions > 2:
        triples = _triples(codes, sizes, miss, allowed, min_support)
        levels.append(_with_worst_parent(*triples, counts))
    return Counted(*(np.concatenate([getattr(level, name) for level in levels]) for name in Counted.__slots__))


def _triples(
    codes: Codes, sizes: Integers, miss: Bools, allowed: Bools, min_support: int
) -> tuple[Integers, Floats, Floats]:
    """Return (K, 3) combinations of three whose pairs are allowed, with objects and misses (K,)."""
    stops = np.cumsum(sizes)
    starts = stops - sizes
    places, tables = [np.empty((0, 3), dtype=np.int64)], [np.empty((2, 0))]
    for group, table in count_triples(codes, sizes, miss):
        a, b, c = (slice(starts[item], stops[item]) for item in group)
        large = (table[0] >= min_support) & (table[1] >= MIN_MISSES)
        large &= allowed[a, b][:, :, None] & allowed[a, c][:, None] & allowed[b, c]
        places.append(np.argwhere(large) + starts[list(group)])
        tables.append(table[:, large])
    size, lost = np.concatenate(tables, axis=1)
    return np.concatenate(places), size, lost


def _with_worst_parent(combination: Integers, size: Floats, lost: Floats, counts: Floats) -> Counted:
    """Compare pairs with single bins, triples with pairs, which ``counts`` (2, B, B) hold."""
    count, width = combination.shape
    places = [[place for place in range(width) if place != left_out] for left_out in range(width)]
    parents = np.stack([combination[:, kept] for kept in places], axis=1)
    sizes, losses = counts[:, parents[:, :, 0], parents[:, :, -1]]
    worst = np.argmax(losses / sizes, axis=1) if count else np.zeros(0, dtype=np.int64)
    at = np.arange(count), worst
    filled = [np.column_stack([part, np.full((count, 3 - part.shape[1]), -1)]) for part in (combination, parents[at])]
    return Counted(filled[0], filled[1], size, lost, sizes[at], losses[at])

"""The smallest list of photos to collect that covers what training hardly holds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.optimize import linprog

from xai import tables
from xai.coverage.bins import Catalog, UserBins
from xai.coverage.intervals import Integers
from xai.coverage.onehot import conditions
from xai.coverage.sample import Sample

SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "like": pl.String,
    "photos": pl.Int64,
    "objects": pl.Int64,
    "patterns": pl.List(pl.String),
}
"""Columns of ``plan``."""

MOST_PATTERNS = 200
"""Patterns that are covered, those with most misses first."""

MOST_ROWS = 2000
"""Kinds of photos that the linear program chooses from, those that add most."""


def plan(
    uncovered: pl.DataFrame, train: Sample | None, evaluation: Sample, catalog: Catalog, user: UserBins
) -> pl.DataFrame:
    """Return which photos to collect, and how many of each, so that all uncovered patterns with misses are covered.

    A new photo is taken to be like one that the evaluation set holds, so that every photo of the list can exist: it
    adds the objects that its model shows, often to several patterns at once. Choosing how many photos like each to take
    is a set multi-cover, solved near its smallest (``cover``); Asudeh, Jin & Jagadish, ICDE 2019, choose freely
    combined bins by a greedy hitting set.

    Args:
        uncovered: ``tables.TABLES["uncovered"]``.
        train: whose attributes the patterns are of; None has no patterns.
        evaluation: the evaluation set.
        catalog: attributes by name.
        user: bins of the user's columns.

    Returns:
        Columns of ``SCHEMA``, most often taken first: how many photos like ``like``, their objects in any pattern,
        and the patterns that they add to.
    """
    wanted = uncovered.filter(pl.col("miss_count") > 0).head(MOST_PATTERNS)
    if train is None or not len(wanted):
        return tables.empty(SCHEMA)
    sample = evaluation.in_draws()
    grid = conditions(evaluation, catalog, user, among=train.codes)
    place = {name: code for code, name in enumerate(grid.names)}
    patterns = wanted["pattern"].to_list()
    rows = np.array([[*(place[name] for name in pattern), -1, -1][:3] for pattern in patterns], dtype=np.int64)
    members = grid.members(sample, catalog, user)
    held = members.held(rows, sample.photo, sample.miss)
    photos, column = np.unique(held.unit, return_inverse=True)
    adds = np.zeros((len(photos), len(patterns)), dtype=np.int64)
    adds[column, held.which] = held.size.astype(np.int64)
    chosen, counts = cover(adds, wanted["collect"].to_numpy())
    shown = np.zeros(len(sample.photo), dtype=np.bool_)
    for row in rows:
        shown |= members.of(row[None])[0]
    objects = np.bincount(sample.photo[shown], minlength=sample.photos)[photos[chosen]]
    names = sample.source.image_ids.gather(photos[chosen])
    spelled = [" & ".join(pattern) for pattern in patterns]
    found = pl.DataFrame(
        {
            "like": names,
            "photos": counts,
            "objects": counts * objects,
            "patterns": [[spelled[item] for item in np.flatnonzero(row)] for row in adds[chosen]],
        },
    )
    return tables.conform(found, SCHEMA)


def cover(adds: Integers, needed: Integers) -> tuple[Integers, Integers]:
    """Choose rows and how often to take each, few in all, until Σ times · adds reaches what is needed.

    The fewer of two: the greedy choice, and the whole part of the linear program's optimum with the rest chosen
    greedily, which is at most one row for each need above the smallest.

    Args:
        adds: (P, J) what one more of row p adds to need j.
        needed: (J,); what no row adds to is left out.

    Returns:
        Rows (K,), most often taken first, and how often (K,).

    >>> rows, times = cover(np.array([[1, 1, 0], [0, 1, 0], [0, 1, 2]]), np.array([2, 3, 4]))
    >>> rows.tolist(), times.tolist()
    ([0, 2], [2, 2])
    """
    wanted = np.where(adds.any(axis=0), needed, 0).astype(np.int64)
    distinct, first = np.unique(adds, axis=0, return_index=True)
    useful = np.minimum(distinct, wanted).sum(axis=1)
    best = np.sort(np.argsort(-useful, kind="stable")[:MOST_ROWS])
    greedy = _without_surplus(distinct, wanted, _greedily(distinct, wanted))
    some = np.union1d(best, np.flatnonzero(greedy))
    whole: Integers = np.zeros(len(distinct), dtype=np.int64)
    if wanted.any():
        part = distinct[some]
        found = linprog(np.ones(len(some)), A_ub=-part.T, b_ub=-wanted, method="highs")
        whole[some] = np.floor(found.x + 1e-9).astype(np.int64)
        left = np.maximum(wanted - whole @ distinct, 0)
        whole = _without_surplus(distinct, wanted, whole + _greedily(distinct, left))
    times = whole if whole.sum() < greedy.sum() else greedy
    chosen = np.flatnonzero(times)
    chosen = chosen[np.lexsort((first[chosen], -times[chosen]))]
    return first[chosen], times[chosen]


def _greedily(adds: Integers, needed: Integers) -> Integers:
    """Return (P,) how often each row is taken if the one that adds most is always next."""
    times = np.zeros(len(adds), dtype=np.int64)
    left = needed.copy()
    gain = np.minimum(adds, left).sum(axis=1)
    while left.any():
        # Of rows that add as much, one that is on the list already.
        best = int(np.argmax(gain + 0.5 * (times > 0)))
        used = np.flatnonzero(np.minimum(adds[best], left))
        # As often as its gain stays the same, and once at least.
        repeat = max(int((left[used] // adds[best, used]).min()), 1)
        after = np.maximum(left - repeat * adds[best], 0)
        changed = np.flatnonzero(left != after)
        lost = np.minimum(adds[:, changed], left[changed]) - np.minimum(adds[:, changed], after[changed])
        gain = gain - lost.sum(axis=1)
        left = after
        times[best] += repeat
    return times


def _without_surplus(adds: Integers, needed: Integers, times: Integers) -> Integers:
    """Take off again what others make superfluous, rows that are taken least first."""
    times = times.copy()
    surplus = times @ adds - needed
    taken = np.flatnonzero(times)
    for row in taken[np.argsort(times[taken], kind="stable")]:
        used = adds[row] > 0
        spare = int(min(times[row], (surplus[used] // adds[row, used]).min()))
        times[row] -= spare
        surplus -= spare * adds[row]
    return times

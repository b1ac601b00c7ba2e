"""Slices of one to three bins that fail more than their parents explain: exact search, then clustered tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import polars.selectors as cs

from xai import tables
from xai.coverage.assess import ELEVATED_RATIO, FALSE_DISCOVERY_RATE, Counts, assess, photos_to_collect
from xai.coverage.bins import Catalog, UserBins
from xai.coverage.intervals import Bools, Floats, Integers, Ratios, false_discovery, rates, risk_ratios
from xai.coverage.onehot import Conditions, conditions, count_pairs, count_triples, listed, members_of
from xai.coverage.sample import Sample, Side, strata
from xai.rules import RARE_COUNT

MIN_SUPPORT = 30
"""Objects that a slice holds at least, in the part of the data where it is searched."""

MIN_MISSES = 5
"""Misses that a slice holds at least, likewise."""

MAX_TESTED = 200
"""Slices that are tested with clustered intervals; the others only count in the multiplicity."""

MAX_REPORTED = 50
"""Rows of the table."""

SPLIT_DRAWS = 1000
"""Evaluation photos (or groups) from which slices are found on one half and confirmed on the other ..."""

SPLIT_MISSES = 300
"""... if there are so many misses too."""

SAME = 0.8
"""Two slices whose members overlap by this much (Jaccard index) are one."""

_CHUNK = 32


def slices(
    train: Sample | None,
    evaluation: Sample,
    catalog: Catalog,
    user: UserBins,
    *,
    max_conditions: int = 3,
    min_support: int = MIN_SUPPORT,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the slices that fail more than their parents explain, columns as in ``tables.TABLES["slices"]``.

    Every combination of up to three bins of different attributes (labels count as one) with enough objects and misses
    is compared with the rest of its worst parent: the one among the combinations with one bin less (for a single bin
    all objects, of which it may hold at most half) whose miss rate is highest. The 200 greatest by the z of the log
    risk ratio (Katz et al., Biometrics 1978, over the pooled design effect) are tested with photo-clustered p-values.
    With 1,000 photos and 300 misses or more they are found on a random half of the photos and tested on the other, and
    ``q_value`` is Benjamini–Hochberg over the tests there; with fewer, it is over all combinations, the untested with
    p = 1. Kept are q ≤ 0.05 and a ratio of at least 1.5 against the parent. Of nested slices that fail alike the
    simplest that explains them stays: a slice whose excess is all in a narrower one is dropped, and so is the later of
    two with almost the same members.

    The figures are of all evaluation photos, those on which the slice was found included; the risk ratios compare it
    with all other objects, adjusted for object size and label where these are no conditions of it. Intervals are of
    sampling alone: how often two or three bins are wrong at once nobody measured; errors draw ratios towards 1. Rows
    are sorted by the lower bound of the adjusted ratio.

    Args:
        train: the training set, or None.
        evaluation: the evaluation set.
        catalog: attributes by name.
        user: bins of the user's columns.
        max_conditions: 1–3 bins.
        min_support: objects that a slice holds at least where it is searched.
        seed: draws the halves.
    """
    right = Side.of(evaluation.where(evaluation.asked))
    sample = right.asked
    grid = conditions(sample, catalog, user)
    columns = grid.columns_of(sample, catalog, user)
    search, test, halved = _halves(sample, seed)
    counted = _search(columns[search], sample.miss[search], grid.combinable(), max_conditions, min_support)
    best = np.argsort(-_z(counted, right, search), kind="stable")[:MAX_TESTED]
    promising = counted.take(best[counted.excess[best] >= ELEVATED_RATIO])
    part = sample.where(test)
    p_values, ratios = _test(promising, columns[test], part, right.correlation)
    untested = 0 if halved else len(counted.size) - len(p_values)
    q_values = false_discovery(np.append(np.nan_to_num(p_values, nan=1.0), np.ones(untested)))[: len(p_values)]
    kept = (q_values <= FALSE_DISCOVERY_RATE) & (ratios >= ELEVATED_RATIO)
    found = promising.take(np.flatnonzero(kept))
    chosen = _fold(found, columns, sample.miss)
    figures = _figures(found.take(chosen), q_values[kept][chosen], columns, grid, train, right, catalog, user)
    return tables.conform(figures.head(MAX_REPORTED), tables.TABLES["slices"]).select(list(tables.TABLES["slices"]))


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
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

    def take(self, rows: Integers) -> _Counted:
        return _Counted(*(getattr(self, name)[rows] for name in self.__slots__))

    @property
    def excess(self) -> Floats:
        """(K,) miss rate over that of the rest of the parent; inf where the rest has no miss, NaN where it is empty."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rest = (self.parent_lost - self.lost) / (self.parent_size - self.size)
            return np.asarray((self.lost / self.size) / rest)


def _halves(sample: Sample, seed: int) -> tuple[Bools, Bools, bool]:
    """Return which objects are searched and which are tested: draws in halves, or all for both."""
    everything = np.ones(len(sample.photo), dtype=np.bool_)
    holders = np.unique(sample.draw)
    if len(holders) < SPLIT_DRAWS or sample.miss.sum() < SPLIT_MISSES:
        return everything, everything, False
    first = np.zeros(int(holders.max()) + 1, dtype=np.bool_)
    first[np.random.default_rng(seed).permutation(holders)[: len(holders) // 2]] = True
    return first[sample.draw], ~first[sample.draw], True


def _search(columns: Bools, miss: Bools, combinable: Bools, max_conditions: int, min_support: int) -> _Counted:
    """Count all combinations with enough objects and misses, and find the worst parent of each."""
    sizes, losses = count_pairs(columns).astype(np.float64), count_pairs(columns, miss).astype(np.float64)
    size, lost = np.diagonal(sizes), np.diagonal(losses)

    def enough(objects: Floats, misses: Floats) -> Bools:
        return np.asarray((objects >= min_support) & (misses >= MIN_MISSES))

    # A single bin of most objects is the usual state; what its few others do well is no slice that fails.
    single = np.flatnonzero(enough(size, lost) & (size <= len(columns) / 2))
    none = np.full((len(single), 3), -1)
    everything = np.full(len(single), float(len(columns))), np.full(len(single), float(miss.sum()))
    levels = [_Counted(np.column_stack([single, none[:, :2]]), none, size[single], lost[single], *everything)]
    allowed = combinable & enough(sizes, losses)
    if max_conditions > 1:
        pair = np.column_stack(np.nonzero(allowed))
        levels.append(_with_worst_parent(pair, sizes[tuple(pair.T)], losses[tuple(pair.T)], sizes, losses))
    if max_conditions > 2:
        for first, partners, triples in count_triples(columns, allowed):
            lost_triples = count_pairs(columns[np.ix_(columns[:, first] & miss, partners)]).astype(np.float64)
            inside = enough(triples.astype(np.float64), lost_triples) & allowed[np.ix_(partners, partners)]
            left, right = np.nonzero(inside)
            triple = np.column_stack([np.full(len(left), first), partners[left], partners[right]])
            levels.append(
                _with_worst_parent(triple, triples[inside].astype(np.float64), lost_triples[inside], sizes, losses)
            )
    return _Counted(*(np.concatenate([getattr(level, name) for level in levels]) for name in _Counted.__slots__))


def _with_worst_parent(combination: Integers, size: Floats, lost: Floats, sizes: Floats, losses: Floats) -> _Counted:
    """Compare pairs with single bins, triples with pairs; ``sizes`` and ``losses`` hold both, (B, B)."""
    count, width = combination.shape
    places = [[place for place in range(width) if place != left_out] for left_out in range(width)]
    parents = np.stack([combination[:, kept] for kept in places], axis=1)
    first, last = parents[:, :, 0], parents[:, :, -1]
    with np.errstate(invalid="ignore"):
        worst = np.argmax(losses[first, last] / sizes[first, last], axis=1) if count else np.zeros(0, dtype=np.int64)
    chosen = parents[np.arange(count), worst]
    filled = [np.column_stack([part, np.full((count, 3 - part.shape[1]), -1)]) for part in (combination, chosen)]
    index = chosen[:, 0], chosen[:, -1]
    return _Counted(filled[0], filled[1], size, lost, sizes[index], losses[index])


def _z(counted: _Counted, side: Side, searched: Bools) -> Floats:
    """Return (K,) log risk ratios against the rest of the parent over their standard errors, design effect included."""
    part = side.asked.draw[searched]
    per_draw = np.bincount(part)
    effect = 1 + ((per_draw**2).sum() / max(len(part), 1) - 1) * side.correlation if len(part) else 1.0
    rest_size, rest_lost = counted.parent_size - counted.size, counted.parent_lost - counted.lost
    # Half a miss in both keeps slices beside a rest without misses comparable.
    rate_in, rate_out = (counted.lost + 0.5) / (counted.size + 0.5), (rest_lost + 0.5) / (rest_size + 0.5)
    variance = 1 / (counted.lost + 0.5) - 1 / (counted.size + 0.5) + 1 / (rest_lost + 0.5) - 1 / (rest_size + 0.5)
    score = np.log(rate_in / rate_out) / np.sqrt(np.maximum(variance, 1e-12) * effect)
    return np.asarray(np.where(rest_size > 0, score, -np.inf))


def _test(promising: _Counted, columns: Bools, part: Sample, correlation: float) -> tuple[Floats, Floats]:
    """Return (K,) p-values and risk ratios of slices against the rest of their parents."""
    clusters = part.clusters()
    results: list[Ratios] = []
    for start in range(0, len(promising.size), _CHUNK):
        some = promising.take(np.arange(start, min(start + _CHUNK, len(promising.size))))
        inside, compared = (members_of(columns, part_of) for part_of in (some.combination, some.parent))
        results.append(risk_ratios(inside, compared, part.miss, clusters, icc=correlation))
    p_values = np.concatenate([np.empty(0), *(result.p_value for result in results)])
    return p_values, np.concatenate([np.empty(0), *(np.nan_to_num(result.ratio) for result in results)])


def _fold(found: _Counted, columns: Bools, miss: Bools) -> Integers:
    """Return the rows of slices to keep: not explained by a narrower one, not almost the same as a better one."""
    if not len(found.size):
        return np.empty(0, dtype=np.int64)
    members = members_of(columns, found.combination).astype(np.float32)
    overlap, lost = members.T @ members, (members * miss[:, None]).T @ members
    size, misses = np.diagonal(overlap), np.diagonal(lost)
    conditions_of = np.zeros((len(size), columns.shape[1]), dtype=np.bool_)
    for place in range(3):
        used = np.flatnonzero(found.combination[:, place] >= 0)
        conditions_of[used, found.combination[used, place]] = True
    wider = (conditions_of[:, None] <= conditions_of[None]).all(axis=2) & ~np.eye(len(size), dtype=np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        remaining = (misses[:, None] - lost) / (size[:, None] - overlap)
        outside = (miss.sum() - misses) / (len(miss) - size)
        explained = wider & ~(remaining >= ELEVATED_RATIO * outside[:, None])
        jaccard = overlap / (size[:, None] + size[None] - overlap)
    width = conditions_of.sum(axis=1)
    order = np.lexsort((-misses / size, width))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    alive = ~explained.any(axis=1)
    twin = (jaccard > SAME) & (rank[None] < rank[:, None]) & alive[None]
    return np.flatnonzero(alive & ~twin.any(axis=1))


def _figures(
    found: _Counted,
    q_values: Floats,
    columns: Bools,
    grid: Conditions,
    train: Sample | None,
    side: Side,
    catalog: Catalog,
    user: UserBins,
) -> pl.DataFrame:
    """Rows of the table, by falling lower bound of the adjusted ratio."""
    members = members_of(columns, found.combination)
    ours = Counts.of_members(side.asked, members)
    data: dict[str, object] = {**ours.columns("eval"), **_risks(members, found, grid, side), "q_value": q_values}
    theirs = None
    if train is not None:
        left = Side.of(train)
        shown = members_of(grid.columns_of(train, catalog, user), found.combination)
        theirs = Counts.of_members(train, shown)
        asked = shown[train.asked]
        size = asked.sum(axis=0)
        with np.errstate(invalid="ignore"):
            rate = asked[left.asked.miss].sum(axis=0) / size
        everything = np.ones((len(asked), 1), dtype=np.bool_)
        ratios = risk_ratios(asked, everything, left.asked.miss, left.asked.clusters(), icc=left.correlation)
        elevated = (ratios.ratio >= ELEVATED_RATIO) & (ratios.low > 1) & (size >= RARE_COUNT)
        data |= {**theirs.columns("train"), "train_miss_rate": rate, "train_elevated": elevated}
    else:
        data |= dict.fromkeys(("train_count", "train_share"), np.full(len(q_values), np.nan))
        data["train_elevated"] = np.zeros(len(q_values), dtype=np.bool_)
    data["collect"] = photos_to_collect(theirs, ours, photos_only=False)
    frame = pl.DataFrame(data).with_columns(cs.float().fill_nan(None))
    frame = frame.with_columns(conditions=listed(found.combination, grid.names))
    frame = frame.with_columns(slice=pl.col("conditions").list.join(" & "))
    return assess(frame, pl.lit(True)).sort(["adjusted_low", "slice"], descending=[True, False], nulls_last=True)


def _risks(members: Bools, found: _Counted, grid: Conditions, side: Side) -> dict[str, Floats | Integers]:
    """Misses, rates and ratios of slices (n, K) against all other objects."""
    sample = side.asked
    clusters = sample.clusters()
    everything = np.ones((len(members), 1), dtype=np.bool_)
    rate = rates(members, sample.miss, clusters, icc=side.correlation)
    crude = risk_ratios(members, everything, sample.miss, clusters, icc=side.correlation)
    names = [{grid.pairs[item][0] for item in row if item >= 0} for row in found.combination.tolist()]
    by_size = np.array([("object_size" not in attributes) for attributes in names], dtype=np.bool_)
    by_label = np.array([("label" not in attributes) for attributes in names], dtype=np.bool_)
    adjusted = {name: getattr(crude, name).copy() for name in ("ratio", "low", "high")}
    for size in (False, True):
        for label in (False, True):
            group = np.flatnonzero((by_size == size) & (by_label == label))
            layers = strata(sample, size=size, label=label)
            if len(group) and layers is not None:
                part = risk_ratios(members[:, group], everything, sample.miss, clusters, layers, icc=side.correlation)
                for name, values in adjusted.items():
                    values[group] = getattr(part, name)
    lost = members[sample.miss].sum(axis=0)
    holders = (sample.by_photo() @ (members & sample.miss[:, None]).astype(np.float64) > 0).sum(axis=0)
    bounded = {
        "risk_ratio": crude.ratio,
        "risk_ratio_low": crude.low,
        "risk_ratio_high": crude.high,
        "adjusted_risk_ratio": adjusted["ratio"],
        "adjusted_low": adjusted["low"],
        "adjusted_high": adjusted["high"],
    }
    return {
        "miss_count": lost,
        "miss_photos": holders,
        "miss_share": lost / max(int(sample.miss.sum()), 1),
        "miss_rate": rate.rate,
        "miss_rate_low": rate.low,
        "miss_rate_high": rate.high,
        **{name: np.where(np.isfinite(values), values, np.nan) for name, values in bounded.items()},
    }

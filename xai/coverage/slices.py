"""Slices of one to three bins that fail more than their parents explain: exact search, then clustered tests."""

from __future__ import annotations

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from xai import tables
from xai.coverage import collect
from xai.coverage.assess import ELEVATED_RATIO, FALSE_DISCOVERY_RATE, FAMILIES, Counts, assess
from xai.coverage.bins import Catalog, UserBins
from xai.coverage.intervals import Bools, Floats, Integers, false_discovery
from xai.coverage.kinds import Kinds, Rows
from xai.coverage.members import Members, within_parents
from xai.coverage.onehot import Conditions, conditions, listed
from xai.coverage.ratios import Ratios, compare
from xai.coverage.sample import Sample, Side, strata
from xai.coverage.search import Counted, search
from xai.rules import RARE_COUNT

MIN_SUPPORT = 30
"""Objects that a slice holds at least, in the part of the data where it is searched."""

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

_BYTES = 2**16
"""Bits of eight times as many objects that are counted at a time."""

_TOGETHER = 5
"""Slices that are adjusted at a time: objects are counted by who is in which of them."""


def slices(
    train: Sample | None,
    evaluation: Sample,
    catalog: Catalog,
    user: UserBins,
    *,
    max_conditions: int = 3,
    min_support: int = MIN_SUPPORT,
    max_tested: int = MAX_TESTED,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the slices that fail more than their parents explain.

    Columns are those of ``tables.TABLES["slices"]`` and ``collect.COLUMNS``.

    Every combination of up to three bins of different attributes (labels count as one) with enough objects and misses
    is compared with the rest of its worst parent: the one among the combinations with one bin less (for a single bin
    all objects, of which it may hold at most half) whose miss rate is highest. The 200 greatest by the z of the log
    risk ratio (Katz et al., Biometrics 1978, over the pooled design effect) are tested with photo-clustered p-values.
    With 1,000 photos and 300 misses or more they are found on a random half of the photos and tested on the other, and
    ``q_value`` is Benjamini–Hochberg over the tests there; with fewer, it is over all combinations, the untested with
    p = 1; times three, as in the coverage table, since bins are tested too. Kept are q ≤ 0.05 and a ratio of at least
    1.5 against the parent. Of nested slices that fail alike the simplest that explains them stays: a slice whose excess
    is all in a narrower one is dropped, and so is the later of two with almost the same members.

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
        max_tested: slices that are tested, the greatest by z.
        seed: draws the halves.
    """
    right = Side.of(evaluation.where(evaluation.asked))
    sample = right.asked
    grid = conditions(sample, catalog, user)
    members = grid.members(sample, catalog, user)
    searched, tested, halved = _halves(sample, seed)
    counted = search(members.codes[:, searched], grid.sizes(), sample.miss[searched], max_conditions, min_support)
    best = np.argsort(-counted.z(_design_effect(right, searched)), kind="stable")[:max_tested]
    promising = counted.take(best[counted.excess[best] >= ELEVATED_RATIO])
    part = members.where(tested)
    ratios, _ = within_parents(
        part, promising.combination, promising.parent, sample.draw[tested], sample.miss[tested], right.correlation
    )
    untested = 0 if halved else len(counted.size) - len(promising.size)
    p_values = np.append(np.nan_to_num(ratios.p_value, nan=1.0), np.ones(untested))
    q_values = false_discovery(p_values, FAMILIES)[: len(promising.size)]
    kept = (q_values <= FALSE_DISCOVERY_RATE) & (np.nan_to_num(ratios.ratio) >= ELEVATED_RATIO)
    found = promising.take(np.flatnonzero(kept))
    chosen = _fold(found, members, sample.miss)
    figures = _figures(found.take(chosen), q_values[kept][chosen], members, grid, train, right, catalog, user)
    table = tables.conform(figures.head(MAX_REPORTED), tables.TABLES["slices"])
    further = [pl.col(name).cast(dtype) for name, dtype in collect.COLUMNS.items()]
    return table.select(*tables.TABLES["slices"], *further)


def _design_effect(side: Side, searched: Bools) -> float:
    """Return the design effect of the objects that are searched (Kish, Survey Sampling, 1965)."""
    per_draw = np.bincount(side.asked.draw[searched])
    count = max(int(per_draw.sum()), 1)
    return float(1 + ((per_draw**2).sum() / count - 1) * side.correlation) if per_draw.sum() else 1.0


def _halves(sample: Sample, seed: int) -> tuple[Bools, Bools, bool]:
    """Return which objects are searched and which are tested: draws in halves, or all for both."""
    everything = np.ones(len(sample.photo), dtype=np.bool_)
    holders = np.unique(sample.draw)
    if len(holders) < SPLIT_DRAWS or sample.miss.sum() < SPLIT_MISSES:
        return everything, everything, False
    first = np.zeros(int(holders.max()) + 1, dtype=np.bool_)
    first[np.random.default_rng(seed).permutation(holders)[: len(holders) // 2]] = True
    return first[sample.draw], ~first[sample.draw], True


def _fold(found: Counted, members: Members, miss: Bools) -> Integers:
    """Return the rows of slices to keep: not explained by a narrower one, not almost the same as a better one."""
    if not len(found.size):
        return np.empty(0, dtype=np.int64)
    packed = np.concatenate([np.packbits(members.of(row[None]), axis=1) for row in found.combination])
    flags = np.packbits(miss)
    overlap, lost = _overlaps(packed, np.full_like(flags, 255)), _overlaps(packed, flags)
    size, misses = np.diagonal(overlap), np.diagonal(lost)
    conditions_of = np.zeros((len(size), len(members.attribute)), dtype=np.bool_)
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


def _overlaps(packed: NDArray[np.uint8], among: NDArray[np.uint8]) -> Floats:
    """Return (K, K) how many of some objects two slices share, of (K, n / 8) and (n / 8,) bits."""
    counts = np.zeros((len(packed), len(packed)))
    for start in range(0, packed.shape[1], _BYTES):
        part = packed[:, start : start + _BYTES] & among[start : start + _BYTES]
        for place, row in enumerate(part):
            counts[place, : place + 1] += np.bitwise_count(part[: place + 1] & row).sum(axis=1, dtype=np.int64)
    return np.tril(counts) + np.tril(counts, -1).T


def _figures(
    found: Counted,
    q_values: Floats,
    members: Members,
    grid: Conditions,
    train: Sample | None,
    side: Side,
    catalog: Catalog,
    user: UserBins,
) -> pl.DataFrame:
    """Rows of the table, by falling lower bound of the adjusted ratio."""
    ours = _counts(found.combination, members, side.asked)
    data: dict[str, object] = {**ours.columns("eval"), **_risks(members, found, grid, side), "q_value": q_values}
    theirs = None
    nothing = np.full(found.combination.shape, -1)
    if train is not None:
        left = Side.of(train)
        theirs = _counts(found.combination, grid.members(left.sample, catalog, user), left.sample)
        shown, asked = grid.members(left.asked, catalog, user), left.asked
        ratios, rates = within_parents(shown, found.combination, nothing, asked.draw, asked.miss, left.correlation)
        size = shown.of(found.combination).sum(axis=1)
        elevated = (ratios.ratio >= ELEVATED_RATIO) & (ratios.low > 1) & (size >= RARE_COUNT)
        data |= {**theirs.columns("train"), "train_miss_rate": rates.rate, "train_elevated": elevated}
    else:
        data |= dict.fromkeys(("train_count", "train_share"), np.full(len(q_values), np.nan))
        data["train_elevated"] = np.zeros(len(q_values), dtype=np.bool_)
    data |= collect.needed(theirs, ours, photos_only=False)
    frame = pl.DataFrame(data).with_columns(cs.float().fill_nan(None))
    frame = frame.with_columns(conditions=listed(found.combination, grid.names))
    frame = frame.with_columns(slice=pl.col("conditions").list.join(" & "))
    return assess(frame.with_columns(collect.avoided()), pl.lit(True)).sort(
        ["adjusted_low", "slice"], descending=[True, False], nulls_last=True
    )


def _counts(combination: Integers, members: Members, sample: Sample) -> Counts:
    """Count slices in a sample, photo by photo."""
    on_photo = np.bincount(sample.photo, minlength=sample.photos).astype(np.float64)
    held = members.held(combination, sample.photo, sample.miss)
    photos = np.array([float((on_photo > 0).sum())])
    objects = np.array([float(len(sample.photo))])
    return Counts(held.sum(held.size), held.sum(held.size > 0), objects, photos, held.sum(on_photo[held.unit]))


def _risks(members: Members, found: Counted, grid: Conditions, side: Side) -> dict[str, Floats]:
    """Misses, rates and ratios of slices against all other objects."""
    sample = side.asked
    nothing = np.full(found.combination.shape, -1)
    crude, rate = within_parents(
        members, found.combination, nothing, sample.draw, sample.miss, side.correlation
    )  # fmt: skip
    adjusted = _adjusted(members, found, grid, side, crude)
    by_photo = members.held(found.combination, sample.photo, sample.miss)
    bounded = {
        "risk_ratio": crude.ratio,
        "risk_ratio_low": crude.low,
        "risk_ratio_high": crude.high,
        "adjusted_risk_ratio": adjusted.ratio,
        "adjusted_low": adjusted.low,
        "adjusted_high": adjusted.high,
    }
    return {
        "miss_count": by_photo.sum(by_photo.lost),
        "miss_photos": by_photo.sum(by_photo.lost > 0),
        "miss_share": by_photo.sum(by_photo.lost) / max(int(sample.miss.sum()), 1),
        "miss_rate": rate.rate,
        "miss_rate_low": rate.low,
        "miss_rate_high": rate.high,
        **{name: np.where(np.isfinite(values), values, np.nan) for name, values in bounded.items()},
    }


def _adjusted(members: Members, found: Counted, grid: Conditions, side: Side, crude: Ratios) -> Ratios:
    """Mantel–Haenszel over object size and label, as far as these are no conditions of the slice itself."""
    sample = side.asked
    rows = Rows.of(sample.draw)
    result = Ratios(*(getattr(crude, name).copy() for name in Ratios.__slots__))
    owners = np.array([attribute for attribute, _ in grid.pairs], dtype=np.object_)
    of_size, of_label = (
        np.isin(found.combination, np.flatnonzero(owners == name)).any(axis=1) for name in ("object_size", "label")
    )
    for size in (False, True):
        for label in (False, True):
            group = np.flatnonzero((of_size != size) & (of_label != label))
            layers = strata(sample, size=size, label=label) if len(group) else None
            for start in range(0, len(group) if layers is not None else 0, _TOGETHER):
                some = group[start : start + _TOGETHER]
                bits = np.arange(len(some))
                code = np.zeros(len(sample.photo), dtype=np.uint8)
                for bit, inside_one in enumerate(members.of(found.combination[some])):
                    code |= inside_one.astype(np.uint8) << np.uint8(bit)
                kinds = Kinds.of(rows, code, 1 << len(some), sample.miss, layers)
                inside = (kinds.code[:, None] >> bits & 1).astype(np.bool_)
                everything = np.ones((len(inside), 1), dtype=np.bool_)
                (part,) = compare(
                    inside, everything, kinds.miss, kinds.counts, [kinds.stratum], icc=side.correlation
                )  # fmt: skip
                for name in Ratios.__slots__:
                    getattr(result, name)[some] = getattr(part, name)[0]
    return result

"""Maximal uncovered patterns: combinations of bins that the evaluation set visits and training hardly holds."""

from __future__ import annotations

import numpy as np
import polars as pl

from xai import tables
from xai.coverage.bins import Catalog, UserBins
from xai.coverage.intervals import Bools, Integers
from xai.coverage.joint import Codes, Triple, count_pairs, count_triples, thin_triples
from xai.coverage.onehot import conditions, listed
from xai.coverage.sample import Sample

MIN_EXAMPLES = 30
"""Training objects from which a pattern counts as covered."""


def uncovered(
    train: Sample | None, evaluation: Sample, catalog: Catalog, user: UserBins, *, threshold: int = MIN_EXAMPLES
) -> pl.DataFrame:
    """Return the maximal uncovered patterns of training that the evaluation set visits.

    A pattern is a combination of up to three bins of different attributes (labels count as one); it is uncovered if
    fewer than ``threshold`` training objects show it, and maximal if every pattern with one bin less is covered
    (Asudeh, Jin & Jagadish, Assessing and remedying coverage for a given dataset, ICDE 2019). The search is exact.
    Sorted by misses, then by evaluation objects. ``collect`` is the number of training photos that cover the pattern if
    each shows one such object.

    Args:
        train: the training set; None has no patterns to speak of.
        evaluation: the evaluation set; patterns that none of its scored objects shows are left out.
        catalog: attributes by name.
        user: bins of the user's columns.
        threshold: training objects that cover a pattern.
    """
    schema = tables.TABLES["uncovered"]
    if train is None:
        return tables.empty(schema)
    # An attribute that was not measured in training has no coverage to judge.
    grid = conditions(evaluation, catalog, user, among=train.codes)
    held, shown = (grid.codes_of(side, catalog, user) for side in (train, evaluation))
    combinations, counts = _search(held, shown, evaluation.miss, grid.sizes(), threshold)
    seen = counts[:, 1] > 0
    combinations, counts = combinations[seen], counts[seen]
    frame = pl.DataFrame(
        {
            "pattern": listed(combinations, grid.names),
            "train_count": counts[:, 0],
            "eval_count": counts[:, 1],
            "miss_count": counts[:, 2],
            "collect": threshold - counts[:, 0],
        }
    )
    order = pl.col("pattern").list.join(" & ")
    return tables.conform(frame.sort(["miss_count", "eval_count", order], descending=[True, True, False]), schema)


def _search(held: Codes, shown: Codes, miss: Bools, sizes: Integers, threshold: int) -> tuple[Integers, Integers]:
    """Return uncovered maximal patterns (K, 3) and their training, evaluation and miss counts (K, 3)."""
    pairs = np.concatenate([count_pairs(held, sizes)[:1], count_pairs(shown, sizes, miss)])
    single = np.diagonal(pairs, axis1=1, axis2=2).T
    covered = single[:, 0] >= threshold
    ones = np.flatnonzero(~covered)
    found = [np.column_stack([ones, np.full((len(ones), 2), -1)])]
    counts = [single[ones]]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    candidates = (owner[:, None] < owner[None]) & covered[:, None] & covered[None, :]
    thin = pairs[0] < threshold
    first, second = np.nonzero(candidates & thin)
    found.append(np.column_stack([first, second, np.full(len(first), -1)]))
    counts.append(pairs[:, first, second].T)
    allowed = candidates & ~thin
    stops = np.cumsum(sizes)
    starts = stops - sizes

    def candidate(group: Triple) -> Bools:
        a, b, c = (slice(starts[item], stops[item]) for item in group)
        return np.asarray(allowed[a, b][:, :, None] & allowed[a, c][:, None] & allowed[b, c])

    in_training = thin_triples(held, sizes, threshold, candidate)
    for group, visited in count_triples(shown, sizes, miss, list(in_training)):
        lacking = candidate(group) & (in_training[group] < threshold)
        found.append(np.argwhere(lacking) + starts[list(group)])
        counts.append(np.concatenate([in_training[group][None, lacking], visited[:, lacking]]).T)
    return np.concatenate(found).astype(np.int64), np.concatenate(counts).astype(np.int64)

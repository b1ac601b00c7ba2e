"""Conditions as columns of ones: what the exact search over combinations of bins counts by matrix products."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xai.coverage.bins import OTHER, Catalog, UserBins, bin_names
from xai.coverage.intervals import Bools, Integers
from xai.coverage.sample import Sample

Counts32 = NDArray[np.float32]
"""Counts as float32, exact up to 16.7 million objects."""

MAX_LABELS = 20
"""Labels, by frequency in the evaluation set, that are conditions of their own."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The bins that may be combined.

    Attributes:
        attribute: (B,) codes of the attributes; bins of one attribute exclude each other.
        names: (B,) ``attribute=bin``.
        pairs: (B,) attribute and bin.
    """

    attribute: tuple[int, ...]
    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    def combinable(self) -> Bools:
        """Return (B, B) whether the second condition comes later and belongs to another attribute."""
        codes = np.array(self.attribute, dtype=np.int64)
        return np.triu(codes[:, None] != codes[None, :], k=1)

    def columns_of(self, sample: Sample, catalog: Catalog, user: UserBins) -> Bools:
        """Return (n, B) which object shows which condition; unmeasured attributes are shown by none."""
        columns = np.zeros((len(sample.photo), len(self.pairs)), dtype=np.bool_)
        for position, (attribute, name) in enumerate(self.pairs):
            if attribute == "label":
                columns[:, position] = (sample.objects["label"] == name).fill_null(False).to_numpy()
            elif attribute in sample.codes:
                columns[:, position] = sample.codes[attribute] == bin_names(attribute, catalog, user).index(name)
        return columns


def conditions(sample: Sample, catalog: Catalog, user: UserBins, *, among: Collection[str] | None = None) -> Conditions:
    """Return the known bins of attributes, and the labels, that occur in a sample; ``other`` is none.

    Args:
        sample: whose bins.
        catalog: attributes by name.
        user: bins of the user's columns.
        among: attributes to take, all if left out.
    """
    pairs = [
        (attribute, name)
        for attribute, codes in sample.codes.items()
        if among is None or attribute in among
        for position, name in enumerate(bin_names(attribute, catalog, user)[:-1])
        if name != OTHER and (codes == position).any()
    ]
    labels = sample.objects["label"].drop_nulls().value_counts().sort(["count", "label"], descending=[True, False])
    if len(labels) > 1:
        pairs += [("label", name) for name in labels["label"].head(MAX_LABELS).to_list()]
    order = {attribute: code for code, attribute in enumerate(dict.fromkeys(attribute for attribute, _ in pairs))}
    return Conditions(
        tuple(order[attribute] for attribute, _ in pairs),
        tuple(f"{attribute}={name}" for attribute, name in pairs),
        tuple(pairs),
    )


def count_pairs(columns: Bools, weight: Bools | None = None) -> Counts32:
    """Return (B, B) how many objects show two conditions, the diagonal how many show one.

    Args:
        columns: (n, B).
        weight: (n,) counts only these objects.
    """
    chosen = (columns if weight is None else columns[weight]).astype(np.float32)
    return np.asarray(chosen.T @ chosen)


def count_triples(columns: Bools, allowed: Bools) -> Iterator[tuple[int, Integers, Counts32]]:
    """Yield for each first condition a: a, the partners b that are allowed with it, and (b, b) counts of a ∧ b ∧ c.

    Args:
        columns: (n, B).
        allowed: (B, B) upper triangle: pairs of which a triple may be made.
    """
    for first in range(columns.shape[1]):
        partners = np.flatnonzero(allowed[first])
        if len(partners) > 1:
            yield first, partners, count_pairs(columns[np.ix_(columns[:, first], partners)])


def members_of(columns: Bools, combinations: Integers) -> Bools:
    """Return (n, K) which object shows all conditions of a combination; (K, 3) positions, −1 for none."""
    members = np.ones((len(columns), len(combinations)), dtype=np.bool_)
    for place in range(combinations.shape[1]):
        used = combinations[:, place] >= 0
        members[:, used] &= columns[:, combinations[used, place]]
    return members


def listed(combinations: Integers, names: tuple[str, ...]) -> pl.Series:
    """Return the names of each combination's conditions as a list column."""
    return pl.Series(
        [[names[item] for item in row if item >= 0] for row in combinations.tolist()], dtype=pl.List(pl.String)
    )

"""Conditions: the bins and labels that slices and patterns are made of, and who shows them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl

from xai.coverage.bins import OTHER, Catalog, UserBins, bin_names
from xai.coverage.intervals import Bools, Integers
from xai.coverage.joint import Codes
from xai.coverage.members import Members
from xai.coverage.sample import Sample

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
                columns[:, position] = sample.label == sample.labels.index(name) if name in sample.labels else False
            elif attribute in sample.codes:
                columns[:, position] = sample.codes[attribute] == bin_names(attribute, catalog, user).index(name)
        return columns

    def sizes(self) -> Integers:
        """Return (A,) how many conditions each attribute has."""
        return np.bincount(np.array(self.attribute, dtype=np.int64))

    def places(self) -> Integers:
        """Return (B,) the place of each condition among those of its attribute."""
        starts = np.cumsum(self.sizes()) - self.sizes()
        attribute = np.array(self.attribute, dtype=np.int64)
        return np.asarray(np.arange(len(attribute)) - starts[attribute])

    def codes_of(self, sample: Sample, catalog: Catalog, user: UserBins) -> Codes:
        """Return (A, n) the place of the condition that an object shows, as ``joint`` wants it."""
        sizes, places = self.sizes(), self.places()
        codes = np.repeat(sizes.astype(np.uint8)[:, None], len(sample.photo), axis=1)
        for code, attribute in enumerate(dict.fromkeys(attribute for attribute, _ in self.pairs)):
            here = {
                name: int(place) for (owner, name), place in zip(self.pairs, places, strict=True) if owner == attribute
            }
            if attribute == "label":
                told = np.array([*(here.get(name, int(sizes[code])) for name in sample.labels), sizes[code]], np.uint8)
                codes[code] = told[sample.label]
            elif attribute in sample.codes:
                names = bin_names(attribute, catalog, user)
                told = np.array([here.get(name, int(sizes[code])) for name in names], dtype=np.uint8)
                codes[code] = told[sample.codes[attribute]]
        return codes

    def members(self, sample: Sample, catalog: Catalog, user: UserBins) -> Members:
        """Return who shows which condition."""
        attribute = np.array(self.attribute, dtype=np.int64)
        return Members(self.codes_of(sample, catalog, user), attribute, self.places())


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
    if len(sample.labels) > 1:
        pairs += [("label", name) for name in most_frequent(sample)]
    order = {attribute: code for code, attribute in enumerate(dict.fromkeys(attribute for attribute, _ in pairs))}
    return Conditions(
        tuple(order[attribute] for attribute, _ in pairs),
        tuple(f"{attribute}={name}" for attribute, name in pairs),
        tuple(pairs),
    )


def most_frequent(sample: Sample) -> list[str]:
    """Return at most ``MAX_LABELS`` labels, by falling frequency and name."""
    counts = np.bincount(sample.label, minlength=len(sample.labels))[: len(sample.labels)]
    return [sample.labels[place] for place in np.argsort(-counts, kind="stable")[:MAX_LABELS]]


def listed(combinations: Integers, names: tuple[str, ...]) -> pl.Series:
    """Return the names of each combination's conditions as a list column."""
    spelled = pl.Series([*names, None], dtype=pl.String)
    parts = [
        spelled.gather(pl.Series(np.where(column < 0, len(names), column), dtype=pl.Int64)).alias(str(place))
        for place, column in enumerate(combinations.T)
    ]
    return pl.DataFrame(parts).select(conditions=pl.concat_list(pl.all()).list.drop_nulls()).to_series()

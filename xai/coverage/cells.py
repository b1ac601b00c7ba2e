"""The bins of an attribute counted on one side, by draw and by photo, for all labels or for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from xai.coverage.assess import Counts
from xai.coverage.intervals import Floats, Integers, Moments, added, sum_rows
from xai.coverage.kinds import Kinds, Rows
from xai.coverage.sample import Sample, Side, strata


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One side, its objects sorted into rows by label (or all together), photo and draw, and their strata.

    Attributes:
        side: the side.
        photos: rows of photos over the scored objects.
        draws: rows of draws over the scored objects.
        asked: rows of draws over the objects that the detector was asked about.
        strata: by whether object size is a stratum: (n,) codes for the asked objects.
    """

    side: Side
    photos: Rows
    draws: Rows
    asked: Rows
    strata: Mapping[bool, Integers | None]

    @classmethod
    def of(cls, side: Side, labels: list[str] | None) -> Layout:
        """Sort the objects of a side, those of each label apart; None takes all together."""
        count = 1 if labels is None else len(labels)

        def rows(sample: Sample, unit: Integers) -> Rows:
            return Rows.of(unit, None if labels is None else _positions(sample, labels), count)

        layers = {size: strata(side.asked, size=size, label=labels is None) for size in (False, True)}
        sample, asked = side.sample, side.asked
        draws = rows(sample, sample.draw)
        photos = draws if sample.draws_are_photos else rows(sample, sample.photo)
        return cls(side, photos, draws, draws if asked is sample else rows(asked, asked.draw), layers)


def _positions(sample: Sample, labels: list[str]) -> Integers:
    """Return (n,) the position of each object's label, −1 where it is not among them."""
    order = {name: place for place, name in enumerate(labels)}
    places = np.array([*(order.get(name, -1) for name in sample.labels), -1], dtype=np.int32)
    return places[sample.label]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The bins of one attribute on one side, counted for G labels and K bins.

    Attributes:
        asked: objects that the detector was asked about, by draw and stratum.
        rates: what the bins' miss rates need, (G, K).
        shares: what their shares need.
        counts: objects and photos.
        miss_photos: (G, K) photos with misses.
    """

    asked: Kinds
    rates: Moments
    shares: Moments
    counts: Counts
    miss_photos: Floats

    @classmethod
    def of(cls, layout: Layout, attribute: str, bins: int) -> Cells:
        """Count the bins of an attribute."""
        side = layout.side
        stratum = layout.strata[attribute != "object_size"]
        asked = Kinds.of(layout.asked, side.asked.codes[attribute], bins, side.asked.miss, stratum)
        sample = side.sample

        def counted(rows: Rows) -> Kinds:
            return Kinds.of(rows, sample.codes[attribute], bins, sample.miss, None)

        draws = asked if layout.draws is layout.asked else counted(layout.draws)
        photos = draws if layout.photos is layout.draws else counted(layout.photos)
        of_asked = _tallied(asked, bins)
        of_draws = of_asked if draws is asked else _tallied(draws, bins)
        of_photos = of_draws if photos is draws else _tallied(photos, bins)
        return cls(asked, of_asked[0], of_draws[1], *of_photos[2:])


def _tallied(kinds: Kinds, bins: int) -> tuple[Moments, Moments, Counts, Floats]:
    """Return ``rates shares counts miss_photos`` with the rows of ``kinds`` as draws or photos."""
    parts = [
        (
            Moments.of(held, lost, groups),
            Moments.of(held.sum(axis=1, keepdims=True), held, groups),
            Counts.of_rows(held, groups),
            sum_rows(lost > 0, groups),
        )
        for held, lost, groups in kinds.by_bin(bins)
    ]
    rates, shares, counts, lost = zip(*parts, strict=True)
    return added(rates), added(shares), added(counts), reduce(np.add, lost)

"""The bins of an attribute counted on one side, by draw and by photo, for all labels or for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from xai.coverage.intervals import Floats, Integers
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
    codes = sample.objects["label"].replace_strict(order, default=-1, return_dtype=pl.Int64)
    return codes.fill_null(-1).to_numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The bins of one attribute on one side, counted.

    Attributes:
        kinds: objects that the detector was asked about, by draw.
        held: (R, K) those objects by draw and bin.
        lost: (R, K) misses among them.
        by_draw: (R', K) scored objects by draw.
        by_photo: (R'', K) scored objects by photo.
        lost_by_photo: (R'', K) misses among them.
    """

    kinds: Kinds
    held: Floats
    lost: Floats
    by_draw: Floats
    by_photo: Floats
    lost_by_photo: Floats

    @classmethod
    def of(cls, layout: Layout, attribute: str, bins: int) -> Cells:
        """Count the bins of an attribute."""
        side = layout.side
        stratum = layout.strata[attribute != "object_size"]
        kinds = Kinds.of(layout.asked, side.asked.codes[attribute], bins, side.asked.miss, stratum)
        held, lost = kinds.by_bin(bins)
        sample = side.sample

        def counted(rows: Rows) -> tuple[Floats, Floats]:
            return Kinds.of(rows, sample.codes[attribute], bins, sample.miss, None).by_bin(bins)

        by_draw = (held, lost) if layout.draws is layout.asked else counted(layout.draws)
        by_photo = by_draw if layout.photos is layout.draws else counted(layout.photos)
        return cls(kinds, held, lost, by_draw[0], *by_photo)

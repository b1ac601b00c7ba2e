"""One side of the comparison, binned and encoded once: the scored objects and the photos of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy import sparse

from xai import tables
from xai.coverage.bins import Catalog, UserBins, bin_names, named
from xai.coverage.columns import Columns
from xai.coverage.intervals import Bools, Integers, indicator, intraclass_correlation
from xai.coverage.joint import Codes
from xai.rules import MISSES
from xai.tables import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Scored objects (n rows), their photos, and the draws that these came in.

    Counts are of photos; whatever is statistical sums over draws: the photos of one group (a site, a video) are one
    draw, a photo without a group is its own.

    Attributes:
        source: the data set, read again for what few ask for.
        rows: (n,) which of its objects these are; None for all in order.
        labels: their names, sorted.
        label: (n,) position of each object's label among them, their number for none.
        bins: measured attribute → names of its bins, ``unknown`` last.
        codes: measured attribute → (n,) position of each object's bin among them, image attributes inherited.
        image_codes: column that tells of photos → the same for the photos that were read, without objects too.
        photo: (n,) the photo of each object, codes 0–P−1.
        photos: P.
        draw: (n,) the draw of each object, codes from 0.
        miss: (n,) not found.
        asked: (n,) whether the detector was asked, so that ``miss`` means something.
        draws_are_photos: whether every photo is a draw of its own.
    """

    source: Columns
    rows: Integers | None
    labels: tuple[str, ...]
    label: Integers
    bins: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, Codes]
    image_codes: Mapping[str, Codes]
    photo: Integers
    photos: int
    draw: Integers
    miss: Bools
    asked: Bools
    draws_are_photos: bool = False

    def of(self, catalog: Catalog, user: UserBins) -> Sample:
        """Return the sample with the attributes of a catalog, and the user's columns, alone."""
        wanted = {*catalog, *user}
        return replace(self, codes={name: values for name, values in self.codes.items() if name in wanted})

    @property
    def objects(self) -> pl.DataFrame:
        """``image_id object_id label`` of the objects."""
        keys = self.source.keys()
        return keys if self.rows is None else keys[self.rows]

    def named(self) -> pl.DataFrame:
        """Return ``objects`` with the bin of every attribute, columns of type Enum."""
        told = (named(pl.Series(name, code), self.bins[name]) for name, code in self.codes.items())
        return self.objects.with_columns(told)

    def where(self, keep: Bools) -> Sample:
        """Return the sample with some of the objects; photos and draws keep their codes."""
        return self if keep.all() else self._take(np.flatnonzero(keep))

    def in_draws(self) -> Sample:
        """Return the sample with the objects of each draw, and within it of each photo, side by side."""
        steps = np.diff(self.draw)
        if ((steps > 0) | ((steps == 0) & (np.diff(self.photo) >= 0))).all():
            return self
        return self._take(np.lexsort((self.photo, self.draw)))

    def _take(self, rows: Integers) -> Sample:
        return replace(
            self,
            rows=rows if self.rows is None else self.rows[rows],
            label=self.label[rows],
            codes={name: values[rows] for name, values in self.codes.items()},
            photo=self.photo[rows],
            draw=self.draw[rows],
            miss=self.miss[rows],
            asked=self.asked[rows],
        )

    def by_photo(self) -> sparse.csr_array:
        """Return the (P, n) indicator that sums over the objects of each photo."""
        return indicator(self.photo, self.photos)

    def clusters(self) -> sparse.csr_array:
        """Return the (D, n) indicator that sums over the objects of each draw."""
        return indicator(self.draw, int(self.draw.max(initial=-1)) + 1)

    def correlation(self) -> float:
        """Return the intraclass correlation of misses within draws, 1 where it cannot be told."""
        return intraclass_correlation(self.miss, self.clusters()) if len(self.miss) else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A sample with what all its bins share; objects of one draw stand side by side.

    Attributes:
        sample: all scored objects.
        asked: the part that the detector was asked about.
        correlation: how its misses cluster within draws.
    """

    sample: Sample
    asked: Sample
    correlation: float

    @classmethod
    def of(cls, sample: Sample) -> Side:
        """Derive the side of a sample."""
        sample = sample.in_draws()
        asked = sample if sample.asked.all() else sample.where(sample.asked)
        return cls(sample, asked, asked.correlation())


def sample(images: Frame, objects: Frame, catalog: Catalog, user: UserBins, *, detected: bool = True) -> Sample:
    """Bin a data set and keep what is scored: objects that are not ``ignored``, photos that were read.

    Of lazy tables one column is read at a time.

    Args:
        images: columns of ``tables.TABLES["images"]``, image attributes and ``meta_*``; where photos are drawn in
            groups also ``group``, null for a photo that is a draw of its own.
        objects: columns of ``tables.TABLES["objects"]``, object attributes and ``label_*``.
        catalog: attributes by name.
        user: bins of the user's columns.
        detected: False where outcomes are to be disregarded: the detector was not run.
    """
    outcome = tables.columns(objects, "outcome")["outcome"]
    scored = (outcome.is_null() | (outcome != "ignored")).fill_null(True)
    outcome = outcome.filter(scored)
    among = None if scored.all() else scored
    columns = Columns.of(images, objects, among, readable=True)
    names = columns.names(catalog, user)
    label = tables.columns(objects, "label")["label"]
    label = label if among is None else label.filter(among)
    labels = label.unique().drop_nulls().sort().to_list()
    draw = columns.draws()
    return Sample(
        source=columns,
        rows=None,
        labels=tuple(labels),
        label=label.cast(pl.Enum(labels)).to_physical().cast(pl.Int32).fill_null(len(labels)).to_numpy(),
        bins={name: tuple(bin_names(name, catalog, user)) for name in names},
        codes={name: columns.codes(name, catalog, user) for name in names},
        image_codes={
            name: columns.photo_codes(name, catalog, user) for name in names if columns.of_photos(name, catalog)
        },
        photo=columns.photo,
        photos=len(columns.image_ids),
        draw=columns.photo if np.array_equal(draw, columns.photo) else draw,
        miss=outcome.is_in(list(MISSES)).fill_null(False).to_numpy() & detected,
        asked=outcome.is_not_null().to_numpy() & detected,
        draws_are_photos="group" not in images.collect_schema(),
    )


def strata(sample: Sample, *, size: bool, label: bool) -> Integers | None:
    """Return (n,) codes of object size × label, the strata of adjusted ratios; None where there is one stratum only.

    Args:
        sample: its objects are stratified.
        size: by object size, where it was measured.
        label: by label.
    """
    code = np.zeros(len(sample.photo), dtype=np.int32)
    if size and "object_size" in sample.codes:
        code += sample.codes["object_size"]
    if label:
        code *= len(sample.labels) + 1
        code += sample.label
    seen = np.bincount(code) > 0
    return (np.cumsum(seen, dtype=np.int32) - 1)[code] if seen.sum() > 1 else None

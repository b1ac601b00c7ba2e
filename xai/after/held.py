"""What the photos of a tagged pool hold of a gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from attributes import ATTRIBUTES
from xai.coverage.bins import UserBins, bin_columns, inherit
from xai.coverage.intervals import Bools, Integers
from xai.coverage.wanted import of_photos_alone
from xai.pool import Pool


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What photos hold of a gap: (P,) counts; ``untold`` says why they cannot be told, else it is empty."""

    counts: Integers
    untold: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The bins of a pool's photos and objects.

    Attributes:
        photos: (P,) rows with values; ``binned_photos`` the same with bins.
        objects: objects with values and those of their photo; ``binned_objects`` likewise.
        photo_of: (n,) row of each object's photo.
        detected: whether objects are known.
    """

    photos: pl.DataFrame
    binned_photos: pl.DataFrame
    objects: pl.DataFrame
    binned_objects: pl.DataFrame
    photo_of: Integers
    detected: bool

    @classmethod
    def of(cls, pool: Pool, photos: pl.DataFrame, user: UserBins) -> Members:
        """Bin a pool's photos and objects; ``user`` are the run's bins of columns that the pool may have too."""
        objects = inherit(pool.objects, photos)
        rows = photos.select("image_id").with_row_index("row")
        photo_of = objects.select("image_id").join(rows, on="image_id", how="left", maintain_order="left")["row"]
        return cls(
            photos,
            bin_columns(photos, None, user),
            objects,
            bin_columns(objects, None, user),
            photo_of.cast(pl.Int64).to_numpy(),
            pool.detected,
        )

    def holds(self, conditions: Sequence[str], unit: str) -> Held:
        """Count what each photo holds of a gap: 1 for a photo that shows it, or its objects that do."""
        none = np.zeros(len(self.photos), dtype=np.int64)
        alone = of_photos_alone(list(conditions))
        absent = [part.partition("=")[0] for part in conditions if not self._has(part.partition("=")[0], alone)]
        if absent:
            own = [name.removeprefix("label_").removeprefix("meta_") for name in absent if name not in ATTRIBUTES
                   and name != "label"]  # fmt: skip
            what = f"the pool has no column {', '.join(own)}" if own else "objects of the pool are not known"
            return Held(none, what)
        if alone and (unit == "photos" or not self.detected):
            return Held(self._inside(self.binned_photos, conditions).astype(np.int64))
        inside = self._inside(self.binned_objects, conditions)
        counts = np.bincount(self.photo_of[inside], minlength=len(self.photos)).astype(np.int64)
        return Held(np.minimum(counts, 1) if unit == "photos" else counts)

    def first(self, row: int, conditions: Sequence[str]) -> Mapping[str, Any]:
        """Return the photo, or its first object in a gap, with values."""
        if of_photos_alone(list(conditions)):
            return self.photos.row(row, named=True)
        places = np.flatnonzero((self.photo_of == row) & self._inside(self.binned_objects, conditions))
        return self.objects.row(int(places[0]), named=True)

    def _has(self, name: str, alone: bool) -> bool:
        if alone:
            return name in self.photos.columns
        return self.detected and name in self.objects.columns

    @staticmethod
    def _inside(binned: pl.DataFrame, conditions: Sequence[str]) -> Bools:
        inside = np.ones(len(binned), dtype=np.bool_)
        for condition in conditions:
            attribute, _, name = condition.partition("=")
            inside &= (binned[attribute] == name).fill_null(False).to_numpy()
        return inside

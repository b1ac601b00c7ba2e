"""The columns of a data set, read one at a time: of its objects, and of the photos that these lie in.

A table is a data frame, or a lazy one over files: then a column is read when it is asked for and nothing else is. No
table of all objects with all their attributes is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xai import tables
from xai.coverage.bins import Catalog, UserBins, bin_codes, fit_column, is_of_photos, is_users
from xai.coverage.intervals import Integers
from xai.coverage.joint import Codes
from xai.tables import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The kept objects (n) of a data set and its kept photos (P), column by column.

    Attributes:
        images: one row per photo.
        objects: one row per object.
        kept: rows of ``images``, (P,) with distinct ids.
        among: whether a row of ``objects`` is kept; None where all are.
        photo: (n,) the photo of each object: below P its place in ``kept``, from there on photos that are not kept.
        image_ids: of all these photos.
    """

    images: Frame
    objects: Frame
    kept: pl.Series
    among: pl.Series | None
    photo: NDArray[np.int32]
    image_ids: pl.Series

    @classmethod
    def of(cls, images: Frame, objects: Frame, among: pl.Series | None = None, *, readable: bool = False) -> Columns:
        """Find the photo of every object.

        Args:
            images: with ``image_id``; of rows with the same one the first counts.
            objects: with ``image_id``.
            among: which objects are kept; all if left out.
            readable: keep photos with ``status`` ok only, where it is told.
        """
        ids = tables.columns(images, "image_id").with_row_index("row")
        if readable and "status" in images.collect_schema():
            ids = ids.filter(tables.columns(images, "status")["status"] == "ok")
        ids = ids.unique("image_id", keep="first", maintain_order=True)
        of_objects = tables.columns(objects, "image_id")["image_id"]
        runs = _runs(of_objects if among is None else of_objects.filter(among))
        names = pl.concat([ids["image_id"], runs["image_id"]]).unique(maintain_order=True)
        places = pl.DataFrame({"image_id": names}).with_row_index("photo")
        photo = runs.join(places, on="image_id", how="left", maintain_order="left")["photo"].to_numpy()
        of_each = np.repeat(photo.astype(np.int32), runs["count"].to_numpy())
        return cls(images, objects, ids["row"], among, of_each, names)

    def names(self, catalog: Catalog, user: Sequence[str] | UserBins) -> list[str]:
        """Return the measured columns among attributes of the catalog and the user's."""
        return [name for name in dict.fromkeys([*catalog, *user]) if self.of_photos(name, catalog) or self._has(name)]

    def users(self, catalog: Catalog) -> list[str]:
        """Return the user's columns, in the order of the tables, those of objects first."""
        of_photos = [name for name in self.images.collect_schema() if self.of_photos(name, catalog)]
        of_objects = [name for name in self.objects.collect_schema() if name not in of_photos]
        return [name for name in [*of_objects, *of_photos] if is_users(name)]

    def of_photos(self, name: str, catalog: Catalog) -> bool:
        """Tell whether objects take a column from their photo."""
        return is_of_photos(name, catalog) and name in self.images.collect_schema()

    def keys(self) -> pl.DataFrame:
        """Return ``image_id object_id label`` of the objects (n)."""
        keys = tables.columns(self.objects, "image_id", "object_id", "label")
        return keys if self.among is None else keys.filter(self.among)

    def values(self, name: str, catalog: Catalog) -> pl.Series:
        """Return a column (n,); null where the photo that tells it is not kept."""
        if not self.of_photos(name, catalog):
            return self._object_values(name)
        place = pl.Series(self.photo)
        return self._photo_values(name).gather(place.set(place >= len(self.kept), None))

    def codes(self, name: str, catalog: Catalog, user: UserBins) -> Codes:
        """Return (n,) the position of each object's bin in ``bin_names``."""
        if not self.of_photos(name, catalog):
            return _binned(self._object_values(name), catalog, user)
        known = self.photo_codes(name, catalog, user)
        nothing = _binned(pl.Series(name, [None], dtype=self.images.collect_schema()[name]), catalog, user)
        return np.concatenate([known, np.repeat(nothing, len(self.image_ids) - len(known))])[self.photo]

    def photo_codes(self, name: str, catalog: Catalog, user: UserBins) -> Codes:
        """Return (P,) the position of each kept photo's bin, of a column of photos."""
        return _binned(self._photo_values(name), catalog, user)

    def draws(self) -> Integers:
        """Return (n,) codes from 0 of the draws that the objects came in, as ``tables.draws`` does."""
        present = np.bincount(self.photo, minlength=len(self.image_ids)) > 0
        known = [name for name in ("image_id", "group") if name in self.images.collect_schema()]
        told = tables.draws(self.image_ids.filter(pl.Series(present)), tables.columns(self.images, *known))
        code = np.zeros(len(self.image_ids), dtype=np.int32)
        code[present] = told.to_numpy()
        return code[self.photo]

    def _has(self, name: str) -> bool:
        return name in self.objects.collect_schema()

    def _object_values(self, name: str) -> pl.Series:
        values = tables.columns(self.objects, name)[name]
        return values if self.among is None else values.filter(self.among)

    def _photo_values(self, name: str) -> pl.Series:
        return tables.columns(self.images, name)[name].gather(self.kept)


def fit_user_bins(images: Frame, objects: Frame, catalog: Catalog) -> UserBins:
    """Choose the bins of the ``label_*`` and ``meta_*`` columns of objects and of their photos, a column at a time.

    The same as ``bins.fit_user_bins`` of ``bins.inherit``.
    """
    columns = Columns.of(images, objects)
    return {name: fit_column(columns.values(name, catalog)) for name in columns.users(catalog)}


def _binned(values: pl.Series, catalog: Catalog, user: UserBins) -> Codes:
    told = values.to_frame().with_columns(bin_codes(values.name, values.dtype, catalog, user))
    return told.to_series().to_numpy()


def _runs(image_ids: pl.Series) -> pl.DataFrame:
    """Return ``count image_id`` of objects in sequence that lie in the same photo."""
    runs = image_ids.rle().struct.unnest()
    return runs.select(count="len", image_id="value")

"""One side of the comparison, binned and encoded once: the scored objects and the photos of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy import sparse

from xai import tables
from xai.coverage.bins import Catalog, UserBins, bin_columns, bin_names, inherit, is_of_photos
from xai.coverage.intervals import Bools, Integers, indicator, intraclass_correlation
from xai.rules import MISSES


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Scored objects (n rows), their photos, and the draws that these came in.

    Counts are of photos; whatever is statistical sums over draws: the photos of one group (a site, a video) are one
    draw, a photo without a group is its own.

    Attributes:
        objects: ``image_id object_id label`` and the bins of all attributes, image attributes inherited.
        codes: attribute → (n,) position of each object's bin in ``bin_names``; measured attributes only.
        image_codes: column that tells of photos → the same for the photos that were read, without objects too.
        photo: (n,) the photo of each object, codes 0–P−1.
        photos: P.
        draw: (n,) the draw of each object, codes from 0.
        miss: (n,) not found.
        asked: (n,) whether the detector was asked, so that ``miss`` means something.
        draws_are_photos: whether every photo is a draw of its own.
    """

    objects: pl.DataFrame
    codes: Mapping[str, Integers]
    image_codes: Mapping[str, Integers]
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

    def where(self, keep: Bools) -> Sample:
        """Return the sample with some of the objects; photos and draws keep their codes, ``objects`` its keys only."""
        return replace(
            self,
            objects=self.objects.select("image_id", "object_id", "label").filter(pl.Series(keep)),
            codes={name: values[keep] for name, values in self.codes.items()},
            photo=self.photo[keep],
            draw=self.draw[keep],
            miss=self.miss[keep],
            asked=self.asked[keep],
        )

    def in_draws(self) -> Sample:
        """Return the sample with the objects of each draw, and within it of each photo, side by side."""
        order = np.lexsort((self.photo, self.draw))
        if (order == np.arange(len(order))).all():
            return self
        return replace(
            self,
            objects=self.objects.select("image_id", "object_id", "label")[order],
            codes={name: values[order] for name, values in self.codes.items()},
            photo=self.photo[order],
            draw=self.draw[order],
            miss=self.miss[order],
            asked=self.asked[order],
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


def sample(
    images: pl.DataFrame, objects: pl.DataFrame, catalog: Catalog, user: UserBins, *, detected: bool = True
) -> Sample:
    """Bin a data set and keep what is scored: objects that are not ``ignored``, photos that were read.

    Args:
        images: columns of ``tables.TABLES["images"]``, image attributes and ``meta_*``; where photos are drawn in
            groups also ``group``, null for a photo that is a draw of its own.
        objects: columns of ``tables.TABLES["objects"]``, object attributes and ``label_*``.
        catalog: attributes by name.
        user: bins of the user's columns.
        detected: False where outcomes are to be disregarded: the detector was not run.
    """
    photos = images.filter(pl.col("status") == "ok") if "status" in images.columns else images
    photos = photos.unique("image_id", keep="first", maintain_order=True)
    scored = objects.filter(pl.col("outcome").is_null() | (pl.col("outcome") != "ignored"))
    binned = bin_columns(inherit(scored, photos, catalog), catalog, user)
    names = pl.concat([photos["image_id"], scored["image_id"]]).unique(maintain_order=True)
    codes = pl.DataFrame({"image_id": names}).with_row_index("photo")
    photo = scored.select("image_id").join(codes, on="image_id", how="left", maintain_order="left")["photo"]
    image_columns = [name for name in [*catalog, *user] if name in photos.columns and is_of_photos(name, catalog)]
    binned_photos = bin_columns(photos.select("image_id", *image_columns), catalog, user)
    columns = [name for name in [*catalog, *user] if name in binned.columns]
    return Sample(
        objects=binned.select("image_id", "object_id", "label", *columns),
        codes=_encode(binned, columns, catalog, user),
        image_codes=_encode(binned_photos, image_columns, catalog, user),
        photo=photo.cast(pl.Int64).to_numpy(),
        photos=len(names),
        draw=tables.draws(scored["image_id"], images).to_numpy(),
        miss=scored["outcome"].is_in(list(MISSES)).fill_null(False).to_numpy() & detected,
        asked=scored["outcome"].is_not_null().to_numpy() & detected,
        draws_are_photos="group" not in images.columns,
    )


def strata(sample: Sample, *, size: bool, label: bool) -> Integers | None:
    """Return (n,) codes of object size × label, the strata of adjusted ratios; None where there is one stratum only.

    Args:
        sample: its objects are stratified.
        size: by object size, where it was measured.
        label: by label.
    """
    code = sample.codes.get("object_size") if size else None
    code = np.zeros(len(sample.photo), dtype=np.int64) if code is None else code
    if label:
        labels = sample.objects["label"].cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
        code = code * (int(labels.max(initial=0)) + 1) + labels
    values, compact = np.unique(code, return_inverse=True)
    return compact.astype(np.int64) if len(values) > 1 else None


def _encode(frame: pl.DataFrame, columns: list[str], catalog: Catalog, user: UserBins) -> dict[str, Integers]:
    codes = {}
    for column in columns:
        names = bin_names(column, catalog, user)
        order = dict(zip(names, range(len(names)), strict=True))
        codes[column] = frame[column].replace_strict(order, return_dtype=pl.Int64).to_numpy()
    return codes

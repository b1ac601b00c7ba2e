"""What share of its photos and objects each run has in each bin, counted alike in all runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy import sparse

from xai.coverage.bins import Catalog, UserBins, bin_names, catalog_or_default, fit_user_bins
from xai.coverage.intervals import Bools, indicator
from xai.coverage.joint import Codes
from xai.coverage.onehot import most_frequent
from xai.coverage.sample import Sample, sample
from xai.run import Run

MISS_RATE = "miss rate"
"""``attribute`` of the rows that tell of misses, not of a condition."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The conditions of one run that are counted in one unit.

    Attributes:
        unit: ``photos`` or ``objects``.
        names: (T,) attribute and bin.
        inside: (n, T) whether a photo or object lies in it.
        keys: (n,) what names the draw of each in any run: group, photo by content.
    """

    unit: str
    names: tuple[tuple[str, str], ...]
    inside: Bools
    keys: pl.Series


def sides(runs: Sequence[Run], split: str) -> list[list[Cells]]:
    """Count every run in the same bins: its photos, its objects, and of an evaluation set its misses."""
    catalog = catalog_or_default(None)
    images = [run.images.filter((pl.col("split") == split) & (pl.col("status") == "ok")) for run in runs]
    images = [frame.unique("image_id", keep="first", maintain_order=True) for frame in images]
    objects = [run.objects.filter(pl.col("split") == split) for run in runs]
    if split == "production":  # reported cases are no sample of objects
        objects = [frame.clear() for frame in objects]
    user = fit_user_bins(pl.concat([_own(frame) for frame in (*images, *objects)], how="diagonal_relaxed"))
    sides = []
    for place, (photos, things) in enumerate(zip(images, objects, strict=True)):
        held = sample(photos, things, catalog, user)
        keyed = photos.select("image_id", key=_key(photos, place))
        of_objects = held.objects.select("image_id").join(keyed, on="image_id", how="left", maintain_order="left")
        by_photo = count_cells("photos", held.image_codes, keyed["key"], catalog, user)
        codes = {name: values for name, values in held.codes.items() if name not in held.image_codes}
        by_object = count_cells("objects", codes, of_objects["key"], catalog, user)
        if split == "eval":
            sides.append([by_photo, with_labels(by_object, held), misses(held, by_object.keys)])
        else:
            sides.append([by_photo, by_object])
    return sides


def _own(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the user's columns."""
    return frame.select(name for name in frame.columns if name.startswith(("label_", "meta_")))


def _key(photos: pl.DataFrame, place: int) -> pl.Expr:
    """Name the draw of a photo: its group, else its content, else itself in this run."""
    parts = []
    if "group" in photos.columns:
        parts.append(pl.concat_str(pl.lit("group "), pl.col("group").cast(pl.String)))
    if "sha256" in photos.columns:
        parts.append(pl.concat_str(pl.lit("photo "), "sha256"))
    return pl.coalesce(*parts, pl.concat_str(pl.lit(f"run {place} "), "image_id"))


def count_cells(unit: str, codes: Mapping[str, Codes], keys: pl.Series, catalog: Catalog, user: UserBins) -> Cells:
    """Lay out the members of every bin of the attributes whose codes are given."""
    names = [(name, part) for name in codes for part in bin_names(name, catalog, user)]
    columns = [codes[name] == place for name in codes for place in range(len(bin_names(name, catalog, user)))]
    inside = np.column_stack(columns) if columns else np.zeros((len(keys), 0), dtype=np.bool_)
    return Cells(unit, tuple(names), inside, keys)


def with_labels(cells: Cells, held: Sample) -> Cells:
    """Add the most frequent labels."""
    top = most_frequent(held)
    columns = [held.label == held.labels.index(name) for name in top]
    names = (*cells.names, *(("label", name) for name in top))
    return replace(cells, names=names, inside=np.column_stack([cells.inside, *columns]))


def misses(held: Sample, keys: pl.Series) -> Cells:
    """Count the misses among the objects that the detector was asked about; ``keys`` (n,) are of all objects."""
    return Cells(
        "objects", ((MISS_RATE, "missed"),), held.miss[held.asked][:, None], keys.filter(pl.Series(held.asked))
    )


def draws_of(keys: pl.Series) -> sparse.csr_array:
    """Return the (D, n) indicator of rows that have the same key."""
    codes = keys.rank("dense").cast(pl.Int64).to_numpy() - 1
    return indicator(codes, int(codes.max(initial=-1)) + 1)

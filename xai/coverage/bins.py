"""From measured values to named bins: the catalog's bins for attributes, values or quartiles for the user's columns.

A user's columns are ``label_*`` of objects, from the label files, and ``meta_*`` of photos, from ``data.metadata``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import polars as pl

UNKNOWN = "unknown"
"""The bin of null: shown, never tested."""

OTHER = "other"
"""The bin of the rare values of a user's column."""

MAX_VALUES = 20
"""Values of a categorical column that get a bin of their own."""

MAX_NUMERIC_VALUES = 10
"""A numeric column with at most so many values is categorical; with more it is cut at its quartiles."""

_SAYS_UNKNOWN = ("", "unknown", "unspecified")


_OF_OBJECTS, _OF_PHOTOS = "label_", "meta_"


class BinLike(Protocol):
    """``attributes.Bin``: ``low <= value < high``, the last bin's ``high`` inclusive, None = open.

    ``error``, ``missed`` and ``stray`` are its measured shares of wrongly told values, None = exact or not judged.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def low(self) -> float | None: ...  # noqa: D102
    @property
    def high(self) -> float | None: ...  # noqa: D102
    @property
    def error(self) -> float | None: ...  # noqa: D102
    @property
    def missed(self) -> float | None: ...  # noqa: D102
    @property
    def stray(self) -> float | None: ...  # noqa: D102


class AttributeLike(Protocol):
    """What of ``attributes.Attribute`` is needed to bin it and to doubt its bins."""

    @property
    def level(self) -> str: ...  # noqa: D102
    @property
    def bins(self) -> Sequence[BinLike]: ...  # noqa: D102
    @property
    def bin_error(self) -> float | None: ...  # noqa: D102


Catalog = Mapping[str, AttributeLike]


@dataclass(frozen=True, slots=True)
class Range:
    """A bin of a numeric user column, which is exact; fields as in ``attributes.Bin``."""

    name: str
    low: float | None
    high: float | None
    error: float | None = None
    missed: float | None = None
    stray: float | None = None


UserBins = Mapping[str, tuple[str, ...] | tuple[Range, ...]]
"""Column → its categories (further values are ``other``) or its ranges. Nested columns are ``unknown``."""


def catalog_or_default(catalog: Catalog | None) -> Catalog:
    """Return the catalog, that of a run (``xai.catalog.CATALOG``) if none is given."""
    if catalog is not None:
        return catalog
    from xai.catalog import CATALOG

    return CATALOG


def is_of_photos(name: str, catalog: Catalog) -> bool:
    """Tell whether a column says something of a photo, not of an object in it.

    >>> is_of_photos("meta_weather", {}), is_of_photos("label_pose", {})
    (True, False)
    """
    return name.startswith(_OF_PHOTOS) or (name in catalog and catalog[name].level == "image")


def is_users(name: str) -> bool:
    """Tell whether a column is a user's.

    >>> is_users("meta_weather"), is_users("label")
    (True, False)
    """
    return name.startswith((_OF_OBJECTS, _OF_PHOTOS))


def inherit(objects: pl.DataFrame, images: pl.DataFrame, catalog: Catalog | None = None) -> pl.DataFrame:
    """Give every object the image attributes and ``meta_*`` columns of its photo, rows and their order unchanged.

    Args:
        objects: one row per object, with ``image_id``.
        images: one row per photo, with ``image_id`` and image attributes; an object without its photo gets nulls.
        catalog: attributes by name; ``attributes.ATTRIBUTES`` if left out.
    """
    known = catalog_or_default(catalog)
    names = [name for name in [*known, *images.columns] if name in images.columns and is_of_photos(name, known)]
    names = list(dict.fromkeys(names))
    photos = images.select("image_id", *names).unique("image_id", keep="first", maintain_order=True)
    return objects.drop(names, strict=False).join(photos, on="image_id", how="left", maintain_order="left")


def fit_user_bins(frame: pl.DataFrame) -> dict[str, tuple[str, ...] | tuple[Range, ...]]:
    """Choose the bins of the ``label_*`` and ``meta_*`` columns of a table, to be applied to other tables too.

    Categorical columns keep their 20 most frequent values (ties by name); numeric columns with more than 10 values are
    cut at the quartiles, rounded to three significant digits so that a bin's name states its bounds exactly.
    """
    return {name: fit_column(frame[name]) for name in frame.columns if is_users(name)}


def bin_columns(frame: pl.DataFrame, catalog: Catalog | None = None, user: UserBins | None = None) -> pl.DataFrame:
    """Replace every attribute's values by the names of their bins; other columns stay.

    Null, NaN, infinite values and values outside all bins become ``unknown``, and so do the words "", "unknown" and
    "unspecified" in a user's column.

    Args:
        frame: attributes of the catalog by name (numbers) and a user's columns (anything); absent ones are skipped.
        catalog: attributes by name; ``attributes.ATTRIBUTES`` if left out.
        user: bins of the user's columns from ``fit_user_bins``; fitted on this table if left out.

    Returns:
        The table with those columns as String, no nulls in them.

    >>> bin_columns(pl.DataFrame({"label_pose": ["Left", None]}), {})["label_pose"].to_list()
    ['Left', 'unknown']
    """
    user = fit_user_bins(frame) if user is None else user
    known = catalog_or_default(catalog)
    names = [name for name in [*known, *user] if name in frame.columns]
    codes = frame.with_columns(bin_codes(name, frame.schema[name], known, user) for name in names)
    return frame.with_columns(named(codes[name], bin_names(name, known, user)).cast(pl.String) for name in names)


def named(codes: pl.Series, names: Sequence[str]) -> pl.Series:
    """Turn positions of bins into their names, an Enum of ``names``."""
    return pl.Series(names, dtype=pl.Enum(names)).gather(codes).alias(codes.name)


def bin_codes(name: str, dtype: pl.DataType, catalog: Catalog, user: UserBins) -> pl.Expr:
    """Turn a column into the positions of its bins in ``bin_names``, UInt8; null and the like become ``unknown``.

    Args:
        name: an attribute of the catalog, or a user's column.
        dtype: of the column.
        catalog: attributes by name.
        user: bins of the user's columns.
    """
    bins = catalog[name].bins if name in catalog else user[name]
    ranges = [item for item in bins if not isinstance(item, str)]
    if ranges:
        return _in_ranges(name, ranges)
    return _in_categories(name, dtype, [item for item in bins if isinstance(item, str)], bin_names(name, catalog, user))


def bin_names(name: str, catalog: Catalog, user: UserBins) -> list[str]:
    """Return the bins of a column in their order, ``unknown`` last."""
    if name in catalog:
        return [item.name for item in catalog[name].bins] + [UNKNOWN]
    names = [item if isinstance(item, str) else item.name for item in user[name]]
    return names + [OTHER] * (OTHER not in names and all(isinstance(item, str) for item in user[name])) + [UNKNOWN]


def fit_column(values: pl.Series) -> tuple[str, ...] | tuple[Range, ...]:
    """Choose the bins of one of a user's columns, as ``fit_user_bins`` does."""
    if values.dtype.is_numeric():
        numbers = values.cast(pl.Float64)
        numbers = numbers.filter(numbers.is_finite()).drop_nulls()
        if numbers.n_unique() > MAX_NUMERIC_VALUES:
            edges = [f"{edge:.3g}" for edge in np.quantile(numbers.to_numpy(), [0.25, 0.5, 0.75])]
            texts = list(dict.fromkeys(edges))
            bounds = [None, *(float(text) for text in texts), None]
            names = [f"under {texts[0]}"]
            names += [f"{low} to {high}" for low, high in pairwise(texts)]
            names += [f"{texts[-1]} and more"]
            return tuple(Range(*item) for item in zip(names, bounds[:-1], bounds[1:], strict=True))
    text = values.to_frame("value").with_columns(_text(pl.col("value"), values.dtype).alias("value"))["value"]
    counts = text.filter(text != UNKNOWN).value_counts().sort(["count", "value"], descending=[True, False])
    return tuple(counts["value"].head(MAX_VALUES).to_list())


def _in_ranges(name: str, bins: Sequence[BinLike]) -> pl.Expr:
    value = pl.col(name).cast(pl.Float64, strict=False)
    result: pl.Expr = pl.lit(len(bins), pl.UInt8)
    for position, item in reversed(list(enumerate(bins))):
        inside = value.is_finite()
        if item.low is not None:
            inside &= value >= item.low
        if item.high is not None:
            inside &= (value <= item.high) if position == len(bins) - 1 else (value < item.high)
        result = pl.when(inside).then(pl.lit(position, pl.UInt8)).otherwise(result)
    return result.alias(name)


def _in_categories(name: str, dtype: pl.DataType, categories: Sequence[str], names: Sequence[str]) -> pl.Expr:
    places = {item: names.index(item) for item in [*categories, UNKNOWN]}
    # Without OTHER among the names every value is one of the categories.
    default = names.index(OTHER)
    return _text(pl.col(name), dtype).replace_strict(places, default=default, return_dtype=pl.UInt8).alias(name)


def _text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Values as words, the same for 3 and 3.0; ``unknown`` for null and for words that say so."""
    if dtype.is_numeric():
        number = value.cast(pl.Float64)
        whole = (number == number.floor()) & (number.abs() < 2**53)
        integers = number.cast(pl.Int64, strict=False).cast(pl.String)
        numerals = pl.when(whole).then(integers).otherwise(number.round_sig_figs(6).cast(pl.String))
        return pl.when(number.is_finite()).then(numerals).otherwise(pl.lit(UNKNOWN))
    if dtype == pl.Null or dtype.is_nested():
        return pl.lit(UNKNOWN)
    words = value.cast(pl.String).str.strip_chars()
    known = words.is_not_null() & ~words.str.to_lowercase().is_in(list(_SAYS_UNKNOWN))
    return pl.when(known).then(words).otherwise(pl.lit(UNKNOWN))

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
    return {name: _fit_column(frame[name]) for name in frame.columns if name.startswith((_OF_OBJECTS, _OF_PHOTOS))}


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
    expressions = [
        _in_ranges(name, item.bins) for name, item in catalog_or_default(catalog).items() if name in frame.columns
    ]
    for name, bins in user.items():
        if name in frame.columns:
            ranges = [item for item in bins if isinstance(item, Range)]
            categories = [item for item in bins if isinstance(item, str)]
            expressions.append(
                _in_ranges(name, ranges) if ranges else _in_categories(name, frame.schema[name], categories)
            )
    return frame.with_columns(expressions)


def bin_names(name: str, catalog: Catalog, user: UserBins) -> list[str]:
    """Return the bins of a column in their order, ``unknown`` last."""
    if name in catalog:
        return [item.name for item in catalog[name].bins] + [UNKNOWN]
    names = [item if isinstance(item, str) else item.name for item in user[name]]
    return names + [OTHER] * (OTHER not in names and all(isinstance(item, str) for item in user[name])) + [UNKNOWN]


def _fit_column(values: pl.Series) -> tuple[str, ...] | tuple[Range, ...]:
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
    result: pl.Expr = pl.lit(UNKNOWN)
    for position, item in reversed(list(enumerate(bins))):
        inside = value.is_finite()
        if item.low is not None:
            inside &= value >= item.low
        if item.high is not None:
            inside &= (value <= item.high) if position == len(bins) - 1 else (value < item.high)
        result = pl.when(inside).then(pl.lit(item.name)).otherwise(result)
    return result.alias(name)


def _in_categories(name: str, dtype: pl.DataType, categories: Sequence[str]) -> pl.Expr:
    text = _text(pl.col(name), dtype)
    return pl.when(text.is_in([*categories, UNKNOWN])).then(text).otherwise(pl.lit(OTHER)).alias(name)


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

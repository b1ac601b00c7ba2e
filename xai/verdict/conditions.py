"""Which conditions a missed object shows, how unusual they are, and what the coverage table says of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from xai.catalog import CATALOG
from xai.causes import CAUSES
from xai.rules import ELEVATED, MISSES

USER_COLUMNS = ("label_", "meta_")
"""How the names of columns begin that came with the labels or from ``data.metadata``."""

NO_CONDITION = ("unknown", "other")
"""Bins of a user's column that name no condition."""

HARMLESS_RATIO = 1.5
"""A label's own interval that ends below this overrules what is said of all labels together."""

LOCAL = {"glare": ("object_glare", "none")}
"""Attribute of photos that tells of one place in them → the object's own attribute, and the bin that says "not here".

A light source and its halo lie somewhere in the photo: where they are measured not to lie on the object, they are none
of its conditions, unless the risk of such photos is elevated and no bin of the object's own attribute tells why."""

LEAST_ROOM = 0.1
"""Share of an attribute's range that severity is measured in at least."""

Floats = NDArray[np.float64]

_MEASURED = ("value", "tail_share", "edge", "severity")

_FIGURES = [
    "train_count", "train_share", "train_miss_rate", "eval_count", "eval_share", "miss_share", "miss_rate",
    "adjusted_risk_ratio", "adjusted_low", "adjusted_high", "assessment", "collect", "other_rate",
    "tag_error",
]  # fmt: skip


def misses(errors: pl.DataFrame) -> pl.DataFrame:
    """Return the errors that are misses, in their order."""
    return errors.filter(pl.col("kind").is_in(list(MISSES)))


def show(
    errors: pl.DataFrame, objects: pl.DataFrame, images: pl.DataFrame, bins: pl.DataFrame, coverage: pl.DataFrame
) -> pl.DataFrame:
    """Return one row per miss × cause × condition that the object shows.

    Args:
        errors: columns of ``tables.TABLES["errors"]``.
        objects: evaluation objects with outcome and object attributes.
        images: evaluation photos with image attributes.
        bins: scored evaluation objects with ``image_id object_id label`` and bins (``coverage.Analysis.bins``).
        coverage: columns of ``tables.TABLES["coverage"]`` and ``tag_error``.

    Returns:
        No condition of another place in the photo (``LOCAL``).
        Columns ``error_id label cause attribute bin value tail_share edge severity scope`` and figures of the coverage
        row that applies, best told condition of a cause first. ``scope`` is null where that row is over all labels; it
        is the label where the label's own row says otherwise: elevated where all labels are not, or shown to be
        harmless. ``value`` is null for words; ``tail_share`` is the share of found objects whose value is at least as
        extreme, of n + 1 with the object itself counted in. ``severity`` is how far beyond the ``edge`` of the
        attribute's normal bins the value lies, in distances of that edge from the median of found objects.
        ``other_rate`` is the miss rate of the other known bins in the scope.
    """
    found = misses(errors).select("error_id", "label", "image_id", "object_id")
    columns = [name for name in bins.columns if name not in {"image_id", "object_id", "label"}]
    told = found.join(bins.drop("label"), on=["image_id", "object_id"]).with_columns(cs.enum().cast(pl.String))
    long = told.unpivot(
        on=columns, index=["error_id", "label", "image_id", "object_id"], variable_name="attribute", value_name="bin"
    )
    shown = pl.concat([long.join(_told_by(), on=["attribute", "bin"]), _user_causes(long)], how="diagonal")
    shown = _add_tail_share(shown, objects, images, bins)
    shown = _add_coverage(shown.drop("image_id", "object_id"), coverage)
    shown = _without_other_places(shown, told, coverage)
    return shown.sort(
        ["error_id", "cause", "priority", "adjusted_low", "tail_share", "attribute"],
        descending=[False, False, False, True, False, False],
        nulls_last=True,
    ).drop("priority")


def _without_other_places(shown: pl.DataFrame, told: pl.DataFrame, coverage: pl.DataFrame) -> pl.DataFrame:
    """Drop conditions of a place that the object does not lie in, but where their own risk is elevated."""
    elevated = pl.col("assessment").is_in(list(ELEVATED)).fill_null(False)
    known = coverage.filter(elevated)["attribute"].to_list()
    for attribute, (own, nothing) in LOCAL.items():
        if own in told.columns:
            away = told.filter(pl.col(own) == nothing)["error_id"].to_list()
            excused = elevated & pl.lit(own not in known)
            shown = shown.filter(~((pl.col("attribute") == attribute) & pl.col("error_id").is_in(away)) | excused)
    return shown


def untold(errors: pl.DataFrame, bins: pl.DataFrame, coverage: pl.DataFrame) -> dict[str, list[str]]:
    """Return by ``error_id`` the attributes that could not be told, of those of which a cause's bin is elevated."""
    elevated = coverage.filter(pl.col("label").is_null() & pl.col("assessment").is_in(list(ELEVATED)))
    names = elevated.join(_told_by(), on=["attribute", "bin"], how="semi")["attribute"].unique().to_list()
    names = [name for name in bins.columns if name in names]
    if not names:
        return {}
    found = misses(errors).select("error_id", "image_id", "object_id")
    told = found.join(bins.select("image_id", "object_id", *names), on=["image_id", "object_id"])
    long = told.with_columns(cs.enum().cast(pl.String)).unpivot(
        on=names, index="error_id", variable_name="attribute", value_name="bin"
    )
    unknown = long.filter(pl.col("bin") == "unknown").group_by("error_id").agg(pl.col("attribute").sort())
    return dict(unknown.iter_rows())


def known_conditions(bins: pl.DataFrame) -> list[tuple[str, str]]:
    """Return the conditions (attribute, bin) of all causes that occur in the bins, for the joint model."""
    pairs = [
        (attribute, name)
        for cause in CAUSES.values()
        for attribute, names in cause.told_by.items()
        for name in names
        if attribute in bins.columns
    ]
    for column in (name for name in bins.columns if name.startswith(USER_COLUMNS)):
        values = bins[column].cast(pl.String).value_counts(sort=True)[column].to_list()
        # The most frequent value is the reference; without one the column's conditions would add up to the intercept.
        pairs += [(column, value) for value in values[1:] if value not in NO_CONDITION]
    return [(attribute, name) for attribute, name in dict.fromkeys(pairs) if (bins[attribute] == name).any()]


def _told_by() -> pl.DataFrame:
    rows = [
        (name, attribute, item)
        for name, cause in CAUSES.items()
        for attribute, items in cause.told_by.items()
        for item in items
    ]
    return pl.DataFrame(rows, schema=["cause", "attribute", "bin"], orient="row")


def _user_causes(long: pl.DataFrame) -> pl.DataFrame:
    user = long.filter(
        pl.col("attribute").str.contains(f"^({'|'.join(USER_COLUMNS)})") & ~pl.col("bin").is_in(list(NO_CONDITION))
    )
    return user.with_columns(cause=pl.format("{}:{}", "attribute", "bin"))


def _add_tail_share(
    shown: pl.DataFrame, objects: pl.DataFrame, images: pl.DataFrame, bins: pl.DataFrame
) -> pl.DataFrame:
    """Add the columns of ``_MEASURED``, one attribute after the other."""
    keys = ["image_id", "object_id"]
    named = bins.rename({name: f"bin of {name}" for name in bins.columns if name not in {*keys, "label"}})
    image_columns = [name for name in images.columns if name in CATALOG and name not in objects.columns]
    scored = named.drop("label").join(objects, on=keys).join(images.select("image_id", *image_columns), on="image_id")
    parts = []
    for (attribute,), part in shown.partition_by("attribute", as_dict=True).items():
        name = str(attribute)
        numeric = name in CATALOG and name in scored.columns
        columns = [*keys, "outcome", f"bin of {name}", *([name] if numeric else [])]
        reference = scored.select(columns).filter(pl.col("outcome") == "found")
        values = part.join(
            scored.select(keys + ([name] if numeric else [])), on=keys, how="left", maintain_order="left"
        )
        value = values[name].cast(pl.Float64) if numeric else pl.Series([None] * len(part), dtype=pl.Float64)
        value = value.alias("value")
        share = _tail_share(name, part["bin"].to_list(), value, reference)
        edge, severity = _severity(name, part["bin"].to_list(), value, reference)
        told = {"tail_share": share, "edge": edge, "severity": severity}
        parts.append(part.with_columns(value, *[pl.Series(key, item, pl.Float64) for key, item in told.items()]))
    if not parts:
        return shown.with_columns(pl.lit(None, pl.Float64).alias(key) for key in _MEASURED)
    return pl.concat(parts)


def _tail_share(attribute: str, names: Sequence[str], value: pl.Series, reference: pl.DataFrame) -> Floats:
    """Share of found objects beyond each value, on the side of the attribute's normal bins that the bin lies on."""
    count = len(reference)
    alike = dict(reference[f"bin of {attribute}"].value_counts().iter_rows())
    same_bin = np.array([alike.get(name, 0) for name in names], dtype=np.float64)
    sides = _sides(attribute)
    if attribute not in reference.columns:
        return (same_bin + 1) / (count + 1)
    ordered = np.sort(reference[attribute].drop_nulls().to_numpy())
    values = value.fill_null(np.nan).to_numpy()
    below = np.searchsorted(ordered, values, side="right").astype(np.float64)
    above = len(ordered) - np.searchsorted(ordered, values, side="left").astype(np.float64)
    side = np.array([sides.get(name, 0) for name in names])
    beyond = np.where(side < 0, below, np.where(side > 0, above, same_bin))
    share = (beyond + 1) / (np.where(side == 0, count, len(ordered)) + 1)
    # Without a found object that has a value there is nothing to be unusual against.
    return np.asarray(np.where(np.isnan(values) | (len(ordered) == 0), np.nan, share))


def _severity(attribute: str, names: Sequence[str], value: pl.Series, reference: pl.DataFrame) -> tuple[Floats, Floats]:
    """Edge of the normal bins on each value's side, and how far beyond it the value lies; NaN for words.

    The unit is the distance of the edge from the median of found objects, so that attributes can be compared; at least
    half the edge and a tenth of the attribute's range, since found objects may lie close to the edge.
    """
    blank = np.full(len(names), np.nan)
    if attribute == "rotation":  # quarter turns: 270 degrees are no further than 90
        return blank, blank
    if attribute not in reference.columns or not len(usual := reference[attribute].drop_nulls().drop_nans()):
        return blank, blank
    sides = _sides(attribute)
    side = np.array([sides.get(name, 0) for name in names])
    normal = [item for item in CATALOG[attribute].bins if item.name not in sides]
    ends = [np.nan if end is None else end for end in (normal[0].low, normal[-1].high)]
    edge = np.where(side < 0, ends[0], np.where(side > 0, ends[1], np.nan))
    low, high = CATALOG[attribute].range
    least = 0.0 if low is None or high is None else LEAST_ROOM * (high - low)
    room = np.maximum(np.abs(edge - float(np.median(usual.to_numpy()))), np.maximum(np.abs(edge) / 2, least))
    room = np.maximum(room, 1e-6)
    return edge, np.asarray((value.fill_null(np.nan).to_numpy() - edge) * side / room)


def _sides(attribute: str) -> dict[str, int]:
    """Bin → −1 for the low and 1 for the high end of the attribute, 0 for bins of words or between normal ones."""
    if attribute not in CATALOG:
        return {}
    order = [item.name for item in CATALOG[attribute].bins]
    unwanted = {name for cause in CAUSES.values() for name in cause.told_by.get(attribute, ())}
    normal = [index for index, name in enumerate(order) if name not in unwanted]
    if not normal:
        return {}
    return {
        name: -1 if index < normal[0] else 1 if index > normal[-1] else 0
        for index, name in enumerate(order)
        if name in unwanted
    }


def _add_coverage(shown: pl.DataFrame, coverage: pl.DataFrame) -> pl.DataFrame:
    """Join each condition with the row of its label where that row decides, else with the row of all labels."""
    known = coverage.filter(pl.col("bin") != "unknown")
    block = ["attribute", "label"]
    rest = [pl.col(name).sum().over(block) - pl.col(name) for name in ("miss_count", "eval_count")]
    comparable = (rest[1] > 0) & pl.col("miss_rate").is_not_null()
    known = known.with_columns(pl.when(comparable).then(rest[0] / rest[1]).alias("other_rate"))
    elevated = pl.col("assessment").is_in(list(ELEVATED)).fill_null(False)
    harmless = (pl.col("adjusted_high") < HARMLESS_RATIO).fill_null(False)
    own = known.filter(pl.col("label").is_not_null()).with_columns(
        scope=pl.col("label"), priority=pl.when(elevated).then(1).when(harmless).then(2).otherwise(4)
    )
    overall = known.filter(pl.col("label").is_null()).with_columns(
        scope=pl.lit(None, pl.String), priority=pl.when(elevated).then(0).otherwise(3)
    )
    figures = ["scope", "priority", *_FIGURES]
    by_label = shown.join(own.select(*block, "bin", *figures), on=["attribute", "bin", "label"])
    by_all = shown.join(overall.select("attribute", "bin", *figures), on=["attribute", "bin"])
    both = pl.concat([by_label, by_all])
    # A label that is shown to be harmless overrules the elevated row of all labels.
    overruled = (pl.col("priority") == 2).any().over("error_id", "attribute", "bin")
    both = both.with_columns(priority=pl.when((pl.col("priority") == 0) & overruled).then(5).otherwise("priority"))
    return both.sort("priority").unique(["error_id", "cause", "attribute", "bin"], keep="first", maintain_order=True)

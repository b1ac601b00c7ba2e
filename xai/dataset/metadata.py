"""What is known of photos besides their pixels: a table joined by ``image_id`` as ``meta_*``, and their groups."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from xai import config, tables
from xai.dataset import codes, implausible
from xai.dataset.sheet import Sheet, read_sheet
from xai.exceptions import ConfigError, DataError

PREFIX = "meta_"

NUMBERS_SHARE = 0.9
"""A column is of numbers if this share of its values are; a further value is then taken for a mistake, and refused."""

_SPLITS = ("train", "eval", "production", "audit")
_MISSING = ("na", "n/a", "nan", "null")
_SAYS_MISSING = (*_MISSING, "none", "unknown", "-", "–", "?")
_DECIMAL_COMMA = r"^[+-]?\d+(,\d+)?$"
_LEADING_ZERO = r"^0\d+$"
_PHOTO_COLUMNS = ("camera", "captured_at")


@dataclass(frozen=True, slots=True, eq=False)
class Attached:
    """Photos with what is known of them.

    Attributes:
        images: the images table by split, with ``meta_*`` and, where asked for, ``group``.
        issues: rows about photos that are not there, and values that look wrong; columns of ``tables.ISSUES``.
        types: column of the metadata → ``number`` or ``text``, as read.
    """

    images: dict[str, pl.DataFrame]
    issues: pl.DataFrame
    types: dict[str, str]


def attach(images: Mapping[str, pl.DataFrame], section: config.Metadata | None, group: str | None) -> Attached:
    """Join the metadata that a config names with the photos of all splits, and tell the photos' groups.

    Args:
        images: split → its images table; the first is the one that is judged, so it must have the group.
        section: ``data.metadata``.
        group: ``data.group``.

    Raises:
        ConfigError: file, column type or group that is not there.
        DataError: the file cannot be used, or does not say which of two photos of one ``image_id`` it speaks of.
    """
    joined, issues, types = dict(images), tables.empty(tables.ISSUES), {}
    if section is not None:
        known = read(section)
        _refuse_ambiguous(known, images.values(), section.path)
        issues = unmatched(known, images.values(), section.path)
        joined = {split: join(table, known) for split, table in images.items()}
        types = {name: _type_name(known.schema[name]) for name in known.columns if name.startswith(PREFIX)}
        odd = [implausible.find_values(table, [n for n in types if n in table.columns]) for table in joined.values()]
        issues = tables.stack([issues, *odd], tables.ISSUES)
    if group is not None:
        judged = group_column(next(iter(joined.values())), group)
        for split, table in joined.items():
            has = judged.name in table.columns
            joined[split] = table.with_columns(
                group=group_column(table, group).alias("group") if has else pl.lit(None, pl.String)
            )
    return Attached(joined, issues, types)


def read(section: config.Metadata) -> pl.DataFrame:
    """Read a table of what is known of photos.

    A CSV file has a header with ``image_id``, and ``split`` where ids repeat; commas, semicolons, tabs or bars divide
    it, and its numbers may have decimal commas where commas do not divide it. A column is of numbers where at least
    90% of its values are, else of text; codes with leading zeros are text. Empty cells are unknown, in numbers also
    ``NA``, ``null``, ``unknown`` and the like. Columns without a name are passed over. Parquet columns keep their type.

    Returns:
        ``image_id`` (``/``-separated), ``split`` where the file has it, and the other columns as ``meta_NAME``, Float64
        or String, with what is no letter, digit or underscore replaced by ``_``.

    Raises:
        ConfigError: there is no such file, or ``types`` names a column that it lacks.
        DataError: it cannot be read; a column is missing, a photo is listed twice with different values, or a value is
            of another type than its column; the message names the first such row.
    """
    path = section.path
    if not path.is_file():
        raise ConfigError(f"data.metadata.path: expected a CSV or Parquet file at {path}, found none")
    source = read_sheet(path)
    _require_id(source)
    others = [name for name in source.columns if name not in ("image_id", "split")]
    for name in section.types:
        if name not in others:
            close = difflib.get_close_matches(name, others, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(others)}"
            raise ConfigError(f"data.metadata.types: {path.name} has no column {name!r}{hint}")
    named: dict[str, pl.Series] = _keys(source)
    for name in others:
        column = PREFIX + re.sub(r"\W+", "_", name).strip("_")
        if column in named:
            raise DataError(f"{path}: two columns would be called {column!r} (one is {name!r}); rename one of them")
        named[column] = _typed(source, name, section.types.get(name))
    frame = pl.DataFrame(named)
    _refuse_contradictions(frame, source)
    return frame.unique(_key(frame), keep="first", maintain_order=True)


def join(images: pl.DataFrame, metadata: pl.DataFrame) -> pl.DataFrame:
    """Give photos what is known of them, rows and their order unchanged; photos without a row get nulls.

    A column that is null for all photos is left out: nothing was measured, which is not the same as measured to be
    nowhere.
    """
    known = metadata.select(*_key(metadata), *[name for name in metadata.columns if name.startswith(PREFIX)])
    bare = images.drop([name for name in known.columns if name.startswith(PREFIX)], strict=False)
    joined = bare.join(known, on=_key(metadata), how="left", maintain_order="left")
    nothing = [name for name in known.columns if name.startswith(PREFIX) and joined[name].null_count() == len(joined)]
    return joined.drop(nothing)


def unmatched(metadata: pl.DataFrame, images: Iterable[pl.DataFrame], path: Path) -> pl.DataFrame:
    """Return an issue that counts the rows about photos which no split has, if there are any.

    Raises:
        DataError: no row at all names a photo.
    """
    photos = pl.concat([table.select("split", "image_id") for table in images])
    lost = metadata.join(photos, on=_key(metadata), how="anti")
    if not len(lost) or not len(photos):
        return tables.empty(tables.ISSUES)
    example = lost["image_id"][0]
    if len(lost) == len(metadata):
        raise DataError(
            f"{path}: none of its {len(lost)} rows names a photo; it has {example!r}, where photos are called as "
            f"{photos['image_id'][0]!r}: write image_id as the path in the data set's folder"
        )
    message = f"{len(lost)} of {len(metadata)} rows are about photos that no split has, as {example!r}"
    return codes.table([codes.issue("metadata_without_photo", message, split=None, file=path.name)])


def group_column(images: pl.DataFrame, name: str) -> pl.Series:
    """Return the group of each photo as text, null where it is not known: the column that ``data.group`` names.

    Args:
        images: one row per photo; ``meta_*``, ``label_*``, ``camera`` and ``captured_at`` can be groups.
        name: of the column, with or without ``meta_``.

    Raises:
        ConfigError: there is no such column; the message lists those that there are.
    """
    valid = [column for column in images.columns if column.startswith((PREFIX, "label_")) or column in _PHOTO_COLUMNS]
    found = next((column for column in (PREFIX + name, "label_" + name, name) if column in valid), None)
    if found is None:
        shown = [column.removeprefix(PREFIX) for column in valid]
        close = difflib.get_close_matches(name, shown, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"data.group: the photos have no column {name!r}: {hint}valid ones: {', '.join(shown)}")
    values = images[found]
    if values.dtype.is_float():
        whole = images.select((pl.col(found) == pl.col(found).floor()).fill_null(True).all()).item()
        values = values.cast(pl.Int64) if whole else values
    return values.cast(pl.String)


def _require_id(source: Sheet) -> None:
    if "image_id" not in source.columns:
        close = difflib.get_close_matches("image_id", [name.casefold() for name in source.columns], n=1, cutoff=0.4)
        near = next((name for name in source.columns if close and name.casefold() == close[0]), None)
        hint = f": rename {near!r}" if near else ""
        raise DataError(
            f"{source.path}: expected a column image_id (the photo's path in the data set's folder), got "
            f"{', '.join(source.columns)}{hint}"
        )


def _keys(source: Sheet) -> dict[str, pl.Series]:
    ids = source.columns["image_id"].cast(pl.String).str.replace_all(r"\\", "/").str.replace(r"^(\./)+", "")
    empty = ids.is_null().arg_true()
    if len(empty):
        raise DataError(f"{source.at(empty[0])}: image_id is empty; name the photo or remove the row")
    if "split" not in source.columns:
        return {"image_id": ids}
    split = source.columns["split"].cast(pl.String)
    odd = (~split.is_in(list(_SPLITS))).fill_null(True).arg_true()
    if len(odd):
        raise DataError(
            f"{source.at(odd[0])}: expected split to be one of {', '.join(_SPLITS)}, got {split[odd[0]]!r}; correct "
            "it, or rename the column if it means something else"
        )
    return {"split": split, "image_id": ids}


def _key(metadata: pl.DataFrame) -> list[str]:
    return ["split", "image_id"] if "split" in metadata.columns else ["image_id"]


def _typed(source: Sheet, name: str, asked: str | None) -> pl.Series:
    """Return a column as Float64 or String."""
    values = source.columns[name]
    if values.dtype == pl.Float64:
        return values if asked != "text" else values.cast(pl.String).str.replace(r"\.0$", "")
    numbers = _numbers(values)
    if not source.commas_divide:
        continental = _numbers(values.replace_strict(_with_points(values), default=None, return_dtype=pl.String))
        numbers = continental if continental.count() > numbers.count() else numbers
    present = values.filter(~values.str.to_lowercase().is_in(list(_MISSING)))
    is_code = bool(present.str.contains(_LEADING_ZERO).any())
    inferred = bool(len(present)) and not is_code and numbers.count() / len(present) >= NUMBERS_SHARE
    if asked == "text" or (asked is None and not inferred):
        return values
    wrong = (
        values.is_not_null() & numbers.is_null() & ~values.str.to_lowercase().is_in(list(_SAYS_MISSING))
    ).arg_true()
    if len(wrong):
        why = "as data.metadata.types says" if asked else f"like the other {numbers.count():,} rows"
        mend = "it or data.metadata.types" if asked else f"it or set data.metadata.types: {{{name}: text}}"
        raise DataError(
            f"{source.at(wrong[0])}: expected a number in column {name!r} ({why}), got {values[wrong[0]]!r}; "
            f"correct {mend}"
        )
    return numbers


def _numbers(values: pl.Series) -> pl.Series:
    """Return finite numbers, null for what is none."""
    numbers = values.cast(pl.Float64, strict=False)
    return numbers.to_frame("n").select(pl.when(pl.col("n").is_finite()).then(pl.col("n"))).to_series()


def _with_points(values: pl.Series) -> dict[str, str]:
    """Return the numbers with decimal commas among the values → with points."""
    alike = values.drop_nulls().unique()
    alike = alike.filter(alike.str.contains(_DECIMAL_COMMA))
    return dict(zip(alike, alike.str.replace(",", ".", literal=True), strict=True))


def _refuse_contradictions(frame: pl.DataFrame, source: Sheet) -> None:
    """Raise where a photo is listed twice with different values; a row that merely repeats another says nothing new."""
    different = frame.with_row_index("row").unique(frame.columns, keep="first", maintain_order=True)
    repeated = different.filter(~pl.struct(_key(frame)).is_first_distinct())
    if len(repeated):
        row = repeated["row"][0]
        same = different.join(repeated.head(1).select(_key(frame)), on=_key(frame), how="semi")
        raise DataError(
            f"{source.at(row)}: {frame['image_id'][row]!r} was described in {source.unit} "
            f"{source.places[same['row'][0]]} already, with other values; keep one of the two"
        )


def _refuse_ambiguous(metadata: pl.DataFrame, images: Iterable[pl.DataFrame], path: Path) -> None:
    """Raise where a row names different photos of several splits; the sample's photos are production's once more."""
    if "split" in metadata.columns:
        return
    told = [table.select("split", "image_id", "sha256") for table in images if "sha256" in table.columns]
    photos = pl.concat(told).drop_nulls("sha256") if told else pl.DataFrame(schema={"image_id": pl.String})
    named = photos.join(metadata, on="image_id", how="semi", maintain_order="left")
    if not len(named):
        return
    contents = named.group_by("image_id", maintain_order=True).agg(pl.col("sha256").n_unique(), pl.col("split"))
    several = contents.filter(pl.col("sha256") > 1)
    if len(several):
        image_id, _, splits = several.row(0)
        raise DataError(
            f"{path}: {image_id!r} names different photos of {' and '.join(splits)} (one of {len(several)} such ids): "
            "add a column split that says which photo each row is about"
        )


def _type_name(dtype: pl.DataType) -> str:
    return "number" if dtype.is_numeric() else "text"

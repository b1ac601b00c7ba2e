"""Production: a folder of photos that nobody labelled, and the list of misses that people reported in them.

A case is a line ``image,label[,x1,y1,x2,y2][,note]`` of a CSV file with a header. Cases with a box are objects like
annotated ones; those without are kept apart, because only the photo and the class are known of them.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from attributes import remote
from xai import tables
from xai.dataset import codes, photos
from xai.exceptions import ConfigError, DataError
from xai.types import Dataset

_NAMES: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "image_id", "photo", "file", "filename", "file_name", "path"),
    "label": ("label", "class", "object", "category"),
    **{new: (new, old) for new, old in (("x1", "xmin"), ("y1", "ymin"), ("x2", "xmax"), ("y2", "ymax"))},
    "note": ("note", "notes", "comment", "description"),
}
"""Column → the headers under which it is accepted."""

_CORNERS = ("x1", "y1", "x2", "y2")

_BOX_WORDS = {"x", "y", "w", "h", "width", "height", "box", "bbox", "cx", "cy", "left", "top", "right", "bottom"}
"""Headers that speak of a box in another form: passing over them would lose it without a word."""

_DELIMITERS = (",", ";", "\t")

CASES: tables.Schema = {**{name: tables.LABELS[name] for name in ("image_id", "object_id", "label")}, "note": pl.String}


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Reported misses.

    Attributes:
        data: the production photos, with the cases that have a box as their labels.
        listed: all cases that could be understood, ``image_id object_id label note``.
    """

    data: Dataset
    listed: pl.DataFrame


def read_production(folder: Path) -> Dataset:
    """Find the photos of a folder, here or at a URL, and its subfolders; none of them has labels.

    Raises:
        ConfigError: there is no such folder.
        DataError: it holds no photos.
    """
    rows = []
    if remote.address(folder):
        names = [name for name in photos.listed(folder) if photos.is_photo(Path(name))]
        for name in names:
            if "" in name.split("/"):  # a store may have them, a path cannot
                rows.append(codes.issue("path_leaves_root", f"{name[:200]!r} is left out", split="production"))
        names = [name for name in names if "" not in name.split("/")]
    else:
        if not folder.is_dir():
            raise ConfigError(f"data.production.path: expected a folder of photos at {folder}, found none")
        names = [photos.relative(path, folder) for path in photos.walk(folder) if photos.is_photo(path)]
    for name in names:
        if not photos.is_unicode(name):
            shown = photos.printable(name)
            rows.append(codes.issue("path_not_unicode", f"{shown} is left out", split="production", file=shown))
    found = tuple(sorted(name for name in names if photos.is_unicode(name)))
    if not found:
        raise DataError(f"expected photos in {remote.address(folder) or folder}, found {photos.siblings(folder)}")
    return Dataset("production", folder, found, tables.empty(tables.LABELS), codes.table(rows), (), "displayed")


def read_cases(path: Path, production: Dataset) -> Cases:
    """Read the reported misses of production photos.

    A photo is named by its path relative to the production folder, by an absolute path into it, or by its bare file
    name, in any case and with or without its ending, where only one photo has it. Boxes are ``x1 y1 x2 y2`` (or
    ``xmin ymin xmax ymax``) in pixels of the photo as displayed; where all four numbers lie in 0–1 and are not all
    whole they are fractions of the photo.

    Args:
        path: the CSV file, comma-, semicolon- or tab-separated.
        production: the photos.

    Raises:
        ConfigError: there is no such file, or its header lacks ``image`` or ``label``.
        DataError: no line could be understood.
    """
    rows = list(_rows(path))
    issues: list[codes.Row] = []
    labels: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    find = _finder(production)
    for line, values, surplus in rows:
        try:
            if surplus:
                raise _UnclearError(
                    "case_not_understood", f"expected no more fields than the header has, got {surplus}"
                )
            case = _case(values, find)
        except _UnclearError as error:
            issues.append(codes.issue(error.code, error.message, split="production", file=path.name) | {"line": line})
            continue
        number = counts.get(case["image_id"], 0)
        counts[case["image_id"]] = number + 1
        labels.append(case | {"object_id": number, "file": path.name, "line": line})
    if not labels:
        first = f"; first problem, line {issues[0]['line']}: {issues[0]['message']}" if issues else ""
        raise DataError(f"expected reported misses in {path}, one a line; none of {len(rows)} lines is one{first}")
    listed = pl.DataFrame(labels, schema={**tables.LABELS, "note": pl.String})
    placed = tables.conform(listed.filter(pl.col("x1").is_not_null()).drop("note"), tables.LABELS)
    names = tuple(sorted(listed["label"].unique().to_list()))
    every = tables.stack([production.issues, codes.table(issues)], tables.ISSUES)
    file = (photos.relative(path.absolute(), production.root),)
    data = Dataset("production", production.root, production.image_ids, placed, every, names, "displayed", file)
    return Cases(data, listed.select(list(CASES)))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str], str]]:
    """Yield line numbers, values by column and what is left over of the line; blank lines are passed over.

    A note behind all other columns may hold what divides the fields: people seldom put it in quotes.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"data.reported: expected a CSV file in UTF-8 at {path}: {error}") from error
    header = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns: Sequence[str | None] | None = None
    try:
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if columns is None:
                columns = _columns(values, path)
            else:
                if columns[-1] == "note":
                    values = [*values[: len(columns) - 1], delimiter.join(values[len(columns) - 1 :])]
                named = zip(columns, values, strict=False)
                surplus = (
                    delimiter.join(values[len(columns) :])[:80] if any(map(str.strip, values[len(columns) :])) else ""
                )
                yield reader.line_num, {name: value.strip() for name, value in named if name is not None}, surplus
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: expected CSV: {error}") from error
    if columns is None:
        raise ConfigError(f"{path}: expected a header image,label[,x1,y1,x2,y2][,note], got an empty file")


def _columns(header: Sequence[str], path: Path) -> list[str | None]:
    """Return the canonical name of each column, None for those that are not used."""
    known = {alias: name for name, aliases in _NAMES.items() for alias in aliases}
    columns = [known.get(name.strip().lower()) for name in header]
    for wanted in ("image", "label"):
        if columns.count(wanted) != 1:
            close = difflib.get_close_matches(wanted, [name.strip().lower() for name in header], n=1)
            hint = f"; did you mean {wanted!r} by {close[0]!r}?" if close and wanted not in columns else ""
            raise ConfigError(
                f"{path}: expected a header with one column {wanted!r} (image,label[,x1,y1,x2,y2][,note]), got "
                f"{','.join(header)[:200]}{hint}"
            )
    told = [name.strip() for name, column in zip(header, columns, strict=True) if column is None]
    corners = [name for name in _CORNERS if columns.count(name) == 1]
    if _BOX_WORDS & {name.lower() for name in told} or len(corners) not in (0, 4):
        raise ConfigError(
            f"{path}: expected boxes as x1,y1,x2,y2 (or xmin,ymin,xmax,ymax) in pixels, got the columns "
            f"{','.join(header)[:200]}; rename or convert them, or remove the ones that are no box"
        )
    return columns


def _finder(production: Dataset) -> Mapping[str, str | None]:
    """Map the names that a photo may be called by to its ``image_id``; None where several photos have the name."""
    found: dict[str, str | None] = {}
    for image_id in production.image_ids:
        name = image_id.rpartition("/")[2]
        for alias in {name, name.casefold(), name.rpartition(".")[0].casefold()}:
            found[alias] = None if alias in found else image_id
    for image_id in production.image_ids:
        found[image_id] = image_id
        found[(production.root / image_id).as_posix()] = image_id
        if url := remote.address(production.root):
            found[f"{url}/{image_id}"] = image_id
    return found


def _case(values: Mapping[str, str], find: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the case that a line states.

    Raises:
        _UnclearError: it states none.
    """
    image, label = values.get("image", ""), values.get("label", "")
    if not image or not label:
        message = f"expected an image and a label, got {image[:100]!r} and {label[:100]!r}"
        raise _UnclearError("case_not_understood", message)
    name = image.replace("\\", "/").removeprefix("./")
    tail = name.rpartition("/")[2] if ".." not in name.split("/") else name
    name = next((alias for alias in (name, name.casefold(), tail.casefold()) if alias in find), name)
    if name not in find:
        message = f"expected a production photo, found none called {image[:200]!r}"
        raise _UnclearError("case_without_photo", message)
    image_id = find[name]
    if image_id is None:
        message = f"several production photos are called {image[:200]!r}: name the folder too"
        raise _UnclearError("case_without_photo", message)
    corners = _box([values.get(corner, "") for corner in _CORNERS])
    fractions = bool(corners) and all(0 <= n <= 1 for n in corners) and any(n != round(n) for n in corners)
    box = dict(zip(_CORNERS, corners, strict=False))
    return {"image_id": image_id, "label": label, "normalised": fractions, "note": values.get("note") or None, **box}


def _box(texts: Sequence[str]) -> list[float]:
    """Return four corners, or nothing where the line states no box."""
    if not any(texts):
        return []
    got = ",".join(texts)[:200]
    try:
        corners = [float(text) for text in texts]
    except ValueError as error:
        message = f"expected no box or four numbers x1,y1,x2,y2, got {got}"
        raise _UnclearError("case_not_understood", message) from error
    if not all(math.isfinite(corner) for corner in corners):
        raise _UnclearError("case_not_understood", f"expected finite numbers x1,y1,x2,y2, got {got}")
    return corners


class _UnclearError(Exception):
    """A line that is no case: the issue's code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

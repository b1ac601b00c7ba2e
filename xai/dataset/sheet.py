"""Tables that people keep beside their photos, CSV or Parquet, with the place of every row for the messages."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from xai.exceptions import DataError

_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A table as it lies in the file.

    Attributes:
        path: the file.
        columns: Float64 (Parquet only) or String by name, null where a cell is empty.
        places: where each row stands.
        unit: of these, ``line`` or ``row``.
        commas_divide: commas divide the fields, so they are no decimal commas.
    """

    path: Path
    columns: Mapping[str, pl.Series]
    places: Sequence[int]
    unit: str
    commas_divide: bool

    def at(self, row: int) -> str:
        """Return where a row stands, as ``weather.csv line 57``."""
        return f"{self.path.name} {self.unit} {self.places[row]}"


def read_sheet(path: Path) -> Sheet:
    """Read a Parquet file (``.parquet``, ``.pq``) or, with any other ending, a CSV file.

    CSV is UTF-8 with a header; the sign that divides it is told by the header, where it sets ``image_id`` apart.

    Raises:
        DataError: the file is empty or cannot be read; the message names the line.
    """
    return _read_parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else _read_csv(path)


def _read_csv(path: Path) -> Sheet:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text, got byte {error.object[error.start]:#04x} at {error.start}; "
                        "save it as CSV UTF-8") from error  # fmt: skip
    first = text.lstrip("\r\n").split("\n", 1)[0]
    if not first.strip():
        raise DataError(f"{path}: expected a header with image_id and rows below it, got an empty file")
    delimiter = max(_DELIMITERS, key=lambda sign: ("image_id" in _fields(first, sign), first.count(sign)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[list[str]] = []
    places: list[int] = []
    start = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
                places.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path.name} line {reader.line_num}: cannot be read as CSV ({error})") from error
    if not rows:
        raise DataError(f"{path}: expected a header with image_id and rows below it, got empty fields only")
    header, body, places = rows[0], rows[1:], places[1:]
    for row, place in zip(body, places, strict=True):
        if len(row) != len(header):
            got = delimiter.join(row)[:80]
            raise DataError(
                f"{path.name} line {place}: expected {len(header)} fields as in the header, got {len(row)}: {got!r}; "
                f"a value with {delimiter!r} in it needs quotes"
            )
    repeated = next((name for name in header if name and header.count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"{path.name} line 1: the column {repeated!r} is there twice; rename or remove one of them")
    if not body:
        raise DataError(f"{path}: expected rows below the header, found none")
    columns = {
        name: pl.Series([row[index] or None for row in body], dtype=pl.String)
        for index, name in enumerate(header)
        if name
    }
    return Sheet(path, columns, places, "line", delimiter == ",")


def _fields(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _read_parquet(path: Path) -> Sheet:
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error})") from error
    if not len(frame):
        raise DataError(f"{path}: expected rows, found none")
    columns = {}
    for name, values in frame.to_dict().items():
        if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object):
            raise DataError(f"{path}: column {name!r} holds {values.dtype}; expected numbers or text: remove it")
        is_number = values.dtype.is_numeric()
        columns[name] = values.cast(pl.Float64).fill_nan(None) if is_number else values.cast(pl.String)
    return Sheet(path, columns, range(1, len(frame) + 1), "row", True)

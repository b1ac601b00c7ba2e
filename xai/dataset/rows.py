"""Rows of YOLO label files, judged all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from xai import tables
from xai.dataset import codes

MIXUP = 2.0
"""Fractions of a photo beyond this are taken for pixels; below, the box merely sticks out."""

_FIELDS = ("cx", "cy", "w", "h")


class Text(NamedTuple):
    """A label file as it lies on disk.

    Attributes:
        image_id: its photo.
        file: its name in the tables.
        content: its bytes.
    """

    image_id: str
    file: str
    content: bytes


def parse(texts: Sequence[Text], names: Mapping[int, str], *, split: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parse rows ``class cx cy w h``, fractions of the photo.

    Args:
        texts: label files of different photos; lines end in LF, CR LF or CR, blank ones do not count.
        names: class names by number.
        split: what the issues name as the split.

    Returns:
        Labels with the columns of ``tables.LABELS``, boxes as fractions, ``object_id`` the row in the file; and issues
        of severity ``error``, one per row that is no label. Every row is in one of the two.
    """
    raw = _rows(texts)
    judged = _judge(raw, names)
    good = judged.filter(pl.col("code").is_null())
    labels = good.with_columns(
        label=pl.col("number").replace_strict(dict(names), return_dtype=pl.String),
        x1=pl.col("cx") - pl.col("w") / 2,
        y1=pl.col("cy") - pl.col("h") / 2,
        x2=pl.col("cx") + pl.col("w") / 2,
        y2=pl.col("cy") + pl.col("h") / 2,
        normalised=pl.lit(True),
    )
    issues = codes.from_labels(judged.with_columns(object_id=None), split=split)
    return tables.conform(labels, tables.LABELS).select(list(tables.LABELS)).sort("image_id", "object_id"), issues


def _rows(texts: Sequence[Text]) -> pl.DataFrame:
    """Return one row per line that is not blank: ``image_id file line object_id text``."""
    frame = pl.DataFrame(
        {
            "image_id": [text.image_id for text in texts],
            "file": [text.file for text in texts],
            "text": [text.content.decode("utf-8-sig", "replace") for text in texts],
        },
        schema={"image_id": pl.String, "file": pl.String, "text": pl.String},
    )
    lines = frame.with_columns(pl.col("text").str.replace_all(r"\r\n?", "\n").str.split("\n")).explode("text")
    lines = lines.with_columns(line=pl.int_range(1, pl.len() + 1).over("image_id")).filter(
        pl.col("text").str.contains(r"\S")
    )
    return lines.with_columns(object_id=pl.int_range(pl.len()).over("image_id"))


def _judge(raw: pl.DataFrame, names: Mapping[int, str]) -> pl.DataFrame:
    """Add the numbers of each row, and ``code`` and ``message``, null where the row is a label."""
    fields = pl.col("text").str.extract_all(r"\S+")
    cast = raw.with_columns(fields=fields).with_columns(
        count=pl.col("fields").list.len(),
        number=_field(0),
        **{name: _field(index) for index, name in enumerate(_FIELDS, start=1)},
    )
    values = [pl.col(name) for name in _FIELDS]
    numbers = sorted(names)
    code = (
        pl.when(pl.col("text").str.contains("[\ufffd\\x00]"))
        .then(pl.lit("unparsable_line"))
        .when(pl.col("count") != 5)
        .then(pl.lit("wrong_field_count"))
        .when(pl.any_horizontal([value.is_null() for value in (pl.col("number"), *values)]))
        .then(pl.lit("not_a_number"))
        .when(pl.any_horizontal([~value.is_finite() for value in (pl.col("number"), *values)]))
        .then(pl.lit("not_finite"))
        .when(pl.col("number") != pl.col("number").round())
        .then(pl.lit("unparsable_line"))
        .when(~pl.col("number").is_in([float(number) for number in numbers]))
        .then(pl.lit("class_out_of_range"))
        .when(pl.any_horizontal([value.abs() > MIXUP for value in values]))
        .then(pl.lit("normalised_pixel_mixup"))
    )
    judged = cast.with_columns(code=code).with_columns(message=_message(numbers))
    whole = pl.when(pl.col("code").is_null()).then(pl.col("number")).cast(pl.Int64)
    return judged.with_columns(number=whole).drop("fields")


def _field(index: int) -> pl.Expr:
    return pl.col("fields").list.get(index, null_on_oob=True).cast(pl.Float64, strict=False)


def _message(numbers: Sequence[int]) -> pl.Expr:
    """Say what was expected of the row and what came."""
    text = pl.col("text").str.strip_chars().str.slice(0, 80)
    gaps = (
        "" if list(numbers) == list(range(len(numbers))) else " with gaps: the labels may be numbered by another scheme"
    )
    expected = {
        "unparsable_line": "expected text 'class cx cy w h' with a whole class number",
        "wrong_field_count": "expected 5 fields 'class cx cy w h' (polygons, key points and scores are not read)",
        "not_a_number": "expected five numbers 'class cx cy w h'",
        "not_finite": "expected finite numbers",
        "class_out_of_range": f"expected a class of the {len(numbers)} numbered {numbers[0]} to {numbers[-1]}{gaps}",
        "normalised_pixel_mixup": "expected fractions of the photo from 0 to 1; these look like pixels",
    }
    return pl.format("{}; got '{}'; not used", pl.col("code").replace_strict(expected, default=None), text)

"""Rows of YOLO label files, judged all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from xai import tables
from xai.dataset import codes
from xai.dataset.text import decoded

MIXUP = 2.0
"""Fractions of a photo beyond this are taken for pixels; below, the box merely sticks out."""


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


def parse(
    texts: Sequence[Text], names: Mapping[int, str], *, split: str, key_points: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parse rows ``class cx cy w h`` or ``class x1 y1 x2 y2 x3 y3 ...``, fractions of the photo.

    A polygon of three corners or more, turned boxes of four among them, becomes the box around it; the key points
    behind a box are passed over.

    Args:
        texts: label files of different photos; lines end in LF, CR LF or CR, blank ones do not count.
        names: class names by number.
        split: what the issues name as the split.
        key_points: how many numbers of key points stand behind each box; such rows have exactly so many.

    Returns:
        Labels with the columns of ``tables.LABELS``, boxes as fractions, ``object_id`` the row in the file; and issues
        of severity ``error``, one per row that is no label. Every row is in one of the two.
    """
    judged = _judge(_rows(texts), names, key_points)
    good = judged.filter(pl.col("code").is_null())
    cx, cy, width, height = (pl.col("values").list.get(index, null_on_oob=True) for index in range(4))
    xs, ys = (pl.col("values").list.gather_every(2, offset) for offset in (0, 1))
    boxes = {
        "x1": (cx - width / 2, xs.list.min()),
        "y1": (cy - height / 2, ys.list.min()),
        "x2": (cx + width / 2, xs.list.max()),
        "y2": (cy + height / 2, ys.list.max()),
    }
    labels = good.with_columns(
        label=pl.col("number").replace_strict(dict(names), return_dtype=pl.String),
        normalised=pl.lit(True),
        **{corner: pl.when("polygon").then(around).otherwise(box) for corner, (box, around) in boxes.items()},
    )
    issues = codes.from_labels(judged.with_columns(object_id=None), split=split)
    return tables.conform(labels, tables.LABELS).select(list(tables.LABELS)).sort("image_id", "object_id"), issues


def _rows(texts: Sequence[Text]) -> pl.DataFrame:
    """Return one row per line that is not blank: ``image_id file line object_id text``."""
    frame = pl.DataFrame(
        {
            "image_id": [text.image_id for text in texts],
            "file": [text.file for text in texts],
            "text": [decoded(text.content) for text in texts],
        },
        schema={"image_id": pl.String, "file": pl.String, "text": pl.String},
    )
    lines = frame.with_columns(pl.col("text").str.replace_all(r"\r\n?", "\n").str.split("\n")).explode("text")
    lines = lines.with_columns(line=pl.int_range(1, pl.len() + 1).over("image_id")).filter(
        pl.col("text").str.contains(r"\S")
    )
    return lines.with_columns(object_id=pl.int_range(pl.len()).over("image_id"))


def _judge(raw: pl.DataFrame, names: Mapping[int, str], key_points: int) -> pl.DataFrame:
    """Add ``number``, ``values``, ``polygon``, and ``code`` and ``message``, null where the row is a label."""
    box = pl.col("count") == 5 + key_points
    polygon = ~box & (pl.col("count") >= 7) & (pl.col("count") % 2 == 1) if not key_points else pl.lit(False)
    fields = raw.with_columns(fields=pl.col("text").str.extract_all(r"\S+")).with_columns(
        count=pl.col("fields").list.len(),
        number=pl.col("fields").list.first().cast(pl.Float64, strict=False),
    )
    cast = fields.with_columns(polygon=polygon).with_columns(
        values=pl.when("polygon")
        .then(pl.col("fields").list.slice(1))
        .otherwise(pl.col("fields").list.slice(1, 4))
        .list.eval(pl.element().cast(pl.Float64, strict=False))
    )
    number = pl.col("number")
    values = pl.col("values").list
    numbers = sorted(names)
    code = (
        pl.when(pl.col("text").str.contains("[\ufffd\\x00]"))
        .then(pl.lit("unparsable_line"))
        .when(~box & ~pl.col("polygon"))
        .then(pl.lit("wrong_field_count"))
        .when(number.is_null() | values.eval(pl.element().is_null()).list.any())
        .then(pl.lit("not_a_number"))
        .when(~number.is_finite() | values.eval(~pl.element().is_finite()).list.any())
        .then(pl.lit("not_finite"))
        .when(number != number.round())
        .then(pl.lit("unparsable_line"))
        .when(~number.is_in([float(known) for known in numbers]))
        .then(pl.lit("class_out_of_range"))
        .when(values.eval(pl.element().abs()).list.max() > MIXUP)
        .then(pl.lit("normalised_pixel_mixup"))
    )
    judged = cast.with_columns(code=code).with_columns(message=_message(numbers, key_points))
    whole = pl.when(pl.col("code").is_null()).then(number).cast(pl.Int64)
    return judged.with_columns(number=whole).drop("fields")


def _message(numbers: Sequence[int], key_points: int) -> pl.Expr:
    """Say what was expected of the row and what came."""
    text = pl.col("text").str.strip_chars().str.slice(0, 80)
    gaps = (
        "" if list(numbers) == list(range(len(numbers))) else " with gaps: the labels may be numbered by another scheme"
    )
    expected = {
        "unparsable_line": "expected text 'class cx cy w h' with a whole class number",
        "wrong_field_count": (
            f"expected {5 + key_points} fields 'class cx cy w h' and {key_points} of key points, as kpt_shape says"
            if key_points
            else "expected 5 fields 'class cx cy w h', or a polygon 'class x1 y1 x2 y2 x3 y3 ...' (scores and track "
            "ids are not read, key points need kpt_shape in the data.yaml)"
        ),
        "not_a_number": "expected numbers 'class cx cy w h' or 'class x1 y1 x2 y2 x3 y3 ...'",
        "not_finite": "expected finite numbers",
        "class_out_of_range": f"expected a class of the {len(numbers)} numbered {numbers[0]} to {numbers[-1]}{gaps}",
        "normalised_pixel_mixup": "expected fractions of the photo from 0 to 1; these look like pixels",
    }
    return pl.format("{}; got '{}'; not used", pl.col("code").replace_strict(expected, default=None), text)

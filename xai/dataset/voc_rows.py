"""Objects of PASCAL VOC annotations → labels and issues, judged all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from xai import tables
from xai.dataset import codes, voc_xml
from xai.dataset.columns import FLAGS, MAX_COLUMNS, typed

CORNERS = ("xmin", "ymin", "xmax", "ymax")
_OWN_COLUMN = frozenset({"name", "difficult", "bndbox", "part"})


def texts(image_id: str, file: str, annotation: voc_xml.Annotation) -> list[dict[str, object]]:
    """Return the objects of a file as rows of text, nothing judged yet."""
    shared = {"image_id": image_id, "file": file}
    size = {f"file_{side}": annotation.size.get(side) for side in ("width", "height")}
    return [
        {
            **shared,
            **size,
            "object_id": number,
            "line": item.line,
            "boxes": max(item.boxes, item.names),
            "label": item.fields.get("name"),
            "difficult": item.fields.get("difficult"),
            **{corner: item.corners.get(corner) for corner in CORNERS},
            **{f"label_{name}": text for name, text in item.fields.items() if name not in _OWN_COLUMN},
        }
        for number, item in enumerate(annotation.objects)
    ]


_ROW: tables.Schema = {
    "image_id": pl.String,
    "file": pl.String,
    "file_width": pl.String,
    "file_height": pl.String,
    "object_id": pl.Int64,
    "line": pl.Int64,
    "boxes": pl.Int64,
    "label": pl.String,
    "difficult": pl.String,
    **dict.fromkeys(CORNERS, pl.String),
}


def labels(rows: Sequence[Mapping[str, object]], split: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turn texts into labels; return them and the issues of the rows that are no labels."""
    named = dict.fromkeys(name for row in rows for name in row if name.startswith("label_"))
    own = sorted(list(named)[:MAX_COLUMNS])
    raw = pl.DataFrame(rows, schema={**_ROW, **dict.fromkeys(own, pl.String)})
    judged = _judge(raw.with_columns(pl.col("label").replace("", None)))
    flag = pl.col("difficult").str.to_lowercase().replace_strict(FLAGS, default=None, return_dtype=pl.Boolean)
    good = judged.filter(pl.col("code").is_null()).with_columns(flag=flag)
    unclear = good.filter(pl.col("difficult").is_not_null() & pl.col("flag").is_null()).with_columns(
        code=pl.lit("unclear_flag"),
        message=pl.format("expected 0 or 1 in <difficult>, got '{}'; the object is scored", _short("difficult")),
    )
    labels = good.with_columns(
        x1=pl.col("xmin") - 1,
        y1=pl.col("ymin") - 1,
        x2=pl.col("xmax"),
        y2=pl.col("ymax"),
        normalised=pl.lit(False),
        ignore=pl.when("flag").then(pl.lit("difficult")),
        file_width=_stated("file_width"),
        file_height=_stated("file_height"),
    )
    labels = labels.with_columns(typed(labels[name]) for name in own).drop(
        "code", "message", "flag", "difficult", "boxes", *CORNERS
    )
    issues = [codes.from_labels(frame, split=split) for frame in (judged.with_columns(object_id=None), unclear)]
    if len(named) > len(own):
        message = f"kept the first {len(own)} columns of objects, left out {len(named) - len(own):,} others"
        issues.append(codes.table([codes.issue("too_many_columns", message, split=split)]))
    return tables.conform(labels, tables.LABELS).sort("image_id", "object_id"), pl.concat(issues)


def _stated(side: str) -> pl.Expr:
    """Return a side of the photo in pixels as the file states it; null where it states none (0 is written for that)."""
    number = pl.col(side).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    return pl.when(number > 0).then(number)


def _short(column: str) -> pl.Expr:
    return pl.col(column).fill_null("nothing").str.slice(0, 60)


def _judge(raw: pl.DataFrame) -> pl.DataFrame:
    """Cast the corners to numbers and add ``code`` and ``message``, null where the row is a label."""
    numbers = [pl.col(corner).cast(pl.Float64, strict=False).alias(f"{corner}_") for corner in CORNERS]
    cast = raw.with_columns(numbers)
    texts = [pl.col(corner) for corner in CORNERS]
    values = [pl.col(f"{corner}_") for corner in CORNERS]
    largest = pl.max_horizontal(values)
    code = (
        pl.when(pl.col("label").is_null() | pl.any_horizontal([text.is_null() for text in texts]))
        .then(pl.lit("missing_field"))
        .when(pl.col("boxes") > 1)
        .then(pl.lit("wrong_field_count"))
        .when(pl.any_horizontal([value.is_null() for value in values]))
        .then(pl.lit("not_a_number"))
        .when(pl.any_horizontal([~value.is_finite() for value in values]))
        .then(pl.lit("not_finite"))
        # Box corners within the first pixel that are not whole can only be fractions of the photo.
        .when((largest <= 1) & pl.any_horizontal([value != value.round() for value in values]))
        .then(pl.lit("normalised_pixel_mixup"))
    )
    got = pl.format("name '{}', box {} {} {} {}", _short("label"), *[_short(corner) for corner in CORNERS])
    several = pl.when(pl.col("boxes") > 1).then(pl.format("{} of one of them, the first: ", "boxes"))
    message = pl.format(
        "expected one <name> and one <bndbox> with xmin ymin xmax ymax in pixels, got {}{}; not used",
        several.otherwise(pl.lit("")),
        got,
    )
    return (
        cast.with_columns(code=code)
        .with_columns(message=pl.when(pl.col("code").is_not_null()).then(message))
        .with_columns(value.alias(corner) for value, corner in zip(values, CORNERS, strict=True))
        .drop([f"{corner}_" for corner in CORNERS])
    )

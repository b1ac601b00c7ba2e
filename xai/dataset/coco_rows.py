"""Annotations of a COCO file → labels and issues, judged all at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from xai import tables
from xai.dataset import codes
from xai.dataset.columns import FLAGS, MAX_COLUMNS, as_text, typed
from xai.dataset.photos import printable

BATCH = 50_000
"""Annotations that are held as Python objects before they become columns."""

_CORNERS = ("x1", "y1", "x2", "y2")
_OWN_FIELDS = frozenset(
    {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "difficult", "attributes", "segmentation"}
)
_NOT_AN_OBJECT, _NO_BOX = -2, -1

_RAW: tables.Schema = {
    "annotation": pl.String,
    "image": pl.String,
    "category": pl.String,
    "crowd": pl.String,
    "difficult": pl.String,
    "count": pl.Int64,
    "x": pl.Float64,
    "y": pl.Float64,
    "w": pl.Float64,
    "h": pl.Float64,
    "got": pl.String,
}


def key(value: Any) -> str | None:
    """Return an id as text, so that 3, 3.0 and "3" are one; None for what is no id.

    >>> [key(value) for value in (3, 3.0, "3", "a", True, None, 0.5)]
    ['3', '3', '3', 'a', None, None, None]
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return printable(str(value))


class Rows:
    """Annotations in the order of the file, kept as columns.

    Attributes:
        left_out: values of own columns beyond ``columns.MAX_COLUMNS``.
    """

    def __init__(self) -> None:
        self._batch: list[tuple[Any, ...]] = []
        self._own: list[dict[str, str]] = []
        self._names: dict[str, None] = {}
        self.left_out = 0
        self._frames: list[pl.DataFrame] = []

    def add(self, annotation: Any) -> None:
        """Add one annotation, sound or not."""
        item = annotation if isinstance(annotation, dict) else {}
        count, box = _box(item.get("bbox")) if annotation is item else (_NOT_AN_OBJECT, (None,) * 4)
        sound = count == 4 and all(value is not None and math.isfinite(value) for value in box)
        attributes = item.get("attributes")
        attributes = attributes if isinstance(attributes, dict) else {}
        self._batch.append(
            (
                key(item.get("id")),
                key(item.get("image_id")),
                key(item.get("category_id")),
                _flag(item.get("iscrowd")),
                _difficult(item, attributes),
                count,
                *box,
                None if sound else printable(str(item.get("bbox") if annotation is item else annotation)[:80]),
            )
        )
        own = {**attributes, **{name: value for name, value in item.items() if name not in _OWN_FIELDS}}
        texts = {name: as_text(value) for name, value in own.items() if name not in _OWN_FIELDS}
        self._own.append({f"label_{printable(name)}": printable(text) for name, text in texts.items() if text})
        self._limit()
        if len(self._batch) == BATCH:
            self._flush()

    def _limit(self) -> None:
        """Keep the columns that came first: a file may name one per annotation."""
        own = self._own[-1]
        if own.keys() <= self._names.keys():
            return
        for name in list(own):
            if name in self._names or len(self._names) < MAX_COLUMNS:
                self._names[name] = None
            else:
                del own[name]
                self.left_out += 1

    def table(self) -> pl.DataFrame:
        """Return one row per annotation: the columns of ``_RAW`` and ``label_*`` as text."""
        self._flush()
        return tables.stack(self._frames, _RAW)

    def _flush(self) -> None:
        frame = pl.DataFrame(self._batch, schema=dict(_RAW), orient="row")
        names = dict.fromkeys(name for own in self._own for name in own)
        columns = [pl.Series(name, [own.get(name) for own in self._own], dtype=pl.String) for name in names]
        self._frames.append(frame.with_columns(columns))
        self._batch, self._own = [], []


def _box(value: Any) -> tuple[int, tuple[float | None, ...]]:
    """Return how many numbers a ``bbox`` should have, and its four; null where one is no number."""
    if not isinstance(value, list):
        return (_NO_BOX if value is None else 0), (None,) * 4
    if len(value) != 4:
        return len(value) or _NO_BOX, (None,) * 4
    return 4, tuple(_number(item) for item in value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _difficult(*sources: dict[str, Any]) -> str | None:
    """Return the first flag that does not say no; converters write ``ignore`` beside ``difficult``."""
    flags = [_flag(source.get(name)) for source in sources for name in ("difficult", "ignore")]
    return next((flag for flag in flags if flag is not None and FLAGS.get(flag) is not False), None)


def _flag(value: Any) -> str | None:
    return None if value is None else printable(str(value)[:60]).lower().removesuffix(".0")


def labels(
    annotations: pl.DataFrame, images: pl.DataFrame, classes: Mapping[str, str], *, split: str, file: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turn annotations into labels.

    Args:
        annotations: of ``Rows.table``.
        images: ``image`` (the id as text), ``image_id`` (null where the photo is left out: so are its labels, without
            a row, since the photo has one), ``file_width``, ``file_height``.
        classes: class names by category id as text.
        split: what the issues name as the split.
        file: the label file's name in the tables.

    Returns:
        Labels with the columns of ``tables.LABELS``, ``file_width``, ``file_height`` and ``label_*``; ``object_id`` is
        the annotation's place among those of its photo. Issues: one of severity ``error`` per annotation that is no
        label, warnings besides.
    """
    own = sorted(name for name in annotations.columns if name.startswith("label_"))
    placed = annotations.join(
        images.with_columns(listed=pl.lit(True)), on="image", how="left", maintain_order="left", nulls_equal=False
    )
    placed = placed.filter(pl.col("listed").is_null() | pl.col("image_id").is_not_null()).with_columns(
        object_id=pl.when("listed").then(pl.int_range(pl.len()).over("image_id")),
        label=pl.col("category").replace_strict(dict(classes), default=None, return_dtype=pl.String),
        file=pl.lit(file),
        x1=pl.col("x"),
        y1=pl.col("y"),
        x2=pl.col("x") + pl.col("w"),
        y2=pl.col("y") + pl.col("h"),
    )
    judged = _judge(placed, classes)
    good = judged.filter(pl.col("code").is_null())
    flags = {name: pl.col(name).fill_null("").replace_strict(FLAGS, default=None) for name in ("crowd", "difficult")}
    good = good.with_columns(
        normalised=pl.lit(False),
        line=pl.lit(None, pl.Int64),
        ignore=pl.when(flags["crowd"]).then(pl.lit("crowd")).when(flags["difficult"]).then(pl.lit("difficult")),
        unclear=pl.coalesce(pl.when(flags[name].is_null()).then(name) for name in flags),
    )
    found = tables.conform(good.with_columns(typed(good[name]) for name in own), tables.LABELS)
    warnings = [_unclear(good), _repeated(good)]
    issues = [codes.from_labels(frame, split=split) for frame in (judged, *warnings)]
    columns = [*tables.LABELS, "file_width", "file_height", *own]
    return found.select(columns).sort("image_id", "object_id"), pl.concat(issues)


def _judge(placed: pl.DataFrame, classes: Mapping[str, str]) -> pl.DataFrame:
    """Add ``code`` and ``message``, null where the annotation is a label."""
    corners = [pl.col(name) for name in _CORNERS]
    numbers = [pl.col(name) for name in ("x", "y", "w", "h")]
    fraction = pl.any_horizontal([value != value.round() for value in corners])
    code = (
        pl.when(pl.col("count") == _NOT_AN_OBJECT)
        .then(pl.lit("unparsable_line"))
        .when(pl.col("listed").is_null())
        .then(pl.lit("annotation_without_photo"))
        .when(pl.col("label").is_null())
        .then(pl.lit("class_out_of_range"))
        .when(pl.col("count") == _NO_BOX)
        .then(pl.lit("missing_field"))
        .when(pl.col("count") != 4)
        .then(pl.lit("wrong_field_count"))
        .when(pl.any_horizontal([value.is_null() for value in numbers]))
        .then(pl.lit("not_a_number"))
        .when(pl.any_horizontal([~value.is_finite() for value in corners]))
        .then(pl.lit("not_finite"))
        # Boxes within the first pixel that are not whole can only be fractions of the photo.
        .when((pl.max_horizontal(corners) <= 1) & fraction)
        .then(pl.lit("normalised_pixel_mixup"))
    )
    box = pl.format("bbox {}", pl.coalesce("got", pl.format("[{}, {}, {}, {}]", *numbers)))
    expected = (
        pl.when(pl.col("count") == _NOT_AN_OBJECT)
        .then(pl.format("an object, got {}", _short("got")))
        .when(pl.col("listed").is_null())
        .then(pl.format("an image_id of the list images, got {}", _short("image")))
        .when(pl.col("label").is_null())
        .then(pl.format(f"a category_id of the {len(classes)} named categories, got {{}}", _short("category")))
        .otherwise(pl.format("bbox [x, y, width, height] of four numbers in pixels, got {}", box))
    )
    message = pl.format("annotation {}: expected {}; not used", _short("annotation"), expected)
    return placed.with_columns(code=code).with_columns(message=pl.when(pl.col("code").is_not_null()).then(message))


def _short(column: str) -> pl.Expr:
    return pl.col(column).fill_null("without id" if column == "annotation" else "none").str.slice(0, 60)


def _unclear(good: pl.DataFrame) -> pl.DataFrame:
    text = pl.format(
        "annotation {}: expected 0 or 1 for crowd, ignore or difficult, got '{}'; the object is scored",
        _short("annotation"),
        pl.col("unclear"),
    )
    return good.filter(pl.col("unclear").is_not_null()).with_columns(code=pl.lit("unclear_flag"), message=text)


def _repeated(good: pl.DataFrame) -> pl.DataFrame:
    again = pl.col("annotation").is_not_null() & ~pl.col("annotation").is_first_distinct()
    text = pl.format("annotation id {} is taken by an earlier annotation; both are used", _short("annotation"))
    return good.filter(again).with_columns(code=pl.lit("duplicate_annotation_id"), message=text)

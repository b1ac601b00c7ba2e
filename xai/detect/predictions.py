"""Detections from a COCO results file, for detectors that cannot be opened here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl

from xai import tables
from xai.config import DetectorConfig
from xai.detect import digest
from xai.exceptions import DetectorError
from xai.types import Detections, ModelCard, PredictedOnly

_SCHEMA: tables.Schema = {
    "image_id": pl.String,
    "category_id": pl.Int64,
    "bbox": pl.List(pl.Float64),
    "score": pl.Float64,
}


def load(config: DetectorConfig, image_ids: Sequence[str]) -> PredictedOnly:
    """Read a results file: a list of ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}``.

    Boxes are pixels of the displayed photo. ``annotations`` names a COCO file whose ``images`` and ``categories`` tell
    file names and class names. Without it, ``image_id`` is a file name, with or without folder and suffix (or the
    number in it, as in COCO's own ``000000397133.jpg``), and ``category_id`` an index into ``names``.

    Detections of photos that aren't in the data set are left out; ``card.details`` counts them.

    Args:
        config: the ``detector`` section; ``weights`` is the results file.
        image_ids: photos of the data set.

    Raises:
        DetectorError: a file cannot be read or isn't in the format, a photo's name is ambiguous, a class is not named,
            or no detection belongs to any photo of the data set.
    """
    path = Path(str(config.weights))
    rows = _table(path)
    images, classes = _annotations(config.annotations) if config.annotations else (None, _indexed(config, path))
    rows = _with_photo(rows, images, image_ids, path)
    codes = {category: code for code, category in enumerate(classes)}
    unknown = rows.filter(~pl.col("category_id").is_in(list(codes)))["category_id"].unique().sort().to_list()
    if unknown:
        where = config.annotations or "detector.names"
        raise DetectorError(f"{path}: expected the category_id of a class in {where}, got {unknown[:5]}")
    matched = rows.filter(pl.col("photo").is_not_null())
    if len(rows) and not len(matched) and image_ids:
        raise DetectorError(
            f"{path}: expected detections of photos such as {image_ids[0]!r}, but none of its image_id names a photo "
            f"of the data set (the first is {rows['image_id'][0]!r}); name a COCO file that maps them as "
            "detector.annotations"
        )
    deployed = matched.filter(pl.col("score") >= config.score_threshold)
    return PredictedOnly(
        names=tuple(classes.values()),
        card=ModelCard(
            kind=config.kind,
            file=str(config.weights),
            sha256=digest.sha256(path),
            details={
                "detections": len(rows),
                "of_unknown_photos": len(rows) - len(matched),
                "below_threshold": len(matched) - len(deployed),
            },
        ),
        score_threshold=config.score_threshold,
        by_image=_by_image(deployed, codes),
    )


def _read(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DetectorError(f"expected {what} at {path}, could not read it: {error.strerror}") from error
    except ValueError as error:
        raise DetectorError(f"expected {what} at {path}, but it is not valid JSON: {error}") from error


def _table(path: Path) -> pl.DataFrame:
    """Read the rows and check them."""
    expected = 'a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'
    raw = _read(path, "a COCO results file")
    if not isinstance(raw, list) or not all(isinstance(row, dict) for row in raw):
        raise DetectorError(f"{path}: expected {expected}, got {type(raw).__name__}")
    try:
        rows = pl.DataFrame(raw, schema=dict(_SCHEMA), strict=False)
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise DetectorError(f"{path}: expected {expected}; {error}") from error
    boxes = pl.col("bbox")
    complete = pl.all_horizontal(pl.col("image_id", "category_id").is_not_null(), boxes.list.len() == 4)
    sound = pl.col("score").is_between(0, 1) & boxes.list.eval(pl.element().is_finite()).list.all()
    sides = (boxes.list.get(2, null_on_oob=True) >= 0) & (boxes.list.get(3, null_on_oob=True) >= 0)
    bad = rows.select((~(complete & sound & sides).fill_null(False)).arg_true()).to_series()
    if len(bad):
        raise DetectorError(
            f"{path}: expected {expected} with finite boxes and scores in 0–1; row {bad[0]} is {raw[bad[0]]!r}"
            + (f" ({len(bad)} such rows)" if len(bad) > 1 else "")
        )
    return rows


def _annotations(path: Path) -> tuple[dict[str, str], dict[int, str]]:
    """File names by image id and class names by category id."""
    raw = _read(path, "a COCO annotation file")
    try:
        images = {str(item["id"]): str(item["file_name"]) for item in raw["images"]}
        classes = {int(item["id"]): str(item["name"]) for item in raw["categories"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DetectorError(
            f"{path}: expected 'images' with id and file_name and 'categories' with id and name; {error!r}"
        ) from error
    return images, dict(sorted(classes.items()))


def _indexed(config: DetectorConfig, path: Path) -> dict[int, str]:
    if not config.names:
        raise DetectorError(f"detector.names: expected the class names of {path}, or detector.annotations to tell them")
    return dict(enumerate(config.names))


def _with_photo(
    rows: pl.DataFrame, images: dict[str, str] | None, image_ids: Sequence[str], path: Path
) -> pl.DataFrame:
    """Add ``photo``, the data set's id, by the first kind of name that finds one; null where none does."""
    named = rows.select(pl.col("image_id").unique(maintain_order=True))
    name = pl.col("image_id").replace_strict(images, default=None) if images is not None else pl.col("image_id")
    named = named.with_columns(
        name=name.cast(pl.String).str.replace_all("\\", "/", literal=True).str.strip_prefix("./")
    )
    named = named.with_columns(base=pl.col("name").str.split("/").list.last())
    paths = [PurePosixPath(item) for item in image_ids]
    ways: dict[str, tuple[str, list[str | None]]] = {
        "whole": ("name", list(image_ids)),
        "file": ("base", [item.name for item in paths]),
        "stem": ("base", [item.stem for item in paths]),
        "number": ("base", [item.stem.lstrip("0") if item.stem.isdigit() else None for item in paths]),
    }
    for way, (column, keys) in ways.items():
        known = pl.DataFrame([pl.Series(column, keys, dtype=pl.String), pl.Series(way, image_ids, dtype=pl.String)])
        known = known.drop_nulls().group_by(column).agg(pl.col(way).unique())
        named = named.join(known, on=column, how="left", maintain_order="left")
    named = named.with_columns(found=pl.coalesce(*ways))
    ambiguous = named.filter(pl.col("found").list.len() > 1)
    if len(ambiguous):
        first = ambiguous.row(0, named=True)
        raise DetectorError(
            f"{path}: image_id {first['image_id']!r} could be {' or '.join(sorted(first['found'])[:2])}; "
            "name photos by their path in the data set"
        )
    photos = named.select("image_id", photo=pl.col("found").list.first())
    return rows.join(photos, on="image_id", how="left", maintain_order="left")


def _by_image(rows: pl.DataFrame, codes: dict[int, int]) -> dict[str, Detections]:
    ordered = rows.sort("score", descending=True, maintain_order=True)
    parts = ordered.partition_by("photo", as_dict=True, include_key=False)
    return {str(photo): _detections(part, codes) for (photo,), part in parts.items()}


def _detections(rows: pl.DataFrame, codes: dict[int, int]) -> Detections:
    boxes = np.array(rows["bbox"].to_list(), dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = rows["category_id"].replace_strict(codes, return_dtype=pl.Int64).to_numpy()
    return Detections(boxes, rows["score"].to_numpy(), labels)

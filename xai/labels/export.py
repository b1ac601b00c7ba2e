"""The list of labels to look at as files that labelling tools read: CSV, and COCO in the order of the list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from xai.files import replacing
from xai.labels.shapes import CORNERS

CSV = "relabel.csv"
COCO = "relabel.json"


def to_csv(rows: pl.DataFrame, path: Path) -> None:
    """Write the list, most doubtful first.

    Args:
        rows: columns of ``tables.BESIDE["relabel"]``.
        path: the file.
    """
    with replacing(path) as temporary:
        rows.write_csv(temporary, float_precision=4)


def to_coco(rows: pl.DataFrame, images: pl.DataFrame, path: Path) -> None:
    """Write the list as COCO annotations in its order, each with ``score`` and the rest as ``attributes``.

    A box is the label's own, or of a missing label the detected one; what is suggested instead is an attribute. Rows
    without a box or class (labels that could not be read) keep their photo and are no annotation: tools that import the
    file refuse such, and the table has them.

    Args:
        rows: columns of ``tables.BESIDE["relabel"]``.
        images: ``image_id width height`` of the photos.
        path: the file.
    """
    known = images.unique("image_id", keep="first").join(rows.select("image_id"), on="image_id", how="semi")
    photos = {
        image_id: {"id": number, "file_name": image_id, "width": width, "height": height}
        for number, (image_id, width, height) in enumerate(
            known.sort("image_id").select("image_id", "width", "height").iter_rows(), start=1
        )
    }
    named = rows.filter(pl.col("image_id").is_in(list(photos)))
    labels = sorted(set(named["label"].drop_nulls()) | set(named["suggested_label"].drop_nulls()))
    categories = {name: number for number, name in enumerate(labels, start=1)}
    annotations = [
        _annotation(number, row, photos[row["image_id"]]["id"], categories)
        for number, row in enumerate(named.drop_nulls(["label", *CORNERS]).iter_rows(named=True), start=1)
    ]
    made = {
        "info": {"description": "labels to look at, most doubtful first"},
        "images": list(photos.values()),
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": annotations,
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(made, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def _annotation(number: int, row: dict[str, Any], image: int, categories: dict[str, int]) -> dict[str, Any]:
    own, suggested = _box(row, ""), _box(row, "suggested_")
    box = own or []
    kept = ("check", "reason", "threshold", "doubtful", "object_id", "prediction_id", "suggested_label")
    return {
        "id": number,
        "image_id": image,
        "category_id": categories.get(row["label"]),
        "bbox": box,
        "area": box[2] * box[3] if box else 0.0,
        "iscrowd": 0,
        "score": row["score"],
        "attributes": {**{name: row[name] for name in kept}, "suggested_bbox": suggested},
    }


def _box(row: dict[str, Any], prefix: str) -> list[float] | None:
    """``x y width height`` of the row's box, None without one."""
    x1, y1, x2, y2 = (row[f"{prefix}{name}"] for name in CORNERS)
    if x1 is None:
        return None
    return [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]

"""Small tables that several tests start from."""

import polars as pl

from xai import tables


def labels(*boxes: tuple[object, ...], image_id: str = "a", label: str = "car", **more: object) -> pl.DataFrame:
    """Labels of one photo, boxes in pixels unless ``normalised=True`` is among ``more``."""
    frame = pl.DataFrame(
        [
            {
                "image_id": image_id,
                "object_id": number,
                "label": label,
                **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
                "normalised": False,
                "ignore": None,
                "file": f"{image_id}.txt",
                "line": number + 1,
                **more,
            }
            for number, box in enumerate(boxes)
        ],
        schema=None if boxes else dict(tables.LABELS),
        schema_overrides=dict(tables.LABELS),
    )
    return tables.conform(frame, tables.LABELS)

"""The funnel counts every photo and label row once, and names why each was lost."""

from pathlib import Path

import polars as pl

from xai import provenance, tables
from xai.types import Dataset, ModelCard

BOX = {"x1": 0.0, "y1": 0.0, "x2": 5.0, "y2": 5.0, "normalised": False, "file": "f", "line": 1}


def issue(code: str, image_id: str | None, object_id: int | None, line: int | None) -> dict[str, object]:
    return {
        "split": "eval",
        "image_id": image_id,
        "object_id": object_id,
        "code": code,
        "severity": "error",
        "message": "",
        "file": "f",
        "line": line,
    }


def table(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(tables.ISSUES))


def test_funnel() -> None:
    labels = [
        {"image_id": "a.jpg", "object_id": 0, "label": "car", "ignore": None, **BOX},
        {"image_id": "a.jpg", "object_id": 1, "label": "car", "ignore": "difficult", **BOX},
        {"image_id": "a.jpg", "object_id": 2, "label": "car", "ignore": None, **BOX},
        {"image_id": "b.jpg", "object_id": 0, "label": "car", "ignore": None, **BOX},
    ]
    reader = table([issue("not_a_number", "a.jpg", None, 7), issue("photo_without_label", "c.jpg", None, None)])
    data = Dataset(
        "eval", Path(), ("a.jpg", "b.jpg"), pl.DataFrame(labels, schema=dict(tables.LABELS)), reader, ("car",)
    )
    images = pl.DataFrame({"image_id": ["a.jpg", "b.jpg"], "status": ["ok", "photo_truncated"]})
    objects = pl.DataFrame({"image_id": ["a.jpg"] * 2, "object_id": [0, 1], "ignore": [None, "difficult"]})
    issues = pl.concat(
        [reader, table([issue("zero_area", "a.jpg", 2, 3), issue("photo_truncated", "b.jpg", None, None)])]
    )
    steps = provenance.funnel(data, images, objects, issues)
    assert [(step["step"], step["unit"], step["count"], step["lost"]) for step in steps] == [
        ("found", "photos", 3, {}),
        ("read", "photos", 1, {"photo_truncated": 1, "photo_without_label": 1}),
        ("found", "objects", 5, {}),
        ("valid", "objects", 2, {"not_a_number": 1, "zero_area": 1, "photo_truncated": 1}),
        ("used", "objects", 1, {"difficult": 1}),
    ]


def test_photos_without_a_name_are_photos_and_no_objects() -> None:
    issues = table([issue("path_leaves_root", None, None, 3), issue("path_not_unicode", None, None, None)])
    data = Dataset("eval", Path(), ("a.jpg",), tables.empty(tables.LABELS), issues, ("car",))
    images = pl.DataFrame({"image_id": ["a.jpg"], "status": ["ok"]})
    objects = tables.empty({"image_id": pl.String, "ignore": pl.String})
    steps = provenance.funnel(data, images, objects, issues)
    assert [(step["count"], step["lost"]) for step in steps[:3]] == [
        (3, {}),
        (1, {"path_leaves_root": 1, "path_not_unicode": 1}),
        (0, {}),
    ]


def test_what_nothing_tells_is_unknown() -> None:
    told = provenance.model(ModelCard(kind="torchvision"))
    assert {told["file"], told["sha256"], told["architecture"], told["trained_at"]} == {"unknown"}
    assert provenance.captured_range(pl.DataFrame({"captured_at": [None]}, schema={"captured_at": pl.String})) is None
    taken = pl.DataFrame({"captured_at": ["2024-05-01T10:00:00", None, "2023-01-01T00:00:00"]})
    assert provenance.captured_range(taken) == ["2023-01-01T00:00:00", "2024-05-01T10:00:00"]


def test_versions_name_what_the_figures_depend_on() -> None:
    assert {"python", "torch", "polars", "xai-toolkit"} <= set(provenance.versions())
    assert provenance.version() == provenance.versions()["xai-toolkit"]

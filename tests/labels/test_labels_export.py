"""The labels to look at as COCO, read by pycocotools as annotation tools read it."""

import contextlib
import io
from pathlib import Path

import polars as pl
from pycocotools.coco import COCO

from xai import tables
from xai.labels import to_coco

BOX = {"x1": 10.0, "y1": 20.0, "x2": 50.0, "y2": 80.5}
ROWS = [
    {"image_id": "b.jpg", "object_id": 0, "check": "wrong_class", "label": "car", "suggested_label": "bus", **BOX},
    {"image_id": "a.jpg", "prediction_id": 3, "check": "missing", "label": "dog", "suggested_label": "dog", **BOX},
    {"image_id": "a.jpg", "object_id": 1, "check": "unreadable", "label": "car"},
    {"image_id": "c.jpg", "object_id": 0, "check": "unreadable", **BOX},
]


def test_pycocotools_reads_every_annotation(tmp_path: Path) -> None:
    rows = tables.conform(pl.DataFrame(ROWS), tables.BESIDE["relabel"])
    images = pl.DataFrame({"image_id": ["a.jpg", "b.jpg", "c.jpg"], "width": [100, 200, 300], "height": [90, 190, 290]})
    to_coco(rows, images, tmp_path / "relabel.json")
    with contextlib.redirect_stdout(io.StringIO()):
        read = COCO(str(tmp_path / "relabel.json"))
    names = {item["id"]: item["name"] for item in read.loadCats(read.getCatIds())}
    photos = {item["id"]: item["file_name"] for item in read.loadImgs(read.getImgIds())}
    assert sorted(photos.values()) == ["a.jpg", "b.jpg", "c.jpg"]
    told = read.loadAnns(read.getAnnIds())
    assert [(photos[item["image_id"]], names[item["category_id"]]) for item in told] == [
        ("b.jpg", "car"),
        ("a.jpg", "dog"),
    ]
    assert told[0]["bbox"] == [10.0, 20.0, 40.0, 60.5]
    assert told[0]["area"] == 40 * 60.5
    assert told[0]["attributes"]["suggested_label"] == "bus"

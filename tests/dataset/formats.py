"""Write a data set in each format, so that one set of labels is read three ways. Photos are linked, never copied."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

import polars as pl
from PIL import Image

from xai.types import Dataset

Object = Mapping[str, object]


def scored(data: Dataset) -> Dataset:
    """Leave out the objects that are not scored: YOLO text cannot mark them."""
    return replace(data, labels=data.labels.filter(pl.col("ignore").is_null()))


def write_coco(data: Dataset, out: Path) -> Path:
    """Write ``annotations/instances_val.json`` and ``images``; return ``out``.

    Category ids begin at 0 and have gaps, every ``label_*`` column is an entry of ``attributes``, and objects that are
    not scored carry ``iscrowd`` or ``ignore``.
    """
    numbers = {name: 3 * number for number, name in enumerate(data.class_names)}
    images, annotations = [], []
    for number, (name, size, objects) in enumerate(_photos(data, out / "images")):
        images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
        for item, (x1, y1, x2, y2) in objects:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": numbers[str(item["label"])],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "segmentation": [],
                    "iscrowd": int(item["ignore"] == "crowd"),
                    "ignore": int(item["ignore"] == "difficult"),
                    "attributes": _own(item),
                }
            )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    document = {"images": images, "annotations": annotations, "categories": categories}
    path = out / "annotations/instances_val.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return out


def write_yolo(data: Dataset, out: Path) -> Path:
    """Write ``data.yaml``, ``images`` and ``labels``; return ``out``. Use ``scored`` first: YOLO has no such mark."""
    numbers = {name: number for number, name in enumerate(data.class_names)}
    labels = out / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    for name, (width, height), objects in _photos(data, out / "images"):
        rows = [
            f"{numbers[str(item['label'])]} {(x1 + x2) / 2 / width!r} {(y1 + y2) / 2 / height!r} "
            f"{(x2 - x1) / width!r} {(y2 - y1) / height!r}\n"
            for item, (x1, y1, x2, y2) in objects
        ]
        (labels / name).with_suffix(".txt").write_text("".join(rows), encoding="utf-8")
    declared = {"train": "images", "val": "images", "names": list(data.class_names)}
    (out / "data.yaml").write_text(json.dumps(declared), encoding="utf-8")
    return out


def write_voc(data: Dataset, out: Path) -> Path:
    """Write ``Annotations`` and ``JPEGImages``; return ``out``."""
    (out / "Annotations").mkdir(parents=True, exist_ok=True)
    for name, (width, height), objects in _photos(data, out / "JPEGImages"):
        body = "".join(_voc_object(item, box) for item, box in objects)
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{escape(name)}</filename>{size}\n{body}</annotation>"
        (out / "Annotations" / name).with_suffix(".xml").write_text(text, encoding="utf-8")
    return out


WRITERS: Mapping[str, Callable[[Dataset, Path], Path]] = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}
"""Format → writer; what it returns is the ``path`` of ``xai.dataset.read``."""


def _voc_object(item: Object, box: tuple[float, ...]) -> str:
    x1, y1, x2, y2 = box
    fields = {"name": item["label"], "difficult": int(item["ignore"] == "difficult"), **_own(item)}
    corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
    inner = "".join(f"<{tag}>{escape(str(value))}</{tag}>" for tag, value in fields.items())
    box_text = "".join(f"<{tag}>{value!r}</{tag}>" for tag, value in corners.items())
    return f"<object>{inner}<bndbox>{box_text}</bndbox></object>\n"


def _own(item: Object) -> dict[str, object]:
    return {
        name.removeprefix("label_"): value
        for name, value in item.items()
        if name.startswith("label_") and value is not None
    }


def _photos(
    data: Dataset, folder: Path
) -> list[tuple[str, tuple[int, int], list[tuple[Object, tuple[float, float, float, float]]]]]:
    """Link the photos into one folder; return name, displayed size and objects with boxes in pixels of each."""
    folder.mkdir(parents=True, exist_ok=True)
    by_photo = data.labels.partition_by("image_id", as_dict=True)
    found = []
    for image_id in data.image_ids:
        name = Path(image_id).name
        (folder / name).symlink_to((data.root / image_id).resolve())
        width, height = _displayed_size(data.root / image_id)
        rows = by_photo[(image_id,)].rows(named=True) if (image_id,) in by_photo else []
        scales = [(width, height) if row["normalised"] else (1, 1) for row in rows]
        objects = [
            (row, (row["x1"] * x, row["y1"] * y, row["x2"] * x, row["y2"] * y))
            for row, (x, y) in zip(rows, scales, strict=True)
        ]
        found.append((name, (width, height), objects))
    return found


def _displayed_size(photo: Path) -> tuple[int, int]:
    with Image.open(photo) as opened:
        turned = opened.getexif().get(0x0112, 1) >= 5
        return (opened.height, opened.width) if turned else (opened.width, opened.height)

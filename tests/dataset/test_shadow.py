"""Data sets at a URL: read as they are from this machine, in every format."""

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from attributes.remote import place
from xai import dataset
from xai.dataset.reported import read_cases, read_production
from xai.exceptions import ConfigError, DataError
from xai.types import Dataset

BOX = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>{}</ymax></bndbox>"
VOC = f"<annotation><object><name>{{}}</name>{BOX}</object></annotation>"


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def photos(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), "green").save(folder / name)


def upload(memory: fsspec.AbstractFileSystem, folder: Path, url: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            memory.pipe(f"/{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def same(far: Dataset, near: Dataset, root: Path) -> None:
    assert far.root == root
    assert far.image_ids == near.image_ids
    assert far.class_names == near.class_names
    assert_frame_equal(far.labels.drop("file"), near.labels.drop("file"))
    assert not far.labels["file"].str.contains("xai-labels").any(), "shards would be made again each time"
    assert_frame_equal(far.issues.drop("message", "file"), near.issues.drop("message", "file"))
    assert not far.issues["message"].str.contains("xai-labels").any()


def test_voc(tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    photos(tmp_path, "JPEGImages/a.jpg", "JPEGImages/in/b.jpg", "JPEGImages/c.jpg")
    write(
        tmp_path,
        {"Annotations/a.xml": VOC.format("car", 9), "Annotations/in/b.xml": VOC.format("bus", 2), "notes.md": ""},
    )
    upload(memory, tmp_path, "set/voc")
    far = dataset.read(place("memory://set/voc"), "voc", role="eval")
    same(far, dataset.read(tmp_path, "voc", role="eval"), place("memory://set/voc"))
    assert far.issues["code"].to_list() == ["photo_without_label"]


def test_yolo_by_its_yaml_with_a_list_that_leaves_the_root(tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    photos(tmp_path, "images/a.jpg", "images/b.jpg")
    write(
        tmp_path,
        {
            "data.yaml": "val: val.txt\nnames: [car]\n",
            "val.txt": "./images/a.jpg\n./images/b.jpg\n../../etc/x.jpg\n/etc/passwd.jpg\n",
            "labels/a.txt": "0 .5 .5 .2 .2\n",
        },
    )
    upload(memory, tmp_path, "set")
    far = dataset.read(place("memory://set/data.yaml"), "yolo", role="eval")
    same(far, dataset.read(tmp_path / "data.yaml", "yolo", role="eval"), place("memory://set"))
    assert far.issues["code"].to_list().count("path_leaves_root") == 2


def test_coco_here_with_photos_there(tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    photos(tmp_path / "photos", "in/a.jpg", "b.jpg")
    told = {
        "images": [{"id": 1, "file_name": "in/a.jpg"}, {"id": 2, "file_name": "gone.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 10, 10]}],
        "categories": [{"id": 7, "name": "car"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(told))
    upload(memory, tmp_path, "set")
    near = dataset.read(tmp_path / "labels.json", "coco", role="eval", photos=tmp_path / "photos")
    there = place("memory://set/photos")
    same(dataset.read(tmp_path / "labels.json", "coco", role="eval", photos=there), near, there)
    same(dataset.read(place("memory://set"), "coco", role="eval", photos=there), near, there)


def test_what_is_not_there_is_told_with_its_url(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/set/readme.txt", b"")
    with pytest.raises(ConfigError, match="memory://set") as caught:
        dataset.read(place("memory://set"), "voc", role="eval")
    assert "xai-labels" not in str(caught.value)
    with pytest.raises(ConfigError, match="the format of the data set at memory://set to be named"):
        dataset.guess_format(place("memory://set"))


def test_production_photos_and_cases_that_name_them(tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe({"/set/a.jpg": b"", "/set/in/b.jpg": b"", "/set/in//c.jpg": b"", "/set/.d.jpg": b"", "/set/e.txt": b""})
    production = read_production(place("memory://set"))
    assert production.image_ids == ("a.jpg", "in/b.jpg")
    assert production.issues["code"].to_list() == ["path_leaves_root"]
    (tmp_path / "cases.csv").write_text("image,label\nmemory://set/a.jpg,car\nb,bus\n")
    cases = read_cases(tmp_path / "cases.csv", production)
    assert cases.listed.select("image_id", "label").rows() == [("a.jpg", "car"), ("in/b.jpg", "bus")]
    with pytest.raises(DataError, match="expected photos in memory://other"):
        read_production(place("memory://other"))

"""One door to all formats."""

from pathlib import Path

import pytest

from xai import dataset, tables
from xai.exceptions import ConfigError

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs the real photos in ../shared/data")


def test_unknown_formats_are_refused_with_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown data set format 'cocoo'; valid ones: coco, voc, yolo"):
        dataset.read(tmp_path, "cocoo", role="train")


@pytest.mark.parametrize("format", ["coco", "voc", "yolo"])
@pytest.mark.parametrize("split", ["", "../up", "/tmp/x", "val*", "**", "[v", "a\\b"])
def test_what_is_no_name_of_a_split_is_refused(tmp_path: Path, format: str, split: str) -> None:
    with pytest.raises(ConfigError, match="expected the name of a split"):
        dataset.read(tmp_path, format, role="eval", split=split)


def test_the_frame_of_labels_is_carried(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").touch()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").touch()
    (tmp_path / "data.yaml").write_text("val: images\nnames: [car]\n")
    assert dataset.read(tmp_path, "yolo", role="audit").label_frame == "auto"
    assert dataset.read(tmp_path, "yolo", role="audit", label_frame="stored").label_frame == "stored"
    with pytest.raises(ConfigError, match="label_frame to be one of auto, displayed, stored, got 'turned'"):
        dataset.read(tmp_path, "yolo", role="eval", label_frame="turned")


@pytest.mark.parametrize("format", ["voc", "yolo"])
def test_formats_that_name_their_photos_refuse_a_folder(tmp_path: Path, format: str) -> None:
    with pytest.raises(ConfigError, match=f"no 'photos' for the format {format}: it is for coco"):
        dataset.read(tmp_path, format, role="eval", photos=tmp_path)


def test_formats_are_told_from_the_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found nothing there"):
        dataset.guess_format(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="cannot tell the format"):
        dataset.guess_format(tmp_path)
    (tmp_path / "data.yaml").touch()
    assert dataset.guess_format(tmp_path) == "yolo"
    assert dataset.guess_format(tmp_path / "data.yaml") == "yolo"
    (tmp_path / "Annotations").mkdir()
    assert dataset.guess_format(tmp_path) == "voc"


@real
@pytest.mark.parametrize(("path", "format"), [("voc/eval", "voc"), ("coco", "yolo")])
def test_every_reader_keeps_the_contract(path: str, format: str) -> None:
    data = dataset.read(DATA / path, format, role="train")
    assert data.split == "train"
    assert list(data.image_ids) == sorted(set(data.image_ids))
    assert set(data.labels["image_id"]) <= set(data.image_ids)
    columns = {name: data.labels.schema[name] for name in tables.LABELS}
    assert columns == dict(tables.LABELS)
    assert dict(data.issues.schema) == dict(tables.ISSUES)
    assert set(data.labels["label"]) <= set(data.class_names)
    for code, severity in data.issues.select("code", "severity").unique().rows():
        assert dataset.CODES[code].severity == severity


def test_codes_are_complete() -> None:
    assert all(
        code.severity in {"error", "warning", "info"} and code.meaning and code.advice
        for code in dataset.CODES.values()
    )

"""One door to all formats."""

from pathlib import Path

import pytest

from xai import dataset, tables
from xai.exceptions import ConfigError

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs the real photos in ../shared/data")


def test_unknown_formats_are_refused_with_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown data set format 'cocoo'; valid ones: voc, yolo"):
        dataset.read(tmp_path, "cocoo", role="train")


def test_formats_are_told_from_the_files(tmp_path: Path) -> None:
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

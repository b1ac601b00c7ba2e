import csv
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from xai import dataset as datasets
from xai.demo import dataset
from xai.demo.conditions import NONE, make

COUNTS = {NONE: 2, "sideways": 1, "crowding": 1, "shifted_label": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo ü")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "TRAINING_PHOTOS", 5)
        patch.setattr(dataset, "EVALUATION", COUNTS)
        seen: list[tuple[int, int]] = []
        dataset.write(folder, progress=lambda stage, done, total: seen.append((done, total)))
    assert seen == [(done, 10) for done in range(1, 11)]
    return folder


def test_photos_and_annotations_pair_up(root: Path) -> None:
    for split, count in (("train", 5), ("eval", 5)):
        photos = sorted(path.stem for path in (root / split / "JPEGImages").iterdir())
        labels = sorted(path.stem for path in (root / split / "Annotations").iterdir())
        assert photos == labels
        assert len(photos) == count


def test_boxes_hold_the_rendered_ones_and_follow_the_devkit(root: Path) -> None:
    photo = make(dataset._EVALUATION_SEED)
    tree = ElementTree.parse(root / "eval" / "Annotations" / "000001.xml")
    boxes = np.array([[int(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
                      for item in tree.iter("object")])  # fmt: skip
    assert [item.findtext("name") for item in tree.iter("object")] == list(photo.labels)
    assert (boxes[:, :2] - 1 <= photo.boxes[:, :2]).all()
    assert (boxes[:, 2:] >= photo.boxes[:, 2:]).all()
    assert np.abs(boxes - photo.boxes - [1, 1, 0, 0]).max() < 1


def test_jpeg_is_the_rendered_photo(root: Path) -> None:
    photo = make(dataset._EVALUATION_SEED + 2, "sideways")
    stored = cv2.imread(str(root / "eval" / "JPEGImages" / "000003.jpg"))
    assert stored is not None
    assert stored.shape == (320, 240, 3)
    assert np.abs(stored[..., ::-1].astype(int) - photo.pixels).mean() < 4


def test_truth_names_each_object_once(root: Path) -> None:
    with (root / "truth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    photos = [dataset._EVALUATION_SEED + index for index in range(5)]
    names = [NONE, NONE, "sideways", "crowding", "shifted_label"]
    expected = [
        (f"JPEGImages/{index + 1:06d}.jpg", str(row), planted)
        for index, (seed, name) in enumerate(zip(photos, names, strict=True))
        for row, planted in enumerate(make(seed, name).planted)
    ]
    assert [(row["image_id"], row["object_id"], row["condition"]) for row in rows] == expected


def test_data_set_reads_back(root: Path) -> None:
    for split in ("train", "eval"):
        data = datasets.read(root / split, "voc", role="train" if split == "train" else "eval")
        assert len(data.image_ids) == 5
        assert not len(data.issues)
    with (root / "truth.csv").open(encoding="utf-8") as file:
        rows = {(row["image_id"], int(row["object_id"])) for row in csv.DictReader(file)}
    assert set(data.labels.select("image_id", "object_id").iter_rows()) == rows


def test_stream_is_the_same_for_any_index_order() -> None:
    np.testing.assert_array_equal(dataset.training_scene(7).pixels, dataset.training_scene(7).pixels)
    assert set(dataset.training_scene(3).planted) == {"small"}

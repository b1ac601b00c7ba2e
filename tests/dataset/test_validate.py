"""Boxes meet their photos: geometry against a plain loop, and every label accounted for."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from builders import labels
from hypothesis import given, settings
from hypothesis import strategies as st

from xai import dataset, tables
from xai.dataset import validate
from xai.dataset.validate import DUPLICATE_IOU, resolve

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs the real photos in ../shared/data")

SIZES = pl.DataFrame({"image_id": ["a", "b"], "width": [100, 1000], "height": [80, 800], "exif_orientation": [None, 1]})


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ((0, 0, 100, 80), None),
        ((-1, -1, 101, 82), None),
        ((-1, 0, 100, 82.5), "box_outside_photo"),
        ((-3, 0, 50, 50), "box_outside_photo"),
        ((30, 10, 10, 20), "negative_area"),
        ((10, 20, 10, 30), "zero_area"),
        ((10, 20, 30, 20), "zero_area"),
        ((100, 0, 120, 20), "box_off_photo"),
        ((-10, 0, 0, 20), "box_off_photo"),
        ((float("nan"), 0, 10, 20), "not_finite"),
        ((None, 0, 10, 20), "not_finite"),
        ((0, 0, float("inf"), 20), "not_finite"),
    ],
)
def test_geometry(box: tuple[object, ...], code: str | None) -> None:
    objects, issues = resolve(labels(box), SIZES)
    assert issues["code"].to_list() == ([code] if code else [])
    lost = code is not None and dataset.CODES[code].severity == "error"
    assert len(objects) == (0 if lost else 1)
    if code:
        assert issues.select("image_id", "object_id", "file", "line").row(0) == ("a", 0, "a.txt", 1)


def test_tolerance_grows_with_the_photo() -> None:
    assert resolve(labels((-4.9, 0, 50, 50), image_id="b"), SIZES)[1].is_empty()
    assert len(resolve(labels((-5.1, 0, 50, 50), image_id="b"), SIZES)[1]) == 1


def test_fractions_become_pixels_and_columns_are_kept() -> None:
    given_labels = labels((0.1, 0.25, 0.5, 1.0), label_pose="Left", file_width=None, file_height=None).with_columns(
        normalised=pl.lit(True), ignore=pl.lit("difficult")
    )
    objects, issues = resolve(given_labels, SIZES)
    assert objects.columns == ["image_id", "object_id", "label", "x1", "y1", "x2", "y2", "ignore", "label_pose"]
    assert objects.row(0) == ("a", 0, "car", 10.0, 20.0, 50.0, 80.0, "difficult", "Left")
    assert issues.is_empty()


def test_labels_of_photos_that_were_not_read_are_left_out() -> None:
    objects, issues = resolve(labels((0, 0, 10, 10), image_id="gone"), SIZES)
    assert objects.is_empty()
    assert issues.is_empty()


def test_nothing() -> None:
    objects, issues = resolve(tables.empty(tables.LABELS), SIZES)
    assert objects.schema == {name: tables.LABELS[name] for name in objects.columns}
    assert dict(issues.schema) == dict(tables.ISSUES)


def test_a_stated_size_that_is_wrong_is_told_once_a_photo() -> None:
    turned = labels((0, 0, 50, 50), (0, 0, 70, 70), file_width=80, file_height=100)
    other = labels((0, 0, 50, 50), image_id="b", file_width=500, file_height=400)
    unknown = labels((0, 0, 50, 50), image_id="b", file_width=None, file_height=None)
    _, issues = resolve(pl.concat([turned, other]), SIZES)
    assert issues.select("code", "image_id", "object_id", "line").rows() == [
        ("size_mismatch", "a", None, None),
        ("size_mismatch", "b", None, None),
    ]
    assert ["before it was turned" in message for message in issues["message"]] == [True, False]
    assert resolve(unknown.cast({"file_width": pl.Int64, "file_height": pl.Int64}), SIZES)[1].is_empty()


def test_repeated_boxes_are_kept_but_not_scored() -> None:
    boxes = labels((0, 0, 50, 50), (0, 0, 50, 50), (0, 0, 50, 49), (0, 0, 50, 40), (60, 0, 90, 20))
    others = boxes.with_columns(label=pl.lit("bus"), object_id=pl.col("object_id") + 5).head(1)
    objects, issues = resolve(pl.concat([boxes, others]), SIZES)
    assert objects["ignore"].to_list() == [None, "duplicate", "duplicate", None, None, None]
    assert issues.select("code", "severity", "object_id").rows() == [
        ("duplicate_box", "warning", 1),
        ("duplicate_box", "warning", 2),
    ]
    assert "repeats object 0" in issues["message"][0]


def test_the_scored_one_of_two_equal_boxes_stays_scored() -> None:
    boxes = labels((0, 0, 50, 50), (0, 0, 50, 50)).with_columns(ignore=pl.Series(["difficult", None]))
    objects, issues = resolve(boxes, SIZES)
    assert objects["ignore"].to_list() == ["difficult", None]
    assert issues["object_id"].to_list() == [0]


def test_very_crowded_photos_are_compared_for_equal_boxes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "MAX_GROUP", 2)
    objects, _ = resolve(labels((0, 0, 50, 50), (0, 0, 50, 49), (0, 0, 50, 50)), SIZES)
    assert objects["ignore"].to_list() == [None, None, "duplicate"]


def iou(first: np.ndarray, second: np.ndarray) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return float(common / (sum(areas) - common))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 25))
def test_objects_equal_those_of_a_plain_loop(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(-15, 120, (count, 4)).round(random.integers(0, 3))
    corners[:, 2:] = corners[:, :2] + random.choice([-5, 0, 10, 60, 61], (count, 2))
    if count > 4:
        corners[random.integers(0, count, 4)] = corners[0] + [0, 0, 0.5, 0]
    classes = random.choice(["car", "bus"], count)
    table = labels(*map(tuple, corners.tolist())).with_columns(label=pl.Series(classes, dtype=pl.String))
    objects, issues = resolve(table, SIZES)
    kept: list[tuple[int, np.ndarray]] = []
    for number, (x1, y1, x2, y2) in enumerate(corners):
        if x2 > x1 and y2 > y1 and x1 < 100 and y1 < 80 and x2 > 0 and y2 > 0:
            kept.append((number, np.clip([x1, y1, x2, y2], 0, [100, 80, 100, 80])))
    assert objects["object_id"].to_list() == [number for number, _ in kept]
    boxes = objects.select("x1", "y1", "x2", "y2").to_numpy()
    np.testing.assert_array_equal(boxes, np.array([box for _, box in kept]).reshape(-1, 4))
    repeated = [any(classes[i] == classes[j] and iou(a, b) >= DUPLICATE_IOU for j, b in kept if j < i) for i, a in kept]
    assert objects["ignore"].is_not_null().to_list() == repeated
    errors = issues.filter(severity="error")
    assert sorted([*objects["object_id"], *errors["object_id"]]) == list(range(count))


@real
def test_real_photos_have_sound_labels() -> None:
    from attributes.decode import read

    data = dataset.read(DATA / "voc/eval", "voc", role="eval")
    chosen = data.image_ids[:40]
    photos = [read(data.root / image_id) for image_id in chosen]
    sizes = pl.DataFrame(
        {
            "image_id": chosen,
            "width": [photo.width for photo in photos],
            "height": [photo.height for photo in photos],
            "exif_orientation": [photo.exif_orientation for photo in photos],
        }
    )
    objects, issues = resolve(data.labels, sizes)
    assert issues.is_empty()
    expected = data.labels.filter(pl.col("image_id").is_in(chosen))
    assert objects.equals(expected.select(objects.columns))

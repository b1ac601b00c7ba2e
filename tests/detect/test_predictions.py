import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai.config import DetectorConfig
from xai.detect import predictions
from xai.detect.detector import load
from xai.exceptions import DetectorError
from xai.types import PredictedOnly

IDS = ("a/000000000042.jpg", "a/übung 1.jpg", "b/plain.png")
ROW = {"image_id": "a/übung 1.jpg", "category_id": 1, "bbox": [10.5, 20, 30, 40.25], "score": 0.9}


def open_file(
    folder: Path, rows: object, *, annotations: object = None, image_ids: tuple[str, ...] = IDS, **options: object
) -> PredictedOnly:
    path = folder / "results.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows), encoding="utf-8")
    more = dict(options)
    if isinstance(annotations, Path):
        more["annotations"] = annotations
    elif annotations is not None:
        (folder / "annotations.json").write_text(json.dumps(annotations), encoding="utf-8")
        more["annotations"] = folder / "annotations.json"
    else:
        more.setdefault("names", ("car", "bus", "cat"))
    found = load(DetectorConfig(kind="predictions", weights=path, **more), "cpu", image_ids=image_ids)
    assert isinstance(found, PredictedOnly)
    return found


def test_boxes_scores_and_order(tmp_path: Path) -> None:
    rows = [
        {**ROW, "score": 0.3, "category_id": 2},
        {**ROW, "segmentation": [[1, 2]]},
        {**ROW, "score": 0.24},
        {**ROW, "image_id": "b/plain.png", "score": 1, "bbox": [0, 0, 5, 5]},
        {**ROW, "image_id": "elsewhere.jpg"},
    ]
    found = open_file(tmp_path, rows)
    assert found.names == ("car", "bus", "cat")
    assert set(found.by_image) == {"a/übung 1.jpg", "b/plain.png"}
    photo = found.by_image["a/übung 1.jpg"]
    np.testing.assert_array_equal(photo.scores, [0.9, 0.3])
    np.testing.assert_array_equal(photo.labels, [1, 2])
    np.testing.assert_array_equal(photo.boxes, [[10.5, 20, 40.5, 60.25]] * 2)
    assert photo.boxes.dtype == np.float64
    assert photo.labels.dtype == np.int64
    assert found.card.details == {"detections": 5, "of_unknown_photos": 1, "below_threshold": 1}


@pytest.mark.parametrize(
    ("name", "photo"),
    [
        ("a/000000000042.jpg", "a/000000000042.jpg"),
        ("./a/000000000042.jpg", "a/000000000042.jpg"),
        ("a\\000000000042.jpg", "a/000000000042.jpg"),
        ("000000000042.jpg", "a/000000000042.jpg"),
        ("/data/images/000000000042.jpg", "a/000000000042.jpg"),
        ("000000000042", "a/000000000042.jpg"),
        (42, "a/000000000042.jpg"),
        (42.0, "a/000000000042.jpg"),
        ("übung 1", "a/übung 1.jpg"),
        ("plain.png", "b/plain.png"),
    ],
)
def test_photos_are_found_by_any_usual_name(tmp_path: Path, name: object, photo: str) -> None:
    assert list(open_file(tmp_path, [{**ROW, "image_id": name}]).by_image) == [photo]


def test_numbers_begin_at_zero(tmp_path: Path) -> None:
    found = open_file(tmp_path, [{**ROW, "image_id": 0}, {**ROW, "image_id": 10}], image_ids=("000.jpg", "010.jpg"))
    assert list(found.by_image) == ["000.jpg", "010.jpg"]


def test_annotations_tell_photos_and_classes(tmp_path: Path) -> None:
    annotations = {
        "images": [{"id": 7, "file_name": "plain.png"}, {"id": 8, "file_name": "other.jpg"}],
        "categories": [{"id": 3, "name": "bus"}, {"id": 1, "name": "car"}],
    }
    rows = [{**ROW, "image_id": 7, "category_id": 3}, {**ROW, "image_id": 42}, {**ROW, "image_id": 8}]
    found = open_file(tmp_path, rows, annotations=annotations)
    assert found.names == ("car", "bus")
    assert list(found.by_image) == ["b/plain.png"]
    assert found.by_image["b/plain.png"].labels.tolist() == [1]
    assert found.card.details["of_unknown_photos"] == 2


def test_no_detections_and_no_photos(tmp_path: Path) -> None:
    assert open_file(tmp_path, []).by_image == {}
    assert open_file(tmp_path, [ROW], image_ids=()).by_image == {}
    assert open_file(tmp_path, [{**ROW, "score": 0.1}]).by_image == {}


def test_ambiguous_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"image_id 'x.jpg' could be a/x.jpg or b/x.jpg"):
        open_file(tmp_path, [{**ROW, "image_id": "x.jpg"}], image_ids=("a/x.jpg", "b/x.jpg"))
    found = open_file(tmp_path, [{**ROW, "image_id": "b/x.jpg"}], image_ids=("a/x.jpg", "b/x.jpg"))
    assert list(found.by_image) == ["b/x.jpg"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "not valid JSON in row 0"),
        ("[{", "not valid JSON in row 0"),
        ("[" + f"{json.dumps(ROW)}," * 5, "not valid JSON in row 5"),
        ("[] []", "not valid JSON"),
        ("nothing", "the file begins with 'n'"),
        ({"annotations": []}, "expected a list .* the file begins with '{'"),
        ([ROW, 3], "row 1 is 3"),
        ([ROW, [ROW]], r"row 1 is \["),
        ([ROW, {**ROW, "bbox": [1, 2, "x", 3]}], "row 1 is"),
        ([ROW, {**ROW, "category_id": 10**30}], "in row 1 .*integer overflow"),
        ("[" + json.dumps(ROW).replace("0.9", "1e999") + "]", "in row 0 .*overflow"),
        ([ROW, {**ROW, "bbox": [1, 2, 3]}], "row 1 is"),
        ([ROW, {**ROW, "bbox": [1, 2, -3, 4]}], "row 1 is"),
        ([{**ROW, "score": 1.5}, {**ROW, "score": None}], "row 0 is"),
        ([{key: value for key, value in ROW.items() if key != "category_id"}], "row 0 is"),
        ([ROW, {**ROW, "category_id": 1.5}], "row 1 is"),
        ([ROW, {**ROW, "category_id": None}], "row 1 is"),
        ([ROW, {**ROW, "image_id": None}], "row 1 is"),
        ([ROW, {**ROW, "bbox": [[1, 2, 3, 4]] * 2}], "row 1 is"),
        ([ROW, {**ROW, "bbox": [[1, 2], [3, 4]]}], "row 1 is"),
        ([{**ROW, "bbox": "big"}], "row 0 is"),
        ([{**ROW, "category_id": 3}], r"expected the category_id of a class in detector.names, got \[3\]"),
        ([{**ROW, "image_id": "nowhere"}], "none of its image_id names a photo"),
        ("[" + json.dumps(ROW).replace("0.9", "NaN") + "]", "not valid JSON in row 0 .*NaN"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, rows: object, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        open_file(tmp_path, rows)


def test_batches_change_nothing_but_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    rows = [
        {
            "image_id": IDS[generator.integers(3)] if generator.random() < 0.9 else "elsewhere.jpg",
            "category_id": int(generator.integers(3)),
            "bbox": generator.random(4).tolist(),
            "score": round(float(generator.random()), 1),  # many alike, whose order in the file counts
        }
        for _ in range(100)
    ]
    whole = open_file(tmp_path, rows)
    monkeypatch.setattr(predictions, "BATCH_ROWS", 7)
    parts = open_file(tmp_path, rows)
    assert list(whole.by_image) == list(parts.by_image)
    assert whole.card == parts.card
    for image_id, found in whole.by_image.items():
        mine = sorted(
            (row for row in rows if row["image_id"] == image_id and row["score"] >= 0.25),
            key=lambda row: -row["score"],
        )
        for each in (found, parts.by_image[image_id]):
            assert each.scores.tolist() == [row["score"] for row in mine]
            assert each.labels.tolist() == [row["category_id"] for row in mine]
            x, y, width, height = np.array([row["bbox"] for row in mine]).T
            np.testing.assert_array_equal(each.boxes, np.stack([x, y, x + width, y + height], axis=1))
    with pytest.raises(DetectorError, match=r"row 53 is .*'score': -1"):
        open_file(tmp_path, [*rows[:53], {**ROW, "score": -1}, *rows[53:]])
    with pytest.raises(DetectorError, match=r"not valid JSON in row 53"):
        open_file(tmp_path, json.dumps(rows[:53])[:-1] + ", ?")


@pytest.mark.parametrize("prefix", ["\ufeff", "\n\t  ", "\ufeff \r\n"])
def test_byte_order_mark_and_space_ahead(prefix: str, tmp_path: Path) -> None:
    assert len(open_file(tmp_path, prefix + json.dumps([ROW])).by_image) == 1


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_files_that_end_early_are_refused(data: st.DataObject) -> None:
    text = json.dumps([ROW] * 3).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        path.write_bytes(text[: data.draw(st.integers(0, len(text) - 1))])
        with pytest.raises(DetectorError, match=r"not valid JSON in row [0-3]"):
            load(DetectorConfig(kind="predictions", weights=path, names=("a", "b")), "cpu", image_ids=IDS)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"expected a COCO results file at .*none.json"):
        load(DetectorConfig(kind="predictions", weights=tmp_path / "none.json", names=("a",)), "cpu")
    with pytest.raises(DetectorError, match=r"detector.names: expected the class names"):
        open_file(tmp_path, [ROW], names=())
    with pytest.raises(DetectorError, match=r"annotations.json: expected 'images'"):
        open_file(tmp_path, [ROW], annotations={"images": []})
    with pytest.raises(DetectorError, match=r"expected 'images'.*KeyError\('file_name'\)"):
        open_file(tmp_path, [ROW], annotations={"images": [{"id": 1}], "categories": [{"id": 1, "name": "a"}]})
    (tmp_path / "annotations.json").write_text('{"images": [{"id": 1, "file_name": "a.jpg"}')
    with pytest.raises(DetectorError, match=r"annotations.json: .*not valid JSON"):
        open_file(tmp_path, [ROW], annotations=tmp_path / "annotations.json")


def test_a_results_file_needs_no_torch(tmp_path: Path) -> None:
    open_file(tmp_path, [ROW])
    code = (
        "import sys; from pathlib import Path; from xai import detect; from xai.config import DetectorConfig; "
        f"path = Path({str(tmp_path / 'results.json')!r}); "
        "detect.load(DetectorConfig(kind='predictions', weights=path, names=('a', 'b')), 'auto', "
        f"image_ids={IDS!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

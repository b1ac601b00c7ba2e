"""The COCO reader, against pycocotools on sound files and against broken ones."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from formats import scored, write_coco
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xai import dataset, tables
from xai.dataset import coco, coco_json, coco_rows
from xai.exceptions import ConfigError, DataError

CATEGORIES = [{"id": 0, "name": "car"}, {"id": 7, "name": "bus"}]


def annotation(box: object = (10, 20, 30, 40), **more: object) -> dict[str, Any]:
    return {"id": 1, "image_id": 0, "category_id": 7, "bbox": box, "iscrowd": 0, **more}


def build(root: Path, *annotations: object, images: list[Any] | None = None, **more: object) -> Path:
    """A COCO file, with empty photos beside it in ``images``."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    listed = [{"id": 0, "file_name": "a.jpg", "width": 640, "height": 480}] if images is None else images
    for image in listed:
        name = image.get("file_name") if isinstance(image, dict) else None
        if isinstance(name, str) and "/" not in name and "\\" not in name:
            with contextlib.suppress(OSError, ValueError):
                (root / "images" / name).touch()
    document = {"images": listed, "annotations": list(annotations), "categories": CATEGORIES, **more}
    path = root / "labels.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def codes(data: Any) -> list[str]:
    return list(data.issues["code"])


def test_real_labels_equal_those_of_pycocotools(shared_data: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    written = dataset.read(shared_data / "voc/eval", "voc", role="eval")
    data = coco.read(write_coco(written, tmp_path), role="eval")
    with contextlib.redirect_stdout(io.StringIO()):
        peer = COCO(str(tmp_path / "annotations/instances_val.json"))
    expected = []
    for image in peer.loadImgs(peer.getImgIds()):
        for place, item in enumerate(peer.loadAnns(peer.getAnnIds(imgIds=image["id"]))):
            x, y, w, h = item["bbox"]
            name = peer.loadCats(item["category_id"])[0]["name"]
            ignore = "difficult" if item["ignore"] else None
            own = [item["attributes"].get("pose"), item["attributes"].get("truncated")]
            size = [image["width"], image["height"]]
            expected.append((image["file_name"], place, name, x, y, x + w, y + h, False, ignore, *size, *own))
    columns = ["image_id", "object_id", "label", "x1", "y1", "x2", "y2", "normalised", "ignore", "file_width"]
    found = data.labels.select(*columns, "file_height", "label_pose", "label_truncated")
    assert found.rows() == sorted(expected, key=lambda row: row[:2])
    assert data.root == tmp_path / "images"
    assert data.issues.is_empty()
    assert data.class_names == written.class_names
    assert len(scored(data).labels) == 670


def test_crowds_masks_columns_and_numbering(tmp_path: Path) -> None:
    mask = {"counts": [1, 2, 3], "size": [480, 640]}
    path = build(
        tmp_path,
        annotation(id=5, iscrowd=1, segmentation=mask, area=2.5),
        annotation(
            id=6,
            category_id=0,
            segmentation=[[1, 2, 3, 4, 5, 6]],
            occluded=True,
            score=0.5,
            keypoints=[1, 2, 3],
            attributes={"pose": "Left", "truncated": 1, "tags": ["a"], "speed": float("nan")},
        ),
        annotation(id=7, ignore=1, attributes={"pose": "Unspecified", "truncated": "0", "difficult": 0}),
        annotation(id=8, ignore=0, attributes={"difficult": True}),
    )
    data = coco.read(path, role="train")
    assert data.labels["object_id"].to_list() == [0, 1, 2, 3]
    assert data.labels["ignore"].to_list() == ["crowd", None, "difficult", "difficult"]
    assert data.labels["label"].to_list() == ["bus", "car", "bus", "bus"]
    own = {name: data.labels[name].to_list() for name in data.labels.columns if name.startswith("label_")}
    assert own == {
        "label_occluded": [None, 1, None, None],
        "label_pose": [None, "Left", None, None],
        "label_score": [None, 0.5, None, None],
        "label_truncated": [None, 1, 0, None],
    }
    assert data.labels.select("x1", "y1", "x2", "y2", "file", "line").row(0) == (10, 20, 40, 60, str(path), None)
    assert data.class_names == ("car", "bus")
    assert data.issues.is_empty()


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (annotation(None), "missing_field"),
        (annotation([]), "missing_field"),
        (annotation([1, 2, 3]), "wrong_field_count"),
        (annotation([1, 2, 3, 4, 5]), "wrong_field_count"),
        (annotation("1 2 3 4"), "wrong_field_count"),
        (annotation([1, 2, "3", 4]), "not_a_number"),
        (annotation([1, 2, None, 4]), "not_a_number"),
        (annotation([1, 2, True, 4]), "not_a_number"),
        (annotation([1, 2, [3], 4]), "not_a_number"),
        (annotation([1, 2, float("nan"), 4]), "not_finite"),
        (annotation([1, 2, float("inf"), 4]), "not_finite"),
        (annotation([1, 2, 10**400, 4]), "not_finite"),
        (annotation([0.1, 0.2, 0.5, 0.3]), "normalised_pixel_mixup"),
        (annotation(category_id=3), "class_out_of_range"),
        (annotation(category_id=None), "class_out_of_range"),
        (annotation(category_id="bus"), "class_out_of_range"),
        (annotation(image_id=99), "annotation_without_photo"),
        (annotation(image_id=None), "annotation_without_photo"),
        (annotation(image_id=True), "annotation_without_photo"),
        ({}, "annotation_without_photo"),
        (None, "unparsable_line"),
        (3, "unparsable_line"),
        ([], "unparsable_line"),
        ("\ud800", "unparsable_line"),
    ],
)
def test_a_bad_annotation_costs_itself_only(tmp_path: Path, item: object, code: str) -> None:
    data = coco.read(build(tmp_path, annotation(id=1), item, annotation(id=2)), role="eval")
    assert len(data.labels) == 2
    place = None if code in ("annotation_without_photo", "unparsable_line") else 1
    assert data.issues.select("code", "severity", "object_id", "line", "split").rows() == [
        (code, "error", place, None, "eval")
    ]
    assert data.issues["message"][0].startswith("annotation ")
    assert data.issues["message"][0].endswith("; not used")


def test_messages_name_the_annotation(tmp_path: Path) -> None:
    data = coco.read(build(tmp_path, annotation([1, 2, 3], id="k9")), role="eval")
    assert data.issues["message"].to_list() == [
        "annotation k9: expected bbox [x, y, width, height] of four numbers in pixels, got bbox [1, 2, 3]; not used"
    ]


def test_ids_are_compared_by_value_and_repeats_are_told(tmp_path: Path) -> None:
    path = build(tmp_path, annotation(image_id="0", category_id=7.0), annotation(), annotation(id=None))
    data = coco.read(path, role="eval")
    assert len(data.labels) == 3
    assert data.issues.select("code", "severity", "object_id").rows() == [("duplicate_annotation_id", "warning", 1)]


def test_an_unclear_flag_is_told_and_scored(tmp_path: Path) -> None:
    data = coco.read(build(tmp_path, annotation(iscrowd=2), annotation(id=2, ignore="maybe")), role="eval")
    assert data.labels["ignore"].to_list() == [None, None]
    assert codes(data) == ["unclear_flag", "unclear_flag"]
    assert "got '2'" in data.issues["message"][0]


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    images = [
        {"id": 0, "file_name": "a.jpg"},
        {"id": 1, "file_name": "b.jpg", "width": 0, "height": "x"},
        {"id": 2, "file_name": "../secret.jpg"},
        {"id": 3},
        {"file_name": "c.jpg"},
        {"id": 4, "file_name": "d.jpg"},
        {"id": 4, "file_name": "e.jpg"},
        {"id": 0, "file_name": "a.jpg"},
        {"id": 5, "file_name": "./b.jpg"},
        "f.jpg",
    ]
    boxes = [annotation([1, 1, number + 1, 9], id=number, image_id=number) for number in range(6)]
    data = coco.read(build(tmp_path, *boxes, images=images), role="eval", photos=tmp_path / "images")
    assert data.image_ids == ("a.jpg", "b.jpg")
    assert data.labels.select("image_id", "object_id", "x2", "file_width").rows() == [
        ("a.jpg", 0, 2, None),
        ("b.jpg", 0, 3, None),
        ("b.jpg", 1, 7, None),
    ]
    assert data.issues.select("code", "image_id").rows() == [
        ("path_leaves_root", None),
        ("photo_without_name", None),
        ("photo_without_name", "c.jpg"),
        ("duplicate_image_id", "d.jpg"),
        ("duplicate_image_id", "e.jpg"),
        ("listed_twice", "a.jpg"),
        ("listed_twice", "b.jpg"),
        ("photo_without_name", None),
        ("photo_not_listed", None),
    ]


def test_half_characters_cannot_stand_in_a_table(tmp_path: Path) -> None:
    images = [{"id": 0, "file_name": "a.jpg"}, {"id": 1, "file_name": "x\ud800.jpg", "width": float("nan")}]
    data = coco.read(build(tmp_path, annotation(pose="\udfff"), images=images), role="eval")
    assert data.labels["label_pose"].to_list() == ["\ufffd"]
    assert data.issues.select("code", "message").rows() == [("path_not_unicode", "x\ufffd.jpg is left out")]


def test_photos_without_annotations_and_photos_that_are_not_listed(tmp_path: Path) -> None:
    path = build(tmp_path)
    (tmp_path / "images/other.jpg").touch()
    data = coco.read(path, role="eval")
    assert (data.image_ids, len(data.labels)) == (("a.jpg",), 0)
    assert dict(data.labels.schema) | dict(tables.LABELS) == dict(data.labels.schema)
    assert codes(data) == ["photo_not_listed"]
    assert data.issues["message"][0].startswith("1 photos in ")
    assert data.issues["message"][0].endswith("such as other.jpg")


@pytest.mark.parametrize(
    ("json_place", "photo_place", "root"),
    [
        ("x.json", "a.jpg", "."),
        ("x.json", "images/a.jpg", "images"),
        ("x.json", "data/a.jpg", "data"),
        ("annotations/instances_val2017.json", "val2017/a.jpg", "val2017"),
        ("annotations/instances_val2017.json", "images/a.jpg", "images"),
        ("annotations/instances_val2017.json", "images/val2017/a.jpg", "images/val2017"),
        ("annotations/x.json", "a.jpg", "."),
        ("val/_annotations.coco.json", "val/a.jpg", "val"),
    ],
)
def test_photos_are_found_where_data_sets_have_them(
    tmp_path: Path, json_place: str, photo_place: str, root: str
) -> None:
    text = json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []})
    for place, content in ((json_place, text), (photo_place, "")):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(content, encoding="utf-8")
    for path in (tmp_path, tmp_path / json_place):
        data = dataset.read(path, "coco", role="eval")
        assert (data.root, data.image_ids) == (tmp_path / root, ("a.jpg",))
    assert dataset.guess_format(tmp_path / json_place) == "coco"
    assert dataset.guess_format(tmp_path) == "coco"


def test_a_folder_of_photos_may_be_named(tmp_path: Path) -> None:
    path = build(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    data = dataset.read(path, "coco", role="eval", photos=tmp_path / "elsewhere")
    assert (data.root, data.image_ids) == (tmp_path / "elsewhere", ("a.jpg",))
    with pytest.raises(ConfigError, match="which is no folder"):
        coco.read(path, role="eval", photos=tmp_path / "absent")
    (tmp_path / "images/a.jpg").unlink()
    with pytest.raises(ConfigError, match=r"expected its photos \(such as 'a.jpg'\) in one of .*name their folder"):
        coco.read(path, role="eval")


def test_paths_of_other_systems(tmp_path: Path) -> None:
    names = ["train\\a.jpg", "C:\\data\\images\\train\\b.jpg", "/home/x/data/images/train/c.jpg", "train/d.jpg"]
    names += ["\\\\server\\share\\train\\e.jpg", "C:/gone/f.jpg", "train/../../up.jpg", "C:\\..\\images\\train\\b.jpg"]
    (tmp_path / "images/train").mkdir(parents=True)
    for name in "abcde":
        (tmp_path / f"images/train/{name}.jpg").touch()
    (tmp_path / "up.jpg").touch()
    path = build(tmp_path, images=[{"id": number, "file_name": name} for number, name in enumerate(names)])
    data = coco.read(path, role="eval")
    assert data.image_ids == tuple(f"train/{name}.jpg" for name in "abcde")
    assert codes(data) == ["path_leaves_root"] * 3


def test_a_link_may_point_anywhere_and_a_label_may_not(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/a.jpg").touch()
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/images/linked.jpg").symlink_to(tmp_path / "store/a.jpg")
    (tmp_path / "set/images/folder").symlink_to(tmp_path / "store")
    names = ["linked.jpg", "folder/a.jpg", "folder/../../secret", f"{tmp_path}/store/a.jpg", "/etc/passwd"]
    path = build(tmp_path / "set", images=[{"id": number, "file_name": name} for number, name in enumerate(names)])
    data = coco.read(path, role="eval")
    assert data.image_ids == ("folder/a.jpg", "linked.jpg")
    assert codes(data) == ["path_leaves_root"] * 3


def test_the_json_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which is not there"):
        coco.read(tmp_path / "absent", role="eval")
    with pytest.raises(ConfigError, match=r"tried annotations/instances_val\*\.json.*found nothing"):
        coco.read(tmp_path, role="eval")
    folder = tmp_path / "annotations"
    folder.mkdir()
    for name in ("instances_train2017.json", "instances_val2017.json", "captions_val2017.json", "test.json"):
        (folder / name).touch()
    found = [coco.find_json(tmp_path, split, role).name for split, role in ((None, "train"), (None, "eval"))]
    assert found == ["instances_train2017.json", "instances_val2017.json"]
    assert coco.find_json(tmp_path, "test", "eval").name == "test.json"
    assert coco.find_json(tmp_path, None, "audit").name == "instances_val2017.json"
    (folder / "instances_val2014.json").touch()
    with pytest.raises(ConfigError, match=r"fits annotations/instances_val2014\.json, annotations/instances_val2017"):
        coco.find_json(tmp_path, None, "eval")
    with pytest.raises(ConfigError, match="expected no split beside a JSON file, got 'val'"):
        coco.find_json(folder / "test.json", "val", "eval")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value: line 1 column 1"),
        (b'{"images": [', r"expected JSON in .*line 1 column 13 \(char 12\)"),
        (b'{"images": [],\n "annotations": [1 2]}', "line 2 column"),
        (b'{"images": [], "annotations": [], "categories": []} x', "Extra data"),
        (b"[]", "got a list .a results file holds detections, not labels"),
        (b"[NaN]", "got a list"),
        (b"3", "got a number"),
        (b"NaN", "got a float"),
        (b'{"images": []}', "lacks annotations; has images"),
        (b'{"images": [], "annotations": [NaN]}', "lacks categories; has annotations, images"),
        (b'{"images": {}, "annotations": [], "categories": []}', "expected 'images' to be a list"),
        (b'{"images": NaN, "annotations": [], "categories": []}', "expected 'images' to be a list"),
        (b'{"images": [], "annotations": [], "categories": []}', "found none that can be used"),
        (b'{"images": [{"id": 1}], "annotations": [], "categories": []}', "first problem: expected id and file_name"),
        (b"\xff\xfe\xfd", "expected JSON in"),
        (b'{"images": ' + b"[" * 100_000, "expected JSON in"),
    ],
)
def test_files_that_are_no_data_set(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        coco.read(path, role="eval", photos=tmp_path)


def test_a_category_has_one_name(tmp_path: Path) -> None:
    twice = [{"id": 1, "name": "car"}, {"id": 1, "name": "bus"}]
    with pytest.raises(DataError, match="expected one name per category id, 1 is 'car' and 'bus'"):
        coco.read(build(tmp_path, categories=twice), role="eval")
    odd = [{"id": 7, "name": " car "}, {"id": 8}, 5, {"id": 9, "name": 3}, {"id": 7, "name": "car"}]
    data = coco.read(build(tmp_path, annotation(), annotation(id=2, category_id=8), categories=odd), role="eval")
    assert data.class_names == ("car", "3")
    assert (data.labels["label"].to_list(), codes(data)) == (["car"], ["class_out_of_range"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = build(tmp_path, annotation(), images=[{"id": 0, "file_name": "ü.jpg"}])
    path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    assert coco.read(path, role="eval").image_ids == ("ü.jpg",)


def test_a_number_that_the_stream_refuses_loses_nothing_before_it(tmp_path: Path) -> None:
    boxes = [annotation(id=number) for number in range(5)]
    path = build(tmp_path, *boxes, annotation([float("nan"), 1, 2, 3], id=5), annotation(id=6))
    data = coco.read(path, role="eval")
    assert len(data.labels) == 6
    assert codes(data) == ["not_finite"]


def test_very_deep_values_are_passed_over(tmp_path: Path) -> None:
    path = build(tmp_path, annotation(segmentation="DEEP"))
    text = path.read_text(encoding="utf-8").replace('"DEEP"', "[" * 200_000 + "]" * 200_000)
    path.write_text(text, encoding="utf-8")
    assert len(coco.read(path, role="eval").labels) == 1


def test_batches_of_different_columns_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_rows, "BATCH", 2)
    items = [annotation(id=number, **({"lane": number} if number == 3 else {})) for number in range(5)]
    data = coco.read(build(tmp_path, *items), role="eval")
    assert data.labels["label_lane"].to_list() == [None, None, None, 3, None]
    assert data.labels["object_id"].to_list() == [0, 1, 2, 3, 4]


def test_columns_beyond_number_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_rows, "BATCH", 3)
    items = [annotation(id=number, attributes={f"k{number % 201}": 1, "pose": "Left"}) for number in range(210)]
    data = coco.read(build(tmp_path, *items), role="eval")
    assert sum(name.startswith("label_") for name in data.labels.columns) == 200
    assert data.labels["label_pose"].null_count() == 0
    assert data.issues.select("code", "message").rows() == [
        ("too_many_columns", "kept the first 200 columns of annotations, left out 2 values of others")
    ]


SCALAR = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=4)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
ITEM = VALUE | st.fixed_dictionaries(
    {},
    optional={
        "id": SCALAR | st.integers(0, 3),
        "image_id": st.integers(0, 2) | SCALAR,
        "category_id": st.sampled_from([0, 7]) | SCALAR,
        "bbox": st.lists(st.floats(0, 300) | SCALAR, min_size=4, max_size=4) | VALUE,
        "iscrowd": SCALAR,
        "attributes": VALUE | st.dictionaries(st.sampled_from(["pose", "ignore", "\ud800"]), SCALAR),
        "pose": VALUE,
    },
)


@settings(deadline=None, max_examples=100)
@given(items=st.lists(ITEM, max_size=6))
def test_every_annotation_is_a_label_or_an_issue(items: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = build(tmp_path_factory.mktemp("coco"), *items)
    data = coco.read(path, role="eval")
    errors = data.issues.filter(severity="error")
    assert len(data.labels) + len(errors) == len(items)
    assert set(codes(data)) <= set(dataset.CODES)
    assert data.labels["object_id"].is_unique().all()
    numbers = data.labels.select("x1", "y1", "x2", "y2")
    assert numbers.select(pl.all_horizontal(pl.all().is_finite().all())).item()


@settings(deadline=None, max_examples=100)
@given(images=st.lists(VALUE | st.fixed_dictionaries({"id": st.integers(0, 3), "file_name": VALUE}), max_size=6))
@example(images=[{"id": 1, "file_name": None}, {"id": 1, "file_name": "0"}, {"id": 0, "file_name": "0"}])
def test_every_image_is_a_photo_or_an_issue(images: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("coco")
    try:
        data = coco.read(build(root, images=images), role="eval", photos=root / "images")
    except DataError:
        return
    assert len(data.image_ids) + len(data.issues.filter(pl.col("code") != "photo_not_listed")) == len(images)
    assert all((root / "images" / image_id).is_relative_to(root) for image_id in data.image_ids)


SOUND = json.dumps(
    {"images": [{"id": 0, "file_name": "a.jpg"}], "annotations": [annotation()] * 3, "categories": CATEGORIES}
).encode()


@settings(deadline=None, max_examples=200)
@given(
    place=st.integers(0, len(SOUND)), size=st.integers(0, 4), other=st.binary(max_size=4) | st.sampled_from([b"NaN"])
)
def test_mutated_files_end_in_rows_or_a_documented_error(
    place: int, size: int, other: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("coco")
    (root / "x.json").write_bytes(SOUND[:place] + other + SOUND[place + size :])
    try:
        data = coco.read(root / "x.json", role="eval", photos=root)
    except DataError:
        return
    assert len(data.labels) + len(data.issues) <= 8


@settings(deadline=None, max_examples=100)
@given(content=st.binary(max_size=100))
def test_no_bytes_crash_the_stream(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("coco") / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError):
        list(coco_json.elements(path))

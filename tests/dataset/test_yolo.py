"""YOLO data sets: what data.yaml may say, which photos a split has, and which paths it may not reach."""

import contextlib
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from xai.dataset import data_yaml, yolo
from xai.exceptions import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
COCO = ROOT / "../shared/data/coco"
real = pytest.mark.skipif(not COCO.is_dir(), reason="needs the real photos in ../shared/data")

ROW = "0 0.5 0.5 0.2 0.2\n"


def build(root: Path, *names: str, row: str = ROW) -> None:
    """Empty photos with one label each."""
    for name in names:
        photo = root / name
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(b"")
        text = yolo.label_file(photo)
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(row, encoding="utf-8")


def declare(root: Path, text: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "data.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@real
def test_real_halves_hold_every_row() -> None:
    halves = [yolo.read(ROOT / "configs/coco/data.yaml", role=role) for role in ("train", "eval")]
    assert [len(half.image_ids) for half in halves] == [64, 64]
    assert sum(len(half.labels) for half in halves) == 929
    assert not set(halves[0].image_ids) & set(halves[1].image_ids)
    assert len(halves[0].class_names) == 80
    assert {code for half in halves for code in half.issues["code"]} == {"label_without_photo"}


@real
def test_real_names_of_another_scheme_are_told_line_by_line() -> None:
    data = yolo.read(COCO, role="train")
    rejected = data.issues.filter(code="class_out_of_range")
    assert (len(data.image_ids), len(data.labels) + len(rejected)) == (128, 929)
    assert data.issues["code"].to_list().count("class_numbers_with_gaps") == 1
    path, line = rejected.select("file", "line").row(0)
    assert (COCO / path).read_text().splitlines()[line - 1].split()[0] in rejected["message"][0]


def test_folder_list_file_and_list_of_both(tmp_path: Path) -> None:
    root = tmp_path / "data set ü"
    build(root, "images/train/a.jpg", "images/train/sub/b.PNG", "images/val/c.jpeg", "images/more/d.jpg")
    (root / "images/train/readme.txt").write_text("no photo")
    (root / "list.txt").write_text(f"./images/val/c.jpeg\n\nimages/more/d.jpg\n{root}/images/val/c.jpeg\n")
    path = declare(root, "train: images/train\nval: list.txt\ntest: [images/val, list.txt]\nnames: [car]\n")
    train = yolo.read(path, role="train")
    assert train.image_ids == ("images/train/a.jpg", "images/train/sub/b.PNG")
    assert train.labels["file"].to_list() == ["labels/train/a.txt", "labels/train/sub/b.txt"]
    assert train.issues.is_empty()
    val = yolo.read(root, role="eval")
    assert val.image_ids == ("images/more/d.jpg", "images/val/c.jpeg")
    assert val.issues.select("code", "file", "line").rows() == [("listed_twice", "list.txt", 4)]
    assert yolo.read(path, role="eval", split="test").image_ids == val.image_ids


def test_root_elsewhere_and_lists_beside_the_file(tmp_path: Path) -> None:
    build(tmp_path / "photos", "images/a.jpg")
    path = declare(tmp_path / "configs", "path: ../photos\nval: chosen.txt\nnames: {0: car}\n")
    (tmp_path / "configs/chosen.txt").write_text("images/a.jpg\n")
    data = yolo.read(path, role="eval")
    assert (data.root, data.image_ids) == (tmp_path / "photos", ("images/a.jpg",))
    assert data.labels["label"].to_list() == ["car"]


def test_exports_that_name_the_folder_above(tmp_path: Path) -> None:
    build(tmp_path, "valid/images/a.jpg")
    data = yolo.read(declare(tmp_path, "val: ../valid/images\nnames: [car]\n"), role="eval")
    assert data.image_ids == ("valid/images/a.jpg",)
    build(tmp_path, "elsewhere/images/b.jpg")
    path = declare(tmp_path / "inner", "val: ../elsewhere/images\nnames: [car]\n")
    data = yolo.read(path, role="eval")
    assert (data.root, data.image_ids) == (tmp_path, ("elsewhere/images/b.jpg",))


def test_listed_paths_cannot_leave_the_root(tmp_path: Path) -> None:
    build(tmp_path / "data", "images/a.jpg")
    build(tmp_path, "images/outside.jpg")
    (tmp_path / "data/list.txt").write_text(
        f"images/a.jpg\n../images/outside.jpg\n{tmp_path}/images/outside.jpg\n./../images/outside.jpg\nx\0y\n"
    )
    data = yolo.read(declare(tmp_path / "data", "val: list.txt\nnames: [car]\n"), role="eval")
    assert data.image_ids == ("images/a.jpg",)
    assert data.issues.select("code", "line").rows() == [("path_leaves_root", line) for line in (2, 3, 4, 5)]


def test_a_root_that_is_reached_through_a_link(tmp_path: Path) -> None:
    build(tmp_path / "real", "images/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real/list.txt").write_text(f"{tmp_path}/real/images/a.jpg\n")
    declare(tmp_path / "real", "val: list.txt\nnames: [car]\n")
    assert yolo.read(tmp_path / "link", role="eval").image_ids == ("images/a.jpg",)


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg")
    (tmp_path / "images/loop").symlink_to(tmp_path / "images")
    data = yolo.read(declare(tmp_path, "val: images\nnames: [car]\n"), role="eval")
    assert data.image_ids == ("images/a.jpg",)


def test_photos_and_labels_that_stand_alone(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg", "images/b.jpg", "images/orphan.jpg")
    (tmp_path / "labels/b.txt").unlink()
    (tmp_path / "images/orphan.jpg").unlink()
    (tmp_path / "labels/classes.txt").write_text("car\n")
    (tmp_path / "list.txt").write_text("images/a.jpg\nimages/b.jpg\nimages/gone.jpg\n")
    data = yolo.read(declare(tmp_path, "val: list.txt\nnames: [car]\n"), role="eval")
    assert data.image_ids == ("images/a.jpg", "images/b.jpg", "images/gone.jpg")
    assert data.issues.select("code", "severity", "image_id", "file").rows() == [
        ("background_photo", "info", "images/b.jpg", "labels/b.txt"),
        ("label_without_photo", "error", None, "labels/orphan.txt"),
    ]


def test_a_label_file_that_cannot_be_read(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg", "images/b.jpg")
    (tmp_path / "labels/b.txt").unlink()
    (tmp_path / "labels/b.txt").mkdir()
    data = yolo.read(declare(tmp_path, "val: images\nnames: [car]\n"), role="eval")
    assert data.image_ids == ("images/a.jpg",)
    assert data.issues.select("code", "image_id").rows() == [("unreadable_label_file", "images/b.jpg")]


def test_photos_without_a_folder_of_that_name_keep_labels_beside_them(tmp_path: Path) -> None:
    build(tmp_path, "photos/a.b.jpg")
    data = yolo.read(declare(tmp_path, "val: photos\nnames: [car]\n"), role="eval")
    assert data.labels["file"].to_list() == ["photos/a.b.txt"]
    assert data.issues.is_empty()


def test_a_file_name_that_is_no_text_is_reported(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/images/\xff.jpg")).write_bytes(b"")
    except OSError:
        pytest.skip("the file system takes Unicode names only")
    data = yolo.read(declare(tmp_path, "val: images\nnames: [car]\n"), role="eval")
    assert (data.image_ids, data.issues["code"].to_list()) == (("images/a.jpg",), ["path_not_unicode"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected keys path, train, val and names, got list"),
        ("val: [\n", "expected a YOLO data.yaml at"),
        ("val: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("path: 3\nval: images\nnames: [car]\n", "expected 'path' to be text, got int"),
        ("path: gone\nval: images\nnames: [car]\n", "relative to the file.*is no folder"),
        ("train: images\nnames: [car]\n", "expected the split 'val', which it does not name; splits there: train"),
        ("val: 3\nnames: [car]\n", "expected 'val' to be a folder, a list file or a list of those"),
        ("val: gone\nnames: [car]\n", r"expected 'val' \(gone\) at .*gone, which is not there"),
        (f"val: {'x' * 300}\nnames: [car]\n", "which is not there"),
        (f"path: {'x' * 300}\nval: images\nnames: [car]\n", "which is no folder"),
        ("val: images\n", "expected 'names', a list of class names"),
        ("val: images\nnames: []\n", "expected 'names', a list of class names"),
        ("val: images\nnames: [yes, no]\n", "put names such as yes, no, on, off in quotes"),
        ("val: images\nnames: {a: car}\n", "expected 'names' to number each class once, got the number 'a'"),
        ("val: images\nnames: {0: car, '0': bus}\n", "number each class once"),
        ("val: images\nnames: {0: [a]}\n", "expected the name of class 0 to be text, got list"),
        ("val: images\nnc: 3\nnames: [car]\n", "'nc' says 3 classes, 'names' has 1"),
    ],
)
def test_a_data_yaml_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    build(tmp_path, "images/a.jpg")
    with pytest.raises(ConfigError, match=message):
        yolo.read(declare(tmp_path, text), role="eval")


def test_names_may_be_numbers_or_missing(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg")
    assert yolo.read(declare(tmp_path, "val: images\nnames: [7, b]\n"), role="eval").class_names == ("7", "b")
    named = yolo.read(declare(tmp_path, "validation: images\nnc: 2\n"), role="eval")
    assert named.class_names == ("class_0", "class_1")


def test_data_sets_with_nothing_to_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which is not there"):
        yolo.read(tmp_path / "absent.yaml", role="eval")
    with pytest.raises(ConfigError, match="holds nothing; name the YAML file itself"):
        yolo.read(tmp_path, role="eval")
    (tmp_path / "images").mkdir()
    path = declare(tmp_path, "val: images\nnames: [car]\n")
    with pytest.raises(DataError, match=r"expected photos in .*images, found none"):
        yolo.read(path, role="eval")
    (tmp_path / "images/a.jpg").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"none of 1 photos has a label file; expected, for the first one, .*labels/a.txt"
    ):
        yolo.read(path, role="eval")


def test_the_yaml_of_a_folder(tmp_path: Path) -> None:
    assert data_yaml.find_yaml(tmp_path) is None
    (tmp_path / "coco8.yaml").touch()
    assert data_yaml.find_yaml(tmp_path) == tmp_path / "coco8.yaml"
    (tmp_path / "other.yml").touch()
    assert data_yaml.find_yaml(tmp_path) is None
    (tmp_path / "data.yaml").touch()
    assert data_yaml.find_yaml(tmp_path) == tmp_path / "data.yaml"


def test_lists_of_other_systems(tmp_path: Path) -> None:
    names = ["images/a.jpg", "images/b c.jpg", "images/ü.jpg", "images/sub/d.jpg", "images/e.jpg"]
    build(tmp_path, *names)
    lines = [
        "images\\a.jpg",
        "C:\\data\\set\\images\\b c.jpg",
        ".\\images\\ü.jpg",
        "/home/x/set/images/sub/d.jpg",
        "D:/images/e.jpg",
        "C:\\data\\gone.jpg",
        "images\\..\\..\\up.jpg",
        ".",
    ]
    path = declare(tmp_path, "val: list.txt\nnames: [car]\n")
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "list.txt").write_bytes("\r\n".join(lines).encode(encoding))
        data = yolo.read(path, role="eval")
        assert data.image_ids == tuple(sorted(names))
        assert len(data.labels) == 5
        assert data.issues.select("code", "line").rows() == [("path_leaves_root", line) for line in (6, 7, 8)]


def test_a_listed_path_that_is_no_text_costs_its_line(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg")
    (tmp_path / "list.txt").write_bytes(b"images/a.jpg\nimages/\xfc.jpg\n")
    data = yolo.read(declare(tmp_path, "val: list.txt\nnames: [car]\n"), role="eval")
    assert data.image_ids == ("images/a.jpg",)
    assert data.issues.select("code", "line").rows() == [("path_not_unicode", 2)]


def test_neither_links_nor_lists_may_leave_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "store", "a.jpg")
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/labels").mkdir()
    (tmp_path / "set/images/linked.jpg").symlink_to(tmp_path / "store/a.jpg")
    (tmp_path / "set/labels/linked.txt").symlink_to(tmp_path / "store/a.txt")
    (tmp_path / "set/list.txt").write_text(f"images/linked.jpg\n../store/a.jpg\n{tmp_path}/store/a.jpg\n")
    declared = declare(tmp_path / "set", "val: list.txt\nnames: [car]\n")
    with pytest.raises(DataError):
        yolo.read(declared, role="eval")
    build(tmp_path / "set", "images/own.jpg")
    with (tmp_path / "set/list.txt").open("a") as file:
        file.write("images/own.jpg\n")
    data = yolo.read(declared, role="eval")
    assert (data.image_ids, len(data.labels)) == (("images/own.jpg",), 1)
    assert data.issues["code"].to_list() == ["path_leaves_root"] * 2 + ["unreadable_label_file"]
    assert "a link that leads out of it" in data.issues["message"][2]
    monkeypatch.setenv("XAI_FOLLOW_LINKS", "1")
    data = yolo.read(declared, role="eval")
    assert (data.image_ids, len(data.labels)) == (("images/linked.jpg", "images/own.jpg"), 2)
    assert data.issues["code"].to_list() == ["path_leaves_root"] * 2


def test_windows_exports(tmp_path: Path) -> None:
    build(tmp_path, "images/val/a.jpg")
    (tmp_path / "labels/val/a.txt").rename(tmp_path / "labels/val/a.TXT")
    path = tmp_path / "data.yaml"
    path.write_bytes("val: images\\val\r\nnames: [car]\r\n".encode("utf-16"))
    data = yolo.read(path, role="eval")
    assert data.labels.select("image_id", "file").rows() == [("images/val/a.jpg", "labels/val/a.TXT")]
    assert data.issues.is_empty()


def test_empty_label_files_are_photos_without_objects(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg", "images/b.jpg")
    (tmp_path / "labels/a.txt").write_bytes(b"")
    data = yolo.read(declare(tmp_path, "val: images\nnames: [car]\n"), role="eval")
    assert (data.image_ids, len(data.labels), len(data.issues)) == (("images/a.jpg", "images/b.jpg"), 1, 0)


def test_key_points_of_the_data_yaml(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg", row="0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 1\n")
    declared = "val: images\nnames: [car]\nkpt_shape: "
    assert len(yolo.read(declare(tmp_path, f"{declared}[2, 3]\n"), role="eval").labels) == 1
    assert len(yolo.read(declare(tmp_path, f"{declared}[17, 3]\n"), role="eval").labels) == 0
    for wrong in ("17", "[17]", "[0, 3]", "[true, 3]", "[17, 3000]", "[a, b]"):
        with pytest.raises(ConfigError, match=r"expected 'kpt_shape' to be \[points, 2 or 3"):
            yolo.read(declare(tmp_path, declared + wrong), role="eval")


def test_anchors_that_blow_up_cost_one_line(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg")
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    for key in ("names", "val", "path", "kpt_shape"):
        parts = {"val": "images", "names": "[car]"} | {key: "*a11"}
        text = bomb + "".join(f"{name}: {value}\n" for name, value in parts.items())
        with pytest.raises(ConfigError) as caught:
            yolo.read(declare(tmp_path, text), role="eval")
        assert len(str(caught.value)) < 500


WORDS = st.text(st.characters(exclude_characters="/\\.~", exclude_categories=["Cs"]), max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.sampled_from(["car", "images"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 3) | st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=100)
@given(
    declared=st.fixed_dictionaries(
        {"val": st.just("images") | VALUES, "names": VALUES},
        optional={"path": st.just(".") | VALUES, "nc": VALUES, "kpt_shape": VALUES, "validation": VALUES},
    )
)
def test_any_data_yaml_is_read_or_refused(declared: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("yolo")
    build(root, "images/a.jpg", row="0 .5 .5 .1 .1\nx\n")
    path = declare(root, "")
    path.write_text(yaml.safe_dump(declared), encoding="utf-8")
    try:
        data = yolo.read(path, role="eval")
    except (ConfigError, DataError):
        return
    errors = data.issues.filter(severity="error")
    assert len(data.labels) + len(errors) >= 2 * len(data.image_ids)


@settings(deadline=None, max_examples=100)
@given(place=st.integers(0, 60), size=st.integers(0, 3) | st.just(99), other=st.binary(max_size=9))
def test_a_mutated_data_yaml_is_read_or_refused(
    place: int, size: int, other: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("yolo")
    build(root, "images/a.jpg")
    sound = b"path: .\nval: images\nnames: {0: car, 1: bus}\nkpt_shape: [1, 2]\n"
    (root / "data.yaml").write_bytes(sound[:place] + other + sound[place + size :])
    with contextlib.suppress(ConfigError, DataError):
        yolo.read(root, role="eval")


def test_listed_names_too_long_for_the_file_system_cost_themselves(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg")
    long = [f"images/{'x' * 300}.jpg", f"{'images/' * 800}b.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(["images/a.jpg", *long]), encoding="utf-8")
    data = yolo.read(declare(tmp_path, "val: list.txt\nnames: [car]\n"), role="eval")
    assert data.image_ids == ("images/a.jpg",)
    assert set(data.issues.select("code", "image_id").rows()) == {("unreadable_label_file", name) for name in long}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes in folders")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    build(tmp_path, "images/a.jpg", "images/b.jpg")
    (tmp_path / "labels/b.txt").unlink()
    os.mkfifo(tmp_path / "labels/b.txt")
    data = yolo.read(declare(tmp_path, "val: images\nnames: [car]\n"), role="eval")
    assert data.issues.select("code", "image_id").rows() == [("unreadable_label_file", "images/b.jpg")]
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(DataError, match=r"expected a list of photos in .*list.txt"):
        yolo.read(declare(tmp_path, "val: list.txt\nnames: [car]\n"), role="eval")

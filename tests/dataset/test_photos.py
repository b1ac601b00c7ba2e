"""Which files are photos, and which of them a label may name."""

from pathlib import Path

import pytest

from xai.dataset import photos


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("set/images/a.jpg", "set/images/back\\slash.jpg", "set/lists/b.jpg", "outside.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ("images/a.jpg", "images/a.jpg"),
        ("./images/../images//a.jpg", "images/a.jpg"),
        ("images\\a.jpg", "images/a.jpg"),
        ("images/back\\slash.jpg", "images/back\\slash.jpg"),
        ("gone/c.jpg", "gone/c.jpg"),
        ("b.jpg", "b.jpg"),
        ("{root}/images/a.jpg", "images/a.jpg"),
        ("{root}/gone.jpg", "gone.jpg"),
        ("/other/machine/set/images/a.jpg", "images/a.jpg"),
        ("C:\\data\\images\\a.jpg", "images/a.jpg"),
        ("c:/data/images/a.jpg", "images/a.jpg"),
        ("\\\\server\\share\\images\\a.jpg", "images/a.jpg"),
        ("{root}/../outside.jpg", None),
        ("../outside.jpg", None),
        ("images/../../outside.jpg", None),
        ("..\\outside.jpg", None),
        ("C:\\..\\images\\a.jpg", None),
        ("C:\\gone.jpg", None),
        ("/etc/passwd", None),
        ("/", None),
        (".", None),
        ("..", None),
        ("", None),
        ("a\0.jpg", None),
        ("\ud800.jpg", None),
        ("x" * 5000, "x" * 5000),
    ],
)
def test_labels_name_photos_of_the_root_only(root: Path, entry: str, place: str | None) -> None:
    assert photos.locate(entry.replace("{root}", str(root)), root) == place


def test_relative_paths_begin_where_the_file_is(root: Path) -> None:
    assert photos.locate("b.jpg", root, [root, root / "lists"]) == "lists/b.jpg"
    assert photos.locate("images/a.jpg", root, [root, root / "lists"]) == "images/a.jpg"
    assert photos.locate("../images/a.jpg", root, [root / "lists"]) == "images/a.jpg"


def test_a_root_behind_a_link_is_the_same_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert photos.locate(f"{root}/images/a.jpg", tmp_path / "link") == "images/a.jpg"


def test_texts_that_are_no_unicode_are_shown(tmp_path: Path) -> None:
    assert photos.printable("a\udcff\ud800ü") == "a��ü"
    assert not photos.is_unicode("\udcff")
    assert photos.siblings(tmp_path / "absent") == "nothing"

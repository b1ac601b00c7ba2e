"""Links that lead out of a folder bring nothing in."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attributes import links, tag
from attributes.decode import DecodeError, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a photo, a link to it, and links to a photo and to a folder beside it."""
    file = io.BytesIO()
    Image.fromarray(np.full((32, 48, 3), 90, dtype=np.uint8)).save(file, "PNG")
    for name in ("set", "set/deep", "set-not", "secret"):
        (tmp_path / name).mkdir()
    for name in ("set/a.png", "secret/b.png", "set-not/c.png"):
        (tmp_path / name).write_bytes(file.getvalue())
    (tmp_path / "set/deep/inside.png").symlink_to("../a.png")
    (tmp_path / "set/outside.png").symlink_to(tmp_path / "secret/b.png")
    (tmp_path / "set/beside.png").symlink_to("../set-not/c.png")
    (tmp_path / "set/door").symlink_to(tmp_path / "secret")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    return tmp_path


@pytest.mark.parametrize("root", ["set", "link"])
def test_a_photo_that_a_link_leads_out_to_is_refused(folder: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    within = folder / root
    for name in ("a.png", "deep/inside.png"):
        assert read(within / name, within=within).width == 48
    for name in ("outside.png", "beside.png", "door/b.png", "../secret/b.png"):
        with pytest.raises(DecodeError, match=r"a link that leads out of it .*XAI_FOLLOW_LINKS=1") as caught:
            read(within / name, within=within)
        assert caught.value.code == links.CODE
        assert read(within / name).width == 48
    monkeypatch.setenv(links.FOLLOW, "1")
    assert read(within / "door/b.png", within=within).width == 48


def test_tagging_says_which_photos_lie_outside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tag(folder / "set", workers=1)
    assert dict(told.select("image_id", "status").iter_rows()) == {
        "a.png": "ok",
        "beside.png": "path_leaves_root",
        "deep/inside.png": "ok",
        "outside.png": "path_leaves_root",
    }
    assert told["sha256"].null_count() == 2
    named = tag([folder / "set/outside.png"], workers=1)
    assert named["status"].to_list() == ["ok"], "whoever names a file means it"
    monkeypatch.setenv(links.FOLLOW, "1")
    assert set(tag(folder / "set", workers=1)["status"]) == {"ok"}

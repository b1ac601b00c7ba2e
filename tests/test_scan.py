"""The scan, shard by shard: of photos at a URL as of photos here, and no more of it than what has changed."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from attributes import decode, remote
from xai.dataset.reported import read_production
from xai.exceptions import DataError
from xai.scan import Split, scan


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    monkeypatch.setattr("xai.scan.SHARD_SIZE", 2)
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(5)
    (tmp_path / "photos" / "in").mkdir(parents=True)
    for name in ("a.jpg", "b.png", "in/c.jpg", "in/d.jpg", "in/e.jpg"):
        pixels = random.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def scanned(root: Path, folder: Path) -> Split:
    return scan(
        read_production(root),
        detector=None,
        detect_ids=frozenset(),
        match_iou=0.5,
        fingerprint={},
        folder=folder,
        workers=2,
        progress=lambda stage, done, total: None,
    )


def test_photos_at_a_url_give_the_rows_of_photos_here(
    tmp_path: Path, photos: Path, memory: fsspec.AbstractFileSystem
) -> None:
    for path in photos.rglob("*.*"):
        memory.pipe(f"/set/{path.relative_to(photos).as_posix()}", path.read_bytes())
    root, folder = remote.place("memory://set"), tmp_path / "far"
    assert_frame_equal(scanned(root, folder).images, scanned(photos, tmp_path / "near").images)
    made = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/fingerprint"))}
    assert len(made) == 3
    memory.pipe("/set/in/d.jpg", (photos / "in/c.jpg").read_bytes())
    again = scanned(root, folder)
    assert [path.stat().st_mtime_ns == then for path, then in made.items()] == [True, False, True]
    assert again.issues["code"].to_list() == ["duplicate_photo"]


def test_a_store_that_is_gone_ends_the_scan_and_damages_no_photo(
    tmp_path: Path, photos: Path, memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/set/a.jpg", (photos / "a.jpg").read_bytes())

    def down(name: str) -> bytes:
        raise ConnectionError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr(memory, "cat_file", down)
        with pytest.raises(DataError, match=r"an answer for memory://set/a.jpg, asked 3 times.*run the same command"):
            scanned(remote.place("memory://set"), tmp_path / "run")
    assert scanned(remote.place("memory://set"), tmp_path / "run").images["status"].to_list() == ["ok"]


def test_what_could_not_be_read_for_another_reason_than_the_file_is_tried_again(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, original = tmp_path / "run", decode._local

    def broken(path: Path) -> bytes:
        if path.name == "b.png":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(path)

    (photos / "in" / "e.jpg").write_bytes(b"no photo")
    monkeypatch.setattr("xai.scan.SHARD_SIZE", 2)
    with monkeypatch.context() as patch:
        patch.setattr(decode, "_local", broken)
        assert scanned(photos, folder).images["status"].to_list()[1] == "photo_unreadable"
    made = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/fingerprint"))}
    assert scanned(photos, folder).images["status"].to_list() == ["ok"] * 4 + ["photo_unreadable"]
    assert [path.stat().st_mtime_ns == then for path, then in made.items()] == [False, True, True]


def test_a_link_that_becomes_a_file_is_looked_at_again(tmp_path: Path, photos: Path) -> None:
    away, folder = tmp_path / "away.jpg", tmp_path / "run"
    (photos / "a.jpg").rename(away)
    (photos / "a.jpg").symlink_to(away)
    assert scanned(photos, folder).images["status"].to_list()[0] != "ok"
    (photos / "a.jpg").unlink()
    shutil.copy2(away, photos / "a.jpg")  # of the same size and time
    assert scanned(photos, folder).images["status"].to_list() == ["ok"] * 5


def test_nothing_of_the_users_is_removed(tmp_path: Path, photos: Path) -> None:
    folder = tmp_path / "run"
    (folder / "eval").mkdir(parents=True)
    (folder / "eval" / "notes.txt").write_text("mine")
    (folder / "00007").mkdir()  # of a larger set
    scanned(photos, folder)
    assert (folder / "eval" / "notes.txt").read_text() == "mine"
    assert not (folder / "00007").exists()
    (folder / "00000" / "objects.parquet").unlink()
    (folder / "00000" / "fingerprint").unlink()  # as a kill leaves a shard that was being removed
    assert scanned(photos, folder).images["status"].to_list() == ["ok"] * 5

"""Tagging that was killed goes on behind the photos that it had finished."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from attributes import extract, kept, tag


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(extract, "BATCH_SIZE", 2)
    monkeypatch.setattr(extract, "_ROWS_APART", 2)
    generator = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(7):
        Image.fromarray(generator.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def read_ids(photos: Path, keep: Path, monkeypatch: pytest.MonkeyPatch, stop: int = 99) -> list[str]:
    """Tag until so many photos are done; return those that were read."""
    seen: list[str] = []
    read = extract.read

    def watched(path: Path) -> object:
        seen.append(path.name)
        return read(path)

    def halt(done: int, total: int) -> None:
        if done >= stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(extract, "read", watched)
        if stop < 99:
            with pytest.raises(KeyboardInterrupt):
                tag(photos, workers=1, names=["brightness"], keep=keep, progress=halt)
        else:
            calm = tag(photos, workers=1, names=["brightness"])
            seen.clear()
            assert tag(photos, workers=1, names=["brightness"], keep=keep).equals(calm)
    return sorted(seen)


def test_what_is_finished_is_not_read_again(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = tmp_path / "keep"
    read_ids(photos, keep, monkeypatch, stop=4)
    (keep / "aside").write_bytes(b"half a part")
    assert read_ids(photos, keep, monkeypatch) == ["4.png", "5.png", "6.png"]
    assert pl.read_parquet(keep / "000000.parquet")["image_id"].to_list() == ["0.png", "1.png"]
    os.utime(photos / "1.png", (1, 1))
    assert len(read_ids(photos, keep, monkeypatch)) == 7, "a photo is another one now"


def test_a_folder_with_anything_else_in_it_is_refused(photos: Path, tmp_path: Path) -> None:
    keep = tmp_path / "mine"
    keep.mkdir()
    (keep / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"expected an empty folder .*, it holds thesis\.txt"):
        tag(photos, names=["brightness"], keep=keep)
    assert (keep / "thesis.txt").read_text() == "years of work"


def test_a_part_that_a_power_cut_emptied_is_made_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = tmp_path / "keep"
    read_ids(photos, keep, monkeypatch, stop=6)
    assert (keep / "000001.parquet").is_file()
    (keep / "000001.parquet").write_bytes(b"")
    assert read_ids(photos, keep, monkeypatch) == ["2.png", "3.png", "4.png", "5.png", "6.png"]
    kept.remove(keep)
    assert not keep.exists()

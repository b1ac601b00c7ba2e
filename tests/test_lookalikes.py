"""Pictures of the training objects that misses look alike to."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

from xai import lookalikes


def photo(path: Path, colour: tuple[int, int, int]) -> None:
    pixels = np.full((200, 300, 3), 30, dtype=np.uint8)
    pixels[60:140, 100:180] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def world(root: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    photo(root / "red.png", (200, 20, 20))
    photo(root / "blue.png", (20, 20, 200))
    nearest = pl.DataFrame(
        {
            "image_id": ["a", "a", "a", "b"],
            "object_id": [0, 0, 0, 1],
            "rank": [1, 2, 4, 1],
            "train_image_id": ["blue.png", "red.png", "red.png", "gone.png"],
            "train_object_id": [0, 0, 0, 0],
            "distance": [0.1, 0.2, 0.3, 0.1],
        }
    )
    errors = pl.DataFrame(
        {
            "error_id": ["e00000000000", "f00000000000"],
            "kind": ["missed", "missed"],
            "image_id": ["a", "b"],
            "object_id": [0, 1],
        }
    )
    corners = {"x1": 100.0, "y1": 60.0, "x2": 180.0, "y2": 140.0}
    trained = pl.DataFrame({"image_id": ["red.png", "blue.png", "gone.png"], "object_id": [0, 0, 0]}).with_columns(
        **{name: pl.lit(value) for name, value in corners.items()}
    )
    return nearest, errors, trained


def test_strips_hold_the_nearest_first_and_gaps_are_left_out(tmp_path: Path) -> None:
    nearest, errors, trained = world(tmp_path / "train")
    (tmp_path / "run" / "alike").mkdir(parents=True)
    (tmp_path / "run" / "alike" / "0123456789ab.jpg").write_bytes(b"of an earlier run")
    lookalikes.keep(nearest, errors, trained, tmp_path / "train", tmp_path / "run")
    assert [file.name for file in (tmp_path / "run" / "alike").iterdir()] == ["e00000000000.jpg"]
    with Image.open(tmp_path / "run" / "alike" / "e00000000000.jpg") as opened:
        strip = np.asarray(opened.convert("RGB")).astype(int)
    side = lookalikes.SIDE
    assert strip.shape == (side, 2 * side + 4, 3)
    first, second = strip[side // 2, side // 2], strip[side // 2, side + 4 + side // 2]
    assert first[2] > 150 > first[0]
    assert second[0] > 150 > second[2]


def test_strips_that_are_there_are_not_cut_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nearest, errors, trained = world(tmp_path / "train")
    read: list[str] = []
    decode = lookalikes.read
    monkeypatch.setattr(lookalikes, "read", lambda path, **more: read.append(path.name) or decode(path, **more))
    for expected in (["blue.png", "red.png", "gone.png"], ["gone.png"]):
        lookalikes.keep(nearest, errors, trained, tmp_path / "train", tmp_path / "run")
        assert read == expected
        read.clear()
    photo(tmp_path / "train" / "red.png", (20, 200, 20))
    lookalikes.keep(nearest, errors, trained, tmp_path / "train", tmp_path / "run")
    assert "red.png" in read


def test_nothing_is_kept_where_there_is_nothing_to_read(tmp_path: Path) -> None:
    nearest, errors, trained = world(tmp_path / "train")
    lookalikes.keep(nearest, errors, trained, tmp_path / "elsewhere", tmp_path / "run")
    lookalikes.keep(nearest.clear(), errors, trained, tmp_path / "train", tmp_path / "run")
    assert not (tmp_path / "run" / "alike").exists()


def test_a_crop_is_centred_on_its_box_at_any_scale() -> None:
    side = lookalikes.SIDE
    for size, box in ((1000, (400, 300, 800, 700)), (60, (10, 20, 30, 40)), (100, (80, 0, 100, 20))):
        pixels = np.zeros((size, size, 3), dtype=np.uint8)
        x1, y1, x2, y2 = box
        pixels[y1:y2, x1:x2] = 255
        cut = lookalikes.crop(pixels, box)
        inside = cv2.resize(cut[..., 0], (13, 13), interpolation=cv2.INTER_AREA)
        assert inside[6, 6] == 255
        assert inside[6, 2] == 255, "the box takes ten of thirteen parts of the crop"
        assert abs(int((cut[side // 2, :, 0] > 127).sum()) - side / 1.3) <= 2

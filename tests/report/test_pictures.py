from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xai.exceptions import RunError
from xai.report.pictures import Picture, beside, embed_maps, embed_photos


def _save(path: Path, seed: int, mode: str = "RGB", size: tuple[int, int] = (640, 480), **options: object) -> Path:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (size[1], size[0], len(mode)), dtype=np.uint8)
    Image.fromarray(pixels, mode).save(path, **options)  # type: ignore[arg-type]
    return path


def _open(picture: Picture) -> tuple[bytes, Image.Image]:
    kind, _, data = picture.uri.partition(",")
    assert kind.startswith("data:image/")
    raw = base64.b64decode(data)
    return raw, Image.open(io.BytesIO(raw))


def test_a_photo_that_fits_is_kept_as_it_is(tmp_path: Path) -> None:
    file = _save(tmp_path / "fotografía 写真.jpg", 0)
    raw, _ = _open(embed_photos([file])[file])
    assert raw == file.read_bytes()


def test_photos_shrink_until_all_fit(tmp_path: Path) -> None:
    files = [_save(tmp_path / f"{i}.jpg", i) for i in range(8)]
    budget = 8 * 20_000
    made = embed_photos(files, budget)
    assert sum(len(_open(picture)[0]) for picture in made.values()) <= budget
    for picture in made.values():
        width, height = _open(picture)[1].size
        assert width / height == pytest.approx(640 / 480, rel=0.01)


def test_equal_files_become_one_picture(tmp_path: Path) -> None:
    files = [_save(tmp_path / f"{i}.jpg", 0) for i in range(3)]
    assert len({picture.key for picture in embed_photos(files).values()}) == 1


def test_maps_keep_their_transparency(tmp_path: Path) -> None:
    clear = _save(tmp_path / "clear.png", 0, "RGBA", (320, 240))
    solid = _save(tmp_path / "solid.png", 0, "RGB", (320, 240))
    made = embed_maps([clear, solid])
    assert _open(made[clear])[1].mode == "RGBA"
    assert _open(made[solid])[1].mode == "RGB"


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0truncated"])
def test_a_damaged_picture_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.jpg"
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"broken\.jpg"):
        embed_photos([file])


def test_no_pictures() -> None:
    assert embed_photos([]) == {}


def test_pictures_beside_the_page_are_named_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "gallery").mkdir()
    file = _save(tmp_path / "gallery" / "a b#1.jpg", 0)
    picture = beside([file], tmp_path / "report.html")[file]
    assert picture.uri == "gallery/a%20b%231.jpg"
    with Image.open(file) as opened:
        assert picture.size == opened.size
    assert not picture.embedded

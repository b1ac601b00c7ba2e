"""Decoding against Pillow: pixels, all eight orientations, metadata, and every way in which a file can be broken."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from photo_files import encoded, every_kind, exif_of, picture
from PIL import Image, ImageOps

from attributes import formats, tag
from attributes.decode import DecodeError, decode, read

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(kind: str, orientation: int) -> None:
    data = encoded(picture(), kind, exif=exif_of(orientation=orientation))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    photo = decode(data)
    np.testing.assert_array_equal(photo.pixels, np.asarray(upright))
    assert (photo.width, photo.height) == upright.size
    assert photo.stored_size == (40, 24)
    assert photo.exif_orientation == orientation
    assert photo.pixels.flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_invalid_orientation_is_none(orientation: int) -> None:
    photo = decode(encoded(picture(), exif=exif_of(orientation=orientation)))
    assert photo.exif_orientation is None
    assert (photo.width, photo.height) == (40, 24)


def test_metadata() -> None:
    exif = exif_of(make="NIKON CORPORATION\x00", model="NIKON D70", taken="2007:03:09 17:45:01", focal_length=18.5)
    data = encoded(picture(), exif=exif)
    photo = decode(data)
    assert photo.captured_at == "2007-03-09T17:45:01"
    assert photo.camera == "NIKON D70"
    assert photo.focal_length == 18.5
    assert photo.focal_px is None
    assert photo.sha256 == hashlib.sha256(data).hexdigest()
    assert photo.exif_orientation is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])  # Pillow writes a TIFF without the tags of the lens
@pytest.mark.parametrize("orientation", [1, 6])
def test_focal_length_in_pixels_of_the_displayed_photo(kind: str, orientation: int) -> None:
    exif = exif_of(orientation=orientation)
    exif.get_ifd(0x8769).update({0xA405: 35, 0xA002: 4000, 0xA003: 2400})
    photo = decode(encoded(picture(40, 24), kind, exif=exif))
    assert photo.focal_px == pytest.approx(35 / 43.2666 * np.hypot(40, 24), rel=1e-5)
    assert decode(encoded(picture(24, 24), kind, exif=exif)).focal_px is None


def test_absent_and_unset_metadata_is_none() -> None:
    bare = decode(encoded(picture()))
    assert (bare.captured_at, bare.camera, bare.focal_length, bare.exif_orientation) == (None, None, None, None)
    unset = decode(encoded(picture(), exif=exif_of(taken="    :  :     :  :  ", focal_length=0.0, make="  ")))
    assert (unset.captured_at, unset.camera, unset.focal_length) == (None, None, None)


def test_damaged_exif_is_no_exif() -> None:
    data = encoded(picture(), exif=exif_of(orientation=6, make="Maker", taken="2007:03:09 17:45:01"))
    start = data.index(b"Exif\x00\x00") + 6
    whole = decode(data).pixels
    generator = np.random.default_rng(3)
    for _ in range(200):
        broken = bytearray(data)
        for position in generator.integers(start, start + 60, size=4):
            broken[position] = generator.integers(256)
        photo = decode(bytes(broken))
        assert sorted(photo.pixels.shape) == sorted(whole.shape)


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 20}])
def test_jpeg_pixels_equal_pillow(options: dict[str, object]) -> None:
    data = encoded(picture(61, 47), **options)
    np.testing.assert_array_equal(decode(data).pixels, np.asarray(Image.open(io.BytesIO(data))))


def code_of(data: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, name="a photo.jpg")
    assert "a photo.jpg" in str(caught.value)
    assert caught.value.message == str(caught.value)
    return caught.value.code


def test_empty_and_foreign_files() -> None:
    assert code_of(b"") == "photo_empty"
    assert code_of(b"<html>404</html>") == "photo_unreadable"
    with pytest.raises(DecodeError, match="expected JPEG, PNG, WebP, TIFF or BMP, got GIF; convert it"):
        decode(encoded(picture(), "GIF"))
    with pytest.raises(DecodeError, match="got HEIC"):
        decode(b"\0\0\0\x18ftypheic" + bytes(40))
    assert code_of(b"\xff\xd8\xff" + b"\x00" * 400) == "photo_unreadable"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_files(kind: str, share: float) -> None:
    data = encoded(picture(200, 160), kind)
    assert code_of(data[: max(12, int(share * len(data)))]) == "photo_truncated"


def test_truncation_cannot_hide_behind_an_embedded_thumbnail() -> None:
    thumbnail = encoded(picture(16, 12))
    whole = encoded(picture(200, 160), comment=thumbnail)
    assert decode(whole).width == 200
    assert code_of(whole[: len(whole) // 2]) == "photo_truncated"


def test_bytes_after_the_end_do_no_harm() -> None:
    data = encoded(picture())
    np.testing.assert_array_equal(decode(data + b"\x00" * 99).pixels, decode(data).pixels)


def test_bytes_between_segments_do_no_harm() -> None:
    data = encoded(picture())
    scan = data.index(b"\xff\xda")
    np.testing.assert_array_equal(decode(data[:scan] + b"\x00\x00" + data[scan:]).pixels, decode(data).pixels)


def test_damaged_jpeg_pixels_are_unreadable() -> None:
    data = bytearray(encoded(picture(200, 160)))
    scan = data.index(b"\xff\xda") + 300
    data[scan : scan + 4] = b"\xff\xd3\xff\x00"
    assert code_of(bytes(data)) == "photo_unreadable"


def test_damaged_png_pixels_are_unreadable() -> None:
    data = bytearray(encoded(picture(200, 160), "PNG"))
    start = data.index(b"IDAT") + 200
    data[start : start + 50] = bytes(50)
    assert code_of(bytes(data)) == "photo_unreadable"


def test_limit_is_one_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(picture(40, 24))
    monkeypatch.setattr(formats, "MAX_PIXELS", 40 * 24)
    assert decode(data).width == 40
    monkeypatch.setattr(formats, "MAX_PIXELS", 40 * 24 - 1)
    assert code_of(data) == "photo_too_large"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_the_content_decides_the_format(tmp_path: Path, kind: str) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(picture(), kind))
    assert read(tmp_path / "photo.png").format == kind.lower()


def test_a_folder_of_every_format_is_tagged(tmp_path: Path) -> None:
    for name, data in every_kind().items():
        (tmp_path / f"{name}.{name.split()[0]}").write_bytes(data)
    (tmp_path / "animation.GIF").write_bytes(encoded(picture(), "GIF"))
    frame = tag(tmp_path)
    status = dict(frame.select("image_id", "status").iter_rows())
    assert status.pop("animation.GIF") == "photo_unreadable"
    assert len(status) == len(every_kind())
    assert set(status.values()) == {"ok"}


def test_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "Straße 雨.jpg"
    path.write_bytes(encoded(picture()))
    assert read(path).width == 40
    for name, code in (("absent.jpg", "photo_missing"), ("", "photo_unreadable")):
        with pytest.raises(DecodeError) as caught:
            read(tmp_path / name)
        assert caught.value.code == code


def test_one_pixel() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
        assert decode(encoded(Image.new("RGB", (1, 1), (10, 20, 30)), kind)).pixels.shape == (1, 1, 3)


@pytest.mark.skipif(not DATA.is_dir(), reason="real photos are kept outside the repository")
def test_real_photos_equal_pillow() -> None:
    paths = [*sorted((DATA / "york").glob("*.jpg"))[:8], *sorted((DATA / "glare/images").glob("*.jpg"))[:40]]
    for path in paths:
        photo = read(path)
        image = Image.open(path)
        np.testing.assert_array_equal(photo.pixels, np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
        inner = image.getexif().get_ifd(0x8769)
        assert photo.focal_length == (float(inner[0x920A]) if 0x920A in inner else None)
        assert (photo.captured_at is None) == (0x9003 not in inner and 0x9004 not in inner)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes in folders")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "endless.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "endless.jpg", "folder.jpg"):
        with pytest.raises(DecodeError, match="got a folder, pipe or device") as caught:
            read(tmp_path / name)
        assert caught.value.code == "photo_unreadable"

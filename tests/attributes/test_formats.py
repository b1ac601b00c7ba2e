"""Every format and colour mode against the pixels that went in, or against OpenCV as a second decoder."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from photo_files import bmp, encoded, every_kind, gray_tiff, noise, picture, png, png_chunk, tiff
from PIL import Image

from attributes.decode import DecodeError, decode

LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True, "exact": True}}


def opencv(data: bytes) -> np.ndarray:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *((kind, mode) for kind in ("PNG", "TIFF") for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
        *(("BMP", mode) for mode in ("RGB", "RGBA", "L", "P", "1")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA", "L")),
    ],
)
def test_lossless_pixels_are_those_that_went_in(kind: str, mode: str) -> None:
    source = Image.fromarray(noise(4 if mode in {"RGBA", "LA"} else 3)).convert(mode)
    photo = decode(encoded(source, kind, **LOSSLESS[kind]))
    expected = noise(4)[..., :3] if mode == "RGBA" else np.asarray(source.convert("RGB"))
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.writeable
    assert photo.pixels.flags.c_contiguous


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_of_sixteen_bits_the_high_eight_are_kept(kind: str) -> None:
    color, one = noise(3, dtype="uint16"), noise(1, dtype="uint16")
    packed = cv2.imencode(f".{kind.lower()}", color[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode(packed).pixels, color >> 8)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(one), kind)).pixels, gray(one >> 8))


def test_sixteen_bits_of_either_byte_order() -> None:
    values = noise(1, 4, 3, dtype="uint16")
    tags = {256: (4,), 257: (3,), 258: (16,), 259: (1,), 262: (1,), 273: (8,), 277: (1,), 279: (24,)}
    for order in "<>":
        packed = values.astype(f"{order}u2").tobytes()
        np.testing.assert_array_equal(decode(tiff(tags, packed, order=order)).pixels, gray(values >> 8))
        white_is_zero = decode(tiff({**tags, 262: (0,)}, packed, order=order))
        np.testing.assert_array_equal(white_is_zero.pixels, 255 - gray(values >> 8))


def test_palette_transparency_is_dropped() -> None:
    source = Image.fromarray(noise(3)).convert("P")
    plain = decode(encoded(source, "PNG"))
    np.testing.assert_array_equal(decode(encoded(source, "PNG", transparency=3)).pixels, plain.pixels)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "jpeg"])
def test_tiff_compressions(compression: str) -> None:
    source = picture()
    found = decode(encoded(source, "TIFF", compression=compression)).pixels.astype(int)
    assert np.abs(found - np.asarray(source)).max() <= (0 if compression != "jpeg" else 40)


@pytest.mark.parametrize("compression", ["raw", "group3", "group4", "tiff_ccitt"])
def test_tiff_of_one_bit(compression: str) -> None:
    source = picture().convert("1")
    np.testing.assert_array_equal(
        decode(encoded(source, "TIFF", compression=compression)).pixels, np.asarray(source.convert("RGB"))
    )


def test_inks_become_light() -> None:
    inks = noise(4).astype(int)
    light = (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
    found = decode(encoded(Image.fromarray(inks.astype(np.uint8), "CMYK"), "TIFF")).pixels
    assert np.abs(found - light).max() <= 1


def test_inverted_inks_of_jpeg_become_light() -> None:
    smooth = np.asarray(picture().convert("CMYK"))
    data = encoded(Image.fromarray(smooth, "CMYK"), quality=100)
    assert b"Adobe" in data
    found = decode(data).pixels
    assert np.abs(found.astype(int) - np.asarray(picture())).mean() < 2
    assert np.abs(found.astype(int) - opencv(data)).max() <= 1
    np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_gray_jpeg() -> None:
    data = encoded(picture().convert("L"))
    np.testing.assert_array_equal(decode(data).pixels, opencv(data))


def test_jpeg_of_a_rare_sampling() -> None:
    """One block of 16 x 16 gray pixels, in which the two chroma channels are halved in different directions."""
    data = bytearray(encoded(Image.new("RGB", (16, 16), (128, 128, 128)), subsampling=0))
    frame = data.index(b"\xff\xc0")
    data[frame + 11], data[frame + 14], data[frame + 17] = 0x22, 0x12, 0x21
    no_difference = "001010" * 4 + "0000" * 4
    scan = data.index(b"\xff\xda") + 14
    found = decode(bytes(data[:scan]) + int(no_difference, 2).to_bytes(5, "big") + b"\xff\xd9").pixels
    np.testing.assert_array_equal(found, np.full((16, 16, 3), 128))


@pytest.mark.parametrize("options", [{"quality": 30}, {"quality": 95}, {"lossless": True}])
def test_webp_equals_opencv(options: dict[str, object]) -> None:
    data = encoded(picture(), "WEBP", **options)
    assert np.abs(decode(data).pixels.astype(int) - opencv(data)).max() <= 1


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "PNG"])
def test_the_first_frame_is_the_photo(kind: str) -> None:
    first, second = Image.fromarray(noise(3, 40, 24, seed=1)), picture(seed=2)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    photo = decode(encoded(first, kind, save_all=True, append_images=[second], **options))
    np.testing.assert_array_equal(photo.pixels, np.asarray(first))


def test_interlaced_and_low_depth_png() -> None:
    rows = np.array([[0b00011011, 0b11100100]], dtype=np.uint8)
    data = png(8, 1, zlib.compress(b"\0" + rows.tobytes()), bits=2)
    np.testing.assert_array_equal(decode(data).pixels, gray([[0, 85, 170, 255, 255, 170, 85, 0]]))


def test_bmp_with_the_top_row_first_and_of_32_bits() -> None:
    pixels = noise(4, 5, 3)
    for height, rows in ((3, pixels[::-1]), (-3, pixels)):
        data = bmp(5, height, rows.tobytes(), bits=32)
        np.testing.assert_array_equal(decode(data).pixels, pixels[..., 2::-1])
        np.testing.assert_array_equal(decode(data).pixels, opencv(data))


def test_bmp_with_run_lengths() -> None:
    palette = bytes([10, 20, 30, 0, 40, 50, 60, 0])
    data = bmp(4, 2, bytes([3, 0, 1, 1, 0, 0, 4, 1, 0, 1]), bits=8, packing=1, palette=palette)
    low, high = [30, 20, 10], [60, 50, 40]
    assert decode(data).pixels.tolist() == [[high] * 4, [low, low, low, high]]


def test_bmp_with_the_oldest_header() -> None:
    pixels = noise(3, 4, 3)
    head = b"BM" + struct.pack("<IHHI", 26 + 36, 0, 0, 26) + struct.pack("<IHHHH", 12, 4, 3, 1, 24)
    np.testing.assert_array_equal(decode(head + pixels[::-1].tobytes()).pixels, pixels[..., ::-1])


def test_tiff_in_tiles_strips_and_planes() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(decode(gray_tiff()).pixels, gray(values))
    strips = gray_tiff(t273=(8, 12, 16), t278=(1,), t279=(4, 4, 4))
    np.testing.assert_array_equal(decode(strips).pixels, gray(values))
    photo = noise(1, 20, 18)
    tiles = [np.pad(photo, ((0, 14), (0, 12)))[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16)]
    tags = {256: (20,), 257: (18,), 258: (8,), 259: (1,), 262: (1,), 277: (1,), 322: (16,), 323: (16,)}
    tags |= {324: tuple(8 + 256 * index for index in range(4)), 325: (256,) * 4}
    np.testing.assert_array_equal(decode(tiff(tags, b"".join(tiles))).pixels, gray(photo))
    color = noise(3, 4, 3)
    tags = {256: (4,), 257: (3,), 258: (8, 8, 8), 259: (1,), 262: (2,), 273: (8, 20, 32), 277: (3,), 278: (3,)}
    tags |= {279: (12, 12, 12), 284: (2,)}
    np.testing.assert_array_equal(decode(tiff(tags, color.transpose(2, 0, 1).tobytes())).pixels, color)


def test_float_pixels_are_refused_with_the_reason() -> None:
    data = encoded(Image.fromarray(np.ones((3, 4), dtype=np.float32)), "TIFF")
    with pytest.raises(DecodeError, match="expected 8 or 16 whole bits a channel, got pixels of Pillow's mode F"):
        decode(data)


def test_every_kind_is_read_and_turned() -> None:
    for name, data in every_kind().items():
        photo = decode(data)
        assert photo.format == name.split()[0]
        assert photo.stored_size == (17, 12)
        assert photo.pixels.shape == ((17, 12, 3) if photo.exif_orientation == 6 else (12, 17, 3))


def test_png_checksums_are_checked() -> None:
    data = bytearray(png(2, 1, zlib.compress(b"\0\x10\x20")))
    assert decode(bytes(data)).pixels[0, :, 0].tolist() == [0x10, 0x20]
    data[-14] ^= 1
    with pytest.raises(DecodeError, match="checksum of its IDAT"):
        decode(bytes(data))
    oriented = png_chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")
    plain = png(2, 1, zlib.compress(b"\0\x10\x20"))
    with_exif = plain[:-12] + oriented + plain[-12:]
    assert decode(with_exif).exif_orientation == 6
    assert decode(with_exif.replace(oriented, oriented[:-1] + b"?")).exif_orientation is None

"""Files that were made to hurt: claims of size, loops, cuts, and random damage end in DecodeError and nothing else."""

import struct
import time
import warnings
import zlib
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import bmp, encoded, every_kind, gray_tiff, huge_png, noise, picture, png, png_chunk, tiff, webp

from attributes import formats, jpeg
from attributes import tiff as tiff_module
from attributes.decode import DecodeError, Photo, decode

FILES = every_kind()
SECONDS = 10.0
"""Far above what any of these takes, so that a busy machine does not fail the test; a hang does."""


DEFLATED = {256: (4,), 257: (3,), 258: (8,), 259: (8,), 262: (1,), 273: (8,), 277: (1,), 278: (3,), 279: (12,)}


def jpeg_of_size(width: int, height: int) -> bytes:
    data = bytearray(encoded(picture()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_vp8x(width: int, height: int) -> bytes:
    return webp(b"VP8X", bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


TOO_LARGE = {
    "png": png(60_000, 60_000, b""),
    "png of real pixels": huge_png(),
    "jpeg": jpeg_of_size(65_000, 65_000),
    "webp": webp_vp8x(2**24, 2**24),
    "webp lossless": webp(b"VP8L", b"\x2f" + struct.pack("<I", 0x3FFF | 0x3FFF << 14) + bytes(20)),
    "webp lossy": webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 0x3FFF, 0x3FFF) + bytes(20)),
    "tiff": gray_tiff(2**31, 2**31, t279=(12,)),
    "bmp": bmp(2**30, 2**30),
    "bmp from the top": bmp(40_000, -40_000),
}

UNREADABLE = {
    "png of no width": png(0, 5, zlib.compress(b"\0" * 5)),
    "png that starts with another chunk": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDX", 1, 1) + bytes(17),
    "png of too few rows": png(40, 40, zlib.compress(bytes(41 * 39))),
    "png of half a stream": png(40, 40, zlib.compress(noise(1, 41, 40).tobytes())[:800]),
    "png of no pixels": png(40, 40, b""),
    "tiff of too few rows": tiff(DEFLATED, zlib.compress(bytes(8))),
    "bmp of too few runs": bmp(4, 2, bytes([3, 0, 0, 1]), bits=8, packing=1, palette=bytes(8)),
    "jpeg of no height": jpeg_of_size(5, 0),
    "webp of no size": webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + bytes(24)),
    "webp of an unknown chunk": webp(b"JUNK", bytes(30)),
    "webp canvas without a frame": webp_vp8x(40, 40),
    "bmp of no width": bmp(0, 4),
    "bmp of less than no width": bmp(-4, 4, bytes(64)),
    "bmp of the lowest height": bmp(0, -(2**31)),
    "bmp of three bits": bmp(4, 4, bytes(64), bits=3),
    "text that starts like a BMP": b"BM is short for benchmark, and this is no photo at all",
    "tiff of no size": gray_tiff(t256=None),
    "tiff of two widths": gray_tiff(t256=(4, 4)),
    "tiff of too few strips": gray_tiff(t278=(1,)),
    "tiff of strips of no rows": gray_tiff(t278=(0,)),
    "tiff of empty strips": gray_tiff(t279=(0,)),
    "tiff without strips": gray_tiff(t273=None),
    "tiff of more strip sizes than strips": gray_tiff(t279=(6, 6)),
    "tiff of tiles of no width": gray_tiff(t322=(0,), t323=(16,), t324=(8,)),
    "tiff of tiles as large as memory": gray_tiff(t322=(2**31,), t323=(2**31,), t324=(8,)),
    "tiff of an unknown compression": gray_tiff(t259=(4711,)),
    "tiff of a thousand samples": gray_tiff(t277=(1000,)),
    "tiff that is a raw file's preview": gray_tiff(t254=(1,)),
    "tiff with 64-bit offsets": b"II+\0\x08\0\0\0" + bytes(40),
}

TRUNCATED = {
    "tiff that ends before its directory": gray_tiff()[:18],
    "tiff whose directory lies outside": b"II*\0" + struct.pack("<I", 2**32 - 1) + bytes(40),
    "tiff of strips outside": gray_tiff(t273=(2**32 - 1,)),
    "tiff of long strips": gray_tiff(t279=(2**32 - 1,)),
    "tiff of a list outside": tiff({256: (4,), 257: (3,), 273: (8,) * 9})[:-20],
    "bmp without rows": bmp(40, 40),
    "png without its end": png(40, 40, b"")[:-12],
}


def outcome(data: bytes) -> Photo | DecodeError:
    """Return the photo or why there is none; anything else that is raised, warned of, or takes long fails the test."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found: Photo | DecodeError
        try:
            found = decode(data)
        except DecodeError as error:
            found = error
    assert not caught, [str(warning.message) for warning in caught]
    assert time.perf_counter() - start < SECONDS
    return found


def code_of(data: bytes) -> str:
    found = outcome(data)
    return found.code if isinstance(found, DecodeError) else "ok"


@pytest.mark.parametrize("name", TOO_LARGE)
def test_large_claims_are_refused_before_decoding(name: str) -> None:
    decoded = AssertionError("decoded")
    with (
        mock.patch.object(formats, "_decode_with_opencv", side_effect=decoded),
        mock.patch.object(formats, "decode_with_pillow", side_effect=decoded),
        mock.patch.object(tiff_module, "decode_with_pillow", side_effect=decoded),
        mock.patch.object(jpeg.simplejpeg, "decode_jpeg", side_effect=decoded),
    ):
        assert code_of(TOO_LARGE[name]) == "photo_too_large"


@pytest.mark.parametrize("name", UNREADABLE)
def test_nonsense_is_unreadable(name: str) -> None:
    assert code_of(UNREADABLE[name]) == "photo_unreadable"


@pytest.mark.parametrize("name", TRUNCATED)
def test_what_lies_outside_of_the_file_is_missing(name: str) -> None:
    assert code_of(TRUNCATED[name]) == "photo_truncated"


def test_a_jpeg_of_many_scans_is_refused() -> None:
    data = encoded(picture(), progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert decode(data[:-2] + scan * 3 + data[-2:]).width == 40
    assert code_of(data[:-2] + scan * jpeg.MAX_SCANS + data[-2:]) == "photo_too_large"


JUNK = webp_vp8x(4, 3)[12:] + b"junk\0\0\0\0" * 2_500_000

MANY_PARTS = {
    "jpeg of fill": (b"\xff\xd8" + b"\xff" * 20_000_000, "photo_unreadable"),
    "jpeg of stuffing": (b"\xff\xd8\xff\xe0\0\2" + b"\xff\0" * 10_000_000, "photo_unreadable"),
    "jpeg of segments": (b"\xff\xd8" + b"\xff\xe0\0\2" * 5_000_000, "photo_too_large"),
    "png of chunks": (png(4, 3, b"")[:-12] + png_chunk(b"IDAT", b"") * 1_500_000, "photo_too_large"),
    "webp of chunks": (b"RIFF" + struct.pack("<I", 4 + len(JUNK)) + b"WEBP" + JUNK, "photo_too_large"),
}


@pytest.mark.parametrize("name", MANY_PARTS)
def test_files_of_many_small_parts_are_refused_in_time(name: str) -> None:
    data, code = MANY_PARTS[name]
    start = time.perf_counter()
    assert code_of(data) == code
    assert time.perf_counter() - start < SECONDS


def test_directories_that_loop_end() -> None:
    start = 8 + 12
    page = gray_tiff()
    assert decode(page[:-4] + struct.pack("<I", start)).width == 4
    pointing_at_itself = gray_tiff(t34665=(start,))
    assert decode(pointing_at_itself).width == 4


def test_a_directory_of_65535_tags_is_cheap() -> None:
    entries = b"".join(struct.pack("<HHII", 60_000 + index % 5000, 2, 2**31, 0) for index in range(65_535))
    data = b"II*\0\x08\0\0\0\xff\xff" + entries + bytes(4)
    assert code_of(data) == "photo_unreadable"


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_truncated_or_whole(name: str) -> None:
    """Never grey: what is read from a cut file (whose end held no pixels) equals the whole photo."""
    data = FILES[name]
    whole = decode(data)
    for length in range(30, len(data), 7):
        found = outcome(data[:length])
        if isinstance(found, DecodeError):
            assert found.code == "photo_truncated", f"{length} bytes: {found}"
        else:
            assert length > 0.9 * len(data)
            np.testing.assert_array_equal(np.sort(found.pixels, axis=None), np.sort(whole.pixels, axis=None))


@given(
    name=st.sampled_from(sorted(FILES)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4),
    early=st.booleans(),
    kept=st.none() | st.integers(0, 2000),
)
@settings(max_examples=300, deadline=None)
def test_random_damage_ends_in_a_photo_or_a_decode_error(
    name: str, changes: list[tuple[int, int]], early: bool, kept: int | None
) -> None:
    data = bytearray(FILES[name])
    reach = min(len(data), 120) if early else len(data)
    for position, value in changes:
        data[position % reach] = value
    with mock.patch.object(formats, "MAX_PIXELS", 1_000_000):
        found = outcome(bytes(data[:kept]))
    if isinstance(found, DecodeError):
        assert found.code.startswith("photo_")
    else:
        assert found.pixels.shape == (found.height, found.width, 3)
        assert found.pixels.dtype == np.uint8
        assert 0 < found.width * found.height <= 1_000_000


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"BM"])
)
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_no_photo(data: bytes, signature: bytes) -> None:
    found = outcome(signature + data)
    assert not isinstance(found, DecodeError) or str(found).endswith(": photo")

"""PNG, WebP and BMP → pixels as stored. Each reads its header first, so that nothing large is decoded unasked.

OpenCV decodes PNG and WebP: it refuses a PNG that holds fewer rows than it states, where Pillow leaves the rest black,
and takes a third of Pillow's memory for a WebP. Pillow decodes BMP, TIFF and rare JPEGs: it raises where OpenCV writes
to the terminal. Its plugins are called directly and are given only what describes the pixels: ``Image.open`` would try
forty formats, and warns of large photos and damaged metadata. Threads cannot silence warnings, for the process has one
list of filters.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from attributes.arrays import Pixels

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 89_478_485
"""Photos of more pixels are refused before they are decoded: a quarter GiB as RGB. Pillow warns of larger ones, too."""

_TO_RGB = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"})
"""Pillow's modes of 8 bits and less. Its conversion to RGB drops alpha, as detectors' own readers do."""

_SIXTEEN_BITS = frozenset({"I;16", "I;16B", "I;16L"})

_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_CHUNKS = 500_000
"""PNGs and WebPs of more chunks are refused. The largest photo takes 90,000 of the usual 8 KB; a chunk may have as few
as 8 bytes, and each costs a microsecond."""

_BMP_HEADER_BYTES = frozenset({12, 40, 52, 56, 64, 108, 124})


class DecodeError(Exception):
    """A photo that cannot be read.

    Attributes:
        code: ``photo_missing``, ``photo_empty``, ``photo_unreadable``, ``photo_truncated`` or ``photo_too_large``.
        message: what was expected and what came.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def unreadable(expected: str) -> DecodeError:
    """Return the error of a file whose content is not what its first bytes promise."""
    return DecodeError("photo_unreadable", f"expected {expected}")


def truncated(expected: str) -> DecodeError:
    """Return the error of a file that ends early."""
    return DecodeError("photo_truncated", f"expected {expected}")


def check_size(width: int, height: int) -> tuple[int, int]:
    """Return a header's size.

    Raises:
        DecodeError: there is no pixel, or more than ``MAX_PIXELS`` of them.
    """
    if width < 1 or height < 1:
        raise unreadable(f"a photo of at least one pixel, its header says {width} x {height}")
    if width * height > MAX_PIXELS:
        raise DecodeError("photo_too_large", f"expected at most {MAX_PIXELS:,} pixels, got {width:,} x {height:,}")
    return width, height


def decode_with_pillow(plugin: type[ImageFile], data: bytes, size: tuple[int, int], *, bits: int = 16) -> Pixels:
    """Decode a file's first frame to RGB as stored.

    Args:
        plugin: reads the format.
        data: the file's bytes, without metadata that Pillow might stumble over.
        size: width and height that the header states.
        bits: of a grey pixel of more than 8; the high 8 of them are kept, as Pillow and OpenCV do with 16-bit colour.

    Raises:
        DecodeError: the data are damaged, end early, or hold numbers that are no 8- or 16-bit light.
    """
    try:
        image = plugin(io.BytesIO(data))
        image.load()
        if image.mode in _SIXTEEN_BITS:
            gray = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
            pixels = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
        elif image.mode in _TO_RGB:
            pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)
        else:
            raise unreadable(f"8 or 16 whole bits a channel, got pixels of Pillow's mode {image.mode}")
    except DecodeError:
        raise
    except Exception as error:  # damaged data make Pillow raise nearly anything, struct.error and KeyError included
        what = f"a sound {plugin.format}, got damaged data ({type(error).__name__}: {error})"
        raise truncated(what) if "truncated" in str(error).lower() else unreadable(what) from error
    if pixels.shape[:2] != size[::-1]:
        raise unreadable(f"{size[0]} x {size[1]} pixels as the header says, got {pixels.shape[1]} x {pixels.shape[0]}")
    return pixels


def _decode_with_opencv(data: bytes, size: tuple[int, int]) -> Pixels:
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise unreadable(f"a photo, its pixels cannot be decoded ({error})") from error
    if pixels is None or pixels.shape != (size[1], size[0], 3):
        raise unreadable(f"{size[0]} x {size[1]} pixels as the header says, its data hold no such picture")
    return np.asarray(pixels, dtype=np.uint8)


def decode_png(data: bytes) -> tuple[Pixels, bytes]:
    """Decode a PNG, of an animated one its still picture; return pixels as stored and raw EXIF."""
    if len(data) < 33:
        raise truncated("a whole PNG, it ends within its header")
    if data[12:16] != b"IHDR":
        raise unreadable(f"a PNG that starts with its size, got {data[12:24]!r}")
    size = check_size(*struct.unpack_from(">II", data, 16))
    pixels, exif, position = [_PNG_SIGNATURE], b"", len(_PNG_SIGNATURE)
    kind, chunks = b"", 0
    while kind != b"IEND":
        chunks = _count(chunks)
        if position + 12 > len(data):
            raise truncated("a whole PNG, its data end early")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise truncated("a whole PNG, its data end early")
        if kind in _PNG_PIXELS or kind == b"eXIf":
            sound = zlib.crc32(data[position + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
            if kind in _PNG_PIXELS and not sound:
                raise unreadable(f"a sound PNG, the checksum of its {kind.decode()} chunk does not fit")
            if kind == b"eXIf" and sound:
                exif = data[position + 8 : end - 4]
            elif sound:
                pixels.append(data[position:end])
        position = end
    return _decode_with_opencv(b"".join(pixels), size), exif


def _count(chunks: int) -> int:
    if chunks >= MAX_CHUNKS:
        raise DecodeError("photo_too_large", f"expected at most {MAX_CHUNKS:,} chunks in a PNG or WebP, got more")
    return chunks + 1


def decode_webp(data: bytes) -> tuple[Pixels, bytes]:
    """Decode a WebP, of an animated one its first frame; return pixels as stored and raw EXIF."""
    if len(data) < 30:
        raise truncated("a whole WebP, it ends within its header")
    stated = 8 + int.from_bytes(data[4:8], "little")
    if stated > len(data):
        raise truncated(f"a whole WebP of {stated:,} bytes, it ends after {len(data):,}")
    size = check_size(*_webp_size(data))
    exif, position, chunks = b"", 12, 0
    while position + 8 <= stated:
        chunks = _count(chunks)
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            exif = data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    return _decode_with_opencv(data, size), exif


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height from the first chunk, which says how the picture is coded."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and data[20] == 0x2F:
        packed = int.from_bytes(data[21:25], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise unreadable(f"a WebP that starts with its size, got {data[12:26]!r}")


def decode_bmp(data: bytes) -> tuple[Pixels, bytes]:
    """Decode a BMP; return pixels as displayed, top row first, and no EXIF, which BMP lacks."""
    if len(data) < 26:
        raise truncated("a whole BMP, it ends within its header")
    header_bytes = int.from_bytes(data[14:18], "little")
    if header_bytes not in _BMP_HEADER_BYTES:
        raise unreadable(f"a BMP header of {sorted(_BMP_HEADER_BYTES)} bytes, got {header_bytes:,}")
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    size = check_size(width, abs(height))  # below zero: the top row is stored first
    from PIL.BmpImagePlugin import BmpImageFile  # Pillow takes a third of the import, and few photos need it

    return decode_with_pillow(BmpImageFile, data, size), b""

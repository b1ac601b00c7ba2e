"""Photo files → RGB pixels in the displayed frame. EXIF orientation is applied here, once, and nowhere else."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from attributes.views import Pixels

MAX_PIXELS = 100_000_000
"""Photos of more pixels are refused before they are decoded: 100 megapixels take 300 MB as RGB."""

_MAX_BYTES = 8 * MAX_PIXELS
"""No honest file of ``MAX_PIXELS`` is larger: 16 bits in four channels, stored without compression."""

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_STANDALONE_MARKERS = {0x01, *range(0xD0, 0xD8)}
_START_OF_SCAN = 0xDA
_APP1 = 0xE1

# EXIF 2.32, tables 4–8.
_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
_EXIF_IFD, _TAKEN, _DIGITISED, _FOCAL_LENGTH = 0x8769, 0x9003, 0x9004, 0x920A

# What Pillow raises for damaged EXIF; its warning counts where a caller has turned warnings into errors.
_EXIF_DAMAGE = (ValueError, LookupError, TypeError, OSError, SyntaxError, struct.error, OverflowError, UserWarning)

# What brings stored pixels into the displayed frame, by EXIF orientation.
_FLIPS = {2: 1, 3: -1, 4: 0}
_TURNS = {6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}


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


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        pixels: height×width×3 RGB in the displayed frame.
        width: of the displayed frame, in pixels.
        height: of the displayed frame, in pixels.
        exif_orientation: 1–8 as stored in the file, None where it says nothing valid.
        captured_at: local time of capture as ISO 8601, None where unknown.
        camera: maker and model, None where unknown.
        focal_length: in millimetres, None where unknown.
        sha256: hexadecimal digest of the file's bytes.
    """

    pixels: Pixels
    width: int
    height: int
    exif_orientation: int | None
    captured_at: str | None
    camera: str | None
    focal_length: float | None
    sha256: str

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height as stored, before EXIF orientation."""
        turned = self.exif_orientation is not None and self.exif_orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def read(path: Path) -> Photo:
    """Read one JPEG or PNG file.

    Raises:
        DecodeError: the file is missing, empty, not a photo, truncated, or too large to decode safely.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise DecodeError("photo_too_large", f"expected at most {_MAX_BYTES:,} bytes, got {size:,}: {path}")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DecodeError("photo_missing", f"expected a photo, found no file: {path}") from error
    except OSError as error:
        raise DecodeError("photo_unreadable", f"expected a readable photo, got {error.strerror}: {path}") from error
    return decode(data, name=str(path))


def decode(data: bytes, *, name: str = "photo") -> Photo:
    """Decode a JPEG or PNG to RGB in the displayed frame.

    Grey and palette photos become RGB; an alpha channel is dropped, as detectors' own readers do; 16 bits become 8.

    Args:
        data: the file's bytes.
        name: what error messages call the photo.

    Raises:
        DecodeError: as for ``read``.
    """
    if not data:
        raise DecodeError("photo_empty", f"expected a photo, got an empty file: {name}")
    if data.startswith(_JPEG):
        pixels, raw_exif = _decode_jpeg(data, name)
    elif data.startswith(_PNG):
        pixels, raw_exif = _decode_png(data, name)
    else:
        raise DecodeError("photo_unreadable", f"expected JPEG or PNG, got a file that starts with {data[:8]!r}: {name}")
    exif = _parse_exif(raw_exif)
    orientation = _orientation(exif)
    pixels = upright(pixels, orientation)
    return Photo(
        pixels=pixels,
        width=pixels.shape[1],
        height=pixels.shape[0],
        exif_orientation=orientation,
        captured_at=_captured_at(exif),
        camera=_camera(exif),
        focal_length=_focal_length(exif),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def upright(pixels: Pixels, orientation: int | None) -> Pixels:
    """Bring stored pixels into the displayed frame.

    Args:
        pixels: H×W×3 as stored.
        orientation: EXIF orientation 1–8, or None.

    Returns:
        H×W×3, or W×H×3 for orientations 5–8; contiguous.
    """
    if orientation in _FLIPS:
        return np.asarray(cv2.flip(pixels, _FLIPS[orientation]), dtype=np.uint8)
    if orientation in _TURNS:
        return np.asarray(cv2.rotate(pixels, _TURNS[orientation]), dtype=np.uint8)
    if orientation == 5:
        return np.asarray(cv2.transpose(pixels), dtype=np.uint8)
    if orientation == 7:
        return np.asarray(cv2.flip(cv2.transpose(pixels), -1), dtype=np.uint8)
    return pixels


def _decode_jpeg(data: bytes, name: str) -> tuple[Pixels, bytes]:
    """Decode with libjpeg-turbo as exactly as Pillow and OpenCV do, and faster than either."""
    segments = _jpeg_segments(data)
    width, height, channels = _jpeg_frame(data, segments, name)
    _guard(width, height, name)
    if segments[-1][0] != _START_OF_SCAN or segments[-1][2] >= len(data):
        raise DecodeError("photo_truncated", f"expected a whole JPEG, it ends within its header: {name}")
    exif = next((data[a:b] for marker, a, b in segments if marker == _APP1 and data[a : a + 6] == b"Exif\0\0"), b"")
    try:
        if channels == 4:  # ink, not light: simplejpeg leaves the conversion to the caller
            simplejpeg.decode_jpeg(data, "CMYK")
            return _decode_any(data, name), exif
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB"), dtype=np.uint8), exif
    except (ValueError, KeyError) as error:
        reason = str(error)
        if "Premature end of JPEG" in reason:
            raise DecodeError("photo_truncated", f"expected a whole JPEG, its data ends early: {name}") from error
        if "Corrupt JPEG data" in reason and "extraneous" not in reason:
            raise DecodeError(
                "photo_unreadable", f"expected a sound JPEG, got damaged data ({reason}): {name}"
            ) from error
    # Stray bytes between segments, rare subsampling: nothing is lost, and OpenCV reads it.
    return _decode_any(data, name), exif


def _decode_png(data: bytes, name: str) -> tuple[Pixels, bytes]:
    chunks = _png_chunks(data)
    if len(data) < 33:
        raise DecodeError("photo_truncated", f"expected a whole PNG, it ends within its header: {name}")
    width, height = struct.unpack_from(">II", data, 16)
    if data[12:16] != b"IHDR" or width == 0 or height == 0:
        raise DecodeError("photo_unreadable", f"expected a PNG that starts with its size, got {data[12:24]!r}: {name}")
    _guard(width, height, name)
    if b"IEND" not in chunks:
        raise DecodeError("photo_truncated", f"expected a whole PNG, its data ends early: {name}")
    return _decode_any(data, name), chunks.get(b"eXIf", b"")


def _decode_any(data: bytes, name: str) -> Pixels:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise DecodeError("photo_unreadable", f"expected a photo, it cannot be decoded ({error}): {name}") from error
    if pixels is None:
        raise DecodeError("photo_unreadable", f"expected a photo, its pixels cannot be decoded: {name}")
    return np.asarray(pixels, dtype=np.uint8)


def _guard(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise DecodeError(
            "photo_too_large", f"expected at most {MAX_PIXELS:,} pixels, got {width:,} x {height:,}: {name}"
        )


def _jpeg_segments(data: bytes) -> list[tuple[int, int, int]]:
    """Marker, start and end of the segments before the first scan."""
    segments: list[tuple[int, int, int]] = []
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:  # stray bytes
            position = data.find(b"\xff", position)
            if position < 0:
                break
            continue
        marker = data[position + 1]
        if marker in {0x00, 0xFF} or marker in _STANDALONE_MARKERS:  # no marker, fill byte, no body
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segments.append((marker, position + 4, position + 2 + length))
        if marker == _START_OF_SCAN or length < 2:
            break
        position += 2 + length
    return segments


def _jpeg_frame(data: bytes, segments: Sequence[tuple[int, int, int]], name: str) -> tuple[int, int, int]:
    """Width, height and channels from the frame header, whose markers are C0–CF without C4, C8 and CC."""
    for marker, start, end in segments:
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC} and start + 6 <= min(end, len(data)):
            height, width, channels = struct.unpack_from(">HHB", data, start + 1)
            if width and height:
                return width, height, channels
    header_end = segments[-1][2] if segments else len(_JPEG)
    if header_end > len(data) - 4:
        raise DecodeError("photo_truncated", f"expected a whole JPEG, it ends within its header: {name}")
    raise DecodeError("photo_unreadable", f"expected a JPEG, its header names no size: {name}")


def _png_chunks(data: bytes) -> dict[bytes, bytes]:
    """Chunks by type, the last of each; only those that are whole."""
    chunks: dict[bytes, bytes] = {}
    position = len(_PNG)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if position + 12 + length > len(data):
            break
        chunks[kind] = data[position + 8 : position + 8 + length] if kind == b"eXIf" else b""
        position += 12 + length
        if kind == b"IEND":
            break
    return chunks


def _parse_exif(raw: bytes) -> Mapping[int, object]:
    """Read the tags of interest; damaged EXIF is no EXIF, the photo itself is whole."""
    if not raw:
        return {}
    exif = Image.Exif()
    try:
        exif.load(raw)
        return {**dict(exif), **dict(exif.get_ifd(_EXIF_IFD))}
    except _EXIF_DAMAGE:
        return {}


def _orientation(exif: Mapping[int, object]) -> int | None:
    value = exif.get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _captured_at(exif: Mapping[int, object]) -> str | None:
    for tag in (_TAKEN, _DIGITISED):
        value = exif.get(tag)
        if isinstance(value, str):
            try:
                return datetime.strptime(value.strip("\x00 "), "%Y:%m:%d %H:%M:%S").isoformat()
            except ValueError:  # "    :  :     :  :  " and zeros stand for "not set"
                continue
    return None


def _camera(exif: Mapping[int, object]) -> str | None:
    parts = [exif.get(tag) for tag in (_MAKE, _MODEL)]
    make, model = (re.sub(r"[\x00\s]+", " ", part).strip() if isinstance(part, str) else "" for part in parts)
    name = model if make and model.lower().startswith(make.lower().split()[0]) else f"{make} {model}".strip()
    return name or None


def _focal_length(exif: Mapping[int, object]) -> float | None:
    value = exif.get(_FOCAL_LENGTH)
    try:
        length = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return length if 0 < length < float("inf") else None

"""Photo files → RGB pixels in the displayed frame. EXIF orientation is applied here, once, and nowhere else."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from attributes import exif, links, remote
from attributes.arrays import Pixels
from attributes.formats import MAX_PIXELS, DecodeError, decode_bmp, decode_png, decode_webp, unreadable
from attributes.frames import displayed_pixels
from attributes.jpeg import decode_jpeg
from attributes.tiff import decode_tiff

__all__ = ["MAX_PIXELS", "DecodeError", "Photo", "decode", "read"]

NOT_READ = "expected a readable photo, got"
"""How the message begins where the system, not the photo, is the reason: it may be read another time."""

_MAX_BYTES = 8 * MAX_PIXELS
"""No honest file of ``MAX_PIXELS`` is larger: 16 bits in four channels, stored without compression."""

_DECODERS: Mapping[str, Callable[[bytes], tuple[Pixels, bytes]]] = {
    "jpeg": decode_jpeg,
    "png": decode_png,
    "webp": decode_webp,
    "tiff": decode_tiff,
    "bmp": decode_bmp,
}
"""Format → function from a file's bytes to its pixels as stored and its raw EXIF."""

_SIGNATURES = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"BM": "bmp",
}

_FOREIGN = {
    b"GIF8": "GIF",
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
    b"<svg": "SVG",
}
"""Formats that people take for photos and that are not read."""


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
        focal_px: in pixels of this photo, which tells angles; None where unknown, or where the photo was cropped.
        sha256: hexadecimal digest of the file's bytes.
        format: ``jpeg``, ``png``, ``webp``, ``tiff`` or ``bmp``, as the content says; the name may say otherwise.
    """

    pixels: Pixels
    width: int
    height: int
    exif_orientation: int | None
    captured_at: str | None
    camera: str | None
    focal_length: float | None
    focal_px: float | None
    sha256: str
    format: str

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height as stored, before EXIF orientation."""
        turned = self.exif_orientation is not None and self.exif_orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def read(path: Path, *, within: Path | None = None) -> Photo:
    """Read one JPEG, PNG, WebP, TIFF or BMP file, on this machine or at a URL (``remote.place``).

    Args:
        path: the file.
        within: a folder that no link may lead out of (``links.leaves``).

    Raises:
        DecodeError: the file is missing, empty, not a photo, truncated, or too large to decode safely; a link leads out
            of the folder.
        StoreError: of a URL: nobody answers.
    """
    far = remote.address(path)
    if within is not None and not far and links.leaves(path, within):
        raise DecodeError(links.CODE, f"{links.MESSAGE}: {path}")
    try:
        data = _remote(path) if far else _local(path)
    except FileNotFoundError as error:
        raise DecodeError("photo_missing", f"expected a photo, found no file: {path}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DecodeError("photo_unreadable", f"{NOT_READ} {reason}: {path}") from error
    return decode(data, name=str(path))


def _local(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe or a device might never end
        raise DecodeError("photo_unreadable", f"expected a photo, got a folder, pipe or device: {path}")
    return path.read_bytes() if status.st_size <= _MAX_BYTES else _too_large(status.st_size, path)


def _remote(path: Path) -> bytes:
    found = remote.content(path, _MAX_BYTES)
    return found if isinstance(found, bytes) else _too_large(found, path)


def _too_large(size: int, path: Path) -> NoReturn:
    raise DecodeError("photo_too_large", f"expected at most {_MAX_BYTES:,} bytes, got {size:,}: {path}")


def decode(data: bytes, *, name: str = "photo") -> Photo:
    """Decode a file's bytes to RGB in the displayed frame. The content decides the format, not the name.

    Grey, palette and ink (CMYK) photos become RGB; an alpha channel is dropped, as detectors' own readers do; of
    16 bits the high 8 are kept. Of several pages or frames the first is read.

    Args:
        data: the file's bytes.
        name: what error messages call the photo.

    Raises:
        DecodeError: as for ``read``.
    """
    try:
        kind = _format(data)
        stored, raw_exif = _DECODERS[kind](data)
    except DecodeError as error:
        raise DecodeError(error.code, f"{error.message}: {name}") from error
    told = exif.read(raw_exif)
    pixels = displayed_pixels(stored, told.orientation)
    return Photo(
        pixels=pixels,
        width=pixels.shape[1],
        height=pixels.shape[0],
        exif_orientation=told.orientation,
        captured_at=told.captured_at,
        camera=told.camera,
        focal_length=told.focal_length,
        focal_px=exif.focal_px(told, stored.shape[1], stored.shape[0]),
        sha256=hashlib.sha256(data).hexdigest(),
        format=kind,
    )


def _format(data: bytes) -> str:
    """Tell a file's format by its first bytes."""
    if not data:
        raise DecodeError("photo_empty", "expected a photo, got an empty file")
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            return name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    foreign = next((name for signature, name in _FOREIGN.items() if data.startswith(signature)), None)
    if data[4:8] == b"ftyp":
        foreign = f"{data[8:12].decode('latin-1').strip().upper()} (HEIF, AVIF or a video)"
    got = f"{foreign}; convert it" if foreign else f"a file that starts with {data[:8]!r}"
    raise unreadable(f"JPEG, PNG, WebP, TIFF or BMP, got {got}")

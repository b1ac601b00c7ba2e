"""TIFF → the first page's pixels as stored.

Pillow and libtiff decode, from a directory that is written anew: only the tags that describe the pixels, each checked,
and no further pages. What a hostile or careless writer put into the others cannot loop, warn, or fill memory.

Source: TIFF 6.0, sections 2–8, 14, 15 and 22.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from attributes.arrays import Pixels
from attributes.exif import Field, byte_order, fields, first_directory, integers
from attributes.formats import MAX_PIXELS, check_size, decode_with_pillow, truncated, unreadable

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANES, _PREDICTOR = 273, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_T4, _T6, _COLORS, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES = 292, 293, 320, 338, 339, 347
_CHROMA_SHARES, _CHROMA_SAMPLING, _CHROMA_PLACE, _CHROMA_RANGE = 529, 530, 531, 532

_SINGLE = {_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _STRIP_ROWS, _PLANES, _PREDICTOR}
_SINGLE |= {_TILE_WIDTH, _TILE_HEIGHT, _T4, _T6, _CHROMA_PLACE}
_LISTS = {_BITS, _STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES, _COLORS, _EXTRA_SAMPLES, _SAMPLE_FORMAT}
_LISTS |= {_CHROMA_SAMPLING}
_OTHER = {_JPEG_TABLES, _CHROMA_SHARES, _CHROMA_RANGE}

_REDUCED = 1
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_SEPARATE_PLANES = 2


class _Page(NamedTuple):
    order: str
    fields: Mapping[int, Field]
    values: Mapping[int, tuple[int, ...]]

    def one(self, tag: int, default: int) -> int:
        return self.values.get(tag, (default,))[0]


def decode_tiff(data: bytes) -> tuple[Pixels, bytes]:
    """Decode a TIFF's first page; return pixels as stored and raw EXIF, which is the file itself."""
    page = _read_page(data)
    size = check_size(page.one(_WIDTH, 0), page.one(_HEIGHT, 0))
    _check_blocks(data, page, *size)
    from PIL.TiffImagePlugin import TiffImageFile  # Pillow takes a third of the import, and few photos need it

    pixels = decode_with_pillow(TiffImageFile, _clean(data, page), size, bits=page.one(_BITS, 1))
    return (255 - pixels if page.one(_PHOTOMETRIC, _BLACK_IS_ZERO) == _WHITE_IS_ZERO else pixels), data


def _read_page(data: bytes) -> _Page:
    """Read and check the first directory's tags that describe pixels."""
    order = byte_order(data)
    if order is None:
        raise truncated("a whole TIFF, it ends within its header")
    start = first_directory(data, order)
    if start + 2 > len(data) or start + 6 + 12 * struct.unpack_from(f"{order}H", data, start)[0] > len(data):
        raise truncated("a whole TIFF, it ends before its directory does")
    found = fields(data, start, order)
    if integers(data, found.get(_SUBFILE), order)[:1] == (_REDUCED,):
        raise unreadable("a photo, the TIFF's first page is the preview of another (a raw file?); convert it")
    kept = {tag: field for tag, field in sorted(found.items()) if tag in _SINGLE | _LISTS | _OTHER}
    if any(field.end > len(data) for field in kept.values()):
        raise truncated("a whole TIFF, it ends before the values of its directory")
    if sum(field.end - field.start for field in kept.values()) > len(data):
        raise unreadable("a TIFF whose directory is smaller than the file")
    values = {tag: integers(data, field, order) for tag, field in kept.items() if tag not in _OTHER}
    for tag, numbers in values.items():
        if not numbers or (tag in _SINGLE and len(numbers) > 1):
            raise unreadable(f"a whole number in tag {tag} of the TIFF, got {len(numbers) or 'none'}")
    return _Page(order, kept, values)


def _check_blocks(data: bytes, page: _Page, width: int, height: int) -> None:
    """Check that the strips or tiles cover the photo and lie within the file: what they leave out would be black."""
    if _TILE_OFFSETS in page.values:
        across, down = page.one(_TILE_WIDTH, 0), page.one(_TILE_HEIGHT, 0)
        offsets, sizes = page.values[_TILE_OFFSETS], page.values.get(_TILE_BYTES, ())
    else:
        across, down = width, min(page.one(_STRIP_ROWS, height), height)
        offsets, sizes = page.values.get(_STRIP_OFFSETS, ()), page.values.get(_STRIP_BYTES, ())
    if across < 1 or down < 1 or across * down > MAX_PIXELS:
        raise unreadable(f"strips or tiles of at least one pixel and at most {MAX_PIXELS:,}, got {across} x {down}")
    planes = page.one(_SAMPLES, 1) if page.one(_PLANES, 1) == _SEPARATE_PLANES else 1
    needed = -(-width // across) * -(-height // down) * planes
    if len(offsets) < needed:
        raise unreadable(f"{needed} strips or tiles in a TIFF of this size, got {len(offsets)}")
    if sizes and (len(sizes) != len(offsets) or min(sizes) < 1):
        raise unreadable("a size for each strip or tile of the TIFF")
    ends = [offset + size for offset, size in zip(offsets, sizes or [1] * len(offsets), strict=True)]
    if max(ends) > len(data):
        raise truncated(f"a whole TIFF of at least {max(ends):,} bytes, it ends after {len(data):,}")


def _clean(data: bytes, page: _Page) -> bytes:
    """Return the file with a directory of the checked tags alone, in which zero is black."""
    order = page.order
    entries = []
    for tag, field in page.fields.items():
        inline = data[field.start : field.end].ljust(4, b"\0")
        if tag == _PHOTOMETRIC and page.values[tag] == (_WHITE_IS_ZERO,):
            inline = struct.pack(f"{order}HH", _BLACK_IS_ZERO, 0)
            field = field._replace(kind=3)
        value = inline if len(inline) == 4 else struct.pack(f"{order}I", field.start)
        entries.append(struct.pack(f"{order}HHI", tag, field.kind, field.length) + value)
    start = len(data) + len(data) % 2
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack(f"{order}I", start) + data[8:].ljust(start - 8, b"\0") + directory

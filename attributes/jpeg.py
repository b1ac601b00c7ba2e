"""JPEG → pixels as stored, with libjpeg-turbo as exactly as Pillow and OpenCV, and faster than either."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import simplejpeg

from attributes.arrays import Pixels
from attributes.formats import DecodeError, check_size, decode_with_pillow, truncated, unreadable

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""A marker that a length follows: no stuffed zero, no fill byte, none that stands alone."""

_NO_FRAME = {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = {0xC0, 0xC1}
_START_OF_SCAN = 0xDA
_APP1, _ADOBE = 0xE1, 0xEE
_METADATA = {*range(0xE0, 0xF0), 0xFE} - {_ADOBE}

MAX_SCANS = 100
"""JPEGs of more scans are refused; progressive ones have about ten. Each is a pass over all pixels, however few bytes
it takes: 100 empty scans added 4 KB and 2 s to a photo of 16 megapixels."""


MAX_SEGMENTS = 20_000
"""JPEGs of more segments ahead of their pixels are refused; colour profiles and depth maps take a few hundred. Each
segment costs more memory than its least 4 bytes."""


class _Segment(NamedTuple):
    marker: int
    start: int
    end: int


def decode_jpeg(data: bytes) -> tuple[Pixels, bytes]:
    """Decode a JPEG; return pixels as stored and raw EXIF."""
    segments = _segments(data)
    marker, width, height, channels = _frame(data, segments)
    size = check_size(width, height)
    if segments[-1].marker != _START_OF_SCAN or segments[-1].end >= len(data):
        raise truncated("a whole JPEG, it ends within its header")
    one_scan = marker in _SEQUENTIAL and data[segments[-1].start : segments[-1].start + 1] == bytes([channels])
    if not one_scan and (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise DecodeError("photo_too_large", f"expected at most {MAX_SCANS} scans in a JPEG, got {scans:,}")
    exif = next(
        (data[s.start : s.end] for s in segments if s.marker == _APP1 and data.startswith(b"Exif\0\0", s.start)), b""
    )
    try:
        if channels == 4:
            return _from_inks(simplejpeg.decode_jpeg(data, "CMYK")), exif
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB"), dtype=np.uint8), exif
    except (ValueError, KeyError) as error:
        reason = str(error)
        if "Premature end of JPEG" in reason:
            raise truncated("a whole JPEG, its data end early") from error
        if "Corrupt JPEG data" in reason and "extraneous" not in reason:
            raise unreadable(f"a sound JPEG, got damaged data ({reason})") from error
    # Stray bytes between segments, rare subsampling: nothing is lost, and Pillow reads it.
    needed = [data[segment.start - 4 : segment.end] for segment in segments if segment.marker not in _METADATA]
    rest = data[segments[-1].end :]
    from PIL.JpegImagePlugin import JpegImageFile

    return decode_with_pillow(JpegImageFile, b"".join([data[:2], *needed, rest]), size), exif


def _from_inks(inks: Pixels) -> Pixels:
    """Turn stored CMYK into RGB. As Adobe does and everybody after it, JPEG stores the inks inverted."""
    from PIL import Image  # Pillow takes a third of the import, and few photos need it

    size = (inks.shape[1], inks.shape[0])
    image = Image.frombytes("CMYK", size, inks.tobytes(), "raw", "CMYK;I")
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _segments(data: bytes) -> list[_Segment]:
    """List the segments up to the first scan's header; stray bytes between them are passed over."""
    segments: list[_Segment] = []
    found = _MARKER.search(data, 2)
    while found and found.end() + 2 <= len(data):
        position, marker = found.start(), data[found.end() - 1]
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segments.append(_Segment(marker, position + 4, position + 2 + length))
        if marker == _START_OF_SCAN or length < 2:
            break
        if len(segments) > MAX_SEGMENTS:
            raise DecodeError("photo_too_large", f"expected at most {MAX_SEGMENTS:,} segments in a JPEG, got more")
        found = _MARKER.search(data, position + 2 + length)
    return segments


def _frame(data: bytes, segments: Sequence[_Segment]) -> tuple[int, int, int, int]:
    """Return marker, width, height and channels of the frame header."""
    for marker, start, end in segments:
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME and start + 6 <= min(end, len(data)):
            height, width, channels = struct.unpack_from(">HHB", data, start + 1)
            return marker, width, height, channels
    if (segments[-1].end if segments else 3) > len(data) - 4:
        raise truncated("a whole JPEG, it ends within its header")
    raise unreadable("a JPEG, its header names no size")

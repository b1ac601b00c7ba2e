"""EXIF: what the camera wrote beside the pixels. A damaged tag is no tag; the photo itself may well be whole.

EXIF is a TIFF directory, so what reads one reads the other: ``attributes.tiff`` shares ``fields`` and ``integers``.

Sources: EXIF 2.32, tables 4–8; TIFF 6.0, section 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
_EXIF_DIRECTORY, _TAKEN, _DIGITISED, _FOCAL_LENGTH = 0x8769, 0x9003, 0x9004, 0x920A

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ENTRY_BYTES = 12

_TEXT = 2
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
_RATIONALS = {5: "II", 10: "ii"}
_BYTES = {1: 1, _TEXT: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


@dataclass(frozen=True, slots=True)
class Exif:
    """What EXIF says, None where it says nothing valid.

    Attributes:
        orientation: 1–8.
        captured_at: local time of capture as ISO 8601.
        camera: maker and model.
        focal_length: in millimetres.
    """

    orientation: int | None = None
    captured_at: str | None = None
    camera: str | None = None
    focal_length: float | None = None


class Field(NamedTuple):
    """Where a tag's values lie.

    Attributes:
        kind: TIFF type, 1–13.
        length: number of values.
        start: offset of the first.
        end: offset behind the last; may lie outside of the file.
    """

    kind: int
    length: int
    start: int
    end: int


def read(raw: bytes) -> Exif:
    """Read the tags of interest from EXIF data, with or without the word Exif before; a TIFF file is EXIF too."""
    raw = raw.removeprefix(b"Exif\0\0")
    order = byte_order(raw)
    if order is None:
        return Exif()
    main = fields(raw, first_directory(raw, order), order)
    inner = integers(raw, main.get(_EXIF_DIRECTORY), order)
    tags = (fields(raw, inner[0], order) if inner else {}) | main
    orientation = integers(raw, main.get(_ORIENTATION), order)  # viewers and detectors look nowhere else
    return Exif(
        orientation=orientation[0] if orientation and 1 <= orientation[0] <= 8 else None,
        captured_at=_captured_at(raw, tags),
        camera=_camera(raw, tags),
        focal_length=_focal_length(raw, tags, order),
    )


def byte_order(data: bytes) -> str | None:
    """Tell the ``struct`` prefix of a TIFF header's byte order, None where there is no such header."""
    return _ORDERS.get(data[:4]) if len(data) >= 8 else None


def first_directory(data: bytes, order: str) -> int:
    """Return the offset of the first directory, which the TIFF header names."""
    return int(struct.unpack_from(f"{order}I", data, 4)[0])


def fields(data: bytes, position: int, order: str) -> dict[int, Field]:
    """List the tags of the directory at an offset, as far as the data go; the first where a tag repeats."""
    found: dict[int, Field] = {}
    if position + 2 > len(data):
        return found
    stated = struct.unpack_from(f"{order}H", data, position)[0]
    for index in range(min(stated, (len(data) - position - 2) // _ENTRY_BYTES)):
        entry = position + 2 + _ENTRY_BYTES * index
        tag, kind, count, offset = struct.unpack_from(f"{order}HHII", data, entry)
        size = _BYTES.get(kind, 0) * count
        start = entry + 8 if size <= 4 else offset
        if size:
            found.setdefault(tag, Field(kind, count, start, start + size))
    return found


def integers(data: bytes, field: Field | None, order: str) -> tuple[int, ...]:
    """Read a tag's whole numbers; empty where it is absent, outside of the data, or of another type."""
    if field is None or field.kind not in _INTEGERS or field.end > len(data):
        return ()
    return struct.unpack_from(f"{order}{field.length}{_INTEGERS[field.kind]}", data, field.start)


def _text(raw: bytes, field: Field | None) -> str:
    if field is None or field.kind != _TEXT:
        return ""
    return re.sub(r"[\x00\s]+", " ", raw[field.start : field.end].decode("latin-1")).strip()


def _captured_at(raw: bytes, tags: Mapping[int, Field]) -> str | None:
    for tag in (_TAKEN, _DIGITISED):
        try:
            return datetime.strptime(_text(raw, tags.get(tag)), "%Y:%m:%d %H:%M:%S").isoformat()
        except ValueError:  # "    :  :     :  :  " and zeros stand for "not set"
            continue
    return None


def _camera(raw: bytes, tags: Mapping[int, Field]) -> str | None:
    make, model = _text(raw, tags.get(_MAKE)), _text(raw, tags.get(_MODEL))
    name = model if make and model.lower().startswith(make.lower().split()[0]) else f"{make} {model}".strip()
    return name or None


def _focal_length(raw: bytes, tags: Mapping[int, Field], order: str) -> float | None:
    field = tags.get(_FOCAL_LENGTH)
    if field is None or field.kind not in _RATIONALS or field.end > len(raw):
        return None
    above, below = struct.unpack_from(f"{order}{_RATIONALS[field.kind]}", raw, field.start)
    return above / below if below and above / below > 0 else None

"""EXIF: what the camera wrote beside the pixels. A damaged tag is no tag; the photo itself may well be whole.

EXIF is a TIFF directory, so what reads one reads the other: ``attributes.tiff`` shares ``fields`` and ``integers``.

Sources: EXIF 2.32, tables 4–8; TIFF 6.0, section 2; for the 35 mm equivalent CIPA DCG-001, which goes by the diagonal.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
_EXIF_DIRECTORY, _CHANGED, _TAKEN, _DIGITISED = 0x8769, 0x0132, 0x9003, 0x9004
_FOCAL_LENGTH, _FOCAL_35MM, _WIDTH, _HEIGHT = 0x920A, 0xA405, 0xA002, 0xA003
_DENSITY_X, _DENSITY_Y, _DENSITY_UNIT = 0xA20E, 0xA20F, 0xA210

FILM_DIAGONAL = math.hypot(36.0, 24.0)
"""Of 35 mm film, in mm."""

_MM = {2: 25.4, 3: 10.0}
"""Units of the focal plane's resolution: inch and centimetre."""

_SHORTEST, _LONGEST = 9.0, 3000.0
"""Equivalent focal lengths that exist: the widest lens that keeps lines straight, and the longest zoom of a compact
camera. 0 stands for unknown, and what lies outside was no measurement."""

_SAME_SHAPE = 0.02
"""Relative difference of aspect ratios that rounding explains when a photo is reduced to some 50 px. A crop by as
little moves the focal length by no more than that."""

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
        focal_35mm: millimetres on 35 mm film at the same diagonal angle of view, as the camera states it or from its
            focal plane; None too where no lens has it.
        size: width and height that the camera stored.
    """

    orientation: int | None = None
    captured_at: str | None = None
    camera: str | None = None
    focal_length: float | None = None
    focal_35mm: float | None = None
    size: tuple[int, int] | None = None


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
        focal_length=_ratio(raw, tags.get(_FOCAL_LENGTH), order),
        focal_35mm=_focal_35mm(raw, tags, order),
        size=_size(raw, tags, order),
    )


def focal_px(told: Exif, width: int, height: int) -> float | None:
    """Focal length in pixels of a photo, None where it cannot be told.

    Photos that were scaled keep their angle of view, and so the 35 mm equivalent. Those of another shape than the
    camera stored were cropped, and nobody knows by how much. A crop to the same shape, or by a program that states the
    new size as the camera's, goes unseen.

    Args:
        told: of the photo's file.
        width: of the photo as stored, before orientation is applied.
        height: the same.

    >>> round(focal_px(Exif(focal_35mm=35.0, size=(2560, 1920)), 640, 480))
    647
    """
    if told.focal_35mm is None:
        return None
    if told.size is not None and abs(math.log(width * told.size[1] / (height * told.size[0]))) > _SAME_SHAPE:
        return None
    return told.focal_35mm / FILM_DIAGONAL * math.hypot(width, height)


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


def _focal_35mm(raw: bytes, tags: Mapping[int, Field], order: str) -> float | None:
    stated = integers(raw, tags.get(_FOCAL_35MM), order)
    equivalent = float(stated[0]) if stated and stated[0] else _from_focal_plane(raw, tags, order)
    return equivalent if equivalent is not None and _SHORTEST <= equivalent <= _LONGEST else None


def _from_focal_plane(raw: bytes, tags: Mapping[int, Field], order: str) -> float | None:
    """Equivalent focal length by the size of the sensor: the pixels stored over the pixels per unit of length.

    Programs that scale a photo state its new size and leave the focal plane as it was, so that sensors shrink to a
    quarter. They also state when they did it: only files unchanged since they were taken are believed.
    """
    focal, size = _ratio(raw, tags.get(_FOCAL_LENGTH), order), _size(raw, tags, order)
    across, down = (_ratio(raw, tags.get(tag), order) for tag in (_DENSITY_X, _DENSITY_Y))
    unit = _MM.get(next(iter(integers(raw, tags.get(_DENSITY_UNIT), order)), 2))
    taken = _text(raw, tags.get(_TAKEN))
    if focal is None or size is None or across is None or down is None or unit is None:
        return None
    if not taken or taken != _text(raw, tags.get(_CHANGED)):
        return None
    return focal * FILM_DIAGONAL / (unit * math.hypot(size[0] / across, size[1] / down))


def _size(raw: bytes, tags: Mapping[int, Field], order: str) -> tuple[int, int] | None:
    width, height = (next(iter(integers(raw, tags.get(tag), order)), 0) for tag in (_WIDTH, _HEIGHT))
    return (width, height) if width > 0 and height > 0 else None


def _ratio(raw: bytes, field: Field | None, order: str) -> float | None:
    """Read a tag's first rational number; None unless it is above 0."""
    if field is None or field.kind not in _RATIONALS or field.end > len(raw):
        return None
    above, below = struct.unpack_from(f"{order}{_RATIONALS[field.kind]}", raw, field.start)
    return above / below if below and above / below > 0 else None

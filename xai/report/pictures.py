"""Photos and heat maps as data URIs, shrunk until all of them together fit the page."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image, UnidentifiedImageError

from xai.exceptions import RunError

PHOTO_BYTES = 4_700_000
"""What all photos of a page may weigh together, before base64 adds a third."""

MAP_BYTES = 800_000
"""What all heat maps of a page may weigh together."""

REPAIR_BYTES = 1_000_000
"""What all repaired photos of a page may weigh together."""

ALIKE_BYTES = 900_000
"""What all strips of training objects may weigh together."""

PHOTO_STEPS = ((640, 85), (640, 72), (512, 70), (448, 65), (384, 60), (320, 55), (256, 50))
"""Longest side in pixels and JPEG quality, tried in order until a photo fits its part."""

MAP_STEPS = ((480, 80), (320, 75), (240, 70), (160, 60), (96, 50))
"""The same for heat maps (WebP, which keeps transparency); they are smooth, so little is lost."""

ALIKE_STEPS = ((344, 75), (344, 55), (270, 50), (200, 45))
"""The same for strips of training objects."""

REPAIR_STEPS = ((480, 75), (384, 65), (320, 60), (256, 50), (192, 45))
"""The same for repaired photos."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture inside the page.

    Attributes:
        key: unique name, made of the content; equal files share one.
        uri: ``data:`` URI, or the path of a file beside the page.
        size: width and height as shown, pixels.
        embedded: the page holds it.
    """

    key: str
    uri: str
    size: tuple[int, int]
    embedded: bool = True


def embed_photos(files: Sequence[Path], budget: int = PHOTO_BYTES) -> dict[Path, Picture]:
    """Embed JPEG files; files of equal content (misses in one photo) become one picture.

    Args:
        files: existing files.
        budget: bytes for all of them.

    Raises:
        RunError: a file is not a picture.
    """
    return _embed(files, budget, PHOTO_STEPS, "JPEG")


def embed_maps(files: Sequence[Path], budget: int = MAP_BYTES) -> dict[Path, Picture]:
    """Embed heat maps, with transparency where they have it.

    Raises:
        RunError: a file is not a picture.
    """
    return _embed(files, budget, MAP_STEPS, "WEBP")


def embed_repairs(files: Sequence[Path], budget: int = REPAIR_BYTES) -> dict[Path, Picture]:
    """Embed repaired photos.

    Raises:
        RunError: a file is not a picture.
    """
    return _embed(files, budget, REPAIR_STEPS, "JPEG")


def embed_alike(files: Sequence[Path], budget: int = ALIKE_BYTES) -> dict[Path, Picture]:
    """Embed strips of training objects.

    Raises:
        RunError: a file is not a picture.
    """
    return _embed(files, budget, ALIKE_STEPS, "JPEG")


def embed_logo(file: Path) -> Picture:
    """Embed a logo, at most 480 × 160 pixels.

    Raises:
        RunError: the file is not a picture.
    """
    with _opened(file, file.read_bytes()) as image:
        small = image.convert("RGBA")
    small.thumbnail((480, 160), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return Picture("logo", _uri(buffer.getvalue(), "PNG"), small.size)


def beside(files: Sequence[Path], page: Path) -> dict[Path, Picture]:
    """Refer to pictures that stay in a folder beside the page.

    Raises:
        RunError: a file is not a picture.
    """
    made = {}
    for file in files:
        with _opened(file, file.read_bytes()) as image:
            made[file] = Picture(file.stem, quote(file.relative_to(page.parent).as_posix()), image.size, embedded=False)
    return made


def _embed(files: Sequence[Path], budget: int, steps: Sequence[tuple[int, int]], kind: str) -> dict[Path, Picture]:
    contents = {file: file.read_bytes() for file in files}
    keys = {file: hashlib.sha256(data).hexdigest()[:16] for file, data in contents.items()}
    distinct: Mapping[str, Path] = {key: file for file, key in keys.items()}
    part = budget // max(1, len(distinct))
    made = {key: _fit(file, contents[file], part, steps, kind, key) for key, file in distinct.items()}
    return {file: made[key] for file, key in keys.items()}


def _fit(file: Path, data: bytes, part: int, steps: Sequence[tuple[int, int]], kind: str, key: str) -> Picture:
    with _opened(file, data) as opened:
        if opened.format == kind == "JPEG" and len(data) <= part:
            return Picture(key, _uri(data, kind), opened.size)
        image = opened.convert("RGB" if kind == "JPEG" or not opened.has_transparency_data else "RGBA")
    encoded, area = b"", 1
    for place, (side, quality) in enumerate(steps):
        # A size is not tried whose area alone says that it will not do.
        shrunk = area * min(1.0, side / max(image.size)) ** 2
        if encoded and len(encoded) * shrunk / area > 1.4 * part and place < len(steps) - 1:
            continue
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        area = image.width * image.height
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=quality)
        encoded = buffer.getvalue()
        if len(encoded) <= part:
            break
    return Picture(key, _uri(encoded, kind), image.size)


@contextmanager
def _opened(file: Path, data: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data)) as opened:
            yield opened
    # ultralytics, once imported, replaces Image.open by one that asks for a HEIF plug-in where no format fits.
    except (UnidentifiedImageError, OSError, ImportError) as error:
        raise RunError(f"expected a picture at {file}, cannot read it ({error}): delete it or triage again") from error


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode('ascii')}"

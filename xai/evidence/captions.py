"""Heat maps with their scale and figures beneath, one by one and many on a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xai.evidence.pictures import HELPS, SUPPRESSES
from xai.types import Pixels

_GROUND, _INK, _FAINT = (250, 250, 250), (25, 25, 25), (120, 120, 120)
_NONE = (128, 128, 128)
_FONT = 11
_LINE = 18
_BAR = 10
_MARGIN = 8


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands under a heat map.

    Attributes:
        lines: text.
        scale: change of the target, overlap × score, that the strongest colour stands for.
        trusted: whether the map is better than random maps.
    """

    lines: tuple[str, ...]
    scale: float
    trusted: bool = True


def captioned(picture: Pixels, caption: Caption) -> Pixels:
    """Put the colours' scale and text under a picture (h, w, 3); the picture keeps its size."""
    width = picture.shape[1]
    font = _font()
    text = [line for entry in _entries(caption) for line in _wrapped(entry, width - 2 * _MARGIN, font)]
    strip = Image.new("RGB", (width, 3 * _MARGIN + _BAR + _LINE * (len(text) + 1)), _GROUND)
    draw = ImageDraw.Draw(strip)
    strip.paste(Image.fromarray(_bar(width - 2 * _MARGIN)), (_MARGIN, _MARGIN))
    below = _MARGIN + _BAR
    for label, place, anchor in (
        (f"holds back −{caption.scale:.2g}", _MARGIN, "la"),
        ("0", width // 2, "ma"),
        (f"+{caption.scale:.2g} helps", width - _MARGIN, "ra"),
    ):
        draw.text((place, below + 2), label, _FAINT, font, anchor)
    for index, line in enumerate(text):
        draw.text((_MARGIN, below + _MARGIN + _LINE * (index + 1)), line, _INK, font)
    return np.concatenate([picture, np.asarray(strip)])


def write_captioned(picture: Path, path: Path, caption: Caption) -> None:
    """Write a picture file with a caption beneath, as PNG."""
    _save(captioned(_read(picture), caption), path)


def write_sheet(tiles: Sequence[tuple[Pixels, Caption]], path: Path, *, columns: int = 6, width: int = 300) -> None:
    """Write captioned pictures side by side, in rows, as one PNG.

    Args:
        tiles: pictures (h, w, 3) and their captions, in order.
        path: where to write.
        columns: pictures a row.
        width: of a picture, pixels.

    Raises:
        ValueError: there are no tiles.
    """
    if not tiles:
        raise ValueError("expected at least one picture for the sheet, got none")
    made = []
    for picture, caption in tiles:
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        made.append(captioned(np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)), caption))
    rows = [made[start : start + columns] for start in range(0, len(made), columns)]
    across = min(columns, len(made))
    sheet = []
    for row in rows:
        band = np.full((max(len(tile) for tile in row) + _MARGIN, across * (width + _MARGIN), 3), 255, np.uint8)
        for index, tile in enumerate(row):
            left = index * (width + _MARGIN)
            band[: len(tile), left : left + width] = tile
        sheet.append(band)
    _save(np.concatenate(sheet), path)


def _entries(caption: Caption) -> list[str]:
    return [*caption.lines, *([] if caption.trusted else ["No better than random: do not lean on it."])]


@cache
def _font() -> ImageFont.FreeTypeFont:
    """Open DejaVu Sans, which matplotlib brings along; Pillow's own font knows hardly more than ASCII."""
    from matplotlib import get_data_path

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), _FONT)


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Break text at spaces into lines that fit ``width`` pixels; a word that does not fit stands alone."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _bar(width: int) -> Pixels:
    """Draw the colours from what holds back to what helps, (_BAR, width, 3)."""
    place = np.linspace(-1, 1, max(width, 1))[:, None]
    end = np.where(place < 0, np.array(SUPPRESSES), np.array(HELPS))
    colours = np.array(_NONE) + (end - np.array(_NONE)) * np.abs(place)
    return np.repeat(np.rint(colours)[None], _BAR, axis=0).astype(np.uint8)


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _save(pixels: Pixels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")

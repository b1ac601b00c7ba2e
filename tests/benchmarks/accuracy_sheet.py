"""A sheet of photos with their tags, to be looked at: the extremes of every attribute and some drawn by lot.

    python tests/benchmarks/accuracy_sheet.py --out sheet.jpg [--data ../shared/data] [--photos 40] [--seed 0]

Tags are written where they are told: the value with its bin, extreme ones in colour. Boxes are drawn for VOC photos,
with what is extreme about their objects.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import accuracy_data as data
import cv2
import numpy as np
from accuracy_bins import bin_of
from accuracy_objects import annotated
from harness import DATA
from PIL import Image, ImageDraw, ImageFont

from attributes import ATTRIBUTES, Measured, measure
from attributes.arrays import Boxes, Pixels
from attributes.reduced import fit

FOLDERS = {"voc/eval/JPEGImages": 120, "coco/images/train2017": 60, "york": 15, "glare/images": 40}
"""Photos of each folder among which the sheet is chosen."""

COLUMNS = 5
WIDTH, TALLEST, TEXT = 380, 300, 118  # px of a cell: its photo and the lines under it
NORMAL = {"normal", "little", "none", "sharp", "low", "high", "landscape", "portrait", "square", "0", "level", "alone"}
NORMAL |= {"whole", "centre", "off-centre", "some", "small", "medium", "large", "mild"}
"""Bins that are nothing to look at; those of an attribute whose low or high end matters are listed below."""

NOTABLE = {("contrast", "low"), ("contrast", "high"), ("jpeg_quality", "low"), ("glare", "mild"), ("haze", "light")}
NOTABLE |= {("object_contrast", "low")}


def candidates(folder: Path) -> list[Path]:
    """Photos of all folders, the same number from everywhere in each."""
    found = []
    for part, most in FOLDERS.items():
        every = data.paths(folder / part, None)
        found += every[:: max(1, len(every) // most)]
    return found


def boxes_of(path: Path) -> Boxes:
    """Boxes of a VOC photo; none for others."""
    labels = path.parent.parent / f"Annotations/{path.stem}.xml"
    return annotated(labels).boxes if labels.is_file() else np.empty((0, 4))


def chosen(tags: Mapping[str, np.ndarray], count: int, seed: int) -> list[int]:
    """Indices of the photos with the lowest and the highest value of each attribute, then of some by lot."""
    picked: list[int] = []
    for values in tags.values():
        order = np.argsort(values)  # NaN last
        order = order[np.isfinite(values[order])]
        picked += [int(order[place]) for place in (0, -1) if len(order)]
    rest = np.random.default_rng(seed).permutation(len(next(iter(tags.values())))).tolist()
    return list(dict.fromkeys([*picked, *rest]))[:count]


def words(name: str, value: float) -> tuple[str, bool]:
    """``name value bin`` and whether it is worth a look."""
    attribute = ATTRIBUTES[name]
    part = attribute.bins[int(bin_of(name, np.array([value]))[0])].name
    notable = (name, part) in NOTABLE or part not in NORMAL
    shown = f"{value:.0f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{name} {shown} {part}", notable


def cell(photo: Pixels, boxes: Boxes, measured: Measured, title: str) -> Image.Image:
    """One photo with its tags under it."""
    small = fit(photo, WIDTH - 10 if photo.shape[1] >= photo.shape[0] else TALLEST)
    if small.shape[0] > TALLEST:
        small = np.asarray(cv2.resize(small, (small.shape[1] * TALLEST // small.shape[0], TALLEST)))
    scale = small.shape[1] / photo.shape[1]
    image = Image.new("RGB", (WIDTH, TALLEST + TEXT), "white")
    image.paste(Image.fromarray(small), (5, 0))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    for index, box in enumerate(boxes * scale):
        said = [words(name, values[index]) for name, values in measured.objects.items() if np.isfinite(values[index])]
        lines = [text.removeprefix("object_") for text, notable in said if notable]
        left, top, right, bottom = box.tolist()
        draw.rectangle((left + 5, top, right + 5, bottom), outline="yellow")
        for row, text in enumerate(lines):
            draw.text(
                (left + 7, top + 1 + 11 * row), text, fill="yellow", font=font, stroke_width=1, stroke_fill="black"
            )
    draw.text((5, TALLEST + 2), title, fill="gray", font=font)
    x, y = 5, TALLEST + 15
    for name, values in measured.images.items():
        text, notable = words(name, values[0]) if np.isfinite(values[0]) else (f"{name} ?", False)
        width = int(draw.textlength(text, font)) + 10
        if x + width > WIDTH:
            x, y = 5, y + 14
        draw.text((x, y), text, fill="#c03000" if notable else "black", font=font)
        x += width
    return image


def sheet(paths: Sequence[Path], folder: Path) -> Image.Image:
    """All cells in rows."""
    cells = []
    for path in paths:
        photo, boxes = data.pixels(path), boxes_of(path)
        cells.append(cell(photo, boxes, measure([photo], [boxes]), path.relative_to(folder).as_posix()))
    rows = -(-len(cells) // COLUMNS)
    image = Image.new("RGB", (COLUMNS * WIDTH, rows * (TALLEST + TEXT)), "white")
    for index, part in enumerate(cells):
        image.paste(part, (index % COLUMNS * WIDTH, index // COLUMNS * (TALLEST + TEXT)))
    return image


def main() -> None:
    """Choose the photos and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, required=True, help="JPEG or PNG file; photos are never to be committed")
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = arguments.data.resolve()
    paths = candidates(folder)
    found = [measure([data.pixels(path)]).images for path in paths]
    tags = {name: np.concatenate([item[name] for item in found]) for name in found[0]}
    picked = chosen(tags, arguments.photos, arguments.seed)
    sheet([paths[index] for index in picked], folder).save(arguments.out, quality=90)


if __name__ == "__main__":
    main()

"""Pictures of explained misses: the bare photo for the gallery, and the heat map over the photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from xai.files import replacing
from xai.types import Boxes, Pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HELPS = (255, 176, 0)
SUPPRESSES = (100, 143, 255)
"""Amber and blue differ in hue and lightness for every kind of colour vision, and from the grey photo below."""

FRAME = (213, 94, 0)
"""The frame of the missed object, as in the report."""

_SIDE = 640
"""Longest side of a picture, pixels."""


def write_gallery_photo(pixels: Pixels, path: Path) -> None:
    """Write a photo as JPEG, at most 640 pixels on its longest side, with nothing drawn on it."""
    small = _shrink(pixels)
    _write(small, path, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 88])


def write_repaired(pixels: Pixels, box: Boxes, path: Path) -> None:
    """Write a changed photo as JPEG, at most 640 pixels on its longest side, with a frame around the object.

    Args:
        pixels: the photo as the detector was shown it.
        box: (4,) the object's, in its pixels.
        path: where to write.
    """
    small = _shrink(pixels).copy()
    factor = np.array([small.shape[1] / pixels.shape[1], small.shape[0] / pixels.shape[0]])
    x1, y1, x2, y2 = np.rint(box.reshape(2, 2) * factor).astype(int).ravel().tolist()
    for colour, thickness in (((255, 255, 255), 4), (FRAME, 2)):
        cv2.rectangle(small, (x1, y1), (x2 - 1, y2 - 1), colour, thickness)
    _write(small, path, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 85])


def write_overlay(pixels: Pixels, saliency: NDArray[np.floating], box: Boxes, path: Path) -> None:
    """Write the heat map over the dimmed photo as PNG: amber helps, blue suppresses, a white frame around the object.

    Args:
        pixels: the photo.
        saliency: (h, w) of the photo's aspect, signed; shown from 0 to its largest magnitude.
        box: (4,) in pixels of the photo.
        path: where to write.
    """
    _write(overlay(pixels, saliency, box), path, ".png", [])


def overlay(pixels: Pixels, saliency: NDArray[np.floating], box: Boxes) -> Pixels:
    """Draw the heat map over the dimmed photo, at most 640 pixels on its longest side; arguments as above."""
    small = _shrink(pixels)
    height, width = small.shape[:2]
    heat = cv2.resize(saliency.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    strength = np.abs(heat) / max(float(np.abs(heat).max()), 1e-12)
    grey = 0.75 * cv2.cvtColor(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    colour = np.where(heat[..., None] >= 0, np.array(HELPS, np.float32), np.array(SUPPRESSES, np.float32))
    # Weak values fade faster than in proportion, so that the noise of the estimate does not tint the whole photo.
    alpha = 0.8 * strength[..., None] ** 1.5
    picture: Pixels = np.rint(grey * (1 - alpha) + colour * alpha).astype(np.uint8)
    factor = np.array([width / pixels.shape[1], height / pixels.shape[0]])
    x1, y1, x2, y2 = np.rint(box.reshape(2, 2) * factor).astype(int).ravel().tolist()
    for shade, thickness in ((0, 4), (255, 2)):
        cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), (shade, shade, shade), thickness)
    return picture


def figure(picture_file: Path, scale: float, title: str) -> Figure:
    """Show a picture made by ``write_overlay`` with its colours' scale, for notebooks.

    Args:
        picture_file: the picture.
        scale: change of the target, overlap × score, that the strongest colour stands for.
        title: above the picture.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure

    picture = cv2.cvtColor(cv2.imdecode(np.fromfile(picture_file, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    shades = np.array([SUPPRESSES, (128, 128, 128), HELPS]) / 255
    colours = LinearSegmentedColormap.from_list("helps", shades)
    drawn = Figure(figsize=(8, 8 * picture.shape[0] / picture.shape[1]), layout="constrained")
    axes = drawn.add_subplot()
    axes.imshow(picture)
    axes.set_axis_off()
    axes.set_title(title, wrap=True)
    bar = drawn.colorbar(ScalarMappable(Normalize(-scale, scale), colours), ax=axes, shrink=0.8)
    bar.set_label("holds back  ←  overlap × score of the best candidate  →  helps")
    return drawn


def _shrink(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    factor = _SIDE / max(height, width)
    if factor >= 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small


def _write(pixels: Pixels, path: Path, kind: str, options: list[int]) -> None:
    """Encode and write; OpenCV's own writer cannot name files outside of ASCII everywhere."""
    _, encoded = cv2.imencode(kind, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())

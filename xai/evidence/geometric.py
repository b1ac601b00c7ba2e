"""Repairs and placebos that move pixels, and the affine map that carries boxes along.

Coordinates are continuous: pixel i covers i to i + 1, so that a box over the whole photo is ``0 0 width height``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from xai.types import Boxes, Pixels

Matrix = NDArray[np.float64]
"""2×3 affine map of coordinates: new = matrix @ (x, y, 1)."""

GREY = (114, 114, 114)
"""What fills the canvas beyond the photo: the grey that detectors pad with and have learnt to overlook."""


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """A changed photo.

    Attributes:
        pixels: uint8 H×W×3 RGB.
        matrix: 2×3 affine map from old to new coordinates; the identity where nothing moved.
        box: (4,) the object's box in the new photo.
    """

    pixels: Pixels
    matrix: Matrix
    box: Boxes


def identity() -> Matrix:
    """Return the map that moves nothing."""
    return np.eye(2, 3)


def move(boxes: Boxes, matrix: Matrix) -> Boxes:
    """Carry boxes (n, 4) along an affine map: the axis-parallel boxes around their four moved corners."""
    corners = boxes.reshape(-1, 4)[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
    moved = corners @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([moved.min(1), moved.max(1)], axis=1)


def turn(pixels: Pixels, box: Boxes, degrees: int) -> Repaired:
    """Turn a photo clockwise by 90, 180 or 270 degrees, without resampling."""
    height, width = pixels.shape[:2]
    matrix = {
        90: np.array([[0.0, -1, height], [1, 0, 0]]),
        180: np.array([[-1.0, 0, width], [0, -1, height]]),
        270: np.array([[0.0, 1, 0], [-1, 0, width]]),
    }[degrees]
    turned = np.ascontiguousarray(np.rot90(pixels, k=-degrees // 90))
    return Repaired(turned, matrix, move(box, matrix)[0])


def rotate(pixels: Pixels, box: Boxes, degrees: float) -> Repaired:
    """Rotate a photo clockwise about its middle at its size, shifted where needed to keep the object on the canvas.

    The corners are lost: a canvas that holds them too would show the object smaller, which is a change of its own.

    An axis-parallel box around a tilted object is larger than the box around the same object set upright. The new box
    lies halfway (geometric mean of the sides) between that of a rectangle and that of an ellipse that fill the old
    box tilted by ``degrees``; the true outline of an object is between the two.
    """
    height, width = pixels.shape[:2]
    canvas = np.array([width, height], dtype=np.float64)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    linear = np.array([[cos, -sin], [sin, cos]])
    half = np.minimum(_upright_size(box[2:] - box[:2], degrees), canvas) / 2
    centre = linear @ ((box[:2] + box[2:]) / 2 - canvas / 2) + canvas / 2
    shift = np.clip(centre, half, canvas - half) - centre
    matrix = np.concatenate([linear, (canvas / 2 - linear @ canvas / 2 + shift)[:, None]], axis=1)
    centre = centre + shift
    return Repaired(_warp(pixels, matrix, width, height), matrix, np.concatenate([centre - half, centre + half]))


def zoom(pixels: Pixels, box: Boxes, *, context: float, limit: float = 8.0) -> Repaired | None:
    """Cut out the surroundings of a box and enlarge them to the photo's longest side.

    Args:
        pixels: the photo.
        box: the object.
        context: side of the cut-out square in longest sides of the box.
        limit: largest enlargement.

    Returns:
        None where the enlargement would be under 1.3.
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    side = max(context * float(max(box[2:] - box[:2])), longest / limit)
    size = np.minimum([side, side], [width, height])
    factor = longest / float(size.max())
    if factor < 1.3:
        return None
    corner = np.clip((box[:2] + box[2:]) / 2 - size / 2, 0, [width, height] - size)
    matrix = np.array([[factor, 0, -factor * corner[0]], [0, factor, -factor * corner[1]]])
    new_width, new_height = np.maximum(1, np.rint(size * factor)).astype(int)
    enlarged = _warp(pixels, matrix, int(new_width), int(new_height), interpolation=cv2.INTER_CUBIC)
    return Repaired(enlarged, matrix, move(box, matrix)[0])


def shrink(pixels: Pixels, box: Boxes, factor: float) -> Repaired:
    """Shrink a photo on a grey canvas of the old size, in its middle."""
    height, width = pixels.shape[:2]
    matrix = np.array([[factor, 0, width * (1 - factor) / 2], [0, factor, height * (1 - factor) / 2]])
    small = cv2.resize(
        pixels, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA
    )
    # Resize averages all pixels where warping would skip some, so the map follows its whole-pixel size and place.
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    matrix = np.array([[small.shape[1] / width, 0, left], [0, small.shape[0] / height, top]])
    canvas = np.full_like(pixels, GREY[0])
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return Repaired(canvas, matrix, move(box, matrix)[0])


def extend(pixels: Pixels, box: Boxes, *, touching: float, share: float) -> Repaired | None:
    """Add a margin beyond each edge that the box touches, in the blurred colours of that edge.

    Args:
        pixels: the photo.
        box: the object.
        touching: distance from an edge, in shares of the photo's side, at which a box counts as touching it.
        share: margin in sides of the box.

    Returns:
        None where the box touches no edge.
    """
    height, width = pixels.shape[:2]
    gaps = np.array([box[0] / width, box[1] / height, 1 - box[2] / width, 1 - box[3] / height])
    sides = np.tile(box[2:] - box[:2], 2)
    left, top, right, bottom = np.where(gaps <= touching, np.ceil(share * sides), 0).astype(int).tolist()
    if left + top + right + bottom == 0:
        return None
    padded = cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_REPLICATE)
    # Streaks of a replicated edge look like structure; only their slow change of colour is kept.
    blurred = cv2.blur(padded, (max(3, padded.shape[1] // 16 * 2 + 1), max(3, padded.shape[0] // 16 * 2 + 1)))
    blurred[top : top + height, left : left + width] = pixels
    matrix = np.array([[1.0, 0, left], [0, 1, top]])
    return Repaired(blurred, matrix, move(box, matrix)[0])


def flip(pixels: Pixels, box: Boxes) -> Repaired:
    """Mirror a photo left to right."""
    matrix = np.array([[-1.0, 0, pixels.shape[1]], [0, 1, 0]])
    return Repaired(np.ascontiguousarray(pixels[:, ::-1]), matrix, move(box, matrix)[0])


def shift(pixels: Pixels, box: Boxes, distance: int) -> Repaired:
    """Shift a photo right and down by whole pixels; the edge repeats."""
    height, width = pixels.shape[:2]
    moved = cv2.copyMakeBorder(pixels, distance, 0, distance, 0, cv2.BORDER_REPLICATE)[:height, :width]
    matrix = np.array([[1.0, 0, distance], [0, 1, distance]])
    return Repaired(np.ascontiguousarray(moved), matrix, move(box, matrix)[0])


def resample(pixels: Pixels, box: Boxes, factor: float) -> Repaired:
    """Scale a photo slightly about its centre on a canvas of the old size; the edge repeats."""
    height, width = pixels.shape[:2]
    matrix = np.array([[factor, 0, width * (1 - factor) / 2], [0, factor, height * (1 - factor) / 2]])
    scaled = _warp(pixels, matrix, width, height, border=cv2.BORDER_REPLICATE)
    return Repaired(scaled, matrix, move(box, matrix)[0])


def _warp(
    pixels: Pixels,
    matrix: Matrix,
    width: int,
    height: int,
    *,
    interpolation: int = cv2.INTER_LINEAR,
    border: int = cv2.BORDER_CONSTANT,
) -> Pixels:
    """Apply an affine map of continuous coordinates; OpenCV's whole numbers are the centres of pixels."""
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2].sum(1) * 0.5 - 0.5
    warped: Pixels = cv2.warpAffine(
        pixels, centred, (width, height), flags=interpolation, borderMode=border, borderValue=GREY
    )
    return warped


def _upright_size(size: Boxes, degrees: float) -> Boxes:
    """Width and height of the upright object whose tilted image fills a box of ``size`` (2,)."""
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    swapped = size[::-1]
    # Near 45 degrees every upright size has the same box: keep within half and the whole of the old one.
    spread = max(cos**2 - sin**2, 1e-3)
    ellipse = np.sqrt(np.clip((size**2 * cos**2 - swapped**2 * sin**2) / spread, (0.5 * size) ** 2, size**2))
    rectangle = np.clip((size * cos - swapped * sin) / spread, 0.5 * size, size)
    upright: Boxes = np.sqrt(ellipse * rectangle)
    return upright

"""Boxes and pixels between the stored frame (as the file holds them) and the displayed one (EXIF orientation applied).

Source: EXIF 2.32, tag 0x0112. Orientation o says where the stored first row and first column are displayed.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.arrays import Boxes, Pixels

Integers = NDArray[np.int64] | int

_TRANSPOSED = (5, 6, 7, 8)
"""Orientations whose stored rows are displayed as columns."""

_MIRRORED_X = (2, 3, 6, 7)
"""Orientations whose displayed x runs from the right, after transposing."""

_MIRRORED_Y = (3, 4, 7, 8)
"""Orientations whose displayed y runs from below, after transposing."""

_INVERSE = {6: 8, 8: 6}
"""The orientation that undoes another; all the rest undo themselves."""


def displayed_boxes(boxes: Boxes, orientation: Integers, width: Integers, height: Integers) -> Boxes:
    """Move boxes from the stored into the displayed frame.

    Args:
        boxes: (n, 4) ``x1 y1 x2 y2`` in pixels of the photos as stored.
        orientation: (n,) EXIF orientation 1–8 of each box's photo, or one for all; anything else counts as 1.
        width: (n,) of each box's photo as displayed, or one for all.
        height: the same.

    Returns:
        (n, 4) in pixels of the displayed photos; corners keep their meaning, so that a box with x1 > x2 still has one.

    >>> displayed_boxes(np.array([[10.0, 20, 30, 60]]), np.array([6]), np.array([100]), np.array([200])).tolist()
    [[40.0, 10.0, 80.0, 30.0]]
    """
    orientation, width, height = (np.broadcast_to(item, len(boxes)) for item in (orientation, width, height))
    transposed = np.isin(orientation, _TRANSPOSED)[:, None]
    moved = np.where(transposed, boxes[:, [1, 0, 3, 2]], boxes)
    x, y = moved[:, [0, 2]], moved[:, [1, 3]]
    x = np.where(np.isin(orientation, _MIRRORED_X)[:, None], width[:, None] - x[:, ::-1], x)
    y = np.where(np.isin(orientation, _MIRRORED_Y)[:, None], height[:, None] - y[:, ::-1], y)
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)


def stored_boxes(boxes: Boxes, orientation: Integers, width: Integers, height: Integers) -> Boxes:
    """Move boxes from the displayed into the stored frame.

    Args:
        boxes: (n, 4) in pixels of the photos as displayed.
        orientation: (n,) EXIF orientation of each box's photo, or one for all.
        width: (n,) of each box's photo as **displayed**, or one for all.
        height: the same.
    """
    orientation = np.asarray(orientation)
    inverse = np.where(orientation == 6, 8, np.where(orientation == 8, 6, orientation))
    turned = np.isin(orientation, _TRANSPOSED)
    stored_width, stored_height = np.where(turned, height, width), np.where(turned, width, height)
    return displayed_boxes(boxes, inverse, stored_width, stored_height)


def stored_pixels(pixels: Pixels, orientation: int | None) -> Pixels:
    """Undo the EXIF orientation of a displayed photo: what a reader that ignores EXIF sees."""
    return displayed_pixels(pixels, _INVERSE.get(orientation or 1, orientation))


def displayed_map(values: NDArray[np.floating], orientation: int | None) -> NDArray[np.floating]:
    """Apply an EXIF orientation to one value per pixel, H×W as stored; contiguous.

    >>> displayed_map(np.array([[1.0, 2.0, 3.0]]), 8).tolist()
    [[3.0], [2.0], [1.0]]
    """
    if orientation in _TRANSPOSED:
        values = values.T
    if orientation in _MIRRORED_X:
        values = values[:, ::-1]
    if orientation in _MIRRORED_Y:
        values = values[::-1]
    return np.ascontiguousarray(values)


def displayed_pixels(pixels: Pixels, orientation: int | None) -> Pixels:
    """Apply an EXIF orientation (1–8, or None) to H×W×3 pixels as stored; contiguous."""
    if orientation in _TRANSPOSED:
        pixels = np.asarray(cv2.transpose(pixels), dtype=np.uint8)
    flip_x, flip_y = orientation in _MIRRORED_X, orientation in _MIRRORED_Y
    if flip_x or flip_y:
        pixels = np.asarray(cv2.flip(pixels, -1 if flip_x and flip_y else int(flip_x)), dtype=np.uint8)
    return pixels

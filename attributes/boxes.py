"""Sums over boxes of a batch at once, by summed-area tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.arrays import Boxes, Floats

Image = TypeVar("Image", NDArray[np.uint8], NDArray[np.float32])

# Of the corners of a summed-area table: bottom right, bottom left, top right, top left.
_SIGNS = np.array([1.0, -1.0, -1.0, 1.0])


def integral(values: NDArray[np.uint8] | NDArray[np.float32]) -> Floats:
    """Summed-area table, (H+1)×(W+1)[×C] float64, with a zero first row and column (Crow 1984)."""
    return np.asarray(cv2.integral(values, sdepth=cv2.CV_64F), dtype=np.float64)


def box_sums(
    images: Sequence[Image], boxes: Sequence[Boxes], tables: Callable[[Image], Sequence[NDArray[np.generic]]]
) -> tuple[Floats, ...]:
    """Sums over boxes with fractional corners, exact for images that are constant within each pixel.

    All boxes of a batch are worked on together; each image's tables are made, read and dropped in turn.

    Args:
        images: B images, H×W[×C].
        boxes: per image (n, 4) in its pixels, within it.
        tables: image → its summed-area tables, (H+1)×(W+1)[×C], of one channel or of C each.

    Returns:
        For each table (N, channels), the boxes of all images, image after image.
    """
    counts = [len(item) for item in boxes]
    if not sum(counts):
        return ()
    every = np.concatenate([*boxes])
    height, width = np.repeat([image.shape[:2] for image in images], counts, axis=0)[:, :, None].transpose(1, 0, 2)
    x, y = every[:, [2, 0, 2, 0]], every[:, [3, 3, 1, 1]]
    column, row = np.minimum(x.astype(np.int64), width - 1), np.minimum(y.astype(np.int64), height - 1)
    right, down = x - column, y - row
    # Bilinear weights of the four table entries around each corner, with the corner's sign in the sum.
    weights = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down]) * _SIGNS
    corner = row * (width + 1) + column
    places = np.stack([corner, corner + 1, corner + width + 1, corner + width + 2]).transpose(0, 2, 1)
    entries: list[list[NDArray[np.generic]]] = []
    for image, of_image in zip(images, np.split(places, np.cumsum(counts)[:-1], axis=2), strict=True):
        if of_image.shape[2]:
            flat = (table.reshape((image.shape[0] + 1) * (image.shape[1] + 1), -1) for table in tables(image))
            entries.append([table.take(of_image, axis=0) for table in flat])
    shares = weights.transpose(0, 2, 1).reshape(16, -1, 1)
    return tuple(_weighted(shares, np.concatenate(parts, axis=2)) for parts in zip(*entries, strict=True))


def _weighted(weights: Floats, entries: NDArray[np.generic]) -> Floats:
    """Sum over the first axis, always in the same order: a box's sum must not depend on how many others there are."""
    total = np.zeros(entries.shape[2:])
    for weight, entry in zip(weights, entries.reshape(16, *total.shape), strict=True):
        total += weight * entry
    return total


def box_area(boxes: Boxes) -> Floats:
    """(n,) areas; 0 for boxes without extent."""
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1))


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient; NaN where the denominator is not positive."""
    quotient: Floats = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient

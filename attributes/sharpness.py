"""Sharpness: how narrow the edges of a photo are, told from what a known further blur does to them.

An edge of blur σ keeps more of its gradient under a further blur the wider it already is (Zhuo & Sim, "Defocus map
estimation from a single image", Pattern Recognition 2011). Where the gradient is G₁ after a further blur of 1 px and G₂
after one of 2 px, (G₁ / G₂)² = (σ² + 4) / (σ² + 1), hence the sharpness s = 1 / √(1 + σ²) = √((G₁² / G₂² − 1) / 3).
Both squares are pooled over edge pixels, so that contrast, content and number of edges cancel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.views import Floats, Gray, Views, box_sum, divide, integral

# A central difference blurs across the edge like a box of 2 px, variance 1/3; the Gaussian supplies the rest.
_FINE = cv2.getGaussianKernel(7, float(np.sqrt(1 - 1 / 3)))
_COARSE = cv2.getGaussianKernel(13, float(np.sqrt(4 - 1 / 3)))
_SOBEL_GAIN = 8.0

# Side of the cells in which edge pixels are summed for boxes: a quarter of the work for at most a pixel of the outline.
_CELL = 2

EDGE_GRADIENT = 2.5
"""Grey levels per px at which the coarse gradient counts as an edge: five times what noise of σ = 10 levels makes."""

MIN_EDGES = 40
"""Edge pixels below which sharpness cannot be told."""

MIN_SIDE = 8.0
"""Shorter side, in px at ``DETAIL``, below which the sharpness of a box cannot be told: its edges reach beyond it."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Edge pixels of a photo at ``DETAIL``.

    Attributes:
        shape: height and width of the photo at ``DETAIL``.
        position: (e,) index of each edge pixel in the flattened photo.
        fine: (e,) squared gradient at a further blur of 1 px.
        coarse: (e,) squared gradient at a further blur of 2 px.
    """

    shape: tuple[int, int]
    position: NDArray[np.int64]
    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]


def sharpness(views: Views) -> Floats:
    """Sharpness of each photo's edges at ``DETAIL``.

    1 is a perfect step and 0.7 a blur of 1 px; above 1 lie edges that the camera has sharpened, and fine texture.

    Args:
        views: B photos.

    Returns:
        (B,) from 0; NaN where a photo has fewer than ``MIN_EDGES`` edge pixels.

    Example:
        >>> flat = np.full((60, 80, 3), 128, dtype=np.uint8)
        >>> sharpness(Views([flat])).tolist()
        [nan]
    """
    sums = [[edges.fine.sum(), edges.coarse.sum(), edges.position.size] for edges in _edges(views)]
    return _from_energy(np.array(sums, dtype=np.float64).reshape(-1, 3))


def object_sharpness(views: Views) -> Floats:
    """Sharpness of the edges in each box, as ``sharpness``.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) from 0; NaN where a box has fewer than ``MIN_EDGES`` edge pixels or a side under ``MIN_SIDE``.
    """
    sums, sides = [np.empty((0, 3))], [np.empty(0)]
    if not len(views.all_boxes):
        return np.empty(0)
    for index, edges in enumerate(_edges(views)):
        if len(views.boxes[index]):
            cells = _cells(edges)
            boxes = views.boxes_at(index, edges.shape)
            sums.append(box_sum(integral(cells), boxes / _CELL))
            sides.append((boxes[:, 2:] - boxes[:, :2]).min(axis=1))
    return np.where(np.concatenate(sides) >= MIN_SIDE, _from_energy(np.concatenate(sums)), np.nan)


def find_edges(gray: Gray) -> Edges:
    """Find the edges of a photo and their gradients at both blurs.

    Edges are the ridges of the coarse gradient (Canny 1986), which noise hardly moves.

    Args:
        gray: H×W luma.
    """
    fine = cv2.sepFilter2D(gray, -1, _FINE, _FINE)
    coarse = cv2.sepFilter2D(gray, -1, _COARSE, _COARSE)
    dx, dy = cv2.spatialGradient(coarse)
    threshold = EDGE_GRADIENT * _SOBEL_GAIN
    ridges = cv2.Canny(dx, dy, threshold, 2 * threshold, L2gradient=True)
    position = np.flatnonzero(ridges != 0)
    fx, fy = cv2.spatialGradient(fine)
    return Edges(gray.shape[:2], position, _squared(fx, fy, position), _squared(dx, dy, position))


def _edges(views: Views) -> tuple[Edges, ...]:
    return views.shared("edges", lambda: tuple(find_edges(gray) for gray in views.detail))


def _squared(dx: NDArray[np.int16], dy: NDArray[np.int16], position: NDArray[np.int64]) -> NDArray[np.float32]:
    """Squared gradient magnitude at some pixels."""
    x, y = dx.ravel()[position].astype(np.float32), dy.ravel()[position].astype(np.float32)
    return x * x + y * y


def _cells(edges: Edges) -> NDArray[np.float32]:
    """Fine energy, coarse energy and count of edge pixels in square cells, rows×columns×3."""
    rows, columns = (-(-side // _CELL) for side in edges.shape)
    y, x = np.divmod(edges.position, edges.shape[1])
    cell = (y // _CELL) * columns + x // _CELL
    sums = [np.bincount(cell, weights, rows * columns) for weights in (edges.fine, edges.coarse, None)]
    return np.stack(sums, axis=1).astype(np.float32).reshape(rows, columns, 3)


def _from_energy(sums: Floats) -> Floats:
    """Sharpness from sums of fine energy, coarse energy and edge pixels, (n, 3) → (n,)."""
    fine, coarse, count = sums.T
    return np.where(count >= MIN_EDGES, np.sqrt(np.maximum(divide(fine, coarse) - 1.0, 0.0) / 3.0), np.nan)

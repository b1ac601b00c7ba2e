"""Sharpness: how narrow the edges of a photo are, told from what a known further blur does to them.

An edge of blur σ keeps more of its gradient under a further blur the wider it already is (Zhuo & Sim, "Defocus map
estimation from a single image", Pattern Recognition 2011). Where the gradient is G₁ after a further blur of 1 px and G₂
after one of 2 px, (G₁ / G₂)² = (σ² + 4) / (σ² + 1), hence the sharpness s = 1 / √(1 + σ²) = √((G₁² / G₂² − 1) / 3).

Both energies are pooled over edge pixels, so that contrast, content and number of edges cancel. They are pooled as
structure tensors Σ g gᵀ, whose smallest generalised eigenvalue is the energy ratio in the direction in which the edges
are widest: motion blurs in one direction only, and edges along it stay sharp.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.views import Boxes, Floats, Gray, Views, divide

Gradient = NDArray[np.int16]

# A central difference blurs across the edge like a box of 2 px, variance 1/3; the Gaussian supplies the rest.
_FINE = cv2.getGaussianKernel(7, float(np.sqrt(1 - 1 / 3)))
_COARSE = cv2.getGaussianKernel(13, float(np.sqrt(4 - 1 / 3)))
_SOBEL_GAIN = 8.0

# Edges in a direction count for themselves from about this share of all edge energy on.
_LEAST_SHARE = 0.02

# Boxes compared with all edge pixels at a time, which bounds memory.
_BOXES_AT_ONCE = 64

EDGE_GRADIENT = (1.5, 3.0)
"""Coarse gradient, in grey levels per px, at which an edge goes on and starts; noise of σ = 10 levels makes 0.5."""

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
        energy: (6, e) ``xx xy yy`` products of the gradient after a further blur of 1 px, then of 2 px.
    """

    shape: tuple[int, int]
    position: NDArray[np.int64]
    energy: NDArray[np.float32]


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
    sums = [[*edges.energy.sum(axis=1, dtype=np.float64), edges.position.size] for edges in _edges(views)]
    return _from_energy(np.array(sums, dtype=np.float64).reshape(-1, 7))


def object_sharpness(views: Views) -> Floats:
    """Sharpness of the edges in each box, as ``sharpness``.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) from 0; NaN where a box has fewer than ``MIN_EDGES`` edge pixels or a side under ``MIN_SIDE``.
    """
    sums, sides = [np.empty((0, 7))], [np.empty(0)]
    if not len(views.all_boxes):
        return np.empty(0)
    for index, edges in enumerate(_edges(views)):
        if len(views.boxes[index]):
            boxes = views.boxes_at(index, edges.shape)
            sums.append(_sum_in_boxes(edges, boxes))
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
    goes_on, starts = (gradient * _SOBEL_GAIN for gradient in EDGE_GRADIENT)
    ridges = cv2.Canny(dx, dy, goes_on, starts, L2gradient=True)
    position = np.flatnonzero(ridges != 0)
    fx, fy = cv2.spatialGradient(fine)
    energy = [*_products(fx, fy, position), *_products(dx, dy, position)]
    return Edges(gray.shape[:2], position, np.stack(energy))


def _edges(views: Views) -> tuple[Edges, ...]:
    return views.shared("edges", lambda: tuple(find_edges(gray) for gray in views.detail))


def _products(dx: Gradient, dy: Gradient, position: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
    """Products xx, xy and yy of the gradient at some pixels."""
    x, y = dx.ravel()[position].astype(np.float32), dy.ravel()[position].astype(np.float32)
    return x * x, x * y, y * y


def _sum_in_boxes(edges: Edges, boxes: Boxes) -> Floats:
    """(n, 7) energies and count of the edge pixels whose centres lie in each box."""
    y, x = (np.stack(np.divmod(edges.position, edges.shape[1])) + 0.5).astype(np.float32)
    values = np.concatenate([edges.energy, np.ones_like(edges.energy[:1])]).T
    sums = np.empty((len(boxes), 7))
    for start in range(0, len(boxes), _BOXES_AT_ONCE):
        x1, y1, x2, y2 = boxes[start : start + _BOXES_AT_ONCE].T[..., None].astype(np.float32)
        inside = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
        sums[start : start + _BOXES_AT_ONCE] = inside.astype(np.float32) @ values
    return sums


def _from_energy(sums: Floats) -> Floats:
    """Sharpness from sums of the six energies and the count of edge pixels, (n, 7) → (n,)."""
    fxx, fxy, fyy, cxx, cxy, cyy, count = sums.T
    # Without edges in some direction its ratio falls back to that of all.
    fine, coarse = _LEAST_SHARE * (fxx + fyy), _LEAST_SHARE * (cxx + cyy)
    fxx, fyy, cxx, cyy = fxx + fine, fyy + fine, cxx + coarse, cyy + coarse
    # Smaller root of det(F − λ C) = 0.
    square, linear, constant = cxx * cyy - cxy**2, fxx * cyy + fyy * cxx - 2 * fxy * cxy, fxx * fyy - fxy**2
    root = np.sqrt(np.maximum(linear**2 - 4 * square * constant, 0.0))
    ratio = divide(linear - root, 2 * square)
    return np.where(count >= MIN_EDGES, np.sqrt(np.maximum(ratio - 1.0, 0.0) / 3.0), np.nan)

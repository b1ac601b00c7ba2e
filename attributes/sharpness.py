"""Sharpness: how narrow the edges of a photo are, told from what a known further blur does to them.

An edge of blur σ keeps more of its gradient under a further blur the wider it already is (Zhuo & Sim, "Defocus map
estimation from a single image", Pattern Recognition 2011). Where the gradient is G₁ after a further blur of 1 px and G₂
after one of 2 px, (G₁ / G₂)² = (σ² + 4) / (σ² + 1), hence the sharpness s = 1 / √(1 + σ²) = √((G₁² / G₂² − 1) / 3).
Both squares are pooled over edge pixels, so that contrast, content and number of edges cancel.
"""

from __future__ import annotations

import cv2
import numpy as np

from attributes.views import Floats, Gray, Views, box_sum, divide, integral

# A central difference blurs across the edge like a box of 2 px, variance 1/3; the Gaussian supplies the rest.
_FINE = float(np.sqrt(1 - 1 / 3))
_COARSE = float(np.sqrt(4 - 1 / 3))
_SOBEL_GAIN = 8.0

EDGE_GRADIENT = 2.5
"""Grey levels per px at which the coarse gradient counts as an edge: five times what noise of σ = 10 levels makes."""

MIN_EDGES = 40
"""Edge pixels below which sharpness cannot be told."""

MIN_SIDE = 8.0
"""Shorter side, in px at ``DETAIL``, below which the sharpness of a box cannot be told: its edges reach beyond it."""


def edge_energy(gray: Gray) -> tuple[Floats, Floats, Gray]:
    """Squared gradients at both blurs, at the edges of a photo.

    Edges are the ridges of the coarse gradient, which noise hardly moves.

    Args:
        gray: H×W luma.

    Returns:
        fine and coarse squared gradient, H×W float32 and 0 off the edges, and the edges, H×W 0 or 1.
    """
    fine = cv2.GaussianBlur(gray, (0, 0), _FINE)
    coarse = cv2.GaussianBlur(gray, (0, 0), _COARSE)
    dx, dy = cv2.Sobel(coarse, cv2.CV_16S, 1, 0), cv2.Sobel(coarse, cv2.CV_16S, 0, 1)
    threshold = EDGE_GRADIENT * _SOBEL_GAIN
    edges = cv2.Canny(dx, dy, threshold, 2 * threshold, L2gradient=True)
    strong = _squared(cv2.Sobel(fine, cv2.CV_16S, 1, 0), cv2.Sobel(fine, cv2.CV_16S, 0, 1), edges)
    return strong, _squared(dx, dy, edges), edges // 255


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
    sums = [[float(values.sum(dtype=np.float64)) for values in maps] for maps in edge_maps(views)]
    strong, weak, edges = np.array(sums, dtype=np.float64).reshape(-1, 3).T
    return _from_energy(strong, weak, edges)


def object_sharpness(views: Views) -> Floats:
    """Sharpness of the edges in each box, as ``sharpness``.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) from 0; NaN where a box has fewer than ``MIN_EDGES`` edge pixels or a side under ``MIN_SIDE``.
    """
    sums, sides = [np.empty((0, 3))], [np.empty(0)]
    for index, maps in enumerate(edge_maps(views)):
        boxes = views.boxes_at(index, maps[0].shape)
        if len(boxes):
            sums.append(np.stack([box_sum(integral(values), boxes) for values in maps], axis=1))
            sides.append((boxes[:, 2:] - boxes[:, :2]).min(axis=1))
    strong, weak, edges = np.concatenate(sums).T
    return np.where(np.concatenate(sides) >= MIN_SIDE, _from_energy(strong, weak, edges), np.nan)


def edge_maps(views: Views) -> tuple[tuple[Floats, Floats, Gray], ...]:
    """``edge_energy`` of every photo at ``DETAIL``, computed once a batch."""
    return views.shared("edge_energy", lambda: tuple(edge_energy(gray) for gray in views.detail))


def _from_energy(strong: Floats, weak: Floats, edges: Floats) -> Floats:
    ratio = divide(strong, weak)
    sharp = np.sqrt(np.maximum(ratio - 1.0, 0.0) / 3.0)
    return np.where(edges >= MIN_EDGES, sharp, np.nan)


def _squared(dx: np.ndarray, dy: np.ndarray, edges: Gray) -> Floats:
    """Squared gradient magnitude, 0 off the edges."""
    return np.asarray(cv2.magnitude(dx.astype(np.float32), dy.astype(np.float32)) ** 2 * (edges > 0))

"""Noise: what is left in the flattest parts of a photo when structure is taken out."""

from __future__ import annotations

import cv2
import numpy as np

from attributes.views import Floats, Gray, Views

# Difference of two Laplacians: blind to constant, sloped and evenly curved tone (Immerkær 1996). Its squares sum to 36.
_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
_GAIN = 6.0

BLOCK = 16
"""Side of the blocks, in px at ``DETAIL``, that are searched for flat tone."""

FLAT_SHARE = 0.15
"""Share of the usable blocks that count as the flattest."""

MIN_BLOCKS = 4
"""Flat blocks below which noise cannot be told."""

_DARK, _BRIGHT = 12.0, 243.0


def noise(views: Views) -> Floats:
    """Standard deviation of noise in luma, from the flattest blocks of each photo.

    Residual of Immerkær, "Fast noise variance estimation" (CVIU 1996), over the blocks with the least structure; blocks
    near black and white are left out, where clipping hides noise.

    Args:
        views: B photos.

    Returns:
        (B,) grey levels, 0–255; NaN where too few blocks can be used.

    Example:
        >>> white = np.full((60, 80, 3), 255, dtype=np.uint8)
        >>> noise(Views([white])).tolist()
        [nan]
    """
    return np.array([_noise(gray) for gray in views.detail], dtype=np.float64)


def _noise(gray: Gray) -> float:
    rows, columns = gray.shape[0] // BLOCK, gray.shape[1] // BLOCK
    if rows == 0 or columns == 0:
        return float("nan")
    gray = gray[: rows * BLOCK, : columns * BLOCK]
    size = (columns, rows)
    mean = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    residual = cv2.resize(np.abs(cv2.filter2D(gray, cv2.CV_32F, _KERNEL)), size, interpolation=cv2.INTER_AREA)
    structure = _structure(gray, size)
    usable = (mean > _DARK) & (mean < _BRIGHT)
    count = int(usable.sum() * FLAT_SHARE)
    if count < MIN_BLOCKS:
        return float("nan")
    flattest = np.argpartition(structure[usable], count - 1)[:count]
    return float(np.median(residual[usable][flattest]) * np.sqrt(np.pi / 2) / _GAIN)


def _structure(gray: Gray, size: tuple[int, int]) -> Floats:
    """Mean gradient of each block after a blur that takes most noise out, so that quiet blocks are not just lucky."""
    smooth = cv2.blur(gray, (5, 5))
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.resize(np.abs(dx) + np.abs(dy), size, interpolation=cv2.INTER_AREA))

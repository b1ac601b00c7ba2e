"""Noise: the fine grain of the flattest parts of a photo, less what texture of that fineness would leave."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.views import Floats, Gray, Views

# Difference of two Laplacians: blind to constant, sloped and evenly curved tone (Immerkær 1996).
_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)

GAIN = 6 * math.sqrt(2 / math.pi)
"""Mean absolute residual of white noise of σ = 1; the squares of the kernel sum to 36."""

BLOCK = 16
"""Side of the blocks, in px at ``DETAIL``, that are searched for flat tone; bands hold whole ones."""

FLAT_SHARE = 0.1
"""Share of the usable blocks that count as the flattest."""

MIN_BLOCKS = 4
"""Flat blocks below which noise cannot be told."""

DARKEST, BRIGHTEST = 20, 235
"""Mean luma of usable blocks: nearer to black and white clipping cuts noise off."""

# White noise of σ is found as this many σ: the flattest blocks of a half-sized photo are flat by luck too.
LUCK = 1.07

# Where even the flattest blocks keep half their energy at half size they hold texture, and whether there is noise
# beside it cannot be told, unless what is left over is faint anyhow.
TEXTURED = 0.5
FAINT = 4.0

# Noise is as strong in one flat block as in the next, texture is not. In the flattest blocks of 40 photos with planted
# noise of 4 to 10 levels the residual varied by at most 0.28 of its mean (95th percentile); leaves and bark reach 0.7.
UNEVEN = 0.3


def noise(views: Views) -> Floats:
    """Standard deviation of noise in luma, from the flattest blocks of each photo.

    The residual of Immerkær, "Fast noise variance estimation" (CVIU 1996), is taken at full and at half size. Averaging
    halves white noise; grass and fur keep their strength, as natural texture has about equal energy at every octave
    (Field, JOSA A 1987). The difference of the two energies is therefore that of noise alone.

    Args:
        views: B photos.

    Returns:
        (B,) grey levels, 0–255; NaN where too few blocks are neither nearly black nor nearly white,
        or where all of them hold texture.

    Example:
        >>> white = np.full((60, 80, 3), 255, dtype=np.uint8)
        >>> noise(Views([white])).tolist()
        [nan]
    """
    return np.array([_noise(bands.reshape(-1, bands.shape[2])) for bands in views.bands], dtype=np.float64)


def _noise(gray: Gray) -> float:
    rows, columns = gray.shape[0] // BLOCK, gray.shape[1] // BLOCK
    if rows == 0 or columns == 0:
        return float("nan")
    gray = gray[: rows * BLOCK, : columns * BLOCK]
    half = _halved(gray)
    mean = _halved(_halved(_halved(half)))
    usable = (mean >= DARKEST) & (mean <= BRIGHTEST)
    count = int(usable.sum() * FLAT_SHARE)
    if count < MIN_BLOCKS:
        return float("nan")
    rough = np.where(usable, _roughness(half), np.iinfo(np.int32).max)
    row, column = np.nonzero(rough <= np.partition(rough, count - 1, axis=None)[count - 1])
    residuals = _residuals(gray, row, column, rows, columns)
    fine, coarse = residuals.mean() ** 2, _residuals(half, row, column, rows, columns).mean() ** 2
    # Of white noise a quarter of the energy is left at half size.
    sigma = float(np.sqrt(max(fine - coarse, 0.0) / (1 - 1 / 4)) / LUCK)
    textured = coarse > TEXTURED * fine or residuals.std() > UNEVEN * residuals.mean()
    return float("nan") if sigma > FAINT and textured else sigma


def _halved(gray: Gray) -> Gray:
    size = gray.shape[1] // 2, gray.shape[0] // 2
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _roughness(half: Gray) -> NDArray[np.int32]:
    """(rows, columns) sums over each block of the absolute steps to the right and down within it."""
    side = BLOCK // 2
    steps = np.zeros_like(half)
    here = half[:-1, :-1]
    cv2.add(cv2.absdiff(half[:-1, 1:], here), cv2.absdiff(half[1:, :-1], here), dst=steps[:-1, :-1])
    steps[side - 1 :: side] = 0
    steps[:, side - 1 :: side] = 0
    return np.asarray(np.diff(np.diff(cv2.integral(steps)[::side, ::side], axis=0), axis=1), dtype=np.int32)


def _residuals(gray: Gray, row: NDArray[np.int64], column: NDArray[np.int64], rows: int, columns: int) -> Floats:
    """(blocks,) standard deviation of normal noise that leaves the mean absolute residual of each of some blocks."""
    side = gray.shape[0] // rows
    blocks = gray.reshape(rows, side, columns, side).transpose(0, 2, 1, 3)[row, column]
    # Side by side, so that one operation runs over all of them; what reaches across their borders is left out.
    line = np.ascontiguousarray(blocks.transpose(1, 0, 2)).reshape(side, -1)
    residual = cv2.filter2D(line, cv2.CV_16S, _KERNEL)
    residual[:, 0::side] = residual[:, side - 1 :: side] = 0
    total = np.abs(residual[1:-1]).sum(axis=0, dtype=np.int32).reshape(-1, side).sum(axis=1)
    return np.asarray(total / (side - 2) ** 2 / GAIN)

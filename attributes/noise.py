"""Noise: the fine grain of the flattest parts of a photo, less what texture of that fineness would leave."""

from __future__ import annotations

import cv2
import numpy as np

from attributes.views import Floats, Gray, Views

# Difference of two Laplacians: blind to constant, sloped and evenly curved tone (Immerkær 1996). Its squares sum to 36.
_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
_GAIN = 6.0

BLOCK = 16
"""Side of the blocks, in px at ``DETAIL``, that are searched for flat tone."""

FLAT_SHARE = 0.1
"""Share of the usable blocks that count as the flattest."""

MIN_BLOCKS = 4
"""Flat blocks below which noise cannot be told."""

# Mean luma of usable blocks: nearer to black and white clipping cuts noise off.
_DARKEST, _BRIGHTEST = 20.0, 235.0

# White noise of σ is found as this many σ in the flattest tenth of its blocks, which are flat by luck too.
_LUCK = 0.81


# Where even the flattest blocks keep half their energy at half size they hold texture, and whether there is noise
# beside it cannot be told, unless what is left over is faint anyhow.
_TEXTURED = 0.5
_FAINT = 4.0


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
    return np.array([_noise(gray) for gray in views.detail], dtype=np.float64)


def _noise(gray: Gray) -> float:
    rows, columns = gray.shape[0] // BLOCK, gray.shape[1] // BLOCK
    if rows == 0 or columns == 0:
        return float("nan")
    gray = gray[: rows * BLOCK, : columns * BLOCK]
    mean = cv2.resize(gray, (columns, rows), interpolation=cv2.INTER_AREA)
    usable = (mean >= _DARKEST) & (mean <= _BRIGHTEST)
    count = int(usable.sum() * FLAT_SHARE)
    if count < MIN_BLOCKS:
        return float("nan")
    half = cv2.resize(gray, (gray.shape[1] // 2, gray.shape[0] // 2), interpolation=cv2.INTER_AREA)
    fine, coarse = (_residual(level, (columns, rows))[usable] for level in (gray, half))
    flattest = np.argpartition(fine, count - 1)[:count]
    full_energy, half_energy = np.mean(fine[flattest] ** 2), np.mean(coarse[flattest] ** 2)
    # Of white noise a quarter of the energy is left at half size.
    sigma = float(np.sqrt(max(full_energy - half_energy, 0.0) / (1 - 1 / 4)) / _LUCK)
    return float("nan") if sigma > _FAINT and half_energy > _TEXTURED * full_energy else sigma


def _residual(gray: Gray, blocks: tuple[int, int]) -> Floats:
    """Standard deviation of normal noise that leaves the mean absolute residual of each block, rows×columns."""
    residual = np.abs(cv2.filter2D(gray, cv2.CV_16S, _KERNEL)).astype(np.float32)
    mean = cv2.resize(residual, blocks, interpolation=cv2.INTER_AREA)
    return np.asarray(mean * (np.sqrt(np.pi / 2) / _GAIN), dtype=np.float64)

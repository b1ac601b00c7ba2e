"""Noise: the fine grain of the flattest parts of a photo, less what texture of that fineness would leave."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.arrays import Floats, Gray
from attributes.views import Views

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
    found = [_noise([views.reduced[index].bands for index in members]) for members in views.groups]
    return views.together(found)


def _noise(bands: Sequence[Gray]) -> Floats:
    """(n,) noise of photos given by their bands, all of one shape."""
    rows, columns = (bands[0].shape[0] * bands[0].shape[1]) // BLOCK, bands[0].shape[2] // BLOCK
    if rows == 0 or columns == 0:
        return np.full(len(bands), np.nan)
    grays = [item.reshape(-1, item.shape[2])[: rows * BLOCK, : columns * BLOCK] for item in bands]
    # One photo above the other from here on: blocks do not reach from one into the next.
    half = np.concatenate([_halved(gray) for gray in grays])
    mean = _halved(_halved(_halved(half))).reshape(len(bands), -1)
    usable = (mean >= DARKEST) & (mean <= BRIGHTEST)
    count = (usable.sum(axis=1) * FLAT_SHARE).astype(np.int64)
    rough = np.where(usable, _roughness(half).reshape(usable.shape), np.iinfo(np.uint16).max)
    last = np.sort(rough, axis=1)[np.arange(len(bands)), np.maximum(count - 1, 0)]
    flat = (rough <= last[:, None]) & (count >= MIN_BLOCKS)[:, None]
    fine = _residuals(
        np.concatenate(
            [_blocks(gray, BLOCK)[chosen.reshape(rows, columns)] for gray, chosen in zip(grays, flat, strict=True)]
        )
    )
    coarse = _residuals(_blocks(half, BLOCK // 2)[flat.reshape(-1, columns)])
    sigmas = np.full(len(bands), np.nan)
    ends = flat.sum(axis=1).cumsum()
    for index in np.flatnonzero(count >= MIN_BLOCKS):
        own = slice(ends[index - 1] if index else 0, ends[index])
        sigmas[index] = _sigma(fine[own], coarse[own])
    return sigmas


def _sigma(fine: Floats, coarse: Floats) -> float:
    """Noise by the residuals of a photo's flattest blocks at full and at half size; NaN where they hold texture."""
    mean = fine.sum() / len(fine)
    fine_energy, coarse_energy = mean**2, (coarse.sum() / len(coarse)) ** 2
    # Of white noise a quarter of the energy is left at half size.
    sigma = math.sqrt(max(fine_energy - coarse_energy, 0.0) / (1 - 1 / 4)) / LUCK
    if sigma <= FAINT:
        return sigma
    textured = coarse_energy > TEXTURED * fine_energy or fine.std() > UNEVEN * mean
    return math.nan if textured else sigma


def _halved(gray: Gray) -> Gray:
    size = gray.shape[1] // 2, gray.shape[0] // 2
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _roughness(half: Gray) -> NDArray[np.uint16]:
    """(rows, columns) sums over each block of the absolute steps to the right and down within it."""
    side = BLOCK // 2
    steps = np.zeros_like(half)
    here = half[:-1, :-1]
    cv2.add(cv2.absdiff(half[:-1, 1:], here), cv2.absdiff(half[1:, :-1], here), dst=steps[:-1, :-1])
    steps[side - 1 :: side] = 0
    steps[:, side - 1 :: side] = 0
    # A sum over an even square reaches as far back as its half, and one pixel less ahead.
    sums = cv2.boxFilter(steps, cv2.CV_16U, (side, side), normalize=False)
    return np.asarray(sums[side // 2 :: side, side // 2 :: side], dtype=np.uint16)


def _blocks(gray: Gray, side: int) -> Gray:
    """(rows, columns, side, side) the squares of an image, without copying it."""
    rows, columns = gray.shape[0] // side, gray.shape[1] // side
    shape = rows, columns, side, side
    down, across = gray.strides
    return np.lib.stride_tricks.as_strided(gray, shape, (side * down, side * across, down, across))


def _residuals(blocks: Gray) -> Floats:
    """(n,) standard deviation of normal noise that leaves the mean absolute residual of each of (n, y, x) blocks."""
    side = blocks.shape[1]
    if len(blocks) == 0:
        return np.empty(0)
    # Side by side, so that one operation runs over all of them; what reaches across their borders is left out.
    line = np.ascontiguousarray(blocks.transpose(1, 0, 2)).reshape(side, -1)
    residual = cv2.filter2D(line, cv2.CV_16S, _KERNEL)
    residual[:, 0::side] = residual[:, side - 1 :: side] = 0
    columns = cv2.reduce(np.abs(residual[1:-1]), 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F)
    total = cv2.reduce(columns.reshape(-1, side), 1, cv2.REDUCE_SUM)
    return np.asarray(total.ravel() / (side - 2) ** 2 / GAIN)

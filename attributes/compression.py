"""JPEG quality, told from the steps to which compression has rounded a photo's frequencies.

JPEG rounds each of the 64 DCT coefficients of an 8×8 block to a multiple of a step, the coarser the lower the quality.
Decoded pixels still show it: their coefficients lie on a comb. The likelihood of every step is compared with that of a
smooth distribution (Fan & de Queiroz, "Identification of bitmap compression history: JPEG detection and quantizer
estimation", IEEE TIP 2003), and the quality is the one whose table of steps fits best. Coefficients that were rounded
to zero fit every step and are left out.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.views import Floats, Pixels, Views

SIDE = 256
"""Side in px of the middle part that is looked at, as stored: any resizing destroys the comb."""

LEAST_GAIN = 0.03
"""Log-likelihood per coefficient over the smooth distribution from which a photo counts as compressed.

Of 96 photos none exceeded -0.1 uncompressed; recompressed at a quality of 90 all exceeded 0.1, at 95 none did."""

FEWEST = 100
"""Coefficients that were not rounded to zero, below which nothing is told."""

# Vertical and horizontal frequency of the coefficients looked at, the lowest nine; higher ones are mostly zero.
_VERTICAL = np.array([0, 1, 2, 1, 0, 0, 1, 2, 3])
_HORIZONTAL = np.array([1, 0, 0, 1, 2, 3, 2, 1, 0])
# Their steps at a quality of 50: luminance table of ITU-T T.81, annex K.1, in the same order.
_STEPS_AT_50 = np.array([11.0, 12, 14, 12, 10, 16, 14, 13, 14])

_QUALITIES = np.arange(5, 101)
_CELLS_PER_LEVEL = 4
_LARGEST = 256  # |coefficient|; none over it is rounded more coarsely than those under it
_SMALLEST = 1.0  # |coefficient| up to which it may be a rounded zero
_LARGEST_STEP = 161
# Decoding to whole RGB levels scatters coefficients by 0.35; a second, finer compression brings it to about this.
_SCATTER = 0.5
_OUTLIERS = 0.1  # share of coefficients that clipping and colour conversion have thrown off the comb
# Cameras and editors have tables of their own shape: a step that differs by a factor e costs this log-likelihood.
_OTHER_TABLE = 4.0
_FEWEST_OF_ONE = 20
# Drawn patterns repeat one coefficient exactly. Photos of quality 20 and more have at most 0.35 in one cell.
_MOST_IN_ONE_CELL = 0.6
_PHASE_EVIDENCE = 2.0  # standard deviations; reached by 1 in 3 uncompressed photos and 9 of 10 of quality 80

Plane = NDArray[np.float32]


def jpeg_quality(views: Views) -> Floats:
    """Quality at which each photo was JPEG-compressed, on the scale of the IJG's library.

    The strongest compression counts where a photo was compressed more than once. Crops and turns are followed where
    the blocks' edges show where the blocks are.

    Args:
        views: B photos.

    Returns:
        (B,) in 5–100; NaN where compression cannot be told: never compressed, quality above about 93, resized
        afterwards, or too little structure.

    Example:
        >>> flat = np.full((64, 64, 3), 128, dtype=np.uint8)
        >>> jpeg_quality(Views([flat])).tolist()
        [nan]
    """
    return np.array([_quality(photo) for photo in views.photos], dtype=np.float64)


def _quality(photo: Pixels) -> float:
    luma = _middle(photo)
    quality = _fit(luma)
    if not np.isnan(quality) or min(luma.shape) < 32:
        return quality
    (down, sure_down), (right, sure_right) = _phase(luma), _phase(luma.T)
    if (down == 0 and right == 0) or min(sure_down, sure_right) < _PHASE_EVIDENCE:
        return quality
    return _fit(luma[down:, right:])


def _middle(photo: Pixels) -> Plane:
    """Luma of the middle ``SIDE`` px, beginning where blocks begin that were laid from the photo's corner."""
    top, left = (max(0, side - SIDE) // 16 * 8 for side in photo.shape[:2])
    part = photo[top : top + SIDE, left : left + SIDE].astype(np.float32)
    return np.asarray(cv2.transform(part, np.array([[0.299, 0.587, 0.114]])), dtype=np.float32)


def _fit(luma: Plane) -> float:
    """Most likely quality of luma whose blocks begin at its corner; NaN where a smooth distribution fits as well."""
    cells = (np.abs(_coefficients(luma)) * _CELLS_PER_LEVEL).astype(np.int64)
    n_cells = _LARGEST * _CELLS_PER_LEVEL
    cells += n_cells * np.arange(len(cells))[:, None]
    inside = (cells % n_cells >= _SMALLEST * _CELLS_PER_LEVEL) & (cells < n_cells * np.arange(1, 10)[:, None])
    counts = np.bincount(cells[inside], minlength=9 * n_cells).reshape(9, n_cells).astype(np.float32)
    total = counts.sum(axis=1)
    known = (total >= _FEWEST_OF_ONE) & (counts.max(axis=1) <= _MOST_IN_ONE_CELL * total)
    counts, total = counts[known], total[known, None]
    if total.sum() < FEWEST:
        return np.nan
    values, multiples, comb, tables = _tables()
    # Multiples fall off geometrically, as a Laplacian's do; both distributions take their scale from the data.
    mean = np.maximum(counts @ multiples / total, 1.0 + 1e-6)
    on_comb = counts @ comb + total * ((mean - 1) * np.log(1 - 1 / mean) - np.log(mean))
    smooth = total * (-np.log(counts @ values / total - _SMALLEST) - 1)
    gain = ((on_comb - smooth)[:, None] - total[:, :, None] * tables[known]).max(axis=2).sum(axis=0)
    if gain.max() < LEAST_GAIN * total.sum():
        return np.nan
    return float(_QUALITIES[gain >= gain.max() - 1e-3 * total.sum()].mean())


def _coefficients(luma: Plane) -> Plane:
    """(9, blocks) orthonormal DCT-II coefficients at the frequencies looked at."""
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    waves = _waves()
    vertical = waves @ luma[: rows * 8, : columns * 8].reshape(rows, 8, columns * 8)
    both = vertical.reshape(rows, 4, columns, 8) @ waves.T
    return np.asarray(both.transpose(1, 3, 0, 2)[_VERTICAL, _HORIZONTAL].reshape(9, -1))


def _phase(luma: Plane) -> tuple[int, float]:
    """Row, 0–7, at which blocks begin, and by how many standard deviations their edges stand out there."""
    steps = np.abs(np.diff(luma, axis=0)).mean(axis=1)
    edges = steps[1:-1] - 0.5 * (steps[:-2] + steps[2:])
    by_row = np.median(edges[: len(edges) // 8 * 8].reshape(-1, 8), axis=0)
    best = int(by_row.argmax())
    others = np.delete(by_row, best)
    # The first of these edges lies between rows 1 and 2.
    return (best + 2) % 8, float((by_row[best] - others.mean()) / (others.std() + 1e-3))


@cache
def _waves() -> Plane:
    """(4, 8) the four lowest waves of the orthonormal DCT-II."""
    frequency, position = np.mgrid[:4, :8]
    scale = np.where(frequency == 0, np.sqrt(1 / 8), np.sqrt(2 / 8))
    return np.asarray(scale * np.cos((2 * position + 1) * frequency * np.pi / 16), dtype=np.float32)


@cache
def _tables() -> tuple[Plane, Plane, Plane, Plane]:
    """What does not depend on the photo.

    Returns:
        (cells, 1) values of the histogram's cells; (cells, steps) the nearest multiple of each step; (cells, steps) log
        density around it; (9, qualities, steps) what a step costs where a quality's table has another one.
    """
    values = (np.arange(_LARGEST * _CELLS_PER_LEVEL) + 0.5)[:, None] / _CELLS_PER_LEVEL
    steps = np.arange(1.0, _LARGEST_STEP + 1)
    multiples = np.rint(values / steps)
    density = np.exp(-0.5 * ((values - multiples * steps) / _SCATTER) ** 2) / (_SCATTER * np.sqrt(2 * np.pi))
    comb = np.log((1 - _OUTLIERS) * density + _OUTLIERS / steps)
    # The scale of libjpeg's jpeg_quality_scaling, in per cent.
    scale = np.where(_QUALITIES < 50, 5000 // _QUALITIES, 200 - 2 * _QUALITIES)
    expected = np.clip((_STEPS_AT_50[:, None] * scale + 50) // 100, 1, 255)
    cost = _OTHER_TABLE * np.log(steps / expected[:, :, None]) ** 2
    return _single(values), _single(multiples), _single(comb), _single(cost)


def _single(values: Floats) -> Plane:
    return values.astype(np.float32)

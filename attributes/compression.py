"""JPEG quality, told from the steps to which compression has rounded a photo's frequencies.

JPEG rounds each of the 64 DCT coefficients of an 8×8 block to a multiple of a step, the coarser the lower the quality.
Decoded pixels still show it: their coefficients lie on a comb. The likelihood of every step is compared with that of a
smooth distribution (Fan & de Queiroz, "Identification of bitmap compression history: JPEG detection and quantizer
estimation", IEEE TIP 2003), and the quality is the one whose table of steps fits best. Coefficients that were rounded
to zero fit every step and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.views import Floats, Gray, Views

SIDE = 256
"""Side in px of the middle part that is looked at, as stored: any resizing destroys the comb."""

LEAST_GAIN = 0.03
"""Log-likelihood per coefficient over the smooth distribution from which a photo counts as compressed.

Of 65 photos none exceeded -0.16 uncompressed; recompressed at a quality of 90 all exceeded 0.08, at 95 none did."""

FEWEST = 100
"""Coefficients that were not rounded to zero, below which nothing is told."""

DRAWN = 0.85
"""Share of pixels equal to their neighbour across the blocks' edges from which a picture is drawn, not compressed.

Blocks are rounded each by themselves, so that even skies differ there: of 250 photos at any quality none exceeded 0.75.
Of 1,200 drawings of few shapes, never compressed, those whose repeated edges looked like a comb all exceeded 0.95."""

# Vertical and horizontal frequency of the coefficients looked at, the lowest nine; higher ones are mostly zero.
VERTICAL = np.array([0, 1, 2, 1, 0, 0, 1, 2, 3])
HORIZONTAL = np.array([1, 0, 0, 1, 2, 3, 2, 1, 0])
# Their steps at a quality of 50: luminance table of ITU-T T.81, annex K.1, in the same order.
_STEPS_AT_50 = np.array([11.0, 12, 14, 12, 10, 16, 14, 13, 14])

QUALITIES = np.arange(10, 101)
CELLS_PER_LEVEL = 2
LARGEST = 256  # |coefficient|; none over it is rounded more coarsely than those under it
SMALLEST = 1  # |coefficient| up to which it may be a rounded zero
_LARGEST_STEP = 80
MOST_ROWS = 16  # of blocks; of more, every second one is as good
# Decoding to whole levels scatters coefficients by 0.3; a second, finer compression brings it to about this.
_SCATTER = 0.5
_OUTLIERS = 0.1  # share of coefficients that clipping and colour conversion have thrown off the comb
# Cameras and editors have tables of their own shape: a step that differs by a factor e costs this log-likelihood.
_OTHER_TABLE = 4.0
FEWEST_OF_ONE = 20
# Drawn patterns repeat one coefficient exactly. Photos of quality 20 and more have at most 0.35 in one cell.
MOST_IN_ONE_CELL = 0.6
AS_GOOD = 1e-3  # log-likelihood per coefficient within which neighbouring qualities, often of one table, are alike
PHASE_EVIDENCE = 2.0  # standard deviations; reached by 1 in 3 uncompressed photos and 9 of 10 of quality 80

Plane = NDArray[np.float32]


def jpeg_quality(views: Views) -> Floats:
    """Quality at which each photo was JPEG-compressed, on the scale of the IJG's library.

    The strongest compression counts where a photo was compressed more than once. Crops and turns are followed where
    the blocks' edges show where the blocks are.

    Args:
        views: B photos.

    Returns:
        (B,) in 10–100; NaN where compression cannot be told: never compressed, quality above about 93, resized
        afterwards, or too little structure.

    Example:
        >>> flat = np.full((64, 64, 3), 128, dtype=np.uint8)
        >>> jpeg_quality(Views([flat])).tolist()
        [nan]
    """
    return np.array([_quality(luma) for luma in _middles(views)], dtype=np.float64)


def middle_of(height: int, width: int) -> tuple[slice, slice]:
    """The middle ``SIDE`` px, beginning where blocks begin that were laid from the photo's corner."""
    top, left = (max(0, side - SIDE) // 16 * 8 for side in (height, width))
    return slice(top, top + SIDE), slice(left, left + SIDE)


def _middles(views: Views) -> Iterator[Gray]:
    """Luma of the middles of photos.

    Whole levels are what an encoder is given and what a decoder begins with, so that rounding to them loses nothing.
    """
    for photo, detail in zip(views.photos, views.detail, strict=True):
        middle = middle_of(*photo.shape[:2])
        whole = photo.shape[:2] == detail.shape
        yield detail[middle] if whole else np.asarray(cv2.cvtColor(photo[middle], cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _quality(luma: Gray) -> float:
    quality = _fit(luma)
    if not np.isnan(quality) or min(luma.shape) < 32:
        return quality
    (down, sure_down), (right, sure_right) = _phase(luma), _phase(luma.T)
    if (down == 0 and right == 0) or min(sure_down, sure_right) < PHASE_EVIDENCE:
        return quality
    return _fit(luma[down:, right:])


def _fit(luma: Gray) -> float:
    """Most likely quality of luma whose blocks begin at its corner; NaN where a smooth distribution fits as well."""
    counts = _histograms(_coefficients(luma))
    total = counts.sum(axis=1)
    used = total * ((total >= FEWEST_OF_ONE) & (counts.max(axis=1) <= MOST_IN_ONE_CELL * total))
    if used.sum() < FEWEST or _continues(luma) > DRAWN:
        return np.nan
    values, multiples, comb, tables = comb_tables()
    shares = counts / np.maximum(total, 1.0)[:, None]
    # Multiples fall off geometrically, as a Laplacian's do; both distributions take their scale from the data.
    mean = np.maximum(shares @ multiples, 1.0 + 1e-6)
    on_comb = shares @ comb + (mean - 1) * np.log(1 - 1 / mean) - np.log(mean)
    smooth = -np.log(np.maximum(shares @ values - SMALLEST, 1e-6)) - 1
    gain = ((on_comb - smooth).T[:, :, None] - tables).max(axis=0) * used[:, None]
    per_coefficient = gain.sum(axis=0) / used.sum()
    if per_coefficient.max() < LEAST_GAIN:
        return np.nan
    return float(QUALITIES[per_coefficient >= per_coefficient.max() - AS_GOOD].mean())


def _coefficients(luma: Gray) -> Floats:
    """(9, blocks) orthonormal DCT-II coefficients at the frequencies looked at."""
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    blocks = luma[: rows * 8, : columns * 8].reshape(rows, 8, columns * 8)[:: 1 + (rows > MOST_ROWS)]
    waves = dct_waves()
    vertical = waves @ blocks.transpose(1, 0, 2).astype(np.float64, order="C").reshape(8, -1)
    both = (vertical.reshape(-1, 8) @ waves.T).reshape(4, -1, 4)
    return np.asarray(both[VERTICAL, :, HORIZONTAL])


def _histograms(coefficients: Floats) -> Plane:
    """(9, cells) how many coefficients of each frequency lie in each cell from ``SMALLEST`` to ``LARGEST``."""
    n_cells = LARGEST * CELLS_PER_LEVEL
    cells = np.minimum((np.abs(coefficients) * CELLS_PER_LEVEL).astype(np.int64), n_cells)
    cells += (n_cells + 1) * np.arange(9)[:, None]
    counts = np.bincount(cells.ravel(), minlength=9 * (n_cells + 1)).reshape(9, n_cells + 1)
    return _single(counts[:, SMALLEST * CELLS_PER_LEVEL : n_cells])


def _continues(luma: Gray) -> float:
    """Share of pixels equal to the one above them where a block's row begins; 0 where none does."""
    below = luma[8::8]
    return float(np.count_nonzero(luma[7:-1:8] == below) / max(below.size, 1))


def _phase(luma: Gray) -> tuple[int, float]:
    """Row, 0–7, at which blocks begin, and by how many standard deviations their edges stand out there."""
    steps = cv2.absdiff(luma[1:], luma[:-1]).mean(axis=1)
    edges = steps[1:-1] - 0.5 * (steps[:-2] + steps[2:])
    by_row = np.median(edges[: len(edges) // 8 * 8].reshape(-1, 8), axis=0)
    best = int(by_row.argmax())
    others = np.delete(by_row, best)
    # The first of these edges lies between rows 1 and 2.
    return (best + 2) % 8, float((by_row[best] - others.mean()) / (others.std() + 1e-3))


@cache
def dct_waves() -> Floats:
    """(4, 8) the four lowest waves of the orthonormal DCT-II."""
    frequency, position = np.mgrid[:4, :8]
    scale = np.where(frequency == 0, np.sqrt(1 / 8), np.sqrt(2 / 8))
    return np.asarray(scale * np.cos((2 * position + 1) * frequency * np.pi / 16))


@cache
def comb_tables() -> tuple[Plane, Plane, Plane, Plane]:
    """What does not depend on the photo.

    Returns:
        (cells, 1) values of the histogram's cells; (cells, steps) the nearest multiple of each step; (cells, steps) log
        density around it; (steps, 9, qualities) what a step costs where a quality's table has another one.
    """
    cells = np.arange(SMALLEST * CELLS_PER_LEVEL, LARGEST * CELLS_PER_LEVEL)
    values = (cells + 0.5)[:, None] / CELLS_PER_LEVEL
    steps = np.arange(1.0, _LARGEST_STEP + 1)
    multiples = np.rint(values / steps)
    density = np.exp(-0.5 * ((values - multiples * steps) / _SCATTER) ** 2) / (_SCATTER * np.sqrt(2 * np.pi))
    comb = np.log((1 - _OUTLIERS) * density + _OUTLIERS / steps)
    # The scale of libjpeg's jpeg_quality_scaling, in per cent.
    scale = np.where(QUALITIES < 50, 5000 // QUALITIES, 200 - 2 * QUALITIES)
    expected = np.clip((_STEPS_AT_50[:, None] * scale + 50) // 100, 1, 255)
    cost = _OTHER_TABLE * np.log(steps[:, None, None] / expected) ** 2
    return _single(values), _single(multiples), _single(comb), _single(cost)


def _single(values: NDArray[Any]) -> Plane:
    return values.astype(np.float32)

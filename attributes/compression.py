"""JPEG quality, told from the steps to which compression has rounded a photo's frequencies.

JPEG rounds each of the 64 DCT coefficients of an 8×8 block to a multiple of a step, the coarser the lower the quality.
Decoded pixels still show it: their coefficients lie on a comb. The likelihood of every step is compared with that of a
smooth distribution (Fan & de Queiroz, "Identification of bitmap compression history: JPEG detection and quantizer
estimation", IEEE TIP 2003), and the quality is the one whose table of steps fits best. Coefficients that were rounded
to zero fit every step and are left out.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.arrays import UNTHREADED, Floats, Gray
from attributes.views import Views, alike

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

SMALLEST_SIDE = 64
"""px: side from which the edges of blocks are many enough to be compared with what lies within."""

FLAT = 0.2
"""Grey levels: where the mean step within blocks is smaller, a picture is drawn, not compressed."""

ALONE = 1.25
"""How many times the largest step within blocks that across their edges has to be: patterns repeat theirs."""

LEAST_EDGES = 1.5
"""Ratio of the mean step across blocks' edges to that within, in either direction, from which a photo is told to be
compressed by it alone. Of 650 VOC photos as they are, none reaches it."""

EDGES = ([1.44, 1.62, 1.79, 1.94, 2.09], [30.0, 20.0, 15.0, 12.0, 10.0])
"""That ratio over both directions, and the quality at which it is the median of 40 VOC photos; 10 stands for lower."""

# Photos worked on as one array: those of more would no longer lie in the processor's cache.
_TOGETHER = 4

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
    middles = views.middles
    values = np.full(len(middles), np.nan)
    for members in alike([middle.shape for middle in middles]):
        if min(middles[members[0]].shape) < 8:
            continue
        for start in range(0, len(members), _TOGETHER):
            part = members[start : start + _TOGETHER]
            values[part] = _fit(np.stack([middles[index] for index in part]))
    for index in np.flatnonzero(np.isnan(values)):
        values[index] = _without_corner(middles[index])
    return values


def _without_corner(luma: Gray) -> float:
    """Quality of luma of which nothing is told if blocks begin at its corner; NaN where their edges do not show."""
    if min(luma.shape) < 32:
        return np.nan
    rows, columns = _steps(luma), _steps(luma.T)
    (down, sure_down), (right, sure_right) = _phase(rows), _phase(columns)
    found = np.nan
    if (down or right) and min(sure_down, sure_right) >= PHASE_EVIDENCE:
        found = float(_fit(luma[None, down:, right:])[0])
    if np.isnan(found) and min(luma.shape) >= SMALLEST_SIDE:
        found = _by_edges(_edges(rows[down:]), _edges(columns[right:]))
        if not np.isnan(found) and _continues(luma[None, down:, right:])[0] > DRAWN:
            return np.nan
    return found


def _by_edges(*steps: tuple[float, float]) -> float:
    """Quality by how far the edges of blocks stand out, where they clearly do in both directions; NaN elsewhere.

    Of the strongest compression so little is left but flat blocks that no comb shows.

    Args:
        steps: of each direction the mean step across edges, and within blocks.
    """
    if not all(across >= LEAST_EDGES * within for across, within in steps):
        return np.nan
    across, within = np.sum(steps, axis=0)
    return float(np.interp(math.log(across / within), np.log(EDGES[0]), EDGES[1]))


def _fit(lumas: Gray) -> Floats:
    """(n,) most likely qualities of (n, h, w) luma whose blocks begin at the corner.

    NaN where a smooth distribution fits as well.
    """
    counts = _histograms(_coefficients(lumas))
    total = counts.sum(axis=2)
    used = total * ((total >= FEWEST_OF_ONE) & (counts.max(axis=2) <= MOST_IN_ONE_CELL * total))
    n_used = used.sum(axis=1)
    shares = counts / np.maximum(total, np.float32(1.0))[:, :, None]
    means = np.concatenate([shares @ part for part in _averaged()], axis=2)
    value, multiple, comb = means[..., :1], means[..., 1 : _LARGEST_STEP + 1], means[..., _LARGEST_STEP + 1 :]
    # Multiples fall off geometrically, as a Laplacian's do; both distributions take their scale from the data.
    multiple = np.maximum(multiple, np.float32(1.0 + 1e-6))
    on_comb = comb + (multiple - 1) * np.log(1 - 1 / multiple) - np.log(multiple)
    smooth = -np.log(np.maximum(value - SMALLEST, np.float32(1e-6))) - 1
    costs, places = _costs()
    by_step = np.stack([(score[:, None] - costs).max(axis=2).ravel() for score in on_comb - smooth])
    gain = by_step[:, places] * used[:, :, None]
    per_coefficient = gain.sum(axis=1) / np.maximum(n_used, 1)[:, None]
    best = per_coefficient.max(axis=1)
    as_good = per_coefficient >= best[:, None] - AS_GOOD
    told = (n_used >= FEWEST) & (best >= LEAST_GAIN) & (_continues(lumas) <= DRAWN)
    return np.where(told, as_good @ QUALITIES / as_good.sum(axis=1), np.nan)


def _coefficients(lumas: Gray) -> Plane:
    """(n, 9, blocks) orthonormal DCT-II coefficients of (n, h, w) luma at the frequencies looked at."""
    rows, columns = lumas.shape[1] // 8, lumas.shape[2] // 8
    blocks = lumas[:, : rows * 8, : columns * 8].reshape(-1, rows, 8, columns * 8)[:, :: 1 + (rows > MOST_ROWS)]
    waves = _waves()
    # A product for each row of blocks, so that a photo's do not depend on how many others there are.
    vertical = waves @ blocks.astype(np.float32)
    both = vertical.reshape(*vertical.shape[:3], columns, 8) @ waves.T
    chosen = both[:, :, VERTICAL, :, HORIZONTAL]
    return np.asarray(chosen.transpose(1, 0, 2, 3).reshape(len(lumas), len(VERTICAL), -1))


def _histograms(coefficients: Plane) -> Plane:
    """(n, 9, cells) how many coefficients of each frequency lie in each cell from ``SMALLEST`` to ``LARGEST``."""
    photos, frequencies = coefficients.shape[:2]
    n_cells = LARGEST * CELLS_PER_LEVEL
    cells = np.abs(coefficients, out=coefficients)
    cells *= CELLS_PER_LEVEL
    places = np.minimum(cells, n_cells, out=cells).astype(np.int64)
    places += (n_cells + 1) * np.arange(photos * frequencies).reshape(photos, frequencies, 1)
    counts = np.bincount(places.ravel(), minlength=photos * frequencies * (n_cells + 1))
    return _single(counts.reshape(photos, frequencies, n_cells + 1)[:, :, SMALLEST * CELLS_PER_LEVEL : n_cells])


def _continues(lumas: Gray) -> Floats:
    """(n,) share of pixels equal to the one above them where a block's row begins; 0 where none does."""
    below = lumas[:, 8::8]
    equal = [np.count_nonzero(rows) for rows in lumas[:, 7:-1:8] == below]
    return np.asarray(np.array(equal) / max(below[0].size, 1))


def _steps(luma: Gray) -> Floats:
    """Mean absolute step from each row to the next."""
    return np.asarray(cv2.absdiff(luma[1:], luma[:-1]).mean(axis=1))


def _edges(steps: Floats) -> tuple[float, float]:
    """Mean step across the edges of blocks that begin at the first row, and within blocks.

    NaN within where another row stands out nearly as much, or nothing is left at all: a pattern, drawn by hand.
    """
    by_row = steps[: len(steps) // 8 * 8].reshape(-1, 8).mean(axis=0)
    across, within = float(by_row[7]), float(by_row[:7].mean())
    return across, within if within >= FLAT and across > ALONE * by_row[:7].max() else np.nan


def _phase(steps: Floats) -> tuple[int, float]:
    """Row, 0–7, at which blocks begin, and by how many standard deviations their edges stand out there."""
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
def _waves() -> Plane:
    return _single(dct_waves())


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


@cache
def _costs() -> tuple[Plane, NDArray[np.int64]]:
    """The costs of ``comb_tables`` without those that occur twice, since many qualities share a step.

    Returns:
        (9, most, steps) costs of the different steps of each frequency; (9, qualities) where each quality's lies among
        them, laid out in one row.
    """
    _, _, _, tables = comb_tables()
    different, places = zip(
        *(np.unique(table.T, axis=0, return_inverse=True) for table in tables.transpose(1, 0, 2)), strict=True
    )
    most = max(map(len, different))
    costs = np.stack([np.pad(item, ((0, most - len(item)), (0, 0))) for item in different])
    return costs, np.stack(places).reshape(len(costs), -1) + most * np.arange(len(costs))[:, None]


@cache
def _averaged() -> tuple[Plane, ...]:
    """(cells, 1 + 2 · steps) what is averaged over the cells: values, multiples and log densities, side by side.

    In parts, so that no product is large enough for threads (``arrays.UNTHREADED``).
    """
    every = np.concatenate(comb_tables()[:3], axis=1)
    widest = UNTHREADED // (len(VERTICAL) * len(every))
    return tuple(np.ascontiguousarray(every[:, start : start + widest]) for start in range(0, every.shape[1], widest))


def _single(values: NDArray[Any]) -> Plane:
    return values.astype(np.float32)

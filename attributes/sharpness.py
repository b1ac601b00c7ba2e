"""Sharpness: how narrow the edges of a photo are, told from what a known further blur does to them.

An edge of blur σ keeps more of its gradient under a further blur the wider it already is (Zhuo & Sim, "Defocus map
estimation from a single image", Pattern Recognition 2011). Were the blurs Gaussian, the gradient G₁ after a further
blur of 1 px and G₂ after one of √3 px would have (G₁ / G₂)² = (σ² + 3) / (σ² + 1). They are boxes, whose sums are whole
numbers, the same wherever they are computed; what they do to a step of blur σ is computed once, and read backwards.
The sharpness is s = 1 / √(1 + σ²).

Both energies are pooled over edge pixels, so that contrast, content and number of edges cancel. They are pooled as
structure tensors Σ g gᵀ, whose smallest generalised eigenvalue is the energy ratio in the direction in which the edges
are widest: motion blurs in one direction only, and edges along it stay sharp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.arrays import Boxes, Floats, Gray
from attributes.boxes import box_area, divide
from attributes.crops import lay_out
from attributes.reduced import DETAIL
from attributes.views import Views

Mask = NDArray[np.uint8]
Sums = NDArray[np.uint16]

# A box of n px has variance (n² − 1) / 12 and a central difference, a box of 2 px, 1/3. So 3 px make the blur of
# variance 1, and 5 px on top of them that of variance 3. Sums over 3×3 and 5×5 px of 255 still fit in 16 bits.
FINE, COARSE = 3, 5

# Rows and columns at the edge of an image from which the blurs, differences and neighbours of a pixel reach beyond it.
MARGIN = 5

# Edges in a direction count for themselves from about this share of all edge energy on; without any, the ratio in that
# direction falls back to that of all.
_LEAST_SHARE = 0.02

MIXED_DETERMINANT = np.array([[0, 0, 0.5], [0, -1, 0], [0.5, 0, 0]]) + (_LEAST_SHARE + _LEAST_SHARE**2) * np.array(
    [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
)
"""For a symmetric matrix V with entries v = (xx, xy, yy), v M v is det(V + share · trace(V) · 1)."""

# Boxes looked at at a time, which with their area bounds memory; the largest width of the sheet that they are laid on,
# which is that of a photo and a step of the lattice, and the rows for which the lattice is kept.
_BOXES_AT_ONCE = 16
_SHEET, _SHEET_ROWS = DETAIL + 4, 512

EDGE_GRADIENT = 3
"""Coarse gradient across an edge, in grey levels per px; noise of σ = 10 levels makes 0.7."""

LEAST = 2 * EDGE_GRADIENT * FINE**2 * COARSE**2
"""The same as a central difference of sums."""

MIN_EDGES = 8
"""Edge pixels, for each fifth that is looked at, below which sharpness cannot be told."""

FIFTHS = 1
"""Fifths of the pixels that are looked at in a photo. The pixels of an edge are correlated: looking at all of them
moves the values of 96 photos by 0.7% (standard deviation)."""

# Boxes have fewer edges.
_FIFTHS_IN_BOXES = 2

MIN_SIDE = 8.0
"""Shorter side, in px at ``DETAIL``, below which the sharpness of a box cannot be told: its edges reach beyond it."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Edge pixels of images.

    Attributes:
        width: of the images.
        position: (e,) index of each edge pixel in the flattened images.
        gradient: (4, e) x and y of the gradient after a further blur of 1 px, then of √3 px.
    """

    width: int
    position: NDArray[np.int64]
    gradient: NDArray[np.float32]


def sharpness(views: Views) -> Floats:
    """Sharpness of each photo's edges at ``DETAIL``.

    1 is a perfect step and 0.7 a blur of 1 px; above 1 lie edges that the camera has sharpened, and fine texture.

    Args:
        views: B photos.

    Returns:
        (B,) from 0; NaN where the bands of a photo have too few edge pixels.

    Example:
        >>> flat = np.full((60, 80, 3), 128, dtype=np.uint8)
        >>> sharpness(Views([flat])).tolist()
        [nan]
    """
    sums = [_sum(find_edges(bands, FIFTHS)) for bands in views.bands]
    return _from_energy(np.array(sums).reshape(-1, 7), FIFTHS)


def object_sharpness(views: Views) -> Floats:
    """Sharpness of the edges in each box, as ``sharpness``; here all rows count.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) from 0; NaN where a box has too few edge pixels or a side under ``MIN_SIDE``.
    """
    sums, sides = [np.empty((0, 7))], [np.empty(0)]
    for index, given in enumerate(views.boxes):
        if not len(given):
            continue
        gray = views.reduced[index].detail
        boxes = views.boxes_at(index, gray.shape)
        parts = [boxes[start : start + _BOXES_AT_ONCE] for start in range(0, len(boxes), _BOXES_AT_ONCE)]
        # Boxes that overlap or fill the photo are more to look at, cut out one by one, than the photo.
        if box_area(boxes).sum() > gray.size:
            edges = find_edges(gray[None], _FIFTHS_IN_BOXES)
            sums += [_sum_in_photo(edges, part) for part in parts]
        else:
            sums += [_sum_in_boxes(gray, part) for part in parts]
        sides.append((boxes[:, 2:] - boxes[:, :2]).min(axis=1))
    values = _from_energy(np.concatenate(sums), _FIFTHS_IN_BOXES)
    return np.where(np.concatenate(sides) >= MIN_SIDE, values, np.nan)


def find_edges(bands: Gray, fifths: int, within: Mask | None = None) -> Edges:
    """Find the edges of an image, or of several of one size, and their gradients at both blurs.

    Edges are the ridges of the coarse gradient, which noise hardly moves: pixels where its larger component is no
    smaller than at the neighbour on one side and larger than at that on the other.

    Args:
        bands: (images, H, W) luma; of several H is even.
        fifths: 1 or 2 of the pixels that are looked at.
        within: (H, W) not 0 where to look in a single image, up to 644 px wide; None looks everywhere.
    """
    images, height, width = bands.shape
    if height < 2 * MARGIN + 2 or width < 2 * MARGIN + 1:
        return Edges(width, np.empty(0, np.int64), np.empty((4, 0), np.float32))
    gray = bands.reshape(-1, width)
    fine = cv2.boxFilter(gray, cv2.CV_16U, (FINE, FINE), normalize=False)
    coarse = cv2.boxFilter(fine, cv2.CV_16U, (COARSE, COARSE), normalize=False)
    candidates = _candidates(images, height, width, fifths) if within is None else _part(height, width, fifths)
    ridges = _ridges(coarse[MARGIN - 1 :, MARGIN - 2 : 2 - MARGIN], len(candidates))
    found = cv2.bitwise_and(ridges, candidates)
    if within is not None:
        found = cv2.min(found, within[MARGIN + 1 : -MARGIN : 2, MARGIN:-MARGIN])
    row, column = np.divmod(np.flatnonzero(found.view(bool)), candidates.shape[1])
    position = (2 * row + MARGIN + 1) * width + column + MARGIN
    around = position + np.array([[1], [width], [-1], [-width]])
    finely, coarsely = (sums.ravel().take(around).astype(np.float32) for sums in (fine, coarse))
    parts = finely[:2] - finely[2:], (coarsely[:2] - coarsely[2:]) / COARSE**2
    return Edges(width, position, np.concatenate(parts))


def looked_at(height: int, width: int, fifths: int) -> NDArray[np.bool_]:
    """(H, W) the pixels of an image that may be edge pixels.

    They lie in every second row, which halves the work, and there on a lattice that takes as many of an edge in any
    direction.
    """
    row, column = np.mgrid[:height, :width]
    inside = (np.minimum(row, height - 1 - row) >= MARGIN) & (np.minimum(column, width - 1 - column) >= MARGIN)
    return np.asarray(inside & (row % 2 == 0) & ((column + row) % 5 < 2 * fifths))


@lru_cache(maxsize=32)
def _candidates(images: int, height: int, width: int, fifths: int) -> Mask:
    """1 at the pixels of images that may be edge pixels, else 0: every second row between the outermost margins."""
    chosen = np.tile(looked_at(height, width, fifths), (images, 1))
    return np.ascontiguousarray(chosen[MARGIN + 1 : -MARGIN : 2, MARGIN:-MARGIN], dtype=np.uint8)


def _part(height: int, width: int, fifths: int) -> Mask:
    """The same of one sheet, whose size is hardly ever that of another, from what is kept for a larger one."""
    whole = _candidates(1, -(-height // _SHEET_ROWS) * _SHEET_ROWS, _SHEET, fifths)
    return whole[: len(range(MARGIN + 1, height - MARGIN, 2)), : width - 2 * MARGIN]


def _ridges(coarse: Sums, rows: int) -> Mask:
    """Where the coarse gradient is a ridge and strong: 1 there, else 0.

    Args:
        coarse: what is blurred, from two rows above and two columns beside what is looked at.
        rows: number of those to look at, every second one.
    """
    even, odd = coarse[: 2 * rows + 3 : 2], coarse[1 : 2 * rows + 2 : 2]
    # Twice the gradient, in sums over boxes; down the image also in the rows between.
    across = cv2.absdiff(even[1:-1, 2:], even[1:-1, :-2])
    x, y = across[:, 1:-1], cv2.absdiff(odd[1:, 2:-2], odd[:-1, 2:-2])
    between = cv2.absdiff(even[1:, 2:-2], even[:-1, 2:-2])
    ridges = _larger(x, across[:, :-2], across[:, 2:])
    cv2.copyTo(_larger(y, between[:-1], between[1:]), cv2.compare(y, x, cv2.CMP_GT), ridges)
    strong = np.asarray(cv2.max(x, y)) >= LEAST
    return np.asarray(cv2.bitwise_and(ridges, strong.view(np.uint8)))


def _larger(values: Sums, before: Sums, after: Sums) -> Mask:
    return np.asarray(cv2.bitwise_and(cv2.compare(values, before, cv2.CMP_GE), cv2.compare(values, after, cv2.CMP_GT)))


def _sum(edges: Edges) -> list[float]:
    """Energies ``xx xy yy`` at both blurs, summed over all edges, and their number."""
    energy = edges.gradient @ edges.gradient.T
    return [*energy[[0, 0, 1, 2, 2, 3], [0, 1, 1, 2, 3, 3]].tolist(), edges.position.size]


def _sum_in_boxes(gray: Gray, boxes: Boxes) -> Floats:
    """(n, 7) as ``_sum``, of the edge pixels of (H, W) luma whose centres lie in each box.

    Only the boxes are looked at, cut out with what the blurs reach and laid on one sheet. There they keep to the
    lattice of ``looked_at``, so that the edge pixels are those of the whole photo.
    """
    height, width = gray.shape
    first = np.maximum(np.ceil(boxes[:, :2] - 0.5), MARGIN).astype(np.int64)
    behind = np.minimum(np.ceil(boxes[:, 2:] - 0.5), [width - MARGIN, height - MARGIN]).astype(np.int64)
    chosen = np.flatnonzero((behind > first).all(axis=1))
    sums = np.zeros((len(boxes), 7))
    if not len(chosen):
        return sums
    first, behind = first[chosen], behind[chosen]
    start = first - MARGIN
    start[:, 1] -= start[:, 1] % 2
    size = behind + MARGIN - start
    room = size + np.stack([np.full(len(size), 4), size[:, 1] % 2], axis=1)
    # About as wide as high: of wide shelves more stays empty.
    sheet_width = min(max(int(room[:, 0].max()), math.isqrt(int(room.prod(axis=1).sum()))), _SHEET)
    sheet = lay_out(room[:, 1], room[:, 0], sheet_width)
    left = sheet.left + (start.sum(axis=1) - sheet.left - sheet.top) % 5
    cut, owner = np.zeros((2, sheet.height, sheet_width), dtype=np.uint8)
    inner, outer = first - start, behind - start
    places = np.column_stack([start, size, inner, outer, left, sheet.top]).tolist()
    for number, (x, y, across, down, x1, y1, x2, y2, column, row) in enumerate(places, start=1):
        cut[row : row + down, column : column + across] = gray[y : y + down, x : x + across]
        owner[row + y1 : row + y2, column + x1 : column + x2] = number
    edges = find_edges(cut[None], _FIFTHS_IN_BOXES, owner)
    box = owner.ravel().take(edges.position).astype(np.int64)
    values = *_energy(*edges.gradient[:2]), *_energy(*edges.gradient[2:]), None
    counted = [np.bincount(box, item, minlength=len(chosen) + 1)[1:] for item in values]
    sums[chosen] = np.stack(counted, axis=1)
    return sums


def _sum_in_photo(edges: Edges, boxes: Boxes) -> Floats:
    """(n, 7) the same of the edge pixels of the whole photo, of which each box picks its own."""
    row, column = np.divmod(edges.position, edges.width)
    inside = (column + 0.5 >= boxes[:, :1]) & (column + 0.5 < boxes[:, 2:3])
    inside &= (row + 0.5 >= boxes[:, 1:2]) & (row + 0.5 < boxes[:, 3:])
    values = [*_energy(*edges.gradient[:2]), *_energy(*edges.gradient[2:]), np.ones(len(row), np.float32)]
    # No matrix product: of so many values it would start threads.
    return np.asarray(np.einsum("ne,ke->nk", inside.astype(np.float64), np.stack(values).astype(np.float64)))


def _energy(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Products xx, xy and yy."""
    return x * x, x * y, y * y


def _from_energy(sums: Floats, fifths: int) -> Floats:
    """Sharpness from sums of the six energies and the count of edge pixels, (n, 7) → (n,)."""
    energies, count = sums[:, :6].reshape(-1, 2, 3), sums[:, 6]
    # Smaller root λ of det(F − λ C) = 0.
    # Written out: a matrix product of many adds up in another order than that of a few, and moves the last digit.
    weighted = sum(energies[:, :, index, None] * MIXED_DETERMINANT[index] for index in range(3))
    products = [weighted[:, 0] * energies[:, 0], weighted[:, 0] * energies[:, 1], weighted[:, 1] * energies[:, 1]]
    fine, mixed, coarse = (item[:, 0] + item[:, 1] + item[:, 2] for item in products)
    root = np.sqrt(np.maximum(mixed * mixed - fine * coarse, 0.0))
    ratio = divide(mixed - root, np.where(count >= MIN_EDGES * fifths, coarse, 0.0))
    ratios, values = curve()
    slope = (values[-1] - values[-2]) / (ratios[-1] - ratios[-2])
    return np.asarray(np.interp(ratio, ratios, values) + slope * np.maximum(ratio - ratios[-1], 0.0))


@cache
def curve() -> tuple[Floats, Floats]:
    """Rising energy ratios of blurred steps, and the sharpness of each.

    The steps lie anywhere between pixels. Those of a blur under 0.4 px hardly differ; from there it goes on straight.
    """
    blur = np.concatenate([[32.0, 16.0, 8.0, 6.0, 4.0], np.arange(30, 3, -1) / 10])
    offset = np.linspace(-0.5, 0.5, 9)
    energies = []
    for kernel in (np.ones(FINE), np.convolve(np.ones(FINE), np.ones(COARSE))):
        difference = np.convolve(kernel / kernel.sum(), [-0.5, 0, 0.5])
        place = np.arange(difference.size) - difference.size // 2 + offset[:, None]
        steps = np.array([math.erf(item) for item in (place / (np.sqrt(2) * blur[:, None, None])).ravel()])
        gradient = steps.reshape(blur.size, offset.size, -1) @ difference
        energies.append(np.mean(gradient**2, axis=1))
    return energies[0] / energies[1], 1 / np.sqrt(1 + blur**2)

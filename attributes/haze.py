"""Haze: how much of a photo's light is a veil scattered by the air, a dirty windscreen or a fogged lens.

Some spot in almost every patch of a clear photo is dark in at least one channel, by shadow or by colour; a veil lifts
it by the share of light that the veil adds (He, Sun & Tang, "Single image haze removal using dark channel prior", CVPR
2009). Skies, snow and white walls are bright without haze, but nothing is seen in them: only patches with structure
count, and of those the clearer quarter, so that a few bright ones do not decide. A veil takes as much from a patch's
contrast as from its distance to white, so their ratio tells structure through any haze.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes import exposure
from attributes.arrays import Floats, Gray, Number
from attributes.views import Views

SMALLEST = 48
"""Shorter side in px at ``COARSE`` below which patches are too small to hold something dark."""

PATCHES = 6
"""Patches along each side."""

STRUCTURE = 0.1
"""Standard deviation of luma in a patch, relative to its distance from the veil's colour, from which it counts."""

FEWEST = 4
"""Patches with structure below which haze cannot be told."""

CLEARER = 0.25
"""Rank, among the patches with structure, of the one that is taken."""

AIRLIGHT = (0.6, 1.0)
"""Range of the veil's own light. Taken from the photo's brightest part, which dusk must not make too dark."""

# Luma that quantisation may add to the contrast of a flat patch near white.
FLOOR = 0.05


def haze(views: Views) -> Floats:
    """Share of light that a veil over the whole photo has added: 1 − transmission of the clearer parts.

    Fog that spares the foreground is told as light, and a veil over a single object is not told at all.

    Args:
        views: B photos.

    Returns:
        (B,) in 0–1; NaN for photos with a side under ``SMALLEST`` px or hardly any structure.

    Example:
        >>> flat = np.full((60, 80, 3), 200, dtype=np.uint8)
        >>> haze(Views([flat])).tolist()
        [nan]
    """
    planes = zip(exposure.darkest(views), exposure.coarse(views), strict=True)
    return views.together([_haze(darkest, gray) for darkest, gray in planes])


def _haze(darkest: Gray, gray: Gray) -> Floats:
    """(n,) haze of photos given by (n, h, w) planes."""
    if min(darkest.shape[1:]) < SMALLEST:
        return np.full(len(darkest), np.nan)
    # Reducing has averaged before the minimum is taken here: noise and compression make single pixels darker.
    dark = _patches(darkest).min(axis=2).min(axis=3).reshape(len(darkest), -1) / 255.0
    airlight = np.clip(_brightest(darkest), *AIRLIGHT)[:, None]
    structure = _deviation(gray) > STRUCTURE * (np.maximum(airlight - dark, 0.0) + FLOOR)
    count = structure.sum(axis=1, keepdims=True)
    # Patches that do not count are sorted behind all others.
    seen = np.sort(np.where(structure, dark, np.inf), axis=1)
    taken = np.take_along_axis(seen, (CLEARER * count).astype(np.int64), axis=1)
    return np.where(count >= FEWEST, np.minimum(taken / airlight, 1.0), np.nan)[:, 0]


def _patches(values: NDArray[Number]) -> NDArray[Number]:
    """Cut planes into a grid of equal patches: (n, row, y, column, x); what is left at the end is dropped."""
    height, width = (side // PATCHES for side in values.shape[1:])
    return values[:, : height * PATCHES, : width * PATCHES].reshape(-1, PATCHES, height, PATCHES, width)


def _deviation(gray: Gray) -> Floats:
    """(n, patches) standard deviation of luma in each patch, from sums that are exact."""
    strips = np.stack([_strips(plane) for plane in gray])
    pixels = (gray.shape[1] // PATCHES) * (gray.shape[2] // PATCHES)
    sums = strips.reshape(len(gray), 2, PATCHES, PATCHES, -1).sum(axis=4, dtype=np.float64)
    total, squares = (sums / pixels).reshape(len(gray), 2, -1).transpose(1, 0, 2)
    return np.asarray(np.sqrt(np.maximum(squares - total**2, 0.0)) / 255.0)


def _strips(gray: Gray) -> NDArray[np.float32]:
    """(2, rows of patches, x) sums over each column of a patch, of values and of squares: one photo fits the cache."""
    height, width = (side // PATCHES * PATCHES for side in gray.shape)
    levels = gray[:height, :width].astype(np.float32).reshape(PATCHES, -1, width)
    return np.stack([levels.sum(axis=1), np.square(levels, out=levels).sum(axis=1)])


def _brightest(planes: Gray) -> Floats:
    """(n,) 99th percentile of (n, h, w) planes, 0–1."""
    counts = np.stack([cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel() for plane in planes])
    return np.asarray((counts.cumsum(axis=1, dtype=np.float64) >= 0.99 * planes[0].size).argmax(axis=1) / 255.0)

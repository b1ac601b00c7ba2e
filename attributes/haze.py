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

from attributes import exposure
from attributes.views import Floats, Gray, Views

SMALLEST = 48
"""Shorter side in px below which patches are too small to hold something dark."""

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
    return np.array([_haze(darkest, gray) for darkest, gray in planes], dtype=np.float64)


def _haze(darkest: Gray, gray: Gray) -> float:
    if min(darkest.shape) < SMALLEST:
        return np.nan
    # Reducing has averaged before the minimum is taken here: noise and compression make single pixels darker.
    dark = _patches(darkest).min(axis=1).min(axis=2).ravel() / 255.0
    airlight = float(np.clip(_brightest(darkest), *AIRLIGHT))
    seen = np.sort(dark[_deviation(gray) > STRUCTURE * (np.maximum(airlight - dark, 0.0) + FLOOR)])
    if len(seen) < FEWEST:
        return np.nan
    return float(min(seen[int(CLEARER * len(seen))] / airlight, 1.0))


def _patches(values: Gray) -> Gray:
    """Cut a plane into a grid of equal patches: (row, y, column, x); what is left at the end is dropped."""
    height, width = (side // PATCHES for side in values.shape)
    return values[: height * PATCHES, : width * PATCHES].reshape(PATCHES, height, PATCHES, width)


def _deviation(gray: Gray) -> Floats:
    """(patches,) standard deviation of luma in each patch, from sums that are exact."""
    patches = _patches(gray)
    pixels = patches.shape[1] * patches.shape[3]
    total = patches.sum(axis=1, dtype=np.uint32).sum(axis=2).ravel()
    squares = np.square(patches, dtype=np.uint32).sum(axis=1).sum(axis=2).ravel()
    return np.asarray(np.sqrt(np.maximum(squares / pixels - (total / pixels) ** 2, 0.0)) / 255.0)


def _brightest(values: Gray) -> float:
    """99th percentile of a plane, 0–1."""
    counts = cv2.calcHist([values], [0], None, [256], [0, 256]).ravel()
    return float(np.searchsorted(counts.cumsum(), 0.99 * values.size) / 255.0)

"""Haze: how much of a photo's light is a veil scattered by the air, a dirty windscreen or a fogged lens.

Some pixel in almost every patch of a clear photo is dark in at least one channel, by shadow or by colour; a veil lifts
it by the share of light that the veil adds (He, Sun & Tang, "Single image haze removal using dark channel prior", CVPR
2009). Skies, snow and white walls are bright without haze, but nothing is seen in them: only patches with structure
count, and of those the clearer quarter, so that a few bright ones do not decide. A veil takes as much from a patch's
contrast as from its distance to white, so their ratio tells structure through any haze.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.views import Floats, Gray, Pixels, Views

_SMALLEST = 48
"""Shorter side in px below which patches are too small to hold something dark."""

_PATCHES = 6
"""Patches along each side."""

_DARKEST = 0.02
"""Share of a patch's pixels that its dark level leaves below: noise and compression make single pixels darker."""

_STRUCTURE = 0.1
"""Standard deviation of luma in a patch, relative to its distance from the veil's colour, from which it counts."""

_FEWEST = 4
"""Patches with structure below which haze cannot be told."""

_CLEARER = 0.25
"""Rank, among the patches with structure, of the one that is taken."""

_AIRLIGHT = (0.6, 1.0)
"""Range of the veil's own light. Taken from the photo's brightest part, which dusk must not make too dark."""

# Luma that quantisation may add to the contrast of a flat patch near white.
_FLOOR = 0.05


def haze(views: Views) -> Floats:
    """Share of light that a veil over the whole photo has added: 1 − transmission of the clearer parts.

    Fog that spares the foreground is told as light, and a veil over a single object is not told at all.

    Args:
        views: B photos.

    Returns:
        (B,) in 0–1; NaN for photos with a side under ``_SMALLEST`` px or hardly any structure.

    Example:
        >>> flat = np.full((60, 80, 3), 200, dtype=np.uint8)
        >>> haze(Views([flat])).tolist()
        [nan]
    """
    values = [_haze(photo, gray) for photo, gray in zip(views.small, views.gray, strict=True)]
    return np.array(values, dtype=np.float64)


def _haze(photo: Pixels, gray: Gray) -> float:
    if min(gray.shape) < _SMALLEST:
        return np.nan
    red, green, blue = cv2.split(photo)
    darkest = np.asarray(cv2.min(cv2.min(red, green), blue), dtype=np.uint8)
    patches = _patches(darkest)
    rank = int(_DARKEST * patches.shape[1])
    dark = np.partition(patches, rank, axis=1)[:, rank] / 255.0
    airlight = float(np.clip(_brightest(darkest), *_AIRLIGHT))
    contrast = _patches(gray).astype(np.float32).std(axis=1) / 255.0
    seen = np.sort(dark[contrast > _STRUCTURE * (np.maximum(airlight - dark, 0.0) + _FLOOR)])
    if len(seen) < _FEWEST:
        return np.nan
    return float(min(seen[int(_CLEARER * len(seen))] / airlight, 1.0))


def _patches(values: Gray) -> NDArray[np.uint8]:
    """Cut a plane into a grid of equal patches, (patches, pixels); what is left at the end is dropped."""
    height, width = (side // _PATCHES for side in values.shape)
    grid = values[: height * _PATCHES, : width * _PATCHES].reshape(_PATCHES, height, _PATCHES, width)
    return np.asarray(grid.transpose(0, 2, 1, 3).reshape(_PATCHES**2, -1))


def _brightest(values: Gray) -> float:
    """99th percentile of a plane, 0–1."""
    counts = cv2.calcHist([values], [0], None, [256], [0, 256]).ravel()
    return float(np.searchsorted(counts.cumsum(), 0.99 * values.size) / 255.0)

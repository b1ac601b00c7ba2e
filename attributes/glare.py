"""Glare: a burned-out light source, the halo around it and the veil that it throws over the photo.

Light scattered in the lens and the air falls off smoothly away from its source, so that around glare the photo gets
brighter towards one point from all sides. White cars, snow and overcast skies are as bright, but flat inside and cut
off sharply at their outlines. The measure is therefore a convergence: the mean cosine between the direction in which
the photo gets brighter and the direction to the pixel in question, over a disc around it, in the manner of the
convergence index filter (Kobatake & Hashimoto, "Convergence index filter for vector fields", IEEE TIP 1999). A disc
of half the photo answers to the sun and its veil, a smaller one to lamps and reflections. Only bright pixels count.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.views import Floats, Gray, Pixels, Views, fit

Map = NDArray[np.float32]

_WORKING = 64
"""Longest side at which glare is measured; it is a matter of large, smooth shapes."""

_SMALLEST = 24
"""Shorter side in px below which glare cannot be told."""

_RADII = (0.15, 0.45)
"""Radii of the discs, in longest sides."""

_RAMPS = ((0.33, 1.0), (0.17, 0.55))
"""Convergence at which severity starts and is full: 3% of PASCAL VOC 2007 exceed severity 0.5."""

_BRIGHT = (0.60, 0.95)
"""Luma from which a pixel may be, and at which it surely is, part of a source."""

_HALO = 0.08
"""Reach of the halo around a source, in longest sides."""

# Gradient in luma per px at which a direction counts half; flat interiors have no direction.
_GRADIENT = 0.005


def glare(views: Views) -> Floats:
    """Severity of the worst glare in each photo, the largest value of its glare map.

    Args:
        views: B photos.

    Returns:
        (B,) in 0–1; NaN for photos with a side under ``_SMALLEST`` px.

    Example:
        >>> white = np.full((60, 80, 3), 255, dtype=np.uint8)
        >>> glare(Views([white])).tolist()
        [0.0]
    """
    return np.array([values.max() for values in glare_maps(views)], dtype=np.float64)


def glare_map(photo: Pixels) -> Map:
    """Severity of glare at each pixel of a photo: its sources and the halos around them.

    Args:
        photo: H×W×3 uint8 RGB.

    Returns:
        H×W float32 in 0–1, all NaN where a side is under ``_SMALLEST`` px.
    """
    small = glare_maps(Views([photo]))[0]
    return np.asarray(cv2.resize(small, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def glare_maps(views: Views) -> tuple[Map, ...]:
    """Glare maps at ``_WORKING``, computed once a batch."""
    return views.shared("glare", lambda: tuple(_map(gray) for gray in views.gray))


def _map(gray: Gray) -> Map:
    reduced = fit(gray, _WORKING)
    if min(gray.shape) < _SMALLEST:
        return np.full(reduced.shape, np.nan, dtype=np.float32)
    tone = cv2.GaussianBlur(np.divide(reduced, 255.0, dtype=np.float32), (0, 0), 1.0)
    source = np.zeros_like(tone)
    for radius, (start, full) in zip(_RADII, _RAMPS, strict=True):
        np.maximum(source, _ramp(_convergence(tone, radius) * _bright(tone), start, full), out=source)
    return np.asarray(np.clip(_spread(source) * tone, 0.0, 1.0), dtype=np.float32)


def _convergence(tone: Map, radius: float) -> Map:
    """Mean cosine between the gradient around each pixel and the direction to that pixel, −1 to 1.

    Beyond the photo's edge nothing is known. Dividing by the root of the known share, not by the share itself, asks for
    more where less is seen.
    """
    across, down, weight = _disc(max(2.0, radius * max(tone.shape)), tone.shape)
    dx, dy = cv2.Sobel(tone, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(tone, cv2.CV_32F, 0, 1, scale=1 / 8)
    length = cv2.magnitude(dx, dy) + _GRADIENT
    inward = cv2.filter2D(dx / length, -1, across, borderType=cv2.BORDER_CONSTANT) + cv2.filter2D(
        dy / length, -1, down, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(inward / weight)


@lru_cache(maxsize=256)
def _disc(radius: float, shape: tuple[int, int]) -> tuple[Map, Map, Map]:
    """Directions to the middle of a disc, every distance weighted alike, and the root of the weight in the photo."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(x, y)
    weight = ((distance <= radius) & (distance > 0.15 * radius)) / np.maximum(distance, 1.0)
    weight = (weight / weight.sum()).astype(np.float32)
    unit = weight / np.maximum(distance, 1.0)
    known = cv2.filter2D(np.ones(shape, dtype=np.float32), -1, weight, borderType=cv2.BORDER_CONSTANT)
    return (-x * unit).astype(np.float32), (-y * unit).astype(np.float32), np.sqrt(known)


def _bright(tone: Map) -> Map:
    position = _ramp(tone, *_BRIGHT)
    return np.asarray(position**2 * (3.0 - 2.0 * position))


def _spread(source: Map) -> Map:
    """Carry the severity of sources into their surroundings."""
    reach = _HALO * max(source.shape)
    size = 2 * int(reach) + 1
    wide = cv2.dilate(source, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), reach / 2))


def _ramp(values: Map, start: float, full: float) -> Map:
    return np.asarray(np.clip((values - start) / (full - start), 0.0, 1.0))

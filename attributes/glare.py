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
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes import exposure
from attributes.arrays import Floats, Gray, Pixels
from attributes.reduced import fit_all
from attributes.views import Views

Map = NDArray[np.float32]

WORKING = 64
"""Longest side at which glare is measured; it is a matter of large, smooth shapes."""

SMALLEST = 24
"""Shorter side in px below which glare cannot be told."""


class Disc(NamedTuple):
    """A disc around each pixel in which light is looked at.

    Attributes:
        radius: in longest sides.
        start: convergence at which severity starts.
        full: convergence at which severity is full.
    """

    radius: float
    start: float
    full: float


# With these 2% of PASCAL VOC 2007 exceed severity 0.5.
DISCS = (Disc(0.15, 0.31, 0.97), Disc(0.45, 0.17, 0.55))

CELL = 2
"""Side in px at ``WORKING`` of the squares over which directions are averaged first; discs need no finer ones."""

BRIGHT = (0.60, 0.95)
"""Luma from which a pixel may be, and at which it surely is, part of a source."""

HALO = 0.07
"""Reach of the halo around a source, in longest sides."""

SOFTNESS = 0.04
"""Standard deviation by which the halo is blurred, in longest sides."""

# Gradient in luma per px at which a direction counts half; flat interiors have no direction.
GRADIENT = 0.005


def glare(views: Views) -> Floats:
    """Severity of the worst glare in each photo, the largest value of its glare map.

    Args:
        views: B photos.

    Returns:
        (B,) in 0–1; NaN for photos with a side under ``SMALLEST`` px.

    Example:
        >>> white = np.full((60, 80, 3), 255, dtype=np.uint8)
        >>> glare(Views([white])).tolist()
        [0.0]
    """
    return views.together([maps.max(axis=(1, 2)).astype(np.float64) for maps in stacks_of_maps(views)])


def glare_map(photo: Pixels) -> Map:
    """Severity of glare at each pixel of a photo: its sources and the halos around them.

    Args:
        photo: H×W×3 uint8 RGB.

    Returns:
        H×W float32 in 0–1, all NaN where a side is under ``SMALLEST`` px.
    """
    small = glare_maps(Views([photo]))[0]
    return np.asarray(cv2.resize(small, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def glare_maps(views: Views) -> tuple[Map, ...]:
    """Glare maps at ``WORKING``, computed once a batch."""
    return views.apart(stacks_of_maps(views))


def stacks_of_maps(views: Views) -> tuple[Map, ...]:
    """Per group (n, h, w) glare maps at ``WORKING``, computed once a batch."""
    return views.shared("glare", lambda: tuple(map(_maps, views.grays, exposure.coarse(views))))


def _maps(gray: Gray, coarse: Gray) -> Map:
    """(n, h, w) glare maps of photos given by their (n, H, W) luma at two sizes."""
    reduced = fit_all(coarse, WORKING)
    if min(gray.shape[1:]) < SMALLEST:
        return np.full(reduced.shape, np.nan, dtype=np.float32)
    tone = np.divide(reduced, 255.0, dtype=np.float32)
    for plane in tone:
        cv2.GaussianBlur(plane, (0, 0), 1.0, dst=plane)
    directions, bright = _averages(_directions(tone)), _bright(tone)
    source = np.zeros_like(tone)
    for disc in DISCS:
        convergence = _enlarged(_convergence(directions, disc.radius * max(tone.shape[1:]) / CELL), tone.shape)
        convergence *= bright
        np.maximum(source, _ramp(convergence, disc.start, disc.full), out=source)
    for plane in source:
        plane[:] = _spread(plane)
    source *= tone
    return source


def _directions(tone: Map) -> Map:
    """(n, h, w, 2) x and y of the direction in which photos get brighter; shorter than 1 where they hardly do."""
    directions = np.empty((*tone.shape, 2), dtype=np.float32)
    slopes = np.empty((2, *tone.shape), dtype=np.float32)
    for index, plane in enumerate(tone):
        cv2.Sobel(plane, cv2.CV_32F, 1, 0, dst=slopes[0, index], scale=1 / 8)
        cv2.Sobel(plane, cv2.CV_32F, 0, 1, dst=slopes[1, index], scale=1 / 8)
    # cv2.magnitude would do, but its last digit depends on where its arguments lie in memory.
    length = np.sqrt(slopes[0] * slopes[0] + slopes[1] * slopes[1]) + GRADIENT
    np.divide(slopes[0], length, out=directions[..., 0])
    np.divide(slopes[1], length, out=directions[..., 1])
    return directions


def _averages(directions: Map) -> Map:
    """(n, h / 2, w / 2, 2) means over cells; beyond the edges there is no direction."""
    below, right = (-side % CELL for side in directions.shape[1:3])
    means = []
    for plane in directions:
        whole = cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_CONSTANT, value=0) if below or right else plane
        size = (whole.shape[1] // CELL, whole.shape[0] // CELL)
        means.append(cv2.resize(whole, size, interpolation=cv2.INTER_AREA))
    return np.stack(means)


def _enlarged(convergence: Map, shape: tuple[int, ...]) -> Map:
    """(n, h, w) from values of cells."""
    size = (convergence.shape[2] * CELL, convergence.shape[1] * CELL)
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in convergence]
    return np.stack(planes)[:, : shape[1], : shape[2]]


def _convergence(directions: Map, radius: float) -> Map:
    """Mean cosine between the directions around each pixel and the direction to that pixel, −1 to 1.

    Beyond a photo's edge nothing is known. Dividing by the root of the known share, not by the share itself, asks for
    more where less is seen.

    Args:
        directions: (n, h, w, 2) of n photos.
        radius: of the disc, in px; at least 2 are taken.

    Returns:
        (n, h, w).
    """
    count, rows, columns = directions.shape[:3]
    spectrum, gain = disc_spectrum(max(2.0, radius), (rows, columns))
    waves = np.zeros((count, *spectrum.shape), dtype=np.float32)
    waves[:, :rows, :columns] = directions
    for wave in waves:
        cv2.dft(wave, dst=wave)
        cv2.mulSpectrums(wave, spectrum, 0, wave, conjB=True)
        cv2.dft(wave, dst=wave, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)
    return np.asarray(waves[:, :rows, :columns, 0] * gain)


@lru_cache(maxsize=64)
def disc_spectrum(radius: float, shape: tuple[int, int]) -> tuple[Map, Map]:
    """What does not depend on the photo: directions to the middle of a disc, every distance weighted alike.

    Returns:
        (h, w, 2) spectrum of the directions x + iy, large enough that discs do not reach around; (H, W) what their sum
        is multiplied with.
    """
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(x, y)
    weight = ((distance <= radius) & (distance > 0.15 * radius)) / np.maximum(distance, 1.0)
    weight = (weight / weight.sum()).astype(np.float32)
    known = cv2.filter2D(np.ones(shape, dtype=np.float32), -1, weight, borderType=cv2.BORDER_CONSTANT)
    size = [cv2.getOptimalDFTSize(side + reach) for side in shape]
    inward = np.zeros((*size, 2), dtype=np.float32)
    # Offsets to the left and above lie at the end, where a periodic image has them.
    inward[y, x] = np.dstack([-x, -y]) * (weight / np.maximum(distance, 1.0))[..., None]
    cv2.dft(inward, dst=inward)
    return inward, np.asarray(1.0 / np.sqrt(known))


def _bright(tone: Map) -> Map:
    position = _ramp(tone, *BRIGHT)
    return np.asarray(position**2 * (3.0 - 2.0 * position))


def _spread(source: Map) -> Map:
    """Carry the severity of sources into their surroundings."""
    longest = max(source.shape)
    size = 2 * int(HALO * longest) + 1
    wide = cv2.dilate(source, np.ones((size, size), dtype=np.uint8))
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), SOFTNESS * longest))


def _ramp(values: Map, start: float, full: float) -> Map:
    return np.asarray(np.clip((values - start) / (full - start), 0.0, 1.0))

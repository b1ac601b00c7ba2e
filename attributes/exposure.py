"""Brightness, contrast and clipped highlights, and the coarse planes that measures of tone share."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from attributes.arrays import Floats, Gray, Pixels
from attributes.reduced import COARSE, fit_all
from attributes.views import Views

CLIPPED_LEVEL = 250
"""A pixel counts as burned out when all three channels reach this level; JPEG moves pure white by a few levels."""


def brightness(views: Views) -> Floats:
    """Mean luma of each photo.

    Args:
        views: B photos.

    Returns:
        (B,) in 0–1.

    Example:
        >>> gray = np.full((4, 6, 3), 51, dtype=np.uint8)
        >>> brightness(Views([gray])).round(3).tolist()
        [0.2]
    """
    return _luma(views)[:, 0]


def contrast(views: Views) -> Floats:
    """RMS contrast: standard deviation of luma.

    Peli, "Contrast in complex images", JOSA A 1990.

    Args:
        views: B photos.

    Returns:
        (B,) in 0–0.5.

    Example:
        >>> halves = np.zeros((4, 6, 3), dtype=np.uint8)
        >>> halves[:, 3:] = 255
        >>> contrast(Views([halves])).round(3).tolist()
        [0.5]
    """
    return _luma(views)[:, 1]


def clipped(views: Views) -> Floats:
    """Share of burned-out pixels, where all three channels reach ``CLIPPED_LEVEL`` and detail is lost.

    Args:
        views: B photos.

    Returns:
        (B,) in 0–1.
    """
    return views.together([_burned_out(stack) for stack in darkest(views)])


def planes(views: Views) -> tuple[tuple[Gray, Gray, Gray], ...]:
    """Per group (n, h, w) red, green and blue of at most ``COARSE`` px."""
    return views.shared(
        "planes", lambda: tuple(_split([views.reduced[index].coarse for index in members]) for members in views.groups)
    )


def darkest(views: Views) -> tuple[Gray, ...]:
    """Per group (n, h, w) the darkest of the three channels of each pixel, of at most ``COARSE`` px."""
    return views.shared(
        "darkest",
        lambda: tuple(np.minimum(np.minimum(red, green), blue) for red, green, blue in planes(views)),
    )


def coarse(views: Views) -> tuple[Gray, ...]:
    """Per group (n, h, w) luma of at most ``COARSE`` px."""
    return views.shared("coarse", lambda: tuple(fit_all(grays, COARSE) for grays in views.grays))


def _luma(views: Views) -> Floats:
    """(B, 2) mean and standard deviation of luma, from sums that are exact."""
    return views.shared("luma", lambda: np.array([_moments(gray) for gray in views.gray]).reshape(-1, 2))


def _moments(gray: Gray) -> tuple[float, float]:
    mean = cv2.sumElems(gray)[0] / gray.size
    variance = cv2.norm(gray, cv2.NORM_L2SQR) / gray.size - mean**2
    return mean / 255.0, max(variance, 0.0) ** 0.5 / 255.0


def _split(photos: Sequence[Pixels]) -> tuple[Gray, Gray, Gray]:
    """(n, h, w) channels of at most ``COARSE`` px of photos of one size."""
    reduced = np.stack(photos)
    shape = reduced.shape[:3]
    planes = cv2.split(reduced.reshape(-1, *reduced.shape[2:]))
    red, green, blue = (np.asarray(plane, np.uint8).reshape(shape) for plane in planes)
    return red, green, blue


def _burned_out(planes: Gray) -> Floats:
    """(n,) share of the pixels of (n, h, w) planes that reach ``CLIPPED_LEVEL``."""
    return np.array([np.count_nonzero(plane) / plane.size for plane in planes >= CLIPPED_LEVEL])

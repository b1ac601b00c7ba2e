"""Brightness, contrast and clipped highlights, all read from the tones of the reduced photo."""

from __future__ import annotations

import cv2
import numpy as np

from attributes.views import Floats, Pixels, Views

_LEVELS = np.arange(256) / 255.0

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
    return _mean(np.array(views.histograms).reshape(-1, 256), _LEVELS)


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
    histograms = np.array(views.histograms).reshape(-1, 256)
    variance = _mean(histograms, _LEVELS**2) - _mean(histograms, _LEVELS) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def clipped(views: Views) -> Floats:
    """Share of burned-out pixels, where all three channels reach ``CLIPPED_LEVEL`` and detail is lost.

    Args:
        views: B photos.

    Returns:
        (B,) in 0–1.
    """
    return np.array([_burned_out(photo) for photo in views.small], dtype=np.float64)


def _mean(histograms: Floats, levels: Floats) -> Floats:
    """Mean of each row; a matrix product would round differently with the size of the batch."""
    return np.asarray((histograms * levels).sum(axis=1))


def _burned_out(photo: Pixels) -> float:
    burned = cv2.inRange(photo, (CLIPPED_LEVEL,) * 3, (255,) * 3)
    return float(np.count_nonzero(burned) / burned.size)

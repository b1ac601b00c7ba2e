"""Glare: a light source that burns out, and the halo around it."""

from __future__ import annotations

import cv2
import numpy as np

from attributes.views import Floats, Gray, Views

_WORKING = 160
_SOURCE = (0.85, 0.98)
_PROMINENCE = 0.5


def glare(views: Views) -> Floats:
    """Severity of glare in each photo.

    Args:
        views: B photos.

    Returns:
        (B,) in 0–1.
    """
    return np.array([np.quantile(values, 0.99) for values in glare_maps(views)], dtype=np.float64)


def glare_map(photo: np.ndarray) -> Floats:
    """Severity of glare at each pixel of a photo.

    Args:
        photo: H×W×3 uint8 RGB.

    Returns:
        H×W float32 in 0–1.
    """
    small = glare_maps(Views([photo]))[0]
    return np.asarray(cv2.resize(small, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def glare_maps(views: Views) -> tuple[Floats, ...]:
    """Glare maps at the working size, computed once a batch."""
    return views.shared("glare", lambda: tuple(_map(gray) for gray in views.gray))


def _map(gray: Gray) -> Floats:
    scale = min(1.0, _WORKING / max(gray.shape))
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    tone = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    longest = max(size)
    light = cv2.GaussianBlur(tone, (0, 0), 0.01 * longest)
    surroundings = cv2.GaussianBlur(tone, (0, 0), 0.2 * longest)
    burning = _smoothstep(light, *_SOURCE)
    return np.asarray(burning * np.clip((light - surroundings) / _PROMINENCE, 0.0, 1.0))


def _smoothstep(values: Floats, low: float, high: float) -> Floats:
    position = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(position**2 * (3.0 - 2.0 * position))

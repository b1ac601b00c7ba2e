"""Colourfulness: from grey through everyday colours to vivid ones."""

from __future__ import annotations

import cv2
import numpy as np

from attributes.views import Floats, Pixels, Views


def colorfulness(views: Views) -> Floats:
    """Colourfulness as observers rate it, the measure M⁽³⁾ of Hasler & Süsstrunk.

    √(σ²ʳᵍ + σ²ʸᵇ) + 0.3 √(μ²ʳᵍ + μ²ʸᵇ) over the opponent channels red − green and yellow − blue. Observers called 15
    slightly, 33 moderately, 59 quite and 82 highly colourful ("Measuring colorfulness in natural images", Human Vision
    and Electronic Imaging 2003).

    Args:
        views: B photos.

    Returns:
        (B,) from 0, in levels of 255.

    Example:
        >>> red = np.zeros((4, 6, 3), dtype=np.uint8)
        >>> red[..., 0] = 100
        >>> colorfulness(Views([red])).round(2).tolist()  # 0.3 * sqrt(100**2 + 50**2)
        [33.54]
    """
    return np.array([_colorfulness(photo) for photo in views.small], dtype=np.float64)


def _colorfulness(photo: Pixels) -> float:
    red, green, blue = cv2.split(photo)
    red_green = cv2.subtract(red, green, dtype=cv2.CV_16S)
    # Twice yellow − blue, so that it stays whole.
    yellow_blue = cv2.subtract(cv2.add(red, green, dtype=cv2.CV_16S), cv2.add(blue, blue, dtype=cv2.CV_16S))
    (mean, deviation), (mean_2, deviation_2) = cv2.meanStdDev(red_green), cv2.meanStdDev(yellow_blue)
    spread = np.hypot(deviation.item(), deviation_2.item() / 2)
    return float(spread + 0.3 * np.hypot(mean.item(), mean_2.item() / 2))

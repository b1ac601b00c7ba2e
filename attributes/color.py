"""Colourfulness: from grey through everyday colours to vivid ones."""

from __future__ import annotations

import cv2
import numpy as np

from attributes.exposure import planes
from attributes.views import Floats, Gray, Views


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
    return np.array([_colorfulness(*channels) for channels in planes(views)], dtype=np.float64)


def _colorfulness(red: Gray, green: Gray, blue: Gray) -> float:
    pixels = red.size
    red_green, red_blue, green_blue = (
        cv2.norm(one, other, cv2.NORM_L2SQR) for one, other in ((red, green), (red, blue), (green, blue))
    )
    # Twice yellow − blue is the sum of the other two differences, and their difference is red − green.
    squares = red_green + (2 * red_blue + 2 * green_blue - red_green) / 4
    level_red, level_green, level_blue = (cv2.sumElems(plane)[0] / pixels for plane in (red, green, blue))
    mean = np.hypot(level_red - level_green, (level_red + level_green) / 2 - level_blue)
    return float(np.sqrt(max(squares / pixels - mean**2, 0.0)) + 0.3 * mean)

"""Colourfulness: from grey through everyday colours to vivid ones."""

from __future__ import annotations

import cv2
import numpy as np

from attributes.arrays import Floats, Gray
from attributes.exposure import planes
from attributes.views import Views


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
    return views.together([_colorfulness(*channels) for channels in planes(views)])


def _colorfulness(reds: Gray, greens: Gray, blues: Gray) -> Floats:
    """(n,) colourfulness of photos given by their (n, h, w) channels."""
    sums = [_sums(*channels) for channels in zip(reds, greens, blues, strict=True)]
    red_green, red_blue, green_blue, red, green, blue = np.array(sums).T / reds[0].size
    # Twice yellow − blue is the sum of the other two differences, and their difference is red − green.
    squares = red_green + (2 * red_blue + 2 * green_blue - red_green) / 4
    squared_mean = (red - green) ** 2 + ((red + green) / 2 - blue) ** 2
    return np.asarray(np.sqrt(np.maximum(squares - squared_mean, 0.0)) + 0.3 * np.sqrt(squared_mean))


def _sums(red: Gray, green: Gray, blue: Gray) -> tuple[float, ...]:
    """Sums of the squared differences red − green, red − blue, green − blue, and of the channels."""
    pairs = (red, green), (red, blue), (green, blue)
    return (
        *(cv2.norm(one, other, cv2.NORM_L2SQR) for one, other in pairs),
        *(cv2.sumElems(plane)[0] for plane in (red, green, blue)),
    )

"""Repairs that change light and detail and leave every pixel in its place.

Each takes a photo (uint8 H×W×3 RGB) and the object's box in its pixels, and returns the repaired photo, or None where
there is nothing to repair. Strength follows the light around the object, not the whole photo: a dark car before a
bright sky is dark.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from xai.types import Boxes, Pixels

Floats = NDArray[np.float32]

_SMALL = 256
"""Longest side, pixels, at which slowly varying light is estimated."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_MIDDLE = 0.42
"""Luminance (0–1, gamma-encoded) that the surroundings of an object are brought to: the median of everyday photos."""

_LEAST_VEIL = 0.13
"""Share of the airlight in the clearest tenth below which there is no haze: 90% of everyday photos lie under it."""

_VEIL_TAKEN = 0.95
"""Part of the veil that is taken off; a photo without any looks unreal (He et al. 2009)."""


def tone_down_glare(pixels: Pixels, box: Boxes) -> Pixels | None:
    """Take off scattered light that veils the photo locally, then compress what remains far above the photo's middle.

    Glare adds light that varies slowly over the photo. Its least amount is the local minimum of all channels, as in
    the dark channel prior (He et al., "Single image haze removal using dark channel prior", CVPR 2009).
    """
    light = _to_float(pixels)
    veil = _smooth_map(light.min(2), window=0.06, lowest=True)
    cleared = np.clip((light - 0.85 * veil[..., None]) / (1.0 - 0.85 * veil[..., None] + 1e-3), 0, 1)
    base = _smooth_map(cleared @ _LUMA, window=0.06, lowest=False)
    middle = np.float32(np.median(base))
    excess = np.clip(base - middle, 0, None)
    toned = (base - 0.5 * excess + 1e-3) / (base + 1e-3)
    result = _to_pixels(cleared * toned[..., None])
    return None if _same(result, pixels) else result


def lift_shadows(pixels: Pixels, box: Boxes) -> Pixels | None:
    """Lift a dark photo so that the object's surroundings get middle brightness; None where they are not dark."""
    light = _to_float(pixels)
    median = float(np.median(_around(light, box, 2.0) @ _LUMA))
    if median >= 0.9 * _MIDDLE:
        return None
    return _to_pixels(_expose(light, median, _MIDDLE, limit=24.0))


def compress_highlights(pixels: Pixels, box: Boxes) -> Pixels | None:
    """Bring a bright photo down to middle brightness around the object; None where it is not bright."""
    light = _to_float(pixels)
    median = float(np.median(_around(light, box, 2.0) @ _LUMA))
    if median <= 1.2 * _MIDDLE:
        return None
    # Light near white has few steps left; a steeper curve would spread them into blotches.
    return _to_pixels(_expose(light, median, _MIDDLE, limit=4.0))


def stretch_contrast(pixels: Pixels, box: Boxes) -> Pixels | None:
    """Stretch the range of light around the object to black and white; None where it already spans 90% of it.

    Each channel loses its own darkest light, since a veil has a colour; the gain is common, so that hues stay.
    """
    light = _to_float(pixels)
    region = _around(light, box, 3.0).reshape(-1, 3)
    low, high = np.percentile(region, (0.5, 99.5), axis=0).astype(np.float32)
    span = float((high - low).max())
    if span >= 0.9 or span <= 2 / 255:
        return None
    return _to_pixels((light - low) * (0.96 / span) + 0.02)


def sharpen(pixels: Pixels, box: Boxes) -> Pixels | None:
    """Sharpen by unsharp masking at a fine and a coarse scale, both relative to the object's size."""
    light = _to_float(pixels)
    side = float(max(box[2] - box[0], box[3] - box[1]))
    result = light
    for scale, amount in ((1.0, 1.0), (float(np.clip(side / 40, 1.5, 6.0)), 1.2)):
        result = result + amount * (light - cv2.GaussianBlur(light, (0, 0), scale))
    sharpened = _to_pixels(result)
    return None if _same(sharpened, pixels) else sharpened


def denoise(pixels: Pixels, box: Boxes) -> Pixels | None:
    """Non-local means at the strength of the photo's own noise (Buades et al., CVPR 2005).

    The noise is estimated by Immerkær ("Fast noise variance estimation", CVIU 1996); None below 2 of 255.
    """
    sigma = _noise(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    if sigma < 2.0:
        return None
    denoised: Pixels = cv2.fastNlMeansDenoisingColored(pixels, None, 1.1 * sigma, 1.1 * sigma, 5, 13)
    return denoised


def dehaze(pixels: Pixels, box: Boxes) -> Pixels | None:
    """Take off a veil that thickens with distance; None where the clearest parts have hardly any.

    The veil's colour is that of the haziest parts, its share the least light of any channel near each pixel, smoothed
    along edges (He, Sun & Tang, "Single image haze removal using dark channel prior", CVPR 2009).
    """
    light = _to_float(pixels)
    height, width = light.shape[:2]
    factor = min(1.0, _SMALL / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    least = small.min(2)
    haziest = least >= np.percentile(least, 99.5)
    # Far below white it is no airlight but a dark scene.
    airlight = np.maximum(small[haziest].mean(0), np.float32(0.5))
    patch = np.ones((max(3, round(max(least.shape) / 40)),) * 2, np.uint8)
    share = cv2.erode((small / airlight).min(2), patch)
    if np.percentile(share, 10) < _LEAST_VEIL:
        return None
    share = _along_edges(share, small @ _LUMA, light @ _LUMA)
    transmission = np.clip(1 - _VEIL_TAKEN * share, 0.1, 1)[..., None]
    return _to_pixels((light - airlight) / transmission + airlight)


def deblock(pixels: Pixels, quality: float) -> Pixels:
    """Average the photo's luma over compressions at the same quality whose blocks lie elsewhere.

    Nosratinia, "Enhancement of JPEG-compressed images by re-application of JPEG", Journal of VLSI Signal Processing
    2001. Colour is left alone, which gains as much and takes a third of the time.

    Args:
        pixels: H×W×3 uint8 RGB.
        quality: at which the photo was compressed, 1–100.
    """
    tones = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)
    height, width = pixels.shape[:2]
    mirrored = cv2.copyMakeBorder(tones[..., 0], 0, 8, 0, 8, cv2.BORDER_REFLECT)
    total = np.zeros((height, width), np.uint16)
    for down in range(0, 8, 2):
        for right in range(0, 8, 2):
            # Blocks start at the corner of what is encoded, so the photo is shifted within its mirrored border.
            shifted = np.roll(mirrored, (down, right), axis=(0, 1))
            file = cv2.imencode(".jpg", shifted, [cv2.IMWRITE_JPEG_QUALITY, round(quality)])[1]
            again = np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE))
            total += again[down : down + height, right : right + width]
    tones[..., 0] = np.rint(total / 16)
    return np.asarray(cv2.cvtColor(tones, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def hide(pixels: Pixels, hidden: Boxes, kept: Boxes) -> Pixels:
    """Replace the boxes ``hidden`` (m, 4) by what surrounds them, blurred; ``kept`` (4,) stays as it is."""
    height, width = pixels.shape[:2]
    mask = _covered(hidden, height, width)
    x1, y1, x2, y2 = _clip(kept, height, width)
    mask[y1:y2, x1:x2] = False
    shown = (~mask).astype(np.float32)
    factor = min(1.0, _SMALL / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    weight = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    light = cv2.resize(_to_float(pixels) * shown[..., None], size, interpolation=cv2.INTER_AREA)
    filled, known = np.zeros_like(light), np.zeros_like(weight)
    # From fine to coarse, so that each hidden pixel takes the nearest surroundings that reach it.
    for sigma in (2.0, 8.0, 32.0, 128.0):
        spread = cv2.GaussianBlur(weight, (0, 0), sigma)
        part = (1.0 - known) * np.clip(spread * 4, 0, 1)
        filled += part[..., None] * cv2.GaussianBlur(light, (0, 0), sigma) / (spread[..., None] + 1e-6)
        known += part
    filled /= known[..., None] + 1e-6
    surroundings = _to_pixels(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.where(mask[..., None], surroundings, pixels)


def _covered(boxes: Boxes, height: int, width: int) -> NDArray[np.bool_]:
    """Mark the pixels inside any box, by the running sum of the boxes' corners."""
    corners = np.rint(np.clip(boxes, 0, [width, height, width, height])).astype(np.int64)
    steps = np.zeros((height + 1, width + 1), dtype=np.int32)
    for columns, sign in (((0, 1), 1), ((2, 3), 1), ((0, 3), -1), ((2, 1), -1)):
        np.add.at(steps, (corners[:, columns[1]], corners[:, columns[0]]), sign)
    return steps.cumsum(0).cumsum(1)[:height, :width] > 0


def _expose(light: Floats, median: float, goal: float, limit: float) -> Floats:
    """Apply the curve g·x / (1 + (g − 1)·x), which keeps black and white and takes ``median`` to ``goal``."""
    middle = max(median, 1e-3)
    gain = np.clip(goal * (1 - middle) / (middle * (1 - goal) + 1e-6), 1 / limit, limit)
    luma = np.clip(light @ _LUMA, 0, 1)[..., None]
    ratio = gain / (1 + (gain - 1) * luma)
    lifted: Floats = (light * ratio).astype(np.float32)
    return lifted


def _around(light: Floats, box: Boxes, factor: float) -> Floats:
    """Cut out the box enlarged ``factor`` times about its centre."""
    centre = (box[:2] + box[2:]) / 2
    half = (box[2:] - box[:2]) * factor / 2
    x1, y1, x2, y2 = _clip(np.concatenate([centre - half, centre + half]), *light.shape[:2])
    return light[y1:y2, x1:x2]


def _clip(box: Boxes, height: int, width: int) -> tuple[int, int, int, int]:
    """Round a box outwards to whole pixels inside the photo, one pixel at least."""
    x1 = int(np.clip(np.floor(box[0]), 0, width - 1))
    y1 = int(np.clip(np.floor(box[1]), 0, height - 1))
    return x1, y1, int(np.clip(np.ceil(box[2]), x1 + 1, width)), int(np.clip(np.ceil(box[3]), y1 + 1, height))


def _smooth_map(values: Floats, *, window: float, lowest: bool) -> Floats:
    """Estimate slowly varying light: blur, after a local minimum where asked; ``window`` in longest sides."""
    height, width = values.shape
    factor = min(1.0, _SMALL / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    reach = max(1, round(window * max(size)))
    if lowest:
        small = cv2.erode(small, np.ones((reach, reach), np.uint8))
    small = cv2.GaussianBlur(small, (0, 0), reach)
    smooth: Floats = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return smooth


def _along_edges(values: Floats, small: Floats, guide: Floats) -> Floats:
    """Bring a coarse map to the size of ``guide``, its edges onto the guide's.

    Fast guided filter (He & Sun, arXiv:1505.00996): a line from the guide to the values in every window, fitted at the
    size of ``small``, the guide reduced.
    """
    size = (max(3, round(max(small.shape) / 8)),) * 2
    mean, mean_guide = cv2.blur(values, size), cv2.blur(small, size)
    slope = (cv2.blur(values * small, size) - mean * mean_guide) / (cv2.blur(small**2, size) - mean_guide**2 + 1e-3)
    offset = cv2.blur(mean - slope * mean_guide, size)
    slope, offset = (
        cv2.resize(part, guide.shape[::-1], interpolation=cv2.INTER_LINEAR) for part in (cv2.blur(slope, size), offset)
    )
    smooth: Floats = slope * guide + offset
    return smooth


def _noise(grey: Pixels) -> float:
    """Standard deviation of the noise, 0–255, by Immerkær's mask, which cancels edges and slopes."""
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, mask))
    return float(np.sqrt(np.pi / 2) * response.mean() / 6)


def _to_float(pixels: Pixels) -> Floats:
    return pixels.astype(np.float32) / np.float32(255)


def _to_pixels(light: Floats) -> Pixels:
    return np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)


def _same(first: Pixels, second: Pixels) -> bool:
    """Tell whether two photos differ by less than one of 255 on average."""
    return float(cv2.absdiff(first, second).mean()) < 1.0

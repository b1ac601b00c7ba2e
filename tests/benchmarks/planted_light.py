"""Conditions of light and detail, planted into photos whose objects were found: no line is shared with the repairs.

Each takes a photo, the boxes it is meant for, a strength in 0–1 and a generator, and returns the photo as the camera
would have given it. Light adds up in linear light (gamma 2.2), blur and noise happen there too, as in a camera.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from xai.types import Boxes, Pixels

Floats = NDArray[np.float32]
Rng = np.random.Generator
Light = Callable[[Pixels, Boxes, float, Rng], Pixels]

GAMMA = 2.2


def linear(photo: Pixels) -> Floats:
    return np.asarray((photo.astype(np.float32) / 255) ** GAMMA, dtype=np.float32)


def encoded(light: Floats) -> Pixels:
    return np.asarray((np.clip(light, 0, 1) ** (1 / GAMMA) * 255).round(), dtype=np.uint8)


def between(low: float, high: float, strength: float) -> float:
    return low + (high - low) * strength


def _grid(photo: Pixels) -> tuple[Floats, Floats]:
    rows, columns = np.indices(photo.shape[:2], dtype=np.float32)
    return columns, rows


def _spot_in(box: NDArray[np.float64], photo: Pixels, rng: Rng) -> tuple[float, float, float]:
    """A point in the middle half of a box, and the box's mean side, at most 40% of the photo's shorter one."""
    width, height = box[2] - box[0], box[3] - box[1]
    return (
        float(box[0] + width * rng.uniform(0.3, 0.7)),
        float(box[1] + height * rng.uniform(0.3, 0.7)),
        min(float(np.sqrt(width * height)), 0.4 * min(photo.shape[:2])),
    )


# --- glare on the object ---------------------------------------------------------------------------------------------


def sun_behind(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """A disc of light at the object with a wide halo that falls off by the square of the distance."""
    light, (x, y) = linear(photo), _grid(photo)
    for box in boxes:
        cx, cy, side = _spot_in(box, photo, rng)
        radius = side * between(0.15, 0.3, strength)
        distance = np.hypot(x - cx, y - cy)
        halo = 1 / (1 + (distance / (radius * between(1.2, 2.2, strength))) ** 2)
        light = light + (halo * between(0.9, 2.5, strength))[..., None] * np.array([1, 0.97, 0.88], np.float32)
        light = np.where((distance < radius)[..., None], np.float32(1.5), light)
    return encoded(light)


def streak(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """A smear of light across the object, as from a lamp on a dirty lens, and a film of light around it."""
    light, (x, y) = linear(photo), _grid(photo)
    for box in boxes:
        cx, cy, side = _spot_in(box, photo, rng)
        angle = rng.uniform(0, np.pi)
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = -(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)
        band = np.exp(-np.abs(across) / (side * between(0.12, 0.3, strength))) * np.exp(-((along / (2.5 * side)) ** 2))
        film = np.exp(-((along**2 + across**2) / (1.2 * side) ** 2))
        light = light + (between(0.7, 2.0, strength) * band + between(0.15, 0.5, strength) * film)[..., None]
    return encoded(light)


def reflection(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """Patches of mirrored sky on the object: burned out in the middle, soft at the edge."""
    light, (x, y) = linear(photo), _grid(photo)
    for box in boxes:
        width, height = box[2] - box[0], box[3] - box[1]
        for _ in range(3 + round(3 * strength)):
            cx, cy = box[0] + width * rng.uniform(0.1, 0.9), box[1] + height * rng.uniform(0.1, 0.9)
            rx, ry = (side * rng.uniform(0.15, 0.15 + between(0.12, 0.3, strength)) for side in (width, height))
            inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
            light = light + (1.4 * np.exp(-(inside**2)))[..., None] * np.array([0.95, 0.98, 1], np.float32)
    return encoded(light)


def low_sun(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """A source beyond the frame whose scattered light veils the whole photo, more on its side."""
    light, (x, y) = linear(photo), _grid(photo)
    height, width = photo.shape[:2]
    cx, cy = width * rng.uniform(0.1, 0.9), -0.15 * height
    distance = np.hypot(x - cx, y - cy) / max(height, width)
    veil = between(0.35, 1.1, strength) * np.exp(-distance / 0.9)
    return encoded(light * 0.9 + veil[..., None] * np.array([1, 0.95, 0.85], np.float32))


# --- veil, haze, contrast, exposure ----------------------------------------------------------------------------------


def veil(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """An even grey-white film, as of a fogged lens."""
    share = between(0.5, 0.85, strength)
    return encoded(linear(photo) * (1 - share) + share * np.float32(rng.uniform(0.5, 0.85)))


def haze(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """Fog that thickens with distance, which grows from the lower edge up to the horizon and stays there."""
    height = photo.shape[0]
    rows = np.arange(height, dtype=np.float32) / height
    depth = np.clip((1.05 - rows) / 0.75, 0.25, 1)
    through = np.exp(-between(1.2, 3.0, strength) * depth)[:, None, None]
    air = np.array([0.72, 0.75, 0.8], np.float32) * np.float32(rng.uniform(0.8, 1.1))
    return encoded(linear(photo) * through + air * (1 - through))


def flat(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """Grey levels drawn together about their mean."""
    values = photo.astype(np.float32)
    kept = between(0.3, 0.1, strength)
    middle = np.float32(between(values.mean(), 128, 0.5))
    return np.asarray(np.clip(middle + (values - values.mean()) * kept, 0, 255).round(), dtype=np.uint8)


def dark(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """Less light: 3 to 6 stops, with the noise that a sensor then shows."""
    light = linear(photo) * np.float32(2 ** -between(3.0, 6.0, strength))
    return encoded(light + rng.normal(0, 2e-4, light.shape).astype(np.float32))


def night(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """Dark, bluish, and darker still towards the edges."""
    x, y = _grid(photo)
    height, width = photo.shape[:2]
    edge = 1 - 0.6 * np.clip(np.hypot(x / width - 0.5, y / height - 0.5) / 0.7, 0, 1)
    tint = np.array([0.75, 0.85, 1.0], np.float32)
    return encoded(linear(photo) * edge[..., None] * tint * np.float32(2 ** -between(2.5, 5.0, strength)))


def overexposed(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """More light: 2 to 4 stops, burned out where it passes white."""
    return encoded(linear(photo) * np.float32(2 ** between(2.0, 4.0, strength)))


def washed_out(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """Overexposed on film: a soft shoulder, then paper white."""
    light = linear(photo) * np.float32(2 ** between(2.2, 4.2, strength))
    return encoded(np.asarray(1.08 * (1 - np.exp(-1.6 * light)), dtype=np.float32))


# --- detail ----------------------------------------------------------------------------------------------------------


def defocus(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """The disc of a lens out of focus, 0.8% to 2% of the longest side in radius."""
    radius = max(photo.shape) * between(0.008, 0.02, strength)
    reach = int(np.ceil(radius))
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return encoded(cv2.filter2D(linear(photo), -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT))


def motion(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """A straight shake of the camera, 2% to 6% of the longest side long."""
    length = max(photo.shape) * between(0.02, 0.06, strength)
    size = int(length) // 2 * 2 + 3
    kernel = np.zeros((size, size), np.float32)
    angle, middle = rng.uniform(0, np.pi), size // 2
    for step in np.linspace(-length / 2, length / 2, 8 * size):
        kernel[round(middle + step * np.sin(angle)), round(middle + step * np.cos(angle))] += 1
    return encoded(cv2.filter2D(linear(photo), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT))


def sensor_noise(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """Photon and read noise in linear light, each channel its own."""
    light = linear(photo)
    spread = np.sqrt(light * between(0.01, 0.05, strength) + between(0.002, 0.012, strength))
    return encoded(light + (rng.normal(0, 1, light.shape) * spread).astype(np.float32))


def grain(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """Grain of luma, of one pixel or two, on the encoded values."""
    height, width = photo.shape[:2]
    size = int(rng.integers(1, 3))
    field = rng.normal(0, between(25, 55, strength), (height // size + 1, width // size + 1)).astype(np.float32)
    field = cv2.resize(field, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.clip(photo + field[..., None], 0, 255).round(), dtype=np.uint8)


def jpeg(photo: Pixels, boxes: Boxes, strength: float, rng: Rng) -> Pixels:
    """JPEG at a quality of 12 down to 3."""
    quality = round(between(12, 3, strength))
    file = cv2.imencode(".jpg", np.ascontiguousarray(photo[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1])


LIGHT: Mapping[str, Mapping[str, Light]] = {
    "glare on the object": {"sun": sun_behind, "streak": streak, "reflection": reflection},
    "glare over the photo": {"low sun": low_sun},
    "veil": {"film": veil},
    "haze": {"fog": haze},
    "low contrast": {"flat": flat},
    "darkness": {"stops": dark, "night": night},
    "overexposure": {"stops": overexposed, "film": washed_out},
    "blur": {"focus": defocus, "motion": motion},
    "noise": {"sensor": sensor_noise, "grain": grain},
    "compression": {"jpeg": jpeg},
}
"""Condition → its kinds."""

"""Conditions that are planted in rendered photos, so that the cause of a miss is known.

Three are put into the scene itself (far objects, crowds, a tilted camera), the others are done to the finished photo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from xai.demo.camera import Floats
from xai.demo.scenes import HIDDEN_SHARE, Scene, render

NONE = "none"
HARMLESS = "noise"

CROWDED = 0.7
"""Share of an object's box that others cover from which it counts as crowded."""

EXPECTED: Mapping[str, str] = {
    "glare": "glare",
    "darkness": "darkness",
    "sideways": "rotation",
    "tilt": "tilt",
    "small": "small_object",
    "crowding": "crowding",
    "shifted_label": "label_error",
}
"""Planted condition → the cause that a verdict on such a miss should name."""

AS_RIGHT: Mapping[str, tuple[str, ...]] = {"crowding": ("occlusion",)}
"""Planted condition → other causes that are true of it: who stands in a crowd is hidden by those in front."""


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A photo, its labels and what was planted.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        labels: class names of the n objects.
        boxes: (n, 4) float64 as annotated, pixels.
        difficult: (n,) whether so little can be seen that the object is not scored.
        truncated: (n,) whether the frame cuts the object.
        planted: (n,) name of the condition that the object lies under, ``NONE`` for none.
    """

    pixels: NDArray[np.uint8]
    labels: tuple[str, ...]
    boxes: Floats
    difficult: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    planted: tuple[str, ...]


def make(seed: int, condition: str = NONE) -> Photo:
    """Render a photo under a condition.

    Args:
        seed: everything that is random comes from it.
        condition: ``NONE`` or one of ``CONDITIONS``.

    Raises:
        KeyError: no such condition.
    """
    rng = np.random.default_rng([seed, 77])
    return CONDITIONS[condition](seed, rng)


def _photo(scene: Scene, planted: str) -> Photo:
    return Photo(
        scene.pixels,
        scene.labels,
        scene.boxes,
        scene.visible < HIDDEN_SHARE,
        scene.cut,
        (planted,) * len(scene.labels),
    )


def _none(seed: int, rng: np.random.Generator) -> Photo:
    return _photo(render(seed), NONE)


def _glare(seed: int, rng: np.random.Generator) -> Photo:
    """Let the sun or its reflection burn out over the objects: a saturated blob, a halo around it, a veil over all."""
    photo = _photo(render(seed), NONE)
    if not len(photo.boxes):
        return photo
    height, width = photo.pixels.shape[:2]
    area = (photo.boxes[:, 2:] - photo.boxes[:, :2]).prod(axis=1)
    target = int(area.argmax())
    x, y = (photo.boxes[target, :2] + photo.boxes[target, 2:]) / 2 + rng.normal(0, 0.08, 2) * np.sqrt(area[target])
    radius = np.clip(rng.uniform(0.44, 0.56) * np.sqrt(area[target]), 15, 44)
    rows, columns = np.mgrid[:height, :width].astype(np.float32) + 0.5
    distance = np.hypot(columns - x, rows - y)
    blob = 1 / (1 + np.exp((distance - radius) / (0.10 * radius)))
    light = 340 * blob + 170 * np.exp(-np.maximum(distance - radius, 0) / (0.55 * radius)) + rng.uniform(6, 16)
    # A few rays, as a lens's iris blades make them.
    angle = np.arctan2(rows - y, columns - x)
    spikes = np.abs(np.cos(3 * angle + rng.uniform(0, np.pi))) ** 40
    light += 110 * spikes * np.exp(-distance / (2.2 * radius))
    warm = np.array([1.0, rng.uniform(0.95, 1.0), rng.uniform(0.84, 0.96)], dtype=np.float32)
    pixels = np.clip(photo.pixels * 0.72 + light[..., None] * warm, 0, 255).astype(np.uint8)
    near = _covered_by_disc(photo.boxes, x, y, 1.2 * radius) >= 0.4
    return replace(photo, pixels=pixels, planted=tuple("glare" if hit else NONE for hit in near))


def _covered_by_disc(boxes: Floats, x: float, y: float, radius: float) -> Floats:
    """Shares (n,) of boxes (n, 4) that lie in a disc, on a grid of 16 by 16 points a box."""
    steps = (np.arange(16) + 0.5) / 16
    columns = boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * steps
    rows = boxes[:, 1:2] + (boxes[:, 3:] - boxes[:, 1:2]) * steps
    inside = (columns[:, None] - x) ** 2 + (rows[:, :, None] - y) ** 2 <= radius**2
    shares: Floats = inside.mean(axis=(1, 2))
    return shares


def _darkness(seed: int, rng: np.random.Generator) -> Photo:
    """Crush the shadows and dim the rest, as at dusk against a sky that is still lit."""
    photo = _photo(render(seed), "darkness")
    linear = photo.pixels.astype(np.float32) / 255
    luma = linear.mean(axis=2, keepdims=True)
    dim = luma ** np.float32(rng.uniform(2.5, 2.9)) * np.float32(rng.uniform(0.84, 1.0))
    # Little light leaves little colour, and that is bluish.
    colour = 0.6 * linear / np.maximum(luma, 1 / 255) + 0.4 * np.array([0.92, 0.98, 1.12], dtype=np.float32)
    dusk = dim * colour
    noise = rng.standard_normal(dusk.shape, dtype=np.float32) * np.float32(1.2 / 255)
    return replace(photo, pixels=(np.clip(dusk + noise, 0, 1) * 255).astype(np.uint8))


def _sideways(seed: int, rng: np.random.Generator) -> Photo:
    """Store the photo as a camera held upright on its side leaves it: turned by a quarter, labels with it."""
    photo = _photo(render(seed), "sideways")
    return turn(photo, int(rng.choice([1, 3])))


def turn(photo: Photo, quarters: int) -> Photo:
    """Turn a photo and its labels counter-clockwise by quarters of a full turn."""
    boxes = photo.boxes
    height, width = photo.pixels.shape[:2]
    for _ in range(quarters % 4):
        x1, y1, x2, y2 = boxes.T
        boxes = np.stack([y1, width - x2, y2, width - x1], axis=1)
        height, width = width, height
    return replace(photo, pixels=np.ascontiguousarray(np.rot90(photo.pixels, quarters)), boxes=boxes)


def _tilt(seed: int, rng: np.random.Generator) -> Photo:
    """Lean the camera to one side, as a mount does whose screw is loose; the detector hardly minds less than 20°."""
    return _photo(render(seed, roll=rng.uniform(28, 34)), "tilt")


def _small(seed: int, rng: np.random.Generator) -> Photo:
    return _photo(render(seed, "far"), "small")


def _crowding(seed: int, rng: np.random.Generator) -> Photo:
    """Objects that hide each other; under the condition are those whose box the others cover by ``CROWDED`` or more."""
    photo = _photo(render(seed, "crowd"), NONE)
    covered = _covered_by_others(photo.boxes)
    return replace(photo, planted=tuple("crowding" if share >= CROWDED else NONE for share in covered))


def _covered_by_others(boxes: Floats) -> Floats:
    """Shares (n,) of boxes (n, 4) that any other box covers, on a grid of 24 by 24 points a box."""
    steps = (np.arange(24) + 0.5) / 24
    x = (boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * steps)[:, None, :, None]
    y = (boxes[:, 1:2] + (boxes[:, 3:] - boxes[:, 1:2]) * steps)[:, :, None, None]
    x1, y1, x2, y2 = boxes.T
    inside = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
    own = np.eye(len(boxes), dtype=bool)[:, None, None]
    shares: Floats = (inside & ~own).any(axis=-1).mean(axis=(1, 2))
    return shares


def _shifted_label(seed: int, rng: np.random.Generator) -> Photo:
    """Move one label off its object, by 0.45–0.7 of its size, to where it stays in the photo."""
    photo = _photo(render(seed), NONE)
    candidates = np.flatnonzero(~photo.difficult & ~photo.truncated)
    if not len(candidates):
        return photo
    target = int(rng.choice(candidates))
    box = photo.boxes[target]
    size = box[2:] - box[:2]
    height, width = photo.pixels.shape[:2]
    # Towards the photo's middle there is room for it.
    towards = np.where((box[:2] + box[2:]) / 2 < [width / 2, height / 2], 1.0, -1.0)
    shift = towards * size * rng.uniform([0.45, 0.1], [0.7, 0.3])
    moved = np.clip(box + np.tile(shift, 2), 0, [width, height, width, height])
    boxes = photo.boxes.copy()
    boxes[target] = moved
    planted = tuple("shifted_label" if index == target else NONE for index in range(len(boxes)))
    return replace(photo, boxes=boxes, planted=planted)


def _noise(seed: int, rng: np.random.Generator) -> Photo:
    """Add the noise of a high sensor gain, which the detector was trained to bear but its training photos lack."""
    photo = _photo(render(seed), HARMLESS)
    height, width = photo.pixels.shape[:2]
    strength = np.float32(rng.uniform(13, 18))
    luma = rng.standard_normal((height, width, 1), dtype=np.float32)
    chroma = cv2.GaussianBlur(rng.standard_normal((height, width, 3), dtype=np.float32), (0, 0), 0.7)
    noisy = photo.pixels + strength * (0.9 * luma + 0.7 * chroma)
    return replace(photo, pixels=np.clip(noisy, 0, 255).astype(np.uint8))


CONDITIONS: Mapping[str, Callable[[int, np.random.Generator], Photo]] = {
    NONE: _none,
    "glare": _glare,
    "darkness": _darkness,
    "sideways": _sideways,
    "tilt": _tilt,
    "small": _small,
    "crowding": _crowding,
    "shifted_label": _shifted_label,
    HARMLESS: _noise,
}

"""Conditions of place and of labels, planted into photos whose objects were found.

Each returns the photo, its labels and, where the file is stored in another frame than displayed, an EXIF orientation.
``hit`` tells which objects the condition lies on; the others are left out of the count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from planted_light import Rng, between

from xai.types import Boxes, Pixels

SHOWN = 0.3
"""Share of an object that has to stay in the photo for its label to be kept."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo and its labels.

    Attributes:
        pixels: as displayed.
        labels: (n,) class names; planted neighbours come last.
        boxes: (n, 4) as annotated, pixels of the frame that they were drawn in.
        difficult: (n,) not scored.
        hit: (n,) the condition lies on it.
        orientation: EXIF, of the file.
    """

    pixels: Pixels
    labels: tuple[str, ...]
    boxes: Boxes
    difficult: NDArray[np.bool_]
    hit: NDArray[np.bool_]
    orientation: int = 1


Place = Callable[[Scene, float, Rng, Sequence[Pixels]], Scene | None]
"""(scene with ``hit`` = the objects to hit, strength, generator, other photos) → the scene, None where it can't be."""


def _size(scene: Scene) -> tuple[int, int]:
    return scene.pixels.shape[1], scene.pixels.shape[0]


def _everywhere(scene: Scene) -> NDArray[np.bool_]:
    return np.ones(len(scene.labels), dtype=bool)


def _corners(boxes: Boxes) -> NDArray[np.float64]:
    return boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)


def quarter(scene: Scene, turns: int) -> tuple[Pixels, Boxes]:
    """Turn counter-clockwise by quarter turns."""
    width, height = _size(scene)
    points = _corners(scene.boxes)
    for _ in range(turns):
        points = np.stack([points[..., 1], width - points[..., 0]], axis=-1)
        width, height = height, width
    return np.ascontiguousarray(np.rot90(scene.pixels, turns)), np.concatenate([points.min(1), points.max(1)], 1)


def sideways(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene:
    pixels, boxes = quarter(scene, int(rng.choice([1, 3])))
    return replace(scene, pixels=pixels, boxes=boxes, hit=_everywhere(scene))


def upside_down(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene:
    pixels, boxes = quarter(scene, 2)
    return replace(scene, pixels=pixels, boxes=boxes, hit=_everywhere(scene))


def tilt(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene | None:
    """A camera rolled by 15 to 40 degrees; the frame is filled by cropping inside the turned photo.

    A turned object fills its box as an ellipse does: the box of the turned ellipse is what an annotator would draw.
    """
    width, height = _size(scene)
    degrees = between(15, 40, strength) * rng.choice([-1, 1])
    sine, cosine = abs(np.sin(np.radians(degrees))), np.cos(np.radians(degrees))
    part = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    inner = np.array([int(width * part), int(height * part)])
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    matrix[:, 2] -= (np.array([width, height]) - inner) / 2
    pixels = cv2.warpAffine(scene.pixels, matrix, tuple(inner.tolist()), flags=cv2.INTER_CUBIC)
    centre = (scene.boxes[:, :2] + scene.boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = (scene.boxes[:, 2:] - scene.boxes[:, :2]) / 2
    turned = np.sqrt(half**2 * cosine**2 + half[:, ::-1] ** 2 * sine**2)
    boxes = np.concatenate([centre - turned, centre + turned], axis=1)
    return _cropped(replace(scene, pixels=np.asarray(pixels, np.uint8), hit=_everywhere(scene)), boxes)


def _cropped(scene: Scene, boxes: Boxes) -> Scene | None:
    """Cut boxes to the photo; those of which little is left are not scored, and what is wholly lost has no label."""
    width, height = _size(scene)
    inside = np.clip(boxes, 0, [width, height, width, height])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.maximum(inside[:, 2] - inside[:, 0], 0) * np.maximum(inside[:, 3] - inside[:, 1], 0) / area
    # Rows stay, so that objects keep their number; a sliver at the edge stands for what is lost.
    gone = left < 0.02
    inside[gone] = np.concatenate([np.zeros((gone.sum(), 2)), np.full((gone.sum(), 2), 4.0)], axis=1)
    hit = scene.hit & (left >= SHOWN)
    return replace(scene, boxes=inside, difficult=scene.difficult | (left < SHOWN), hit=hit) if hit.any() else None


def shrunken(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene:
    """The photo at 40% to 15% of its size, before a wide smooth background in its own colours."""
    width, height = _size(scene)
    factor = between(0.4, 0.15, strength)
    small = cv2.resize(scene.pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    ground = cv2.GaussianBlur(cv2.resize(scene.pixels, (width, height)), (0, 0), width / 8)
    left, top = (int(rng.integers(0, room + 1)) for room in (width - small.shape[1], height - small.shape[0]))
    mask = np.zeros((height, width), np.float32)
    mask[top : top + small.shape[0], left : left + small.shape[1]] = 1
    full = ground.copy()
    full[top : top + small.shape[0], left : left + small.shape[1]] = small
    soft = np.minimum(cv2.GaussianBlur(mask, (0, 0), 2), mask)[..., None]
    pixels = (full * soft + ground * (1 - soft)).round().astype(np.uint8)
    boxes = scene.boxes * factor + np.array([left, top, left, top])
    return replace(scene, pixels=pixels, boxes=boxes, hit=_everywhere(scene))


def truncated(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene | None:
    """Crop the photo so that 45% to 68% of one object is cut off on one side."""
    width, height = _size(scene)
    rows = np.flatnonzero(scene.hit)
    kept = 1 - between(0.45, 0.68, strength)
    for row in rng.permutation(rows):
        x1, y1, x2, y2 = scene.boxes[row]
        cuts = {
            "left": (x2 - (x2 - x1) * kept, 0, width, height),
            "right": (0, 0, x1 + (x2 - x1) * kept, height),
            "top": (0, y2 - (y2 - y1) * kept, width, height),
            "bottom": (0, 0, width, y1 + (y2 - y1) * kept),
        }
        for side in rng.permutation(sorted(cuts)):
            left, top, right, bottom = (round(value) for value in cuts[str(side)])
            if (right - left) * (bottom - top) < 0.35 * width * height or min(right - left, bottom - top) < 96:
                continue
            pixels = np.ascontiguousarray(scene.pixels[top:bottom, left:right])
            hit = np.zeros_like(scene.hit)
            hit[row] = True
            return _cropped(replace(scene, pixels=pixels, hit=hit), scene.boxes - np.array([left, top, left, top]))
    return None


def occluded(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene:
    """A piece of another photo, a plain panel or foliage-like blotches over 50% to 75% of the object; not annotated."""
    pixels, hit = scene.pixels.copy(), np.zeros_like(scene.hit)
    for row in np.flatnonzero(scene.hit)[:1]:
        hit[row] = True
        x1, y1, x2, y2 = scene.boxes[row].round().astype(int)
        share = between(0.5, 0.75, strength)
        w, h = max(x2 - x1, 2), max(y2 - y1, 2)
        if rng.random() < 0.5:
            cut_w, cut_h = w, max(round(h * share), 1)
        else:
            cut_w, cut_h = max(round(w * share), 1), h
        left = x1 if rng.random() < 0.5 else x2 - cut_w
        top = y2 - cut_h
        kind = rng.integers(3)
        if kind == 0 and others:
            other = others[int(rng.integers(len(others)))]
            patch = cv2.resize(other[other.shape[0] // 3 :, : other.shape[1] // 2], (cut_w, cut_h))
        elif kind == 1:
            colour = rng.integers(20, 220, 3)
            patch = np.full((cut_h, cut_w, 3), colour) + rng.normal(0, 4, (cut_h, cut_w, 3))
        else:
            blotch = rng.normal(0, 1, (cut_h // 6 + 2, cut_w // 6 + 2, 1)) * 40 + np.array([70, 105, 55])
            patch = cv2.resize(blotch, (cut_w, cut_h), interpolation=cv2.INTER_CUBIC)
        patch = np.clip(patch, 0, 255).astype(np.uint8)
        area = pixels[max(top, 0) : top + cut_h, max(left, 0) : left + cut_w]
        area[:] = patch[-area.shape[0] :, -area.shape[1] :]
    return replace(scene, pixels=pixels, hit=hit)


def crowded(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene:
    """Copies of the object beside and in front of it, annotated: they cover 75% to 95% of its box together."""
    pixels, labels, boxes = scene.pixels.copy(), list(scene.labels), list(scene.boxes)
    width, height = _size(scene)
    hit = np.zeros_like(scene.hit)
    row = int(rng.choice(np.flatnonzero(scene.hit)))
    hit[row] = True
    x1, y1, x2, y2 = scene.boxes[row].round().astype(int)
    crop = scene.pixels[max(y1, 0) : y2, max(x1, 0) : x2]
    step = between(0.5, 0.35, strength)
    for side in (-1, 1):
        dx, dy = round(side * step * (x2 - x1)), round(rng.uniform(0.02, 0.12) * (y2 - y1))
        left, top = max(x1, 0) + dx, max(y1, 0) + dy
        part = crop if side < 0 else crop[:, ::-1]
        low_x, low_y = max(left, 0), max(top, 0)
        high_x, high_y = min(left + part.shape[1], width), min(top + part.shape[0], height)
        if high_x - low_x < 8 or high_y - low_y < 8:
            continue
        pixels[low_y:high_y, low_x:high_x] = part[low_y - top : high_y - top, low_x - left : high_x - left]
        labels.append(scene.labels[row])
        boxes.append(np.array([low_x, low_y, high_x, high_y], dtype=np.float64))
    more = len(labels) - len(scene.labels)
    return replace(
        scene,
        pixels=pixels,
        labels=tuple(labels),
        boxes=np.array(boxes).reshape(-1, 4),
        difficult=np.concatenate([scene.difficult, np.zeros(more, bool)]),
        hit=np.concatenate([hit, np.zeros(more, bool)]),
    )


def stored_otherwise(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene:
    """The file is stored upside down or mirrored and says so; the labels were drawn on the pixels as stored."""
    width, height = _size(scene)
    orientation = int(rng.choice([2, 3, 4]))
    boxes = scene.boxes.copy()
    if orientation in (2, 3):
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    if orientation in (3, 4):
        boxes[:, [1, 3]] = height - boxes[:, [3, 1]]
    return replace(scene, boxes=boxes, orientation=orientation, hit=_everywhere(scene))


def stored_pixels(scene: Scene) -> Pixels:
    """The pixels as the file holds them (orientations 1 to 4)."""
    flips = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1)}[scene.orientation]
    return np.ascontiguousarray(scene.pixels[:: flips[0], :: flips[1]])


def shifted_label(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene | None:
    """Boxes moved by 40% to 70% of their sides."""
    width, height = _size(scene)
    boxes = scene.boxes.copy()
    for row in np.flatnonzero(scene.hit):
        size = boxes[row, 2:] - boxes[row, :2]
        away = np.sign(np.array([width, height]) / 2 - boxes[row].reshape(2, 2).mean(0)) * size
        boxes[row] += np.tile(away * between(0.4, 0.7, strength) * rng.uniform([0.7, 0.3], 1), 2)
    inside = np.clip(boxes, 0, [width, height, width, height])
    fits = np.abs(inside - boxes).max(1) < 0.2 * (boxes[:, 2:] - boxes[:, :2]).max(1)
    hit = scene.hit & fits
    return replace(scene, boxes=np.where(hit[:, None], inside, scene.boxes), hit=hit) if hit.any() else None


def wrong_class(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene:
    """Another class's name on a right box."""
    names = ("person", "car", "dog", "bird", "chair", "bus", "cat")
    labels = list(scene.labels)
    for row in np.flatnonzero(scene.hit):
        labels[row] = str(rng.choice([name for name in names if name != labels[row]]))
    return replace(scene, labels=tuple(labels))


def loose_label(scene: Scene, strength: float, rng: Rng, others: Sequence[Pixels]) -> Scene | None:
    """Boxes drawn 1.6 to 2.2 times too large about their middle."""
    width, height = _size(scene)
    boxes = scene.boxes.copy()
    for row in np.flatnonzero(scene.hit):
        middle = boxes[row].reshape(2, 2).mean(0)
        half = (boxes[row, 2:] - boxes[row, :2]) / 2 * between(1.6, 2.2, strength)
        boxes[row] = np.clip([*(middle - half), *(middle + half)], 0, [width, height, width, height])
    area, before = (np.prod(some[:, 2:] - some[:, :2], axis=1) for some in (boxes, scene.boxes))
    hit = scene.hit & (area > 2 * before)
    return replace(scene, boxes=np.where(hit[:, None], boxes, scene.boxes), hit=hit) if hit.any() else None


PLACE: Mapping[str, Mapping[str, Place]] = {
    "sideways": {"quarter": sideways},
    "upside down": {"half": upside_down},
    "tilt": {"roll": tilt},
    "shrunken object": {"far": shrunken},
    "truncation": {"crop": truncated},
    "pasted occluder": {"patch": occluded},
    "crowding": {"copies": crowded},
    "EXIF mismatch": {"stored": stored_otherwise},
    "damaged label": {"shift": shifted_label, "class": wrong_class, "loose": loose_label},
}
"""Condition → its kinds."""

"""Street and parking-lot scenes with known boxes, rendered from a seed."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from xai.demo import scenery
from xai.demo.actors import CLASSES, FOOTPRINTS, Actor, draw, extent, shadow_outline
from xai.demo.camera import HEIGHT, SUPERSAMPLING, WIDTH, Camera, Canvas, Floats, make_camera
from xai.demo.light import Light, draw_light

Variant = Literal["plain", "far", "crowd"]

HIDDEN_SHARE = 0.3
"""An object of which less than this share can be seen is labelled ``difficult``."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A rendered photo and what is in it.

    Attributes:
        pixels: (HEIGHT, WIDTH, 3) uint8 RGB.
        labels: class names of the n objects, far ones first.
        boxes: (n, 4) float64 tight boxes around the visible pixels, in photo pixels; half pixels are possible.
        visible: (n,) share 0–1 of the object's pixels in the frame that nothing nearer hides.
        cut: (n,) whether the frame cuts the object.
        owners: (2·HEIGHT, 2·WIDTH) uint8, 0 = nobody, k + 1 = object k: the masks that the boxes were taken from.
    """

    pixels: NDArray[np.uint8]
    labels: tuple[str, ...]
    boxes: Floats
    visible: Floats
    cut: NDArray[np.bool_]
    owners: NDArray[np.uint8]


def render(seed: int, variant: Variant = "plain", roll: float = 0.0) -> Scene:
    """Render one scene.

    Args:
        seed: everything that is random comes from it.
        variant: ``plain`` objects well in sight, ``far`` objects a few pixels large, ``crowd`` objects that hide
            each other.
        roll: camera roll in degrees, positive = camera turned clockwise, the photo's content counter-clockwise.
    """
    rng = np.random.default_rng([seed, {"plain": 0, "far": 1, "crowd": 2}[variant]])
    light = draw_light(rng)
    parking = bool(rng.random() < (0.5 if variant == "crowd" else 0.4)) and variant != "far"
    camera = make_camera(
        focal=rng.uniform(250, 290),
        height=rng.uniform(3.2, 5.0) if parking else rng.uniform(1.7, 3.0),
        pitch=rng.uniform(-13, -8) if parking else rng.uniform(-6, -1),
        yaw=rng.uniform(-14, 14),
        roll=roll,
    )
    canvas, rows = _parking(camera, light, rng) if parking else _street(camera, light, rng)
    actors = _cast(camera, rng, variant, rows)
    for actor in actors:
        scenery.cast_shadow(canvas, shadow_outline(camera, light, actor), light.shadow)
    return _shoot(camera, canvas, light, actors, rng)


def _street(camera: Camera, light: Light, rng: np.random.Generator) -> tuple[Canvas, Floats]:
    """A road along Z between pavements, houses, trees and lamp posts; returns its lanes' middles (metres)."""
    road = rng.uniform(3.6, 6.5)
    asphalt = np.array([92.0, 92.0, 96.0]) * rng.uniform(0.75, 1.2)
    canvas = scenery.backdrop(camera, light, asphalt, rng)
    scenery.street_markings(camera, canvas, light, road, rng)
    setback = road + rng.uniform(3.5, 7)
    for _ in range(3):
        x, width = rng.uniform(-60, 40), rng.uniform(14, 34)
        scenery.box_building(
            camera, canvas, light, np.array([x, rng.uniform(95, 140)]), np.array([width, rng.uniform(8, 22), 10.0]), rng
        )
    ends = rng.uniform(60, 90)
    for side in (-1, 1):
        if rng.random() < 0.15:
            continue
        lots = np.cumsum(rng.uniform(11, 24, 7)) - 6
        for start, end in reversed(list(itertools.pairwise(lots))):
            if start > ends or rng.random() < 0.12:
                continue
            width = rng.uniform(9, 14)
            left = setback if side > 0 else -setback - width
            depth = (end - start) * rng.uniform(0.8, 1.0)
            size = np.array([width, rng.uniform(5.5, 15), depth])
            scenery.box_building(camera, canvas, light, np.array([left, start]), size, rng)
    for side in (-1, 1):
        kerb = side * (road + rng.uniform(0.5, 1.0))
        if rng.random() < 0.6:
            for z in np.arange(rng.uniform(8, 14), 60, rng.uniform(9, 14))[::-1]:
                scenery.tree(camera, canvas, light, side * (road + 2.0), z, rng)
        for z in np.arange(rng.uniform(7, 16), 70, 18.0)[::-1]:
            scenery.lamp_post(camera, canvas, light, kerb, z, -side * 1.6)
    return canvas, np.linspace(-road + 1.6, road - 1.6, 2 if road < 5 else 3)


def _parking(camera: Camera, light: Light, rng: np.random.Generator) -> tuple[Canvas, Floats]:
    """A car park in front of a hall or trees; returns the depths (metres) at which rows of bays start."""
    asphalt = np.array([104.0, 103.0, 102.0]) * rng.uniform(0.7, 1.2)
    canvas = scenery.backdrop(camera, light, asphalt, rng)
    first = rng.uniform(7, 9)
    rows = np.array([first, first + 11.0, first + 16.0])
    end = rows[-1] + 8
    scenery.ground_quads(camera, canvas, light, np.array([[-80, end, 80, 160]]), np.array([86.0, 104.0, 60.0]))
    scenery.parking_bays(camera, canvas, light, rows, rng)
    for _ in range(2):
        corner = np.array([rng.uniform(-70, 30), rng.uniform(70, 110)])
        scenery.box_building(
            camera, canvas, light, corner, np.array([rng.uniform(15, 40), rng.uniform(9, 20), 10]), rng
        )
    if rng.random() < 0.65:
        left = rng.uniform(-45, -12)
        size = np.array([rng.uniform(26, 60), rng.uniform(5, 9), 14.0])
        scenery.box_building(camera, canvas, light, np.array([left, end + rng.uniform(3, 10)]), size, rng)
    for x in np.arange(-34, 34, rng.uniform(6, 11)) + rng.uniform(-3, 3):
        if rng.random() < 0.6:
            scenery.tree(camera, canvas, light, x, end + 1.5, rng)
    for x in np.arange(-26, 27, 13.0) + rng.uniform(-4, 4):
        scenery.lamp_post(camera, canvas, light, x, rows[1] + 5.0, 1.4)
    return canvas, rows


def _cast(camera: Camera, rng: np.random.Generator, variant: Variant, rows: Floats) -> list[Actor]:
    """Choose actors one by one; those that do not fit the variant are turned away. Far ones come first."""
    wanted = {"plain": rng.integers(2, 6), "far": rng.integers(3, 6), "crowd": rng.integers(7, 11)}[variant]
    crowd_label = str(rng.choice(CLASSES, p=[0.45, 0.05, 0.5]))
    anchor = _spot(rng, crowd_label, "crowd", rows)
    chosen: list[Actor] = []
    frames: list[Floats] = []
    for _ in range(60 if variant == "crowd" else 40):
        if len(chosen) == wanted:
            break
        if variant == "crowd":
            actor = _neighbour(rng, crowd_label, anchor)
        else:
            label = str(rng.choice(CLASSES, p=[0.42, 0.23, 0.35]))
            x, z, heading = _spot(rng, label, variant, rows)
            actor = Actor(label, x, z, heading, int(rng.integers(2**31)))
        frame = _frame(camera, actor)
        if _fits(actor, frame, chosen, frames, variant):
            chosen.append(actor)
            frames.append(frame)
    return sorted(chosen, key=lambda actor: -float(np.hypot(actor.x, actor.z)))


_DEPTHS = {
    "plain": {"car": (6.5, 15.0), "truck": (9.0, 19.0), "person": (4.0, 9.0)},
    "far": {"car": (48.0, 75.0), "truck": (70.0, 105.0), "person": (32.0, 48.0)},
    "crowd": {"car": (8.0, 13.0), "truck": (13.0, 17.0), "person": (5.5, 9.0)},
}


def _spot(rng: np.random.Generator, label: str, variant: Variant, rows: Floats) -> tuple[float, float, float]:
    """Draw x, z and heading: vehicles along lanes or in bays, people anywhere."""
    low, high = _DEPTHS[variant][label]
    z = float(rng.uniform(low, high))
    spread = 0.42 * z + 0.8
    x = float(rng.uniform(-spread, spread))
    if label == "person":
        return x, z, float(rng.uniform(0, 360))
    straight = float(rng.choice([0.0, 180.0])) + float(rng.normal(0, 4))
    if rows[0] > 5:
        if rng.random() < 0.3:
            return x, z, 90.0 + straight
        near = rows[np.argmin(np.abs(rows + 2.5 - z))] + 2.5
        return x, float(near + rng.normal(0, 0.3)) if low <= near <= high else z, straight
    if rng.random() < 0.2:
        return x, z, 90.0 + straight
    lane = float(rows[np.argmin(np.abs(rows - x))]) if variant != "crowd" else x
    return lane + float(rng.normal(0, 0.25)), z, straight + float(rng.normal(0, 5))


def _neighbour(rng: np.random.Generator, label: str, anchor: tuple[float, float, float]) -> Actor:
    """Draw a place close to the crowd's anchor, mostly behind and beside it."""
    x, z, heading = anchor
    if label == "person":
        return Actor(
            label,
            x + float(rng.normal(0, 0.9)),
            z + float(rng.normal(0.4, 0.9)),
            heading + float(rng.normal(0, 60)),
            int(rng.integers(2**31)),
        )
    step = 2.3 if label == "car" else 2.9
    along = 4.9 if label == "car" else 8.0
    column, row = rng.integers(-3, 4), rng.integers(0, 3)
    across = np.deg2rad(heading)
    right, forward = np.array([np.cos(across), -np.sin(across)]), np.array([np.sin(across), np.cos(across)])
    place = np.array([x, z]) + column * step * right + row * along * forward * (1 if np.cos(across) > 0 else -1)
    jitter = rng.normal(0, 0.15, 2)
    return Actor(label, float(place[0] + jitter[0]), float(place[1] + jitter[1]), heading, int(rng.integers(2**31)))


def _frame(camera: Camera, actor: Actor) -> Floats:
    """Box (4,) in photo pixels around an actor's extent, not cut at the frame."""
    corners = camera.project(extent(actor)) / SUPERSAMPLING
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


_OVERLAP = {"plain": 0.25, "far": 0.1, "crowd": 0.8}
_MIN_INSIDE = {"plain": 0.85, "far": 0.95, "crowd": 0.6}


def _fits(actor: Actor, frame: Floats, chosen: list[Actor], frames: list[Floats], variant: Variant) -> bool:
    """Whether an actor is well inside the photo, stands on free ground and hides no more than the variant allows."""
    if actor.z < 4:
        return False
    inside = _shared(frame, np.array([[0.0, 0.0, WIDTH, HEIGHT]]))[0] / _area(frame)
    if inside < _MIN_INSIDE[variant]:
        return False
    if not chosen:
        return True
    others = np.stack(frames)
    gaps = np.hypot([other.x - actor.x for other in chosen], [other.z - actor.z for other in chosen])
    room = np.array([FOOTPRINTS[other.label] + FOOTPRINTS[actor.label] for other in chosen])
    if (gaps < room * (0.5 if variant == "crowd" else 1.0)).any():
        return False
    smaller = np.minimum(_area(frame), _area(others))
    return bool((_shared(frame, others) / smaller).max() <= _OVERLAP[variant])


def _area(boxes: Floats) -> Floats:
    area: Floats = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


def _shared(box: Floats, others: Floats) -> Floats:
    """Areas (n,) that a box (4,) shares with boxes (n, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared: Floats = np.maximum(sides, 0).prod(axis=1)
    return shared


def _shoot(camera: Camera, canvas: Canvas, light: Light, actors: list[Actor], rng: np.random.Generator) -> Scene:
    """Draw the actors, read their masks and develop the photo with the lens's softness and the sensor's noise."""
    frames = np.array([_frame(camera, actor) for actor in actors]).reshape(-1, 4)
    regions = [_region(frame) for frame in frames]
    whole = np.zeros(len(actors))
    for index, (actor, region) in enumerate(zip(actors, regions, strict=True)):
        draw(camera, canvas, light, actor, index + 1)
        whole[index] = np.count_nonzero(canvas[region][..., 3] == index + 1)
    owners = cv2.extractChannel(canvas, 3)
    counts = np.array([np.count_nonzero(owners[region] == index + 1) for index, region in enumerate(regions)])
    kept = np.flatnonzero(counts)
    if len(kept) < len(actors):
        renumber = np.zeros(256, dtype=np.uint8)
        renumber[kept + 1] = np.arange(1, len(kept) + 1)
        owners = renumber[owners]
    boxes = tight_boxes(owners) / SUPERSAMPLING
    size = np.array([WIDTH, HEIGHT])
    at_edge = (boxes[:, :2] <= 0) | (boxes[:, 2:] >= size)
    outside = (frames[kept, :2] < 0) | (frames[kept, 2:] > size)
    small = cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    photo = cv2.cvtColor(small, cv2.COLOR_RGBA2RGB)
    grain = sensor_noise(rng) * np.float32(rng.uniform(1.2, 2.6))
    return Scene(
        np.clip(photo + grain, 0, 255).astype(np.uint8),
        tuple(actors[index].label for index in kept),
        boxes,
        counts[kept] / whole[kept],
        np.logical_and(at_edge.any(axis=1), outside.any(axis=1)),
        owners,
    )


def _region(frame: Floats) -> tuple[slice, slice]:
    """Rows and columns of the canvas that surely hold an object, from its frame (4,) in photo pixels."""
    x1, y1 = np.maximum(np.floor(frame[:2] * SUPERSAMPLING).astype(int) - 40, 0)
    x2, y2 = np.maximum(np.ceil(frame[2:] * SUPERSAMPLING).astype(int) + 40, 0)
    return slice(y1, y2), slice(x1, x2)


def sensor_noise(rng: np.random.Generator) -> NDArray[np.float32]:
    """Cut noise (HEIGHT, WIDTH, 3) with standard deviation 1 out of one large field, since drawing it anew is slow."""
    y, x = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
    noise = _noise_field()[y : y + HEIGHT, x : x + WIDTH]
    return noise[::-1] if rng.random() < 0.5 else noise


@functools.cache
def _noise_field() -> NDArray[np.float32]:
    return np.random.default_rng(8).standard_normal((2 * HEIGHT, 2 * WIDTH, 3), dtype=np.float32)


def tight_boxes(owners: NDArray[np.uint8]) -> Floats:
    """Smallest boxes (n, 4) ``x1 y1 x2 y2`` around the pixels of the owners 1 … n, each of which has at least one."""
    found = scipy.ndimage.find_objects(owners)
    return np.array([(x.start, y.start, x.stop, y.stop) for y, x in found], dtype=np.float64).reshape(-1, 4)

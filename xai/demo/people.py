"""People as rounded limbs in a walking or standing pose."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from xai.demo.camera import SUPERSAMPLING, Camera, Canvas, Floats, fill
from xai.demo.light import Light

_CLOTHES = np.array(
    [
        (44, 52, 84),
        (150, 40, 44),
        (214, 208, 196),
        (52, 84, 60),
        (64, 62, 62),
        (196, 150, 60),
        (92, 120, 160),
        (34, 34, 38),
        (150, 96, 130),
        (110, 84, 60),
    ],
    dtype=np.float64,
)
_SKIN = np.array([(224, 184, 156), (198, 150, 118), (150, 104, 76), (104, 72, 54)], dtype=np.float64)
_HAIR = np.array([(40, 30, 24), (92, 64, 40), (168, 140, 92), (120, 118, 116)], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Limbs:
    """Rounded limbs in local axes (forward, up, right), metres.

    Attributes:
        ends: (n, 2, 3) both ends of each limb's axis.
        radii: (n, 2) thickness at the ends.
        albedo: (n, 3) colours, 0–255.
        groups: limbs of one group are drawn as one convex outline.
    """

    ends: Floats
    radii: Floats
    albedo: Floats
    groups: tuple[tuple[int, ...], ...]


def person_size(rng: np.random.Generator) -> Floats:
    """Draw length, height and width of a person; the first thing drawn from a person's seed."""
    return np.array([0.5, rng.uniform(1.55, 1.92), 0.52])


def person(rng: np.random.Generator) -> Limbs:
    """Build a person from a seed: pose, clothes, hair."""
    height = person_size(rng)[1]
    shirt, trousers = _CLOTHES[rng.choice(len(_CLOTHES), 2, replace=False)]
    skin, hair = _SKIN[rng.integers(len(_SKIN))], _HAIR[rng.integers(len(_HAIR))]
    stride = rng.uniform(0.02, 0.30) * height
    swing = rng.uniform(0.3, 0.9) * stride
    side = rng.choice([-1.0, 1.0])
    coat = rng.uniform(0.44, 0.56)
    sleeve = shirt if rng.random() < 0.7 else skin
    hip, shoulder = 0.09, 0.145
    limbs: list[tuple[list[tuple[float, float, float]], tuple[float, float], Floats]] = []
    for sign in (-1.0, 1.0):
        foot = sign * side * stride
        knee = (0.5 * foot + 0.05, 0.28 * height, sign * hip)
        limbs.append(([(0, 0.52 * height, sign * hip), knee], (0.085, 0.065), trousers))
        limbs.append(([knee, (foot, 0.05, sign * hip)], (0.062, 0.045), trousers))
        limbs.append(([(foot - 0.05, 0.045, sign * hip), (foot + 0.14, 0.03, sign * hip)], (0.05, 0.035), _CLOTHES[7]))
        hand = -sign * side * swing
        elbow = (0.35 * hand - 0.04, 0.63 * height, sign * (shoulder + 0.06))
        limbs.append(([(0, 0.80 * height, sign * shoulder), elbow], (0.06, 0.048), sleeve))
        limbs.append(([elbow, (hand, 0.50 * height, sign * (shoulder + 0.05))], (0.045, 0.038), sleeve))
    torso = len(limbs)
    for sign in (-1.0, 1.0):
        limbs.append(
            ([(0, 0.79 * height, sign * shoulder * 0.8), (0, coat * height, sign * 0.10)], (0.085, 0.105), shirt)
        )
    head = len(limbs)
    limbs.append(([(0, 0.83 * height, 0), (0.02, 0.88 * height, 0)], (0.05, 0.055), skin))
    limbs.append(([(0.03, 0.905 * height, 0), (0.02, 0.945 * height, 0)], (0.075, 0.085), skin))
    limbs.append(([(-0.03, 0.925 * height, 0), (-0.01, 0.96 * height, 0)], (0.082, 0.082), hair))
    alone = tuple((index,) for index in range(torso))
    return Limbs(
        np.array([ends for ends, _, _ in limbs]),
        np.array([radii for _, radii, _ in limbs]),
        np.array([colour for _, _, colour in limbs]),
        (*alone, (torso, torso + 1), *((index,) for index in range(head, len(limbs)))),
    )


def draw_limbs(camera: Camera, canvas: Canvas, light: Light, limbs: Limbs, ends: Floats, owner: int) -> None:
    """Draw limbs whose ends (n, 2, 3) are in world axes, far ones first, each with a lit stripe towards the sun."""
    local = camera.to_camera(ends)
    depth = local[..., 2]
    flat = camera.to_canvas(local)
    radii = limbs.radii * camera.focal * SUPERSAMPLING / np.maximum(depth, 0.5)
    distance = float(depth.mean())
    towards = np.array([[0.0, 0.35, -0.94]])
    base = light.veil(light.shade(limbs.albedo, np.repeat(towards, len(limbs.albedo), axis=0)), distance)
    sunward = (camera.rotation @ light.towards_sun)[:2]
    outlines = _capsules(flat, radii)
    lit = _capsules(flat + 0.38 * sunward * radii[..., None], 0.56 * radii)
    strength = float(light.sun.mean())
    nearness = [depth[list(group)].mean() for group in limbs.groups]
    for index in np.argsort(nearness, kind="stable")[::-1]:
        group = list(limbs.groups[index])
        fill(canvas, [_hull(outlines[group])], base[group[0]] * (1 - 0.22 * strength), owner)
        fill(canvas, [_hull(lit[group])], base[group[0]] * (1 + 0.18 * strength), owner)


def _hull(outlines: Floats) -> Floats:
    hull = cv2.convexHull(outlines.reshape(-1, 2).astype(np.float32))
    outline: Floats = hull[:, 0].astype(np.float64)
    return outline


def _capsules(ends: Floats, radii: Floats) -> Floats:
    """Outlines (n, 12, 2) of round-ended strokes with ends (n, 2, 2) and radii (n, 2)."""
    axis = ends[:, 1] - ends[:, 0]
    heading = np.arctan2(axis[:, 1], axis[:, 0])[:, None]
    half = np.linspace(np.pi / 2, 3 * np.pi / 2, 6)
    start, finish = heading + half, heading + half + np.pi
    first = np.stack([np.cos(start), np.sin(start)], axis=-1) * radii[:, 0, None, None] + ends[:, :1]
    last = np.stack([np.cos(finish), np.sin(finish)], axis=-1) * radii[:, 1, None, None] + ends[:, 1:]
    outlines: Floats = np.concatenate([first, last], axis=1)
    return outlines

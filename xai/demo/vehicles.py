"""Shapes of cars and trucks: lists of flat faces, drawn in order.

Local axes are (forward, up, right) in metres, the origin lies on the ground under the middle of the vehicle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xai.demo.camera import Floats

GLASS = np.array([44.0, 54.0, 64.0])
_TYRE = np.array([26.0, 26.0, 28.0])
_RIM = np.array([126.0, 128.0, 132.0])
_TRIM = np.array([38.0, 38.0, 42.0])
_HEADLIGHT = np.array([236.0, 234.0, 220.0])
_TAILLIGHT = np.array([168.0, 26.0, 24.0])
_PLATE = np.array([226.0, 224.0, 208.0])
_PAINTS = np.array(
    [
        (176, 36, 34),
        (40, 74, 140),
        (206, 208, 210),
        (58, 60, 64),
        (128, 132, 138),
        (226, 226, 222),
        (30, 92, 70),
        (196, 158, 52),
        (96, 28, 42),
        (118, 152, 176),
        (34, 36, 42),
        (170, 96, 44),
    ],
    dtype=np.float64,
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A roughly convex part of a vehicle.

    Attributes:
        corners: (f, 4, 3) faces in drawing order; details follow the face that they lie on.
        albedo: (f, 3) colours, 0–255; exactly ``GLASS`` reflects the sky.
        size: (3,) length, height, width of the part.
    """

    corners: Floats
    albedo: Floats
    size: Floats


def car_size(rng: np.random.Generator) -> Floats:
    """Draw length, height and width of a car; the first thing drawn from a car's seed."""
    return np.array([rng.uniform(3.8, 4.8), rng.uniform(1.40, 1.62), rng.uniform(1.70, 1.86)])


def truck_size(rng: np.random.Generator) -> Floats:
    """Draw length, height and width of a truck; the first thing drawn from a truck's seed."""
    return np.array([rng.uniform(6.0, 8.0), rng.uniform(2.9, 3.4), rng.uniform(2.2, 2.45)])


def car(rng: np.random.Generator) -> list[Part]:
    """Build a saloon, hatchback or estate from a seed."""
    size = length, height, width = car_size(rng)
    paint = _PAINTS[rng.integers(len(_PAINTS))] * rng.uniform(0.9, 1.08)
    half, belt = length / 2, 0.60 * height
    bonnet = half - rng.uniform(0.95, 1.25)
    tail = rng.choice([0.05, 0.12, 0.7])
    body = np.array(
        [(-half, 0.26), (half, 0.26), (half, 0.44 * height), (bonnet, belt), (-half + 0.1, belt), (-half, 0.5 * height)]
    )
    cabin = np.array(
        [(-half + tail, belt), (bonnet, belt), (bonnet - 0.75, height - 0.02), (-half + tail + 0.45, height - 0.02)]
    )
    wide = np.full(6, width / 2)
    narrow = np.array([0.96, 0.96, 0.76, 0.76]) * width / 2
    hull, cabin_faces = _prism(body, wide), _prism(cabin, narrow)
    _, windscreen, _, rear_window, *cabin_sides = cabin_faces
    wheels = [-half + 0.75, half - 0.8]
    panes = [_inset(windscreen, 0.06, 0.08, 0.94, 0.94), _inset(rear_window, 0.1, 0.12, 0.9, 0.9)]
    panes += [
        pane
        for side in cabin_sides
        for pane in (_inset(side, 0.08, 0.1, 0.48, 0.88), _inset(side, 0.53, 0.1, 0.93, 0.88))
    ]
    return [
        _assemble(
            [
                (_tyre_fronts(wheels, 0.31, width), _TYRE),
                (hull, paint),
                (_sides([(-half, 0.26), (half, 0.26), (half, 0.4), (-half, 0.4)], width / 2 + 0.005), _TRIM),
                (_ends(half, 0.26, 0.42, 0.0, width * 0.94), _TRIM),
                (_ends(half, 0.46, 0.60, width * 0.36, width * 0.22)[:2], _HEADLIGHT),
                (_ends(half, 0.56, 0.72, width * 0.36, width * 0.22)[2:], _TAILLIGHT),
                (_ends(half, 0.42, 0.54, 0.0, 0.5), _PLATE),
                (np.concatenate([_wheel(x, 0.31, width / 2 + 0.01) for x in wheels]), _TYRE),
                (np.concatenate([_wheel(x, 0.19, width / 2 + 0.02, axle=0.31) for x in wheels]), _RIM),
                (cabin_faces, paint),
                (np.stack(panes), GLASS),
            ],
            size,
        )
    ]


def truck(rng: np.random.Generator) -> list[Part]:
    """Build a lorry with a box body from a seed: a cab and a load."""
    length, height, width = truck_size(rng)
    paint = _PAINTS[rng.integers(len(_PAINTS))] * rng.uniform(0.9, 1.08)
    load = np.array([rng.uniform(190, 236)] * 3) if rng.random() < 0.6 else _PAINTS[rng.integers(len(_PAINTS))]
    half = length / 2
    cab_back, cab_top = half - rng.uniform(1.7, 2.1), 0.78 * height
    cab = np.array(
        [(cab_back, 0.45), (half, 0.45), (half, 1.25), (half - 0.25, cab_top), (cab_back, cab_top), (cab_back, 1.2)]
    )
    cab_faces = _prism(cab, np.full(6, width * 0.47))
    box = np.array([(-half, 0.85), (cab_back - 0.1, 0.85), (cab_back - 0.1, height), (-half, height)])
    box_faces = _prism(box, np.full(4, width / 2))
    side_pane = [
        (cab_back + 0.45, 1.4),
        (half - 0.3, 1.4),
        (half - 0.42, cab_top - 0.2),
        (cab_back + 0.45, cab_top - 0.2),
    ]
    stripe = _PAINTS[rng.integers(len(_PAINTS))]
    low, high = sorted(rng.uniform(1.3, height - 0.3, 2))
    back = -half + 1.2
    front = _assemble(
        [
            (_tyre_fronts([half - 0.7], 0.45, width), _TYRE),
            (cab_faces, paint),
            (_inset(cab_faces[2], 0.06, 0.06, 0.94, 0.9)[None], GLASS),
            (_sides(side_pane, width * 0.47 + 0.005), GLASS),
            (_ends(half, 0.45, 0.68, 0.0, width * 0.94)[:1], _TRIM),
            (_ends(half, 0.72, 0.92, width * 0.34, width * 0.18)[:2], _HEADLIGHT),
            (_ends(half, 0.5, 0.62, 0.0, 0.5)[:1], _PLATE),
            (_wheel(half - 0.7, 0.45, width / 2), _TYRE),
            (_wheel(half - 0.7, 0.24, width / 2 + 0.01, axle=0.45), _RIM),
        ],
        np.array([half - cab_back, cab_top, width]),
    )
    rear = _assemble(
        [
            (_tyre_fronts([back], 0.45, width), _TYRE),
            (
                _prism(
                    np.array([(-half, 0.5), (cab_back, 0.5), (cab_back, 0.9), (-half, 0.9)]), np.full(4, width * 0.44)
                ),
                _TRIM,
            ),
            (box_faces, load),
            (
                _sides([(-half, low), (cab_back - 0.1, low), (cab_back - 0.1, high), (-half, high)], width / 2 + 0.005),
                stripe,
            ),
            (_ends(half, 0.95, height - 0.12, 0.0, 0.04)[-1:], _TRIM),
            (_ends(half, 0.62, 0.8, width * 0.4, width * 0.16)[2:], _TAILLIGHT),
            (_wheel(back, 0.45, width / 2 + 0.01), _TYRE),
            (_wheel(back, 0.24, width / 2 + 0.02, axle=0.45), _RIM),
        ],
        np.array([half + cab_back, height, width]),
    )
    return [front, rear]


def _assemble(pieces: list[tuple[Floats, NDArray[np.float64]]], size: Floats) -> Part:
    corners = np.concatenate([faces for faces, _ in pieces])
    albedo = np.concatenate([np.broadcast_to(colour, (len(faces), 3)) for faces, colour in pieces])
    return Part(corners, albedo, size)


def _prism(profile: Floats, half_widths: Floats) -> Floats:
    """Extrude a side profile (k, 2) (forward, up) to both sides: k strips, then the right and left side as quads."""
    right = np.column_stack([profile, half_widths])
    left = right * np.array([1.0, 1.0, -1.0])
    following = np.roll(np.arange(len(profile)), -1)
    strips = np.stack([right, right[following], left[following], left], axis=1)
    fan = np.array([(0, i, i + 1, i + 2) for i in range(1, len(profile) - 2, 2)])
    return np.concatenate([strips, right[fan], left[fan]])


def _inset(face: Floats, u1: float, v1: float, u2: float, v2: float) -> Floats:
    """Cut a window (4, 3) out of a quad (4, 3) whose corners lie at (u, v) = (0, 0), (0, 1), (1, 1), (1, 0)."""
    u, v = np.array([u1, u1, u2, u2])[:, None], np.array([v1, v2, v2, v1])[:, None]
    a, b, c, d = face
    window: Floats = a * (1 - u) * (1 - v) + b * (1 - u) * v + c * u * v + d * u * (1 - v)
    return window


def _sides(outline: list[tuple[float, float]], z: float) -> Floats:
    """The same quad on the right and on the left side, (2, 4, 3)."""
    right = np.array([(x, y, z) for x, y in outline])
    return np.stack([right, right * np.array([1.0, 1.0, -1.0])])


def _ends(half: float, low: float, high: float, offset: float, width: float) -> Floats:
    """Rectangles on the front and then on the rear end: one each in the middle, or two each ``offset`` to the sides."""
    faces = []
    for x in (half + 0.006, -half - 0.006):
        for middle in (-offset, offset) if offset else (0.0,):
            a, b = middle - width / 2, middle + width / 2
            faces.append([(x, low, a), (x, low, b), (x, high, b), (x, high, a)])
    return np.array(faces)


def _wheel(x: float, radius: float, z: float, *, axle: float | None = None, sides: int = 12) -> Floats:
    """Discs on the right and left side, each a fan of quads; together (2·(sides/2 − 1), 4, 3)."""
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    rim = np.column_stack([x + radius * np.cos(turn), (axle or radius) + radius * np.sin(turn), np.full(sides, z)])
    fan = np.array([(0, i, i + 1, i + 2) for i in range(1, sides - 2, 2)])
    return np.concatenate([rim[fan], (rim * np.array([1.0, 1.0, -1.0]))[fan]])


def _tyre_fronts(axles: list[float], radius: float, width: float) -> Floats:
    """Treads as seen from the front and the rear, under the body."""
    faces = []
    for x in (axles[0] - radius, axles[-1] + radius):
        for z in (-width / 2 + 0.12, width / 2 - 0.12):
            a, b = z - 0.11, z + 0.11
            faces.append([(x, 0.0, a), (x, 0.0, b), (x, 1.4 * radius, b), (x, 1.4 * radius, a)])
    return np.array(faces)

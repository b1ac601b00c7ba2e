"""A pinhole camera above a flat ground, and the canvas that it draws on.

World axes: X right, Y up, Z forward, in metres; the ground is Y = 0 and the camera stands at (0, height, 0). The canvas
is ``SUPERSAMPLING`` times larger than the photo and has a fourth channel that holds the number of the actor which owns
the pixel, so one filled polygon writes colour and visibility together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Canvas = NDArray[np.uint8]

WIDTH, HEIGHT = 320, 240
SUPERSAMPLING = 2
_NEAR = 0.5
_SUBPIXEL_BITS = 4
_FARTHEST_PIXEL = 30_000.0


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Where the camera is and how it is turned.

    Attributes:
        focal: focal length in pixels of the photo.
        height: metres above the ground.
        rotation: (3, 3) world to camera (x right, y down, z forward).
    """

    focal: float
    height: float
    rotation: Floats

    def to_camera(self, points: Floats) -> Floats:
        """Turn world points (..., 3) into camera coordinates (..., 3)."""
        turned: Floats = (points - np.array([0.0, self.height, 0.0])) @ self.rotation.T
        return turned

    def to_canvas(self, local: Floats) -> Floats:
        """Project camera coordinates (..., 3) in front of the camera to canvas pixels (..., 2)."""
        flat = local[..., :2] * (self.focal / np.maximum(local[..., 2:], _NEAR))
        centred: Floats = (flat + np.array([WIDTH / 2, HEIGHT / 2])) * SUPERSAMPLING
        return np.clip(centred, -_FARTHEST_PIXEL, _FARTHEST_PIXEL)

    def project(self, points: Floats) -> Floats:
        """Project world points (..., 3) to canvas pixels (..., 2); points behind the camera land at its near plane."""
        return self.to_canvas(self.to_camera(points))

    def project_polygons(self, corners: Floats) -> list[Floats]:
        """Project planar polygons (n, k, 3), cut off at the near plane; those wholly behind it are left out."""
        local = self.to_camera(corners)
        whole = local[..., 2].min(axis=1) >= _NEAR
        if whole.all():
            return list(self.to_canvas(local))
        clipped = [
            self.to_canvas(_clip_near(polygon)) for polygon in local[~whole & (local[..., 2].max(axis=1) > _NEAR)]
        ]
        return [*self.to_canvas(local[whole]), *clipped]

    def rays(self, shrink: int = 1) -> list[NDArray[np.float32]]:
        """X, Y and Z (each (HEIGHT/shrink, WIDTH/shrink)) of directions through pixel centres, one metre deep."""
        x = ((np.arange(0, WIDTH, shrink) + shrink / 2 - WIDTH / 2) / self.focal).astype(np.float32)
        y = ((np.arange(0, HEIGHT, shrink) + shrink / 2 - HEIGHT / 2) / self.focal).astype(np.float32)
        turns = self.rotation.T.tolist()
        return [x[None] * right + (y[:, None] * down + forward) for right, down, forward in turns]


def make_camera(*, focal: float, height: float, pitch: float, yaw: float, roll: float) -> Camera:
    """Build a camera from angles in degrees.

    Args:
        focal: focal length in pixels of the photo.
        height: metres above the ground.
        pitch: positive looks up.
        yaw: positive looks right.
        roll: positive = the camera is turned clockwise, the photo's content counter-clockwise.
    """
    p, a, r = np.deg2rad([pitch, yaw, roll])
    flip = np.diag([1.0, -1.0, 1.0])
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    lean = np.array([[np.cos(r), np.sin(r), 0], [-np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return Camera(focal, height, lean @ nod @ flip @ turn)


def fill(canvas: Canvas, polygons: Sequence[Floats] | Floats, colour: Floats, owner: int = 0) -> None:
    """Fill polygons (each (k, 2), canvas pixels) with one colour (3,) in 0–255 and write their owner."""
    if isinstance(polygons, np.ndarray):
        outlines = list(_fixed_point(polygons))
    else:
        outlines = [_fixed_point(polygon) for polygon in polygons if len(polygon) >= 3]
    if outlines:
        cv2.fillPoly(canvas, outlines, (*colour.clip(0, 255).tolist(), owner), cv2.LINE_8, _SUBPIXEL_BITS)


def fill_each(canvas: Canvas, polygons: Floats, colours: Floats, owner: int = 0) -> None:
    """Fill convex polygons (n, k, 2) in order, each with its own colour (n, 3)."""
    outlines = _fixed_point(polygons)
    for outline, colour in zip(outlines, colours.clip(0, 255).tolist(), strict=True):
        cv2.fillConvexPoly(canvas, outline, (*colour, owner), cv2.LINE_8, _SUBPIXEL_BITS)


def _fixed_point(points: Floats) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _clip_near(local: Floats) -> Floats:
    """Cut a polygon (k, 3) at the near plane (Sutherland and Hodgman, CACM 1974)."""
    kept: list[Floats] = []
    for here, there in zip(local, np.roll(local, -1, axis=0), strict=True):
        if here[2] >= _NEAR:
            kept.append(here)
        if (here[2] >= _NEAR) != (there[2] >= _NEAR):
            kept.append(here + (there - here) * (_NEAR - here[2]) / (there[2] - here[2]))
    return np.array(kept).reshape(-1, 3)

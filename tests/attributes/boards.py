"""Drawn scenes in front of a known camera."""

import cv2
import numpy as np


def scene(roll, pitch, *, width=320, height=240, focal=300.0, lower=0.0, seed=0):
    """Boards that stand upright in front of a pinhole camera with known roll (clockwise) and pitch (up), in degrees.

    The boards stand 6 to 14 ahead and reach from 7 above the camera to 3 below it, or as much further down as `lower`.

    Nothing here is shared with the measure: corners are placed in the world and projected.
    """
    rng = np.random.default_rng(seed)
    r, p = np.radians([roll, pitch])
    # World: x right, y down, z ahead. A camera that pitches up sees points move down.
    tilt = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    spin = np.array([[np.cos(r), np.sin(r), 0], [-np.sin(r), np.cos(r), 0], [0, 0, 1]])
    photo = np.full((height * 4, width * 4, 3), 120, np.uint8)
    for depth in sorted(rng.uniform(6, 14, 14), reverse=True):
        left, bottom = rng.uniform(-6, 5), rng.uniform(-1, 3) + lower
        x, y = [left, left + rng.uniform(0.4, 1.5)], [bottom - rng.uniform(2, 6), bottom]
        skew = rng.uniform(-1.5, 1.5)
        corners = np.array(
            [[x[0], y[0], depth], [x[1], y[0], depth + skew], [x[1], y[1], depth + skew], [x[0], y[1], depth]]
        )
        seen = corners @ (spin @ tilt).T
        pixels = focal * seen[:, :2] / seen[:, 2:] + [width / 2, height / 2]
        cv2.fillPoly(photo, [np.rint(pixels * 4).astype(np.int32)], rng.integers(0, 255, 3).tolist())
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)

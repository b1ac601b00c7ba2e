"""Angle of the camera: how far it looks up or down, told from how the scene's verticals converge.

Verticals meet at a distance d from the middle of the photo, below it where the camera looks down. With the focal length
f in the same unit, the pitch is atan(f / d) (Hartley & Zisserman, "Multiple View Geometry", 2004, section 8.6).
Parallel verticals meet at infinity: the pitch is 0, so a level camera is told as well as a tilted one.
"""

from __future__ import annotations

import numpy as np

from attributes.arrays import Floats, Gray
from attributes.orientation import Verticals, is_confident, rotations_of, verticals, verticals_of
from attributes.views import Views

DEFAULT_FOCAL = 0.9
"""Focal length in longest sides where it is unknown: 32 mm on 36 mm film, between telephones (26 mm) and the normal
lens of a compact camera (38 mm). A lens off by a fifth moves a pitch of 15 degrees by 3."""

FEWEST_VERTICALS = 4.0
"""Effective number of verticals below which the pitch is not told: two lines always meet somewhere."""

LARGEST_ERROR = 2.0
"""Standard error in degrees above which the pitch is not told."""


def pitch(views: Views) -> Floats:
    """Angle between the optical axis and the horizon.

    The middle of the photo is taken for the principal point, as in a photo that was not cropped. Photos that lie on
    their side or upside down are turned upright first where ``rotation`` is told.

    Args:
        views: B photos; ``focal_px`` is used where known, as files tell it in EXIF, else ``DEFAULT_FOCAL``.

    Returns:
        (B,) degrees in [-90, 90], positive = the camera looks up; NaN where too few verticals agree.
    """
    found = [
        item if not turn > 0 else verticals(_turned(gray, turn))
        for item, turn, gray in zip(verticals_of(views), rotations_of(views), views.gray, strict=True)
    ]
    longest = views.sizes.max(axis=1)
    focal = [
        DEFAULT_FOCAL if length is None else length / side for length, side in zip(views.focal_px, longest, strict=True)
    ]
    pitches = [_pitch(item, length) for item, length in zip(found, focal, strict=True)]
    return np.array(pitches, dtype=np.float64)


def _turned(gray: Gray, degrees: float) -> Gray:
    """Turn clockwise by quarter turns."""
    return np.ascontiguousarray(np.rot90(gray, -round(degrees / 90)))


def _pitch(found: Verticals | None, focal: float) -> float:
    """Pitch in degrees from the verticals and the focal length in longest sides; NaN where not confident."""
    if found is None or not is_confident(found) or found.count < FEWEST_VERTICALS:
        return np.nan
    error = np.degrees(focal * found.convergence_error / (1 + (focal * found.convergence) ** 2))
    return float(-np.degrees(np.arctan(focal * found.convergence))) if error <= LARGEST_ERROR else np.nan

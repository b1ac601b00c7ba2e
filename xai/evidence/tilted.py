"""How far a photo is tilted, asked of the detector where the attribute `roll` cannot tell: few verticals, no lines.

The detector is surer of what stands as in its training, so the photo is shown levelled by several angles. One angle
that does better is luck; a true tilt does better at all angles of its side. Only photos with misses are asked about, so
that what is told is evidence for a verdict and must not reach the counts of the coverage table (as in ``upright``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xai.evidence.geometric import rotate
from xai.evidence.kept import Kept, not_kept
from xai.evidence.trial import surety
from xai.types import Detector, Pixels, Progress, no_progress

ANGLES = (13.0, 26.0, 39.0)
"""Degrees by which a photo is levelled, to either side; tilts of a camera beyond are as good as quarter turns."""

FORWARDS = 2 * len(ANGLES) - 2
"""Photos at most that are put through the detector to ask about one: the untouched one has been seen already, and only
the better side of the middle angle is asked at the other two."""

FLOOR = 0.5
"""Added to the confidence: a photo on which hardly anything is found at any angle says nothing."""

LEAST = 1.2
"""How many times surer the detector has to be on a side, on average over its angles, than without levelling. The
verdict weighs how much surer it is."""

SCHEMA: dict[str, type[pl.String] | type[pl.Float64]] = {
    "image_id": pl.String,
    "roll": pl.Float64,
    "as_is": pl.Float64,
    "levelled": pl.Float64,
}

Floats = NDArray[np.float64]


def how_level(
    image_ids: Sequence[str],
    *,
    load_pixels: Callable[[str], Pixels],
    detector: Detector,
    as_is: Mapping[str, float],
    progress: Progress = no_progress,
    kept: Kept = not_kept,
) -> tuple[pl.DataFrame, int]:
    """Ask the detector about photos levelled by several angles.

    Args:
        image_ids: the photos.
        as_is: ``image_id`` → sum of the squared scores of the detections in the photo as it is, none for none.
        load_pixels: ``image_id`` → photo in the displayed frame.
        detector: the detector.
        progress: told after each photo.
        kept: keeps the answer about each photo.

    Returns:
        A row for each photo that it takes for tilted: ``roll`` in degrees as the attribute has it (positive: the camera
        was turned clockwise), ``as_is`` the detector's confidence in the photo as it is, ``levelled`` at its best. And
        how many photos were put through the detector.
    """
    rows, forwards = [], 0
    for index, image_id in enumerate(image_ids):
        told, asked = kept("how level", image_id, partial(_ask, image_id, load_pixels, detector, as_is)) or ([], 0)
        forwards += asked
        confidence = np.array(told)
        roll = tilt(confidence) if asked else None
        if roll is not None:
            rows.append((image_id, roll, float(confidence[0]), float(confidence.max())))
        progress("how level", index + 1, len(image_ids))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row"), forwards


def _ask(
    image_id: str, load_pixels: Callable[[str], Pixels], detector: Detector, as_is: Mapping[str, float]
) -> tuple[list[float], int]:
    confidence, asked = _confidence(detector, load_pixels(image_id), as_is.get(image_id, 0.0))
    return confidence.tolist(), asked


def tilt(confidence: Floats) -> float | None:
    """Return the roll that a photo's confidences tell, None where they tell none.

    Args:
        confidence: (7,) sum of squared scores as it is, turned clockwise by ``ANGLES``, counter-clockwise by them.

    >>> tilt(np.array([0.4, 0.9, 1.8, 1.1, 0.1, 0.0, 0.0]))
    27.155555555555555
    >>> tilt(np.array([0.4, 0.3, 1.2, 0.2, 0.3, 0.2, 0.1])) is None
    True
    """
    sure = confidence + FLOOR
    sides = sure[1:].reshape(2, -1)
    means = sides.mean(axis=1)
    side = int(means.argmax())
    if means[side] < LEAST * max(sure[0], means[1 - side]):
        return None
    gain = np.maximum(sides[side] - sure[0], 0.0) ** 2
    return float((1 - 2 * side) * (gain * np.array(ANGLES)).sum() / gain.sum())


def _confidence(detector: Detector, pixels: Pixels, as_is: float) -> tuple[Floats, int]:
    """(7,) how sure the detector is of what it finds, and how many photos it was shown.

    What was not asked is taken to be as at the middle angle of its side.
    """
    middle = np.array([0.0, 0.0, pixels.shape[1], pixels.shape[0]])

    def levelled(angles: Sequence[float]) -> Floats:
        return surety(detector, [rotate(pixels, middle, angle).pixels for angle in angles])

    sides = np.repeat(levelled([ANGLES[1], -ANGLES[1]])[:, None], len(ANGLES), axis=1)
    side = int(sides[:, 1].argmax())
    asked = 2
    if sides[side, 1] > as_is:
        sign = 1 - 2 * side
        sides[side, [0, 2]] = levelled([sign * ANGLES[0], sign * ANGLES[2]])
        asked += 2
    return np.concatenate([[as_is], sides.ravel()]), asked

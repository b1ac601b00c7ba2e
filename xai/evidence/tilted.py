"""How far a photo is tilted, asked of the detector where the attribute `roll` cannot tell: few verticals, no lines.

The detector is surer of what stands as in its training, so the photo is shown turned by several angles to either side.
Of a level photo it becomes less sure on both sides alike; of a tilted one on the side alone that tilts it further. That
one side does better than the photo as it is says less: one angle that does better is luck. Only photos with misses are
asked about, so that what is told is evidence for a verdict and must not reach the counts of the coverage table (as in
``upright``).
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

FORWARDS = 2 * len(ANGLES)
"""Photos that are put through the detector to ask about one: the untouched one has been seen already."""

FLOOR = 0.5
"""Added to the confidence: a photo on which hardly anything is found at any angle says nothing."""

LEAST = 2.0
"""How many times surer the detector has to be on one side than on the other, on average over the angles. The verdict
weighs how much surer it is. Of 11 VOC photos tilted by 19 to 39 degrees of which `roll` tells nothing (tuning half,
YOLO11n at 320 and 480 px), 6 are told so, and 4 of 389 others; at 1.6 times 7 and 33."""

LEAST_ROLL = 10.0
"""Degrees from which a photo is tilted, as the bins of `roll` have it."""

TOWARDS_LEVEL = 1.25
"""What the middle of the angles is multiplied by, which the photo as it is draws towards 0: of those 6 photos the
estimate is off by 1 degree in the middle, and by 2 at most."""

SCHEMA: dict[str, type[pl.String] | type[pl.Float64]] = {
    "image_id": pl.String,
    "roll": pl.Float64,
    "further": pl.Float64,
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
        was turned clockwise), the detector's confidence with the photo ``levelled``, on average over the angles of that
        side, and tilted ``further``, over those of the other. And how many photos were put through the detector.
    """
    rows, forwards = [], 0
    for index, image_id in enumerate(image_ids):
        told = kept("how level", image_id, partial(_ask, image_id, load_pixels, detector, as_is))
        forwards += FORWARDS if told else 0
        confidence = np.array(told or [0.0] * (1 + FORWARDS))
        roll = tilt(confidence)
        if roll is not None:
            sides = confidence[1:].reshape(2, -1).mean(axis=1)
            rows.append((image_id, roll, float(sides.min()), float(sides.max())))
        progress("how level", index + 1, len(image_ids))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row"), forwards


def _ask(
    image_id: str, load_pixels: Callable[[str], Pixels], detector: Detector, as_is: Mapping[str, float]
) -> list[float]:
    """How sure the detector is: of the photo as it is, turned clockwise by ``ANGLES``, counter-clockwise by them."""
    pixels = load_pixels(image_id)
    middle = np.array([0.0, 0.0, pixels.shape[1], pixels.shape[0]])
    turns = [*ANGLES, *(-angle for angle in ANGLES)]
    sure = surety(detector, [rotate(pixels, middle, angle).pixels for angle in turns])
    return [as_is.get(image_id, 0.0), *sure.tolist()]


def tilt(confidence: Floats) -> float | None:
    """Return the roll that a photo's confidences tell, None where they tell none.

    Args:
        confidence: (7,) sum of squared scores as it is, turned clockwise by ``ANGLES``, counter-clockwise by them.

    >>> round(tilt(np.array([0.4, 0.9, 1.8, 1.1, 0.1, 0.0, 0.0])))
    33
    >>> tilt(np.array([1.8, 1.1, 0.4, 0.2, 0.9, 0.3, 0.2])) is None
    True
    """
    sides = confidence[1:].reshape(2, -1)
    means = sides.mean(axis=1) + FLOOR
    side = int(means.argmax())
    if means[side] < LEAST * means[1 - side]:
        return None
    weights = np.square(np.concatenate([confidence[:1], sides[side]]))
    roll = TOWARDS_LEVEL * float((weights * np.array([0.0, *ANGLES])).sum() / weights.sum())
    return (1 - 2 * side) * min(roll, ANGLES[-1]) if roll >= LEAST_ROLL else None

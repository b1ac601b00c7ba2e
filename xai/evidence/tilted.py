"""How far a photo is tilted, asked of the detector where the attribute `roll` cannot tell: few verticals, no lines.

The detector is surer of what stands as in its training, so the photo is shown levelled by several angles. One angle
that does better is luck; a true tilt does better at all angles of its side. Only photos with misses are asked about, so
that what is told is evidence for a verdict and must not reach the counts of the coverage table (as in ``upright``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from xai.evidence.geometric import rotate
from xai.evidence.trial import BATCH_SIZE
from xai.types import Detector, Pixels, Progress, no_progress

ANGLES = (13.0, 26.0, 39.0)
"""Degrees by which a photo is levelled, to either side; tilts of a camera beyond are as good as quarter turns."""

FORWARDS = 1 + 2 * len(ANGLES)
"""Photos that are put through the detector to ask about one."""

FLOOR = 0.5
"""Added to the confidence: a photo on which hardly anything is found at any angle says nothing."""

LEAST = 1.35
"""How many times surer the detector has to be on a side, on average over its angles, than without levelling. Of 20 VOC
photos tilted by 15 to 40 degrees (tuning half, YOLO11n at 480 px) it tells 10, of 35 untouched ones with misses one."""

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
    progress: Progress = no_progress,
) -> pl.DataFrame:
    """Ask the detector about photos levelled by several angles.

    Args:
        image_ids: the photos.
        load_pixels: ``image_id`` → photo in the displayed frame.
        detector: the detector.
        progress: told after each photo.

    Returns:
        A row for each photo that it takes for tilted: ``roll`` in degrees as the attribute has it (positive: the camera
        was turned clockwise), ``as_is`` the detector's confidence in the photo as it is, ``levelled`` at its best.
    """
    rows = []
    for index, image_id in enumerate(image_ids):
        confidence = _confidence(detector, load_pixels(image_id))
        roll = tilt(confidence)
        if roll is not None:
            rows.append((image_id, roll, float(confidence[0]), float(confidence.max())))
        progress("how level", index + 1, len(image_ids))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


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


def _confidence(detector: Detector, pixels: Pixels) -> Floats:
    """(7,) how sure the detector is of what it finds."""
    middle = np.array([0.0, 0.0, pixels.shape[1], pixels.shape[0]])
    turns = [*ANGLES, *(-angle for angle in ANGLES)]
    shown = [pixels, *(rotate(pixels, middle, angle).pixels for angle in turns)]
    sums = np.zeros(len(shown))
    with torch.no_grad():
        for part in (part for group in detector.prepare(shown) for part in group.parts(BATCH_SIZE)):
            for index, found in zip(part.indices, detector.select(detector.forward(part.inputs), part), strict=True):
                sums[index] = (found.scores**2).sum()
    return sums

"""Orientation of a photo: the quarter turn that brings it upright, and the roll of the camera in degrees.

Quarter turns are told from the layout of colours and textures, see `upright`. The roll is told from straight lines.
Lines that are vertical in the scene meet in one point of the photo, and the line from the middle of the photo to that
point is turned by exactly the roll of the camera, whatever its pitch and focal length (Hartley & Zisserman, "Multiple
View Geometry", 2004, section 8.6). Segments come from LSD (von Gioi et al., "LSD: a line segment detector", IPOL 2012).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from attributes import upright
from attributes.arrays import Floats, Gray, Pixels
from attributes.reduced import fit
from attributes.views import Views

ROLL_SIDE = 320
"""Longest side, in px, at which lines are found."""

_SMALLEST_SIDE = 16  # px
# Lines are looked for in a squeezed photo. Where a vertical lies is told across it, so averaging along it takes away
# little but texture, on which a line detector spends most of its time: 1.0 ms instead of 2.9.
_ACROSS, _ALONG = 0.7, 0.3
# LSD's quantisation error, in grey levels, drops the faint gradients of foliage. Its angle tolerance, in degrees, is
# wider than the usual 22.5 since squeezing widens angles: of 118 rolls as sure, 4% more followed a turn. Sorting seeds
# by the usual 1024 strengths takes a third of its time and makes no roll better; by two it costs nothing.
_QUANTISATION, _TOLERANCE, _GRADIENT_BINS = 4.0, 30.0, 2
_SHORTEST = 0.025  # of the longest side: shorter segments have more noise than direction
_FRAME = 0.02
"""Longest sides from the photo's edge within which a whole segment is that of a frame or scanner, always level."""
_FEWEST = 4
# The vertical vanishing point lies 1 / convergence longest sides from the middle of the photo; 1 is a pitch of 45
# degrees behind a normal lens.
_CONVERGENCES = np.linspace(-1.0, 1.0, 21)
_CONVERGENCE_SCALE = 0.35
_BINS_PER_DEGREE = 2
_BINS = np.arange(-45 * _BINS_PER_DEGREE, 45 * _BINS_PER_DEGREE + 1) / _BINS_PER_DEGREE
_SMOOTHING = np.exp(-0.5 * np.arange(-3.0, 3.0 + 1e-9, 1.0 / _BINS_PER_DEGREE) ** 2)
# Photographers hold cameras about level and upright: mild preferences that decide between equals.
_PRIOR = np.exp(-0.5 * ((_BINS / 25.0) ** 2 + (_CONVERGENCES[:, None] / _CONVERGENCE_SCALE) ** 2))
_ROLL_PRIOR = np.exp(-0.5 * (_BINS / 25.0) ** 2)
# Frontal horizontals are turned by the roll, oblique ones are not: they vote with less weight and hardly refine.
_HORIZONTAL_VOTE, _HORIZONTAL_PULL = 0.3, 0.1
_REFINEMENT_WIDTHS = (1.5, 0.7)
_INLIER = 1.5
# Degrees: the directions of segments at 320 px are not better than this, however well a few agree by chance.
_LEAST_DEVIATION = 0.3
_RIVAL = 6.0

# Probability that the roll is right: logistic regression on the evidence of `Verticals`, bias last, fitted by
# `fit_roll_confidence` in tests/benchmarks/train_rotation.py.
_CONFIDENCE = np.array([-4.780, 5.516, 0.290, 0.425, 3.617])
LEAST_ROLL_CONFIDENCE = 0.85
"""From where on a roll is told: that of 217 of 596 VOC and COCO photos is, both as taken and turned by up to 20
degrees, and for 95% of these it follows the turn within 2 degrees; from 0.91 on it is 162 and 99%."""


@dataclass(frozen=True, slots=True, eq=False)
class Verticals:
    """Vanishing point of the lines that are vertical in the scene.

    Attributes:
        roll: degrees in [-45, 45], positive where the camera was turned clockwise.
        convergence: inverse of the signed distance, in longest sides, from the middle of the photo to the point;
            positive where it lies below, 0 where the verticals are parallel.
        convergence_error: standard error of ``convergence``.
        count: effective number of verticals that agree.
        evidence: (4,) votes of the best roll more than 6 degrees off relative to this one; share of the total length
            of segments that agrees; log of ``count``; log of the length of agreeing horizontals in longest sides.
    """

    roll: float
    convergence: float
    convergence_error: float
    count: float
    evidence: Floats


def layout(views: Views) -> Floats:
    """Width of each photo over its height.

    Args:
        views: B photos.

    Returns:
        (B,) above 0.

    Example:
        >>> layout(Views([np.zeros((40, 60, 3), dtype=np.uint8)])).tolist()
        [1.5]
    """
    return np.asarray(views.sizes[:, 0] / views.sizes[:, 1])


def rotation(photos: Sequence[Pixels]) -> Floats:
    """Clockwise turn that brings each photo upright.

    Args:
        photos: B photos, H×W×3 uint8 RGB of any sizes; 320 px are enough.

    Returns:
        (B,) 0, 90, 180 or 270 degrees; NaN where not confident. A turn other than 0 asks for more confidence, since
        few photos lie on their side and a false turn explains a miss that it did not cause.
    """
    turns = np.full(len(photos), np.nan)
    for index, photo in enumerate(photos):
        if min(photo.shape[:2]) < upright.SMALLEST:
            continue
        confidence = upright.confidence(upright.describe(photo))
        best = int(confidence.argmax())
        if confidence[best] >= upright.LEAST_CONFIDENCE[min(best, 1)]:
            turns[index] = 90.0 * best
    return turns


def roll(photos: Sequence[Pixels]) -> Floats:
    """Roll of the camera about its optical axis, from the vanishing point of the scene's verticals.

    The middle of the photo is taken for the principal point, so a photo that was cropped off-centre and looks up or
    down is told with a bias. Only rolls within 45 degrees are considered: turn photos upright first.

    Args:
        photos: B photos, H×W×3 uint8 RGB of any sizes; larger than ``ROLL_SIDE`` px they are reduced.

    Returns:
        (B,) degrees in [-45, 45], positive where the camera was turned clockwise and the content hence appears turned
        counter-clockwise; NaN where too few lines agree.
    """
    return confident_roll([verticals(cv2.cvtColor(fit(photo, ROLL_SIDE), cv2.COLOR_RGB2GRAY)) for photo in photos])


def confident_roll(found: Sequence[Verticals | None]) -> Floats:
    """(B,) rolls, as ``roll``; NaN where they are not confident."""
    rolls = [np.nan if item is None or not is_confident(item) else item.roll for item in found]
    return np.array(rolls, dtype=np.float64)


def rotations_of(views: Views) -> Floats:
    """``rotation`` of the photos, computed once a batch."""
    return views.shared("rotation", lambda: rotation(views.small))


def verticals_of(views: Views) -> tuple[Verticals | None, ...]:
    """``verticals`` of the photos, computed once a batch."""
    return views.shared("verticals", lambda: tuple(verticals(gray) for gray in views.gray))


def is_confident(found: Verticals) -> bool:
    """Whether the roll is right with a probability of at least ``LEAST_ROLL_CONFIDENCE``."""
    score = float(found.evidence @ _CONFIDENCE[:-1] + _CONFIDENCE[-1])
    return 1.0 / (1.0 + math.exp(-score)) >= LEAST_ROLL_CONFIDENCE


def roll_evidence(gray: Gray) -> tuple[float, Floats]:
    """Best roll of a photo in degrees and the (4,) evidence for it, as in ``Verticals``; all NaN where there is none.

    Args:
        gray: H×W luma.
    """
    found = verticals(gray)
    return (np.nan, np.full(4, np.nan)) if found is None else (found.roll, found.evidence)


def verticals(gray: Gray) -> Verticals | None:
    """Find the vanishing point of a photo's verticals; None where there are too few segments.

    Args:
        gray: H×W luma.
    """
    directions, offsets, lengths = _segments(gray)
    if len(lengths) < _FEWEST:
        return None
    levels = directions - np.copysign(90.0, directions)
    votes = _votes(directions, offsets, levels, lengths)
    row, column = divmod(int(votes.argmax()), len(_BINS))
    best = float(votes[row, column])
    if best <= 0:
        return None
    angle, convergence = _refine(directions, offsets, levels, lengths, _BINS[column], _CONVERGENCES[row])
    deviations = _implied(directions, offsets, convergence) - angle
    near = np.abs(deviations) < _INLIER
    agree = lengths[near]
    if not len(agree) or abs(angle) > 45:
        return None
    effective = float(agree.sum() ** 2 / (agree @ agree))
    error = _convergence_error(deviations[near], offsets[near], agree)
    rival = votes[:, np.abs(_BINS - angle) > _RIVAL].max() / best
    level = lengths[np.abs(levels - angle) < _INLIER].sum()
    evidence = np.array([rival, agree.sum() / lengths.sum(), np.log(effective), np.log(level + 0.02)])
    return Verticals(angle, convergence, error, effective, evidence)


def _segments(gray: Gray) -> tuple[Floats, Floats, Floats]:
    """Straight segments of a photo.

    Returns:
        (n,) directions, degrees in [-90, 90], 0 where vertical, positive where turned counter-clockwise; (n,) signed
        distances of their lines from the middle of the photo and (n,) lengths, both in longest sides.
    """
    height, width = gray.shape
    if min(height, width) < _SMALLEST_SIDE:
        return np.empty(0), np.empty(0), np.empty(0)
    size = (round(_ACROSS * width), round(_ALONG * height))
    squeezed = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    # A detector holds buffers, so threads cannot share one; making one takes a microsecond.
    detector = cv2.createLineSegmentDetector(
        cv2.LSD_REFINE_NONE, scale=1.0, quant=_QUANTISATION, ang_th=_TOLERANCE, n_bins=_GRADIENT_BINS
    )
    found = detector.detect(squeezed)[0]
    if found is None:
        return np.empty(0), np.empty(0), np.empty(0)
    # LSD counts from the middle of the first pixel.
    stretch = np.array([width / size[0], height / size[1]])
    ends = ((found.reshape(-1, 2, 2) + 0.5) * stretch - [width / 2, height / 2]) / max(height, width)
    along = ends[:, 1] - ends[:, 0]
    lengths = np.hypot(along[:, 0], along[:, 1])
    inner = np.array([width, height]) / (2 * max(height, width)) - _FRAME
    frame = ((ends > inner).all(axis=1) | (ends < -inner).all(axis=1)).any(axis=1)
    ends, along, lengths = (values[(lengths > _SHORTEST) & ~frame] for values in (ends, along, lengths))
    along *= np.where(along[:, 1] < 0, -1.0, 1.0)[:, None] / lengths[:, None]
    middles = ends.mean(axis=1)
    offsets = along[:, 0] * middles[:, 1] - along[:, 1] * middles[:, 0]
    return np.degrees(np.arctan2(along[:, 0], along[:, 1])), offsets, lengths


def _implied(directions: Floats, offsets: Floats, convergence: Floats | float) -> Floats:
    """Roll in degrees at which a line passes through the vertical vanishing point of a convergence.

    A line of direction t and distance d from the middle passes through the point (sin r, cos r) / k where
    sin(t - r) = k d.
    """
    return np.asarray(directions - np.degrees(np.arcsin(np.maximum(np.minimum(convergence * offsets, 0.95), -0.95))))


def _votes(directions: Floats, offsets: Floats, levels: Floats, lengths: Floats) -> Floats:
    """(convergences, rolls) length of segments that agree with each vertical vanishing point, times the prior.

    ``levels`` are the rolls if segments are frontal horizontals; beyond 45 degrees for those closer to the vertical.
    """
    rolls = np.concatenate([_implied(directions, offsets, _CONVERGENCES[:, None]), levels[None]])
    n_rows, n_columns = len(rolls), len(_BINS) + 2
    # The first and the last column take what lies beyond the bins.
    columns = np.rint(rolls * _BINS_PER_DEGREE).astype(np.int64) + n_columns // 2
    cells = np.maximum(np.minimum(columns, n_columns - 1), 0) + n_columns * np.arange(n_rows)[:, None]
    weights = np.broadcast_to(lengths, rolls.shape).ravel()
    counts = np.bincount(cells.ravel(), weights, n_rows * n_columns).reshape(n_rows, n_columns)[:, 1:-1]
    table = np.asarray(cv2.filter2D(counts, -1, _SMOOTHING[None], borderType=cv2.BORDER_CONSTANT | cv2.BORDER_ISOLATED))
    return np.asarray(table[:-1] * _PRIOR + _HORIZONTAL_VOTE * table[-1] * _ROLL_PRIOR)


def _refine(
    directions: Floats, offsets: Floats, levels: Floats, lengths: Floats, angle: float, convergence: float
) -> tuple[float, float]:
    """Iteratively reweighted least squares for roll and convergence, with ever narrower Gaussian weights."""
    # A horizontal is as a vertical through the middle, which tells the roll whatever the convergence.
    directions, offsets = np.concatenate([directions, levels]), np.concatenate([offsets, np.zeros(len(levels))])
    weights = lengths**1.5
    weights = np.concatenate([weights, _HORIZONTAL_PULL * weights])
    slopes = np.degrees(offsets)
    for width in _REFINEMENT_WIDTHS:
        errors = _implied(directions, offsets, convergence) - angle
        near = weights * np.exp((-0.5 / width**2) * errors * errors)
        pull = near * slopes
        # The 2x2 normal equations. The ridge keeps the convergence where all lines pass the middle and cannot tell it.
        total, cross = near.sum() + 1e-9, pull.sum()
        spread = pull @ slopes + 1e-2 * total
        roll_moment, convergence_moment = near @ errors, pull @ errors
        determinant = total * spread - cross * cross
        angle += float((spread * roll_moment - cross * convergence_moment) / determinant)
        convergence += float((total * convergence_moment - cross * roll_moment) / determinant)
    return angle, convergence


def _convergence_error(deviations: Floats, offsets: Floats, lengths: Floats) -> float:
    """Standard error of the convergence that lines at these offsets and deviations, in degrees, give.

    Infinite where all pass the middle at the same distance: they tell the roll alone.
    """
    weights = lengths / lengths.sum()
    spread = float(weights @ (offsets - weights @ offsets) ** 2)
    noise = max(float(np.sqrt(weights @ deviations**2)), _LEAST_DEVIATION)
    return float(np.radians(noise) / np.sqrt(spread / (weights @ weights))) if spread > 0 else np.inf

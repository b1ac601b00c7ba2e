"""How lines of evidence add up to the strength of a cause: one logistic score whose weights stand in two literal dicts.

A cause's log weight is the sum of its features (``verdict.features``) times ``WEIGHTS``, and its own entry of
``INTERCEPTS``. Its strength is weight / (1 + weights of all causes whose condition the miss shows); the 1 stands for
``unexplained``: a conditional logit (McFadden 1974). The weights were fitted by ``tests/benchmarks/train_verdict.py``
on photos with planted conditions, so that a strength is a probability there.

The outcome of a repair enters as a log-likelihood ratio measured in the run: where it found the object, and neither the
untouched photo nor a placebo did, it is log(h / f); where it did not find the object, log((1 − h) / (1 − f)); where a
placebo found it too, nothing is told. h is how often this cause's repair succeeds so, f how often it does on misses
that do not show its condition, or without such trials how often a placebo does where the repair does not. The mechanism
counts likewise for a cause that leaves a mark in the detector (a neighbour's box suppresses a crowded object's): h is
how often misses under the cause's condition carry the mark, f how often other misses do.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WEIGHTS: Mapping[str, float] = {
    "joint_risk": 0.91,
    "unusualness": 0.27,
    "severity": 0.81,
    "coverage": 0.31,
    "scarcity": 0.24,
    "repair": 0.71,
    "gain": 0.48,
    "mark": 1.14,
    "part": 0.33,
}
"""Log odds per unit of each feature."""

INTERCEPTS: Mapping[str, float] = {
    # Nothing planted stands for these two, so that they were not fitted: a condition that doubles the risk is as likely
    # as not, and what looks novel to a detector is so for another cause as a rule.
    "": 0.0,
    "unusual_view": -1.0,
    "glare": 0.60,
    "haze": 1.96,
    "darkness": 0.80,
    "overexposure": -0.48,
    "low_contrast": 1.05,
    "blur": 1.19,
    "noise": 0.47,
    "compression": 2.17,
    "rotation": 1.45,
    "tilt": 2.79,
    "camera_angle": 0.25,
    "small_object": 0.16,
    "large_object": 0.64,
    "truncation": 0.20,
    "crowding": 1.61,
    "occlusion": 1.27,
    "unusual_shape": -0.25,
}
"""Log odds of a cause whose features are all 0, against ``unexplained``; the empty name is of all that are not here."""

PRIORS: Mapping[str, tuple[float, float]] = {
    # a repair's success: one success, one failure
    "repair": (1.0, 1.0),
    # a placebo's success: one in ten
    "placebo": (1.0, 9.0),
    # a cause's mark on misses under its condition, and on others
    "mark": (1.0, 1.0),
    "stray_mark": (1.0, 9.0),
}
"""Beta priors of rates that are measured in the run: successes and failures before any data."""

LEAST = 1.0
"""A cause below this weight is not named: unexplained, whose weight is 1, is then the likelier answer."""

NEAR_THRESHOLD = 0.05
"""A score this far below the threshold is near it."""


def weigh(features: pl.DataFrame) -> pl.DataFrame:
    """Return ``error_id cause log_weight`` of rows of ``features``; features that are not there count nothing."""
    total = sum((pl.col(name) * weight for name, weight in WEIGHTS.items() if name in features.columns), pl.lit(0.0))
    default = INTERCEPTS[""]
    own = pl.col("cause").replace_strict(dict(INTERCEPTS), default=default, return_dtype=pl.Float64)
    return features.select("error_id", "cause", log_weight=total + own)


def mark_log_ratio(marked: Bools, under: Bools) -> Floats:
    """Return how much likelier each miss's mechanism is if it was made by a cause that leaves a mark.

    Args:
        marked: (n,) whether the miss carries the mark, over all misses.
        under: (n,) whether it lies under the cause's condition.

    Returns:
        (n,) log-likelihood ratios, never below 0 on marked and never above 0 on other misses.
    """
    here, stray = marked[under].sum(), marked[~under].sum()
    h = (here + PRIORS["mark"][0]) / (under.sum() + sum(PRIORS["mark"]))
    f = (stray + PRIORS["stray_mark"][0]) / ((~under).sum() + sum(PRIORS["stray_mark"]))
    h = max(h, f)  # a mark that is rarer under the condition is none
    return np.asarray(np.where(marked, np.log(h / f), np.log((1 - h) / (1 - f))))


def repair_log_ratio(succeeded: Bools, failed: Bools, hit_rate: Floats, chance: float | Floats) -> Floats:
    """Return how much likelier a tried repair's outcome is if its cause is right, as a log-likelihood ratio.

    Args:
        succeeded: the repair found the object, and neither the untouched photo nor a placebo did.
        failed: the repair did not find the object.
        hit_rate: h in 0–1, per trial the rate of its cause.
        chance: f in 0–1, of all trials or per trial.
    """
    success, failure = np.log(hit_rate / chance), np.log((1 - hit_rate) / (1 - chance))
    return np.where(succeeded, success, np.where(failed, failure, 0.0))

"""How lines of evidence add up to the strength of a cause: one logistic score, its weights in three literal dicts.

A cause's log weight is the sum of its features (``verdict.features``) times ``WEIGHTS`` with what ``OWN`` adds for the
cause, and its entry of ``INTERCEPTS``. Its strength is weight / (1 + weights of all causes whose condition the miss
shows); the 1 stands for ``unexplained``: a conditional logit (McFadden 1974). The weights were fitted by
``tests/benchmarks/train_verdict.py`` on photos with planted conditions, so that a strength is a probability there.

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
    "unusualness": 0.7,
    "severity": 1.51,
    "coverage": 0.3,
    "upright": 0.9,
    "level": 0.66,
    "cut": 1.05,
    "repair": 0.51,
    "gain": 0.36,
    "mark": 1.28,
    "part": 2.08,
}
"""Log odds per unit of each feature."""

OWN: Mapping[str, Mapping[str, float]] = {
    "glare": {"unusualness": 0.16, "severity": 0.12, "gain": 0.23},
    "haze": {"unusualness": 0.17, "severity": 0.53, "repair": 0.12, "gain": 0.28},
    "darkness": {"unusualness": 0.26, "severity": 0.19, "repair": -0.07, "gain": 0.34},
    "overexposure": {"unusualness": 0.36, "severity": 0.2, "repair": 0.05, "gain": -0.36},
    "low_contrast": {"severity": -0.08, "repair": -0.07},
    "blur": {"unusualness": 0.05, "severity": 0.32, "repair": -0.17, "gain": -0.06},
    "noise": {"unusualness": 0.1, "severity": -0.11, "repair": -0.17, "gain": -0.26},
    "compression": {"unusualness": -0.16, "severity": 0.21, "gain": -0.07},
    "rotation": {"unusualness": 0.1, "repair": 0.56, "gain": 0.38},
    "tilt": {"unusualness": -0.33, "severity": -0.26, "repair": -0.38, "gain": -0.09},
    "small_object": {"unusualness": 0.06, "repair": -0.11, "gain": 0.18},
    "large_object": {"unusualness": -0.06},
    "truncation": {"unusualness": -0.23, "severity": -0.41, "repair": 0.09, "gain": -0.22},
    "crowding": {"gain": -0.24},
    "unusual_shape": {"unusualness": -0.19, "severity": -0.13},
}
"""Cause → feature → log odds per unit beyond ``WEIGHTS``: a repair that takes its condition away whole tells more by
its success and by its failure than one that hardly does (turning against sharpening), and a value far beyond its
usual ones tells more of haze than of an object at the edge."""

INTERCEPTS: Mapping[str, float] = {
    # What no cause below is: a user's column. Nothing was planted for it, so that it has what all causes share.
    "": -0.5,
    # Not fitted either: what looks novel to a detector is so for another cause as a rule.
    "unusual_view": -1.5,
    "glare": 1.83,
    "haze": 2.13,
    "darkness": 0.56,
    "overexposure": -0.14,
    "low_contrast": -1.74,
    "blur": -0.34,
    "noise": -0.89,
    "compression": 1.88,
    "rotation": -0.25,
    "tilt": -0.46,
    "camera_angle": -0.84,
    "small_object": -0.78,
    "large_object": -1.37,
    "truncation": -2.19,
    "crowding": -0.76,
    "occlusion": -2.42,
    "unusual_shape": -2.35,
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

SPEAKS: Mapping[str, float] = {
    "joint_risk": 0.0,
    "unusualness": 0.5,
    "severity": 0.5,
    "upright": 0.0,
    "level": 0.0,
    "cut": 0.0,
    "repair": 0.2,
    "gain": 0.2,
    "mark": 0.0,
    "part": 0.0,
}
"""A cause is named only where one feature at least exceeds this: a line that speaks for it in this miss or this run. A
condition that is merely there, with odds that come from its intercept alone, stays unexplained."""

LEAST = 1.0
"""A cause below this weight is not named: unexplained, whose weight is 1, is then the likelier answer."""

LEAST_STRENGTH = 0.33
"""A cause below this strength is named only where its risk is elevated: several causes may each be likelier than
``unexplained`` and none of them likely. From 0.4 up planted causes are lost on photos that the weights were not fitted
on, below 0.33 hardly any is won."""

LEAST_SECOND = 0.1
"""A second guess below this weight is ``unexplained``, whose weight is 1."""

LEAST_GUESS = 0.005
"""Where no cause is named, one below this weight is no guess either."""

NEAR_THRESHOLD = 0.05
"""A score this far below the threshold is near it."""


def weigh(features: pl.DataFrame) -> pl.DataFrame:
    """Return ``error_id cause log_weight speaks`` of rows of ``features``; features that are not there count nothing.

    ``speaks`` is whether any feature exceeds its entry in ``SPEAKS``.
    """
    total = pl.lit(0.0)
    for name, weight in WEIGHTS.items():
        if name in features.columns:
            more = {cause: own[name] for cause, own in OWN.items() if name in own}
            beyond = pl.col("cause").replace_strict(more, default=0.0, return_dtype=pl.Float64) if more else 0.0
            total += pl.col(name) * (weight + beyond)
    default = INTERCEPTS[""]
    own = pl.col("cause").replace_strict(dict(INTERCEPTS), default=default, return_dtype=pl.Float64)
    known = [pl.col(name) > least for name, least in SPEAKS.items() if name in features.columns]
    return features.select("error_id", "cause", log_weight=total + own, speaks=pl.any_horizontal(pl.lit(False), *known))


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

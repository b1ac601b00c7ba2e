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

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WEIGHTS: Mapping[str, float] = {
    "joint_risk": 0.89,
    "unusualness": 0.7,
    "severity": 1.44,
    "coverage": 0.25,
    "upright": 0.91,
    "level": 1.41,
    "cut": 0.99,
    "repair": 0.64,
    "gain": 0.25,
    "mark": 1.06,
    "part": 1.97,
}
"""Log odds per unit of each feature."""

OWN: Mapping[str, Mapping[str, float]] = {
    "glare": {"unusualness": 0.15, "severity": 0.11, "gain": 0.27},
    "haze": {"unusualness": 0.17, "severity": 0.53, "repair": 0.1, "gain": 0.3},
    "darkness": {"unusualness": 0.26, "severity": 0.2, "repair": -0.06, "gain": 0.35},
    "overexposure": {"unusualness": 0.33, "severity": 0.25, "repair": 0.06, "gain": -0.35},
    "low_contrast": {"severity": -0.07, "repair": -0.08, "gain": 0.05},
    "blur": {"severity": 0.33, "repair": -0.19},
    "noise": {"unusualness": 0.1, "severity": -0.09, "repair": -0.18, "gain": -0.23},
    "compression": {"unusualness": -0.16, "severity": 0.21, "gain": -0.06},
    "rotation": {"unusualness": 0.08, "repair": 0.53, "gain": 0.39},
    "tilt": {"unusualness": -0.48, "severity": -0.51, "repair": -0.15, "gain": -0.3},
    "small_object": {"unusualness": 0.08, "repair": -0.18, "gain": 0.19},
    "truncation": {"unusualness": -0.06, "severity": -0.28, "repair": 0.08, "gain": -0.23},
    "crowding": {"unusualness": 0.1, "gain": -0.26},
    "unusual_shape": {"unusualness": -0.19, "severity": -0.13},
}
"""Cause → feature → log odds per unit beyond ``WEIGHTS``: a repair that takes its condition away whole tells more by
its success and by its failure than one that hardly does (turning against sharpening), and a value far beyond its
usual ones tells more of haze than of an object at the edge."""

INTERCEPTS: Mapping[str, float] = {
    # What no cause below is: a user's column. Nothing was planted for it, so that it has what all causes share.
    "": -0.35,
    # Not fitted either: what looks novel to a detector is so for another cause as a rule.
    "unusual_view": -1.5,
    "glare": 2.06,
    "haze": 2.21,
    "darkness": 0.54,
    "overexposure": -0.16,
    "low_contrast": -1.78,
    "blur": -0.25,
    "noise": -0.82,
    "compression": 2.01,
    "rotation": -0.24,
    "tilt": 0.64,
    "camera_angle": -0.74,
    "small_object": -0.68,
    "large_object": -1.11,
    "truncation": -2.14,
    "crowding": -0.84,
    "occlusion": -2.38,
    "unusual_shape": -2.16,
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


def log_weight(
    columns: Collection[str],
    weights: Mapping[str, float] = WEIGHTS,
    own: Mapping[str, Mapping[str, float]] = OWN,
    intercepts: Mapping[str, float] = INTERCEPTS,
) -> pl.Expr:
    """Return the log weight of the causes in ``cause`` by the features among the columns; others count nothing."""
    default = intercepts[""]
    total = pl.col("cause").replace_strict(dict(intercepts), default=default, return_dtype=pl.Float64)
    for name, weight in weights.items():
        if name in columns:
            more = {cause: beyond[name] for cause, beyond in own.items() if name in beyond}
            total += pl.col(name) * (weight + pl.col("cause").replace_strict(more, default=0.0) if more else weight)
    return total


def weigh(features: pl.DataFrame) -> pl.DataFrame:
    """Return ``error_id cause log_weight speaks`` of rows of ``features``; features that are not there count nothing.

    ``speaks`` is whether any feature exceeds its entry in ``SPEAKS``.
    """
    total = log_weight(features.columns)
    known = [pl.col(name) > least for name, least in SPEAKS.items() if name in features.columns]
    return features.select("error_id", "cause", log_weight=total, speaks=pl.any_horizontal(pl.lit(False), *known))


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

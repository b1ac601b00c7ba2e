"""How lines of evidence add up to the strength of a cause: one documented score, every weight in one literal dict.

A cause's weight is the odds that it, and not what makes any object fail, made this miss:

    log weight = log E[excess relative risk] + unusualness + coverage + repair + mechanism

The start is the attributable fraction of epidemiology: among missed objects with a condition of relative risk RR, the
share (RR − 1) / RR would not have been missed without it, so its odds are RR − 1 (Greenland & Robins, Am. J. Epidemiol.
1988). RR is jointly adjusted for all other conditions and uncertain, so its expected excess over 1 is taken. The other
terms are log-likelihood ratios: small ones by judgement for unusualness and coverage, and one measured in the run for
the repair. Where it found the object, and neither the untouched photo nor a placebo did, it is log(h / f); where it did
not find the object, log((1 − h) / (1 − f)); where a placebo found it too, nothing is told. h is how often this cause's
repair succeeds so, f how often a placebo does where the repair does not. The mechanism counts likewise for a cause that
leaves a mark in the detector (a neighbour's box suppresses a crowded object's): h is how often misses under the cause's
condition carry the mark, f how often other misses do.

The strength of a cause is its weight / (1 + weights of all admissible causes of the miss); the 1 stands for
``unexplained``. Strengths are not yet calibrated: they rank causes, they are not probabilities to bet on.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WEIGHTS: Mapping[str, float] = {
    # per decade by which the value is rarer than 1 in 10 among the found objects, from −1 to 2 decades
    "unusualness": 0.4,
    # per doubling by which training holds less of the condition than the evaluation set, up to 3 doublings
    "coverage": 0.2,
    # Beta prior of a repair's success, in trials: one success, one failure
    "repair_successes": 1.0,
    "repair_failures": 1.0,
    # Beta prior of a placebo's success: one in ten
    "placebo_successes": 1.0,
    "placebo_failures": 9.0,
    # Beta priors of a cause's mark on misses under its condition and on others
    "mark_successes": 1.0,
    "mark_failures": 1.0,
    "stray_mark_successes": 1.0,
    "stray_mark_failures": 9.0,
    # a cause below this weight is not named: unexplained, whose weight is 1, is then the likelier answer
    "least": 1.0,
    # a score this far below the threshold is near it
    "near_threshold": 0.05,
}


def log_weight(excess: Floats, unusualness: Floats, coverage: Floats) -> Floats:
    """Return the log weight that the cheap lines give a cause; NaN lines count nothing.

    Args:
        excess: expected excess relative risk, > 0.
        unusualness: −log10 of the share of found objects with so extreme a value.
        coverage: evaluation share / training share.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        start = np.log(np.maximum(np.nan_to_num(excess), 1e-3))
        rarity = WEIGHTS["unusualness"] * np.clip(unusualness - 1, -1, 2)
        lacking = WEIGHTS["coverage"] * np.clip(np.log2(coverage), 0, 3)
    return np.asarray(start + np.nan_to_num(rarity) + np.nan_to_num(lacking))


def mark_log_ratio(marked: Bools, under: Bools) -> Floats:
    """Return how much likelier each miss's mechanism is if it was made by a cause that leaves a mark.

    Args:
        marked: (n,) whether the miss carries the mark, over all misses.
        under: (n,) whether it lies under the cause's condition.

    Returns:
        (n,) log-likelihood ratios, never below 0 on marked and never above 0 on other misses.
    """
    here, stray = marked[under].sum(), marked[~under].sum()
    h = (here + WEIGHTS["mark_successes"]) / (under.sum() + WEIGHTS["mark_successes"] + WEIGHTS["mark_failures"])
    beta = WEIGHTS["stray_mark_successes"] + WEIGHTS["stray_mark_failures"]
    f = (stray + WEIGHTS["stray_mark_successes"]) / ((~under).sum() + beta)
    h = max(h, f)  # a mark that is rarer under the condition is none
    return np.asarray(np.where(marked, np.log(h / f), np.log((1 - h) / (1 - f))))


def repair_log_ratio(succeeded: Bools, failed: Bools, hit_rate: Floats, chance: float) -> Floats:
    """Return how much likelier a tried repair's outcome is if its cause is right, as a log-likelihood ratio.

    Args:
        succeeded: the repair found the object, and neither the untouched photo nor a placebo did.
        failed: the repair did not find the object.
        hit_rate: h in 0–1, per trial the rate of its cause.
        chance: f in 0–1.
    """
    success, failure = np.log(hit_rate / chance), np.log((1 - hit_rate) / (1 - chance))
    return np.where(succeeded, success, np.where(failed, failure, 0.0))

"""The risk of each condition with all others held fixed: conditions co-occur, and only one may be to blame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse, stats

from xai import tables

Floats = NDArray[np.float64]
Condition = tuple[str, str]
"""Attribute (or column) and bin."""

PRIOR_DEVIATION = 0.8
"""Standard deviation of log risk ratios before any data: two thirds of them lie between 0.45 and 2.2."""

UPPER = 1.96
"""Standard deviations from the mean to the upper bound of a log risk ratio."""

_STEPS = 50
_TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class JointRisk:
    """Log risk ratios of c conditions, jointly adjusted.

    Attributes:
        conditions: what the entries stand for.
        mean: (c,) maximum a posteriori.
        covariance: (c, c) of the posterior (Laplace approximation).
    """

    conditions: Sequence[Condition]
    mean: Floats
    covariance: Floats

    def excess(self, members: sparse.csr_array) -> tuple[Floats, Floats, Floats]:
        """Return risk ratios, expected excess relative risks and upper bounds of sets of conditions that act together.

        With log RR ~ N(m, s²) the expected excess is E[max(RR − 1, 0)] = exp(m + s²/2) Φ(m/s + s) − Φ(m/s). The upper
        bound of the risk ratio is that of its one-sided 97.5% credible interval.

        Args:
            members: (g, c) indicator of each set's conditions.
        """
        mean = np.asarray(members @ self.mean, dtype=np.float64)
        deviation = np.sqrt(np.maximum(np.asarray(members.multiply(members @ self.covariance).sum(axis=1)), 1e-12))
        scaled = mean / deviation
        excess = np.exp(mean + deviation**2 / 2) * stats.norm.cdf(scaled + deviation) - stats.norm.cdf(scaled)
        return np.exp(mean), np.maximum(excess, 0.0), np.exp(mean + UPPER * deviation)


def fit(
    bins: pl.DataFrame, miss: NDArray[np.bool_], conditions: Sequence[Condition], images: pl.DataFrame | None = None
) -> JointRisk:
    """Fit misses on all conditions and labels at once.

    A Poisson model with log link, whose coefficients are log risk ratios also for common misses (Zou, Am. J.
    Epidemiol. 2004), with a normal prior on every coefficient but the intercept, so that conditions of few objects stay
    near 1. The likelihood is divided by the design effect: the mean ratio, at least 1, of the variance of the scores
    summed by photo (or group) to that of the model.

    Args:
        bins: n objects: ``image_id``, ``label`` and bins by attribute.
        miss: (n,).
        conditions: attribute and bin; the other bins of the attribute are the reference.
        images: photos with their ``group``, where photos are drawn in groups.
    """
    labels = bins["label"].rank("dense").fill_null(0).to_numpy().astype(np.int64)
    members = [np.arange(len(miss))]
    members += [np.flatnonzero((bins[attribute] == name).to_numpy()) for attribute, name in conditions]
    members += [np.flatnonzero(labels == code) for code in np.unique(labels)]
    entries = np.concatenate(members), np.repeat(np.arange(len(members)), [len(rows) for rows in members])
    design = sparse.csr_array((np.ones(len(entries[0])), entries), shape=(len(miss), len(members)))
    draw = tables.draws(bins["image_id"], images).to_numpy()
    draws = sparse.csr_array((np.ones(len(draw)), (draw, np.arange(len(draw)))))
    precision = np.full(design.shape[1], PRIOR_DEVIATION**-2)
    precision[0] = 1e-6
    target = miss.astype(np.float64)
    beta, _ = _maximise(design, target, precision)
    expected = np.exp(np.asarray(design @ beta))
    effect = _design_effect(design, target - expected, expected, draws)
    beta, hessian = _maximise(design, target, precision * effect)
    covariance = np.asarray(np.linalg.inv(hessian / effect), dtype=np.float64)
    kept = slice(1, 1 + len(conditions))
    return JointRisk(tuple(conditions), beta[kept], covariance[kept, kept])


def _maximise(design: sparse.csr_array, target: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Newton's method with halved steps for the penalised Poisson likelihood, which is concave."""
    beta = np.zeros(design.shape[1])
    beta[0] = np.log(max(target.mean(), 0.5 / len(target)))

    def objective(value: Floats) -> float:
        linear = design @ value
        if linear.max(initial=0) > 50:
            return -np.inf
        return float(target @ linear - np.exp(linear).sum() - precision @ value**2 / 2)

    current = objective(beta)
    hessian = np.eye(len(beta))
    for _ in range(_STEPS):
        expected = np.exp(design @ beta)
        gradient = design.T @ (target - expected) - precision * beta
        hessian = _information(design, expected) + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        reached = objective(beta + step)
        while reached < current and np.abs(step).max() > _TOLERANCE:
            step = step / 2
            reached = objective(beta + step)
        if reached < current:
            break
        beta, current = beta + step, reached
        if np.abs(step).max() <= _TOLERANCE:
            break
    return beta, hessian


def _information(design: sparse.csr_array, expected: Floats) -> Floats:
    weighted = design.multiply(expected[:, None]).tocsr()
    return np.asarray((design.T @ weighted).toarray())


def _design_effect(design: sparse.csr_array, residual: Floats, expected: Floats, draws: sparse.csr_array) -> float:
    sums = draws @ design.multiply(residual[:, None]).tocsr()
    clustered = np.asarray(sums.multiply(sums).sum(axis=0)).ravel()
    model = np.asarray(design.multiply(design).multiply(expected[:, None]).sum(axis=0)).ravel()
    told = model >= 5
    return float(max(1.0, (clustered[told] / model[told]).mean())) if told.any() else 1.0

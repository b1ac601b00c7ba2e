"""The promise: whether the accuracy that the team maintains is kept, broken, or not shown by this many photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from scipy import stats

from xai import tables
from xai.config import Promise
from xai.coverage import promise_words as words
from xai.coverage.intervals import Bools, Integers, Rates, indicator, intraclass_correlation, rates
from xai.coverage.needed import Present, photos_needed
from xai.rules import MISSES

WRONG_DETECTIONS = ("duplicate", "confused", "mislocated", "background")
"""Outcomes of a detection that count against precision."""

LEVELS = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.995)
"""Quantiles by which an answer gives its distribution."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the evaluation set says about one promised figure.

    Attributes:
        metric: ``recall`` or ``precision``.
        target: the promised figure, 0–1.
        confidence: of each of the two one-sided bounds.
        answer: ``inside``: the lower bound reaches the target; ``broken``: the upper bound is below it; else
            ``not shown``.
        rate: the measured figure, None where nothing was measured.
        low: one-sided lower bound, photo-clustered.
        high: one-sided upper bound.
        numerator: found objects, or detections that match one.
        denominator: scored objects, or scored detections.
        photos: photos that hold one.
        photos_needed: photos in all, those that hold none too, that would show the promise kept at the present rate
            and design effect, in groups like the present ones; None unless the answer is ``not shown`` and the rate is
            above the target.
        sentence: the same in plain words.
        groups: independent draws among these photos where they are drawn in groups, else None.
        part: the class (``label=car``) or slice that is asked about, None for all.
        quantiles: of the figure, as ``distribution`` tells; None where nothing was measured.
        kept: probability that the figure reaches the target, likewise.
        cost: what the misses cost, as ``cost`` tells; None without a price or for precision.
    """

    metric: str
    target: float
    confidence: float
    answer: Literal["inside", "broken", "not shown"]
    rate: float | None
    low: float | None
    high: float | None
    numerator: int
    denominator: int
    photos: int
    photos_needed: int | None
    sentence: str
    groups: int | None = None
    part: str | None = None
    quantiles: Mapping[str, float] | None = None
    kept: float | None = None
    cost: Mapping[str, float] | None = None


def promise(
    objects: pl.DataFrame,
    predictions: pl.DataFrame,
    promised: Promise,
    groups: pl.DataFrame | None = None,
    *,
    cost_per_miss: float | None = None,
) -> list[Answer]:
    """Answer each promised figure from the evaluation set.

    Recall is found / scored objects; precision is matched / (matched + duplicate + confused + mislocated + background)
    detections at the deployed threshold. Bounds are one-sided Korn–Graubard with photos (or groups) as clusters.

    Args:
        objects: ``image_id`` and ``outcome`` of the evaluation objects.
        predictions: ``image_id`` and ``outcome`` of their detections.
        promised: targets and confidence; a target of None is not asked.
        groups: all photos, those without objects too, with ``image_id``, ``status`` where some could not be read, and,
            where they are drawn in groups, ``group`` (null: the photo is its own); left out, those of the tables.
        cost_per_miss: price of an object that is not found, None where nobody says.
    """
    return [
        _answer(question, promised.confidence, question.table, groups, price=cost_per_miss)
        for question in _asked(objects, predictions, promised)
    ]


def promise_of_parts(
    objects: pl.DataFrame,
    predictions: pl.DataFrame,
    promised: Promise,
    groups: pl.DataFrame | None = None,
    *,
    slices: Sequence[Sequence[str]] = (),
    bins: pl.DataFrame | None = None,
    cost_per_miss: float | None = None,
) -> list[Answer]:
    """Answer each promised figure for every class, and recall for every slice, classes by name, slices as given.

    Several parts are asked at once, so each bound has the confidence 1 − (1 − confidence) / parts (Bonferroni, over the
    classes of a figure, and over the slices): with the promised confidence no class at all is called inside or broken
    in error. Slices are listed because they fail here; their own figures are as much worse than those of other photos
    as chance made them be picked.

    Args:
        objects: ``image_id``, ``object_id``, ``label`` and ``outcome`` of the evaluation objects.
        predictions: ``image_id``, ``label`` and ``outcome`` of their detections.
        promised: targets and confidence.
        groups: as in ``promise``.
        slices: conditions ``attribute=bin`` of each.
        bins: ``image_id``, ``object_id``, ``label`` and the bins of the scored objects (``Analysis.bins``).
        cost_per_miss: likewise.
    """
    answers: list[Answer] = []
    for question in _asked(objects, predictions, promised):
        scored = question.scored()
        classes = sorted(scored["label"].drop_nulls().unique().to_list())
        parts = [(f"label={name}", scored.filter(pl.col("label") == name)) for name in classes]
        families = [parts]
        if question.metric == "recall" and bins is not None:
            families.append([(" & ".join(item), _members(objects, bins, item)) for item in slices])
        for family in families:
            confidence = 1 - (1 - promised.confidence) / max(len(family), 1)
            answers += [
                _answer(question, confidence, table, groups, part=part, price=cost_per_miss) for part, table in family
            ]
    return answers


def distribution(rate: float, effective: float) -> stats.rv_continuous:
    """Return what is known of a miss rate as a distribution: Beta(n*·r + ½, n*·(1 − r) + ½).

    The Jeffreys posterior on the effective sample n*, whose intervals keep their nominal coverage in clustered samples
    (Franco, Little, Louis & Slud, J. Survey Statistics and Methodology 2019).
    """
    return stats.beta(rate * effective + 0.5, (1 - rate) * effective + 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    metric: Literal["recall", "precision"]
    target: float
    table: pl.DataFrame
    right: Sequence[str]
    wrong: Sequence[str]

    def scored(self) -> pl.DataFrame:
        return self.table.filter(pl.col("outcome").is_in([*self.right, *self.wrong]))


def _asked(objects: pl.DataFrame, predictions: pl.DataFrame, promised: Promise) -> list[_Question]:
    found: list[_Question] = []
    if promised.recall is not None:
        found.append(_Question("recall", promised.recall, objects, ("found",), MISSES))
    if promised.precision is not None:
        found.append(_Question("precision", promised.precision, predictions, ("matched",), WRONG_DETECTIONS))
    return found


def _members(objects: pl.DataFrame, bins: pl.DataFrame, conditions: Sequence[str]) -> pl.DataFrame:
    """Return the objects that show all conditions."""
    shown = bins.filter(
        [pl.col(name) == value for name, _, value in (condition.partition("=") for condition in conditions)]
    )
    return objects.join(shown.select("image_id", "object_id"), on=["image_id", "object_id"], how="semi")


def _answer(
    question: _Question,
    confidence: float,
    table: pl.DataFrame,
    groups: pl.DataFrame | None,
    *,
    part: str | None = None,
    price: float | None = None,
) -> Answer:
    metric, target = question.metric, question.target
    scored = table.filter(pl.col("outcome").is_in([*question.right, *question.wrong]))
    failed = scored["outcome"].is_in(list(question.wrong)).to_numpy()
    if not len(scored):
        said = words.nothing(part, metric, target)
        return Answer(metric, target, confidence, "not shown", None, None, None, 0, 0, 0, None, said, part=part)
    draw = tables.draws(scored["image_id"], groups).to_numpy()
    bounds = _bounds(failed, draw, confidence)
    miss, low, high, effective = (
        float(values[0]) for values in (bounds.rate, bounds.low, bounds.high, bounds.effective)
    )
    budget = 1 - target
    photos = scored["image_id"].n_unique()
    draws = int(draw.max()) + 1
    # Whoever draws more photos at random draws as many of those that hold nothing.
    readable = _readable(groups)
    every = max(photos, 0 if readable is None else len(readable))
    in_groups = _in_groups(readable)
    answer: Literal["inside", "broken", "not shown"] = "not shown"
    needed = None
    # The tolerance keeps 1 − 0.9 > 0.1 from deciding.
    if high <= budget + 1e-12:
        answer = "inside"
    elif low > budget + 1e-12:
        answer = "broken"
    elif miss < budget - 1e-12:
        present = Present(every, len(failed), draws, miss, float(bounds.design_effect[0]))
        needed = photos_needed(present, budget, confidence)
    right_count = int(len(failed) - failed.sum())
    limits, counts = (1 - high, 1 - low), (right_count, len(failed), photos)
    known = distribution(miss, effective)
    quantiles = {f"{level:g}": 1 - float(known.ppf(1 - level)) for level in LEVELS}
    return Answer(
        metric=metric,
        target=target,
        confidence=confidence,
        answer=answer,
        rate=1 - miss,
        low=1 - high,
        high=1 - low,
        numerator=right_count,
        denominator=len(failed),
        photos=photos,
        photos_needed=needed,
        sentence=words.sentence(
            part,
            metric,
            target,
            confidence,
            answer,
            limits,
            counts,
            draws if in_groups else None,
            needed,
            every,
            in_groups,
        ),
        groups=draws if in_groups else None,
        part=part,
        quantiles=quantiles,
        kept=float(known.cdf(budget)),
        cost=_cost(price, failed, budget, quantiles) if metric == "recall" else None,
    )


def _cost(price: float | None, failed: Bools, budget: float, quantiles: Mapping[str, float]) -> dict[str, float] | None:
    """Return what the misses of this set cost, what the budget would allow, and the cost of 1,000 objects, 95%."""
    if price is None:
        return None
    return {
        "per_miss": price,
        "misses": float(price * failed.sum()),
        "allowed": float(price * budget * len(failed)),
        "over_budget": float(price * (failed.sum() - budget * len(failed))),
        "per_1000_objects": 1000 * price * float(failed.mean()),
        "per_1000_objects_low": 1000 * price * (1 - quantiles["0.975"]),
        "per_1000_objects_high": 1000 * price * (1 - quantiles["0.025"]),
    }


def _readable(photos: pl.DataFrame | None) -> pl.DataFrame | None:
    """Return the photos that could be read, None where they are not told."""
    if photos is None or "status" not in photos.columns:
        return photos
    return photos.filter(pl.col("status") == "ok")


def _in_groups(photos: pl.DataFrame | None) -> int | None:
    """Count the draws that all photos came in; None where none of them has a group."""
    if photos is None or "group" not in photos.columns or photos["group"].null_count() == len(photos):
        return None
    return tables.draws(photos["image_id"], photos).n_unique()


def _bounds(failed: Bools, draw: Integers, confidence: float) -> Rates:
    clusters = indicator(draw, int(draw.max()) + 1)
    everything = np.ones((len(failed), 1), dtype=np.bool_)
    icc = intraclass_correlation(failed, clusters)
    return rates(everything, failed, clusters, icc=icc, confidence=confidence, two_sided=False)

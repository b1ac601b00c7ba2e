"""The promise: whether the accuracy that the team maintains is kept, broken, or not shown by this many photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from xai import tables
from xai.config import Promise
from xai.coverage.intervals import Bools, Integers, Rates, clopper_pearson, indicator, intraclass_correlation, rates
from xai.rules import MISSES

WRONG_DETECTIONS = ("duplicate", "confused", "mislocated", "background")
"""Outcomes of a detection that count against precision."""

PRACTICAL = 100
"""Nobody labels more than this many times the photos that are labelled already."""

MOST_PHOTOS = 10**9
"""No more photos than this are ever asked for."""


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


def promise(
    objects: pl.DataFrame, predictions: pl.DataFrame, promised: Promise, groups: pl.DataFrame | None = None
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
    """
    asked = [
        ("recall", promised.recall, objects, ("found",), MISSES),
        ("precision", promised.precision, predictions, ("matched",), WRONG_DETECTIONS),
    ]
    return [
        _answer(metric, target, promised.confidence, table, right, wrong, groups)
        for metric, target, table, right, wrong in asked
        if target is not None
    ]


def _answer(
    metric: str,
    target: float,
    confidence: float,
    table: pl.DataFrame,
    right: Sequence[str],
    wrong: Sequence[str],
    groups: pl.DataFrame | None,
) -> Answer:
    scored = table.filter(pl.col("outcome").is_in([*right, *wrong]))
    failed = scored["outcome"].is_in(list(wrong)).to_numpy()
    grouped = groups is not None and "group" in groups.columns
    if not len(scored):
        sentence = f"Nothing was measured, so the promised {metric} of {_percent(target)} is not shown."
        return Answer(metric, target, confidence, "not shown", None, None, None, 0, 0, 0, None, sentence)
    draw = tables.draws(scored["image_id"], groups).to_numpy()
    bounds = _bounds(failed, draw, confidence)
    miss, low, high = (float(values[0]) for values in (bounds.rate, bounds.low, bounds.high))
    budget = 1 - target
    photos = scored["image_id"].n_unique()
    drawn = int(draw.max()) + 1 if grouped else None
    # Whoever draws more photos at random draws as many of those that hold nothing.
    every = max(photos, _read(groups))
    answer: Literal["inside", "broken", "not shown"] = "not shown"
    needed = None
    # The tolerance keeps 1 − 0.9 > 0.1 from deciding.
    if high <= budget + 1e-12:
        answer = "inside"
    elif low > budget + 1e-12:
        answer = "broken"
    elif miss < budget:
        needed = _photos_needed(miss, len(failed) / every, float(bounds.design_effect[0]), budget, confidence, every)
    right_count = int(len(failed) - failed.sum())
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
        sentence=_sentence(
            metric,
            target,
            confidence,
            answer,
            (1 - high, 1 - low),
            (right_count, len(failed), photos),
            drawn,
            needed,
            every,
        ),
        groups=drawn,
    )


def _read(photos: pl.DataFrame | None) -> int:
    """Count the photos that could be read, 0 where they are not told."""
    if photos is None:
        return 0
    return len(photos.filter(pl.col("status") == "ok") if "status" in photos.columns else photos)


def _bounds(failed: Bools, draw: Integers, confidence: float) -> Rates:
    clusters = indicator(draw, int(draw.max()) + 1)
    everything = np.ones((len(failed), 1), dtype=np.bool_)
    icc = intraclass_correlation(failed, clusters)
    return rates(everything, failed, clusters, icc=icc, confidence=confidence, two_sided=False)


def _photos_needed(
    rate: float, per_photo: float, effect: float, budget: float, confidence: float, present: int
) -> int | None:
    """Return the smallest number of photos whose upper bound of the miss rate is within the budget, by bisection."""

    def shown(photos: int) -> bool:
        size = np.array([photos * per_photo / effect])
        return bool(clopper_pearson(np.array([rate]), size, 1 - confidence)[1][0] <= budget)

    low, high = present, 2 * present
    while not shown(high):
        low, high = high, 2 * high
        if high > MOST_PHOTOS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def _sentence(
    metric: str,
    target: float,
    confidence: float,
    answer: str,
    bounds: tuple[float, float],
    counts: tuple[int, int, int],
    drawn: int | None,
    needed: int | None,
    every: int,
) -> str:
    right, total, photos = counts
    thing, verb = ("object", "found") if metric == "recall" else ("detection", "right")
    groups = "" if drawn is None else f" ({_counted(drawn, 'group')})"
    base = (
        f"{_counted(right, thing, of=total)} in {_counted(photos, 'photo')}{groups} "
        f"{'was' if right == 1 else 'were'} {verb} ({_percent(right / total)})"
    )
    sure, promised = f"with {_percent(confidence)} confidence {metric}", f"so the promised {_percent(target)}"
    if answer == "inside":
        return f"{base}; {sure} is at least {_percent(bounds[0])}, {promised} is kept."
    if answer == "broken":
        return f"{base}; {sure} is at most {_percent(bounds[1])}, {promised} is broken."
    range_ = f"{metric} may lie between {_percent(bounds[0])} and {_percent(bounds[1])}"
    if right / total <= target:
        rest = f"the promised {_percent(target)} is not met here, but too few photos show that it is broken"
    elif needed is None or needed > PRACTICAL * photos:
        rest = f"the promised {_percent(target)} is so close that no practical number of photos would show it"
    else:
        alike = "" if drawn is None else f", in about {round(needed / every * drawn):,} groups,"
        rest = f"about {needed:,} photos in all{alike} would show the promised {_percent(target)} at this rate"
    return f"{base}; {range_}, so {rest}."


def _counted(count: int, thing: str, *, of: int | None = None) -> str:
    number, noun = (f"{count:,}", count) if of is None else (f"{count:,} of {of:,}", of)
    return f"{number} {thing}{'' if noun == 1 else 's'}"


def _percent(share: float) -> str:
    """A share in percent with the digits that matter near 100% too."""
    value = 100 * share
    digits = 1 if 1 <= value <= 99 else 2
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") + "%"

"""The words of a verdict on how common a condition is and how often objects under it are missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xai.catalog import CATALOG, OF_DETECTOR
from xai.rules import RARE_COUNT
from xai.verdict.phrases import phrase
from xai.verdict.scene import Scene
from xai.verdict.words import listing, number, percent, plural

NO_TRAINING = "There is no training set to compare with."

SMALL = 50
"""Evaluation objects under which numbers are told instead of a percentage."""


def held(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say how much training holds of a condition, where nothing is known of the evaluation set."""
    if not scene.has_training or condition["train_count"] is None:
        return NO_TRAINING
    many = phrase(condition)[1]
    if condition["train_count"] == 0:
        return f"No {set_name(scene)} objects {many}."
    if condition["train_count"] == 1:
        return f"In the {set_name(scene)} set there is one such object ({percent(condition['train_share'])})."
    return f"{condition['train_count']:,} {set_name(scene)} objects {many} ({percent(condition['train_share'])})."


def coverage(verdict: str, scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say how much training and the evaluation set hold of a condition."""
    if not scene.has_training or condition["train_count"] is None:
        return NO_TRAINING
    if condition["attribute"] in OF_DETECTOR:
        return _beyond_a_percentile(scene, condition)
    name, many, objects = set_name(scene), phrase(condition)[1], things(condition)
    here = percent(condition["eval_share"])
    if condition["train_count"] == 0:
        verb = "are" if many.startswith("are ") else "do"
        return f"No {name} {objects} {many}; in the evaluation set, {here} {verb}."
    share, count = percent(condition["train_share"]), condition["train_count"]
    if count == 1:
        return f"In the {name} set there is one such {single(condition)} ({share}; {here} in the evaluation set)."
    scarce = condition["train_share"] < condition["eval_share"] / 2
    if verdict == "coverage_gap" and condition["train_share"] > condition["eval_share"]:
        return (
            f"{count:,} {name} {objects} {many} ({share}; {here} in the evaluation set), under the {RARE_COUNT} that "
            "are asked for."
        )
    if verdict == "coverage_gap" and not scarce:
        return f"Only {count:,} {name} {objects} {many} ({share}; {here} in the evaluation set)."
    text = f"{'Only ' if scarce else ''}{share} of the {name} {objects} {many}, {here} in the evaluation set"
    if verdict == "coverage_gap" or not condition["elevated"]:
        return f"{text}."
    if not scarce:
        return f"{text}: it is hard although there are examples."
    return f"{text}; yet it is hard by itself, since {percent(condition['train_miss_rate'])} of those are missed too."


def _beyond_a_percentile(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say it of a bin that begins at a percentile of training, which holds the same share of any training set."""
    (item,) = (item for item in CATALOG[condition["attribute"]].bins if item.name == condition["bin"])
    like = percent(1 - (item.low or 0.0) / 100)
    here, many = percent(condition["eval_share"]), phrase(condition)[1]
    text = f"{here} of the evaluation {things(condition)} {many}; about {like} would if both sets were alike."
    if condition["train_miss_rate"] is None or not condition["train_count"]:
        return text
    return f"{text} Of such {set_name(scene)} objects {percent(condition['train_miss_rate'])} are missed."


def reports(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say the shares of a run without labels: of reported misses, of production photos, of training."""
    many = phrase(condition)[1]
    by_photo = condition["eval_share"] is not None
    others = [f"{percent(condition['eval_share'])} of the production photos"] if by_photo else []
    if scene.has_training and condition["train_share"] is not None:
        kind = "photos" if by_photo else "objects"
        others.append(f"{percent(condition['train_share'])} of the {set_name(scene)} {kind}")
    against = f", against {listing(others)}" if others else ""
    return f"{percent(condition['miss_share'])} of the reported misses {many}{against}."


def report_risk(condition: Mapping[str, Any]) -> str:
    """Say how many times as often as others such photos are reported."""
    if condition["adjusted_risk_ratio"] is None or condition["adjusted_low"] is None:
        return "How often such objects are missed is not known, since nobody labelled the photos."
    text = f"Such photos are reported {number(condition['adjusted_risk_ratio'])} times as often as others "
    return f"{text}({_interval(condition)}){_shown(condition, 'such photos are not reported more often')}."


def risk(condition: Mapping[str, Any]) -> str:
    """Say how often objects under a condition are missed, and others, and what that shows."""
    objects, count, rate = things(condition), condition["eval_count"], condition["miss_rate"]
    if rate is None or condition["other_rate"] is None:
        return f"No other {objects} are there to compare with."
    if count is not None and count < SMALL:
        missed = round(rate * count)
        one = f"{plural_or_one(count, objects)}, {missed:,} {'is' if missed == 1 else 'are'} missed"
    else:
        one = f"such {objects}, {percent(rate)} are missed"
    rates = f"Of {one}, of others {percent(condition['other_rate'])}"
    ratio = condition["adjusted_risk_ratio"]
    if ratio is None or condition["adjusted_low"] is None:
        return f"{rates}."
    like = adjusted_for(condition)
    text = f"{rates} (risk ratio {number(ratio)}{like}, {_interval(condition)})"
    no_more = f"such {objects} are not missed more often here"
    if rate > condition["other_rate"] and like:
        no_more = f"{like.strip()} they are not missed more often"
    return f"{text}{_shown(condition, no_more)}."


def plural_or_one(count: int, objects: str) -> str:
    """Return how many such objects there are, as after "of"."""
    return f"{count:,} such {objects}" if count > 1 else f"such {objects}, of which there is one"


def _shown(condition: Mapping[str, Any], no_more: str) -> str:
    if condition["elevated"]:
        return ""
    if condition["adjusted_risk_ratio"] <= 1:
        return f", so {no_more}"
    return (
        ", which among so many comparisons may be chance" if condition["adjusted_low"] > 1 else ", which may be chance"
    )


def _interval(condition: Mapping[str, Any]) -> str:
    low, high = condition["adjusted_low"], condition["adjusted_high"]
    return f"95% interval {f'{number(low)}–{number(high)}' if high is not None else f'from {number(low)} up'}"


def adjusted_for(condition: Mapping[str, Any]) -> str:
    """Say what objects that are compared have in common."""
    kept = [
        *(["size"] if condition["attribute"] != "object_size" else []),
        *(["class"] if condition["scope"] is None else []),
    ]
    return f" at equal {' and '.join(kept)}" if kept else ""


def things(condition: Mapping[str, Any]) -> str:
    """The objects that a condition's figures are of."""
    return plural(condition["scope"]) if condition["scope"] is not None else "objects"


def single(condition: Mapping[str, Any]) -> str:
    """One of the objects that a condition's figures are of."""
    return str(condition["scope"]) if condition["scope"] is not None else "object"


def set_name(scene: Scene) -> str:
    """What the set is called that the evaluation set is compared with."""
    return "training" if scene.is_training_set else "reference"

"""What a verdict's sentence may speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Promised:
    """The promised recall: whether it is shown to be kept, its target, misses and scored objects."""

    inside: bool
    target: float
    misses: int
    objects: int


@dataclass(frozen=True, slots=True)
class Repaired:
    """A repair after which the object was found: its name, and the targets before, after and under the best placebo."""

    repair: str
    before: float
    after: float
    placebo: float | None
    hit_placebo: float | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What a sentence may speak of.

    Attributes:
        label: the object's class.
        score: ``best_score`` of the error.
        iou: ``best_iou`` of the error.
        condition: the named cause's condition with its coverage figures and repair; None for other verdicts.
        others: the other conditions that the object shows, by falling weight.
        lucky: repairs after which the object was found as it was without them or after placebos.
        restored: repairs after which the object was found, but which are too weak to name their cause.
        idle: of the changes that mean nothing: after how many the object was found, how many there were, and the best
            target among the former; None where none was tried.
        covered: in the photo as it is, a reported detection of its class covers it.
        untold: attributes that could not be measured here and of which some bin's risk is elevated.
        has_training: whether there is a training or reference set.
        is_training_set: False: it is a reference set.
        score_threshold: the deployed threshold.
        promise: the promised recall, None where none is promised.
        reported: the misses are cases that people reported in photos without labels.
        placed: False: nobody said where in the photo the object is.
        mechanism: of the error.
        seen: ``best_label`` of the error.
        own: score of the object's own class on a box that covers it.
        box_iou: overlap with the reported detection that the mechanism speaks of.
        claimed: that detection counts for another object.
        unused: the class ``seen`` is one that the evaluation labels never use.
        likewise: how many other misses of its class lie where the class ``seen`` is reported with nearly the same box.
        match_iou: IoU at which a detection finds an object.
        doubt: the line of evidence that doubts the label, with its ``before`` and ``after``; None without one.
    """

    label: str
    score: float | None
    iou: float | None
    condition: Mapping[str, Any] | None
    others: Sequence[Mapping[str, Any]]
    restored: Sequence[Repaired]
    untold: Sequence[str]
    has_training: bool
    is_training_set: bool
    score_threshold: float
    promise: Promised | None
    reported: bool = False
    placed: bool = True
    mechanism: str | None = None
    seen: str | None = None
    doubt: tuple[str, float | None, float | None] | None = None
    lucky: Sequence[Repaired] = ()
    idle: tuple[int, int, float] | None = None
    covered: bool = False
    own: float | None = None
    box_iou: float | None = None
    claimed: bool = False
    unused: bool = False
    likewise: int = 0
    match_iou: float = 0.5

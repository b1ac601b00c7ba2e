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
class Scene:
    """What a sentence may speak of.

    Attributes:
        label: the object's class.
        score: ``best_score`` of the error.
        iou: ``best_iou`` of the error.
        condition: the named cause's condition with its coverage figures and repair; None for other verdicts.
        others: the other conditions that the object shows, by falling weight.
        tried: how many repairs were tried in vain.
        lucky: repairs after which the object was found as it was without them or after placebos: their names, the share
            of placebos after which it was found, and the targets after the repair and the best placebo.
        restored: repairs after which the object was found, but which are too weak to name their cause.
        untold: attributes that could not be measured here and of which some bin's risk is elevated.
        has_training: whether there is a training or reference set.
        is_training_set: False: it is a reference set.
        score_threshold: the deployed threshold.
        promise: the promised recall, None where none is promised.
        reported: the misses are cases that people reported in photos without labels.
        placed: False: nobody said where in the photo the object is.
        mechanism: of the error.
        seen: ``best_label`` of the error.
        doubt: the line of evidence that doubts the label, with its ``before`` and ``after``; None without one.
    """

    label: str
    score: float | None
    iou: float | None
    condition: Mapping[str, Any] | None
    others: Sequence[Mapping[str, Any]]
    tried: int
    restored: Sequence[str]
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
    lucky: Sequence[tuple[str, float | None, float, float | None]] = ()

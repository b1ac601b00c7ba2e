"""Augmentation that fills a gap: albumentations pipelines whose strength follows the bin, or why there is none.

Strengths are computed from the bin's bounds and from what the training photos are like, so that what comes out lands in
the bin: `landing` tags augmented photos to tell how much of it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attributes import ATTRIBUTES, measure
from xai.augment_recipes import DETAIL, REASONS, RECIPES, UNTOLD, Typical, import_quietly
from xai.files import replacing
from xai.types import Boxes, Pixels

if TYPE_CHECKING:
    from albumentations import Compose

__all__ = ["DETAIL", "RECIPES", "Landing", "Plan", "Typical", "import_quietly", "landing", "plan", "save"]

MIN_VISIBILITY = 0.3
"""Boxes of which less remains are dropped."""

LABELS = "labels"
"""Name under which the classes of boxes are handed to a pipeline."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How to augment towards a condition.

    Attributes:
        pipeline: boxes ``pascal_voc`` as ``bboxes``, classes as ``labels``; None where it cannot be done.
        reason: why not, or what to know; empty where there is nothing to say.
        told_by: attribute → bin that augmented photos are to be told as; empty where no attribute tells it.
        only_label: augment photos that show this class; None for all.
    """

    pipeline: Compose | None
    reason: str
    told_by: Mapping[str, str]
    only_label: str | None = None


@dataclass(frozen=True, slots=True)
class Landing:
    """How augmented photos were told.

    Attributes:
        inside: photos or objects in all bins.
        known: those whose attributes could all be told.
        tried: all.
        before: share of those that were in the bins before.
    """

    inside: int
    known: int
    tried: int
    before: float

    @property
    def share(self) -> float | None:
        """Share of the known that lands in the bins."""
        return self.inside / self.known if self.known else None


def plan(conditions: Sequence[str], typical: Typical) -> Plan:
    """Return the pipeline that brings photos into all bins of a gap.

    Args:
        conditions: ``attribute=bin``; ``label=class`` chooses photos, and a bin that holds the typical photo or object
            needs no change.
        typical: the photos to be augmented.
    """
    import_quietly()
    steps: list[Any] = []
    told: dict[str, str] = {}
    label: str | None = None
    notes: list[str] = []
    usual: list[str] = []
    for condition in sorted(conditions, key=_order):
        attribute, _, name = condition.partition("=")
        if attribute == "label":
            label = name
            continue
        low, high = _bounds(attribute, name)
        if low <= typical.medians.get(attribute, float("nan")) < high:
            told[attribute] = name  # most photos are so; what else is done to them must leave it
            usual.append(condition)
            continue
        recipe = RECIPES.get((attribute, name))
        if recipe is None:
            return Plan(None, _reason(attribute, name), {}, label)
        made = recipe(low, high, typical)
        if made is None:
            return Plan(None, f"the photos' typical {attribute} is not known", {}, label)
        steps += made
        if attribute in UNTOLD:
            notes.append(UNTOLD[attribute])
        else:
            told[attribute] = name
    if not steps:
        what = "most photos are so" if usual else "no class can be made of photos of another"
        return Plan(None, f"{what}: collect more of them", {}, label)
    return Plan(_compose(steps), "; ".join(notes), told, label)


def save(made: Plan, path: Path) -> None:
    """Write a plan's pipeline as JSON; ``albumentations.load(path)`` makes it again.

    Raises:
        ValueError: the plan has no pipeline.
    """
    albumentations = import_quietly()
    if made.pipeline is None:
        raise ValueError(f"expected a plan with a pipeline, got one that says: {made.reason}")
    with replacing(path) as temporary:
        albumentations.save(made.pipeline, str(temporary), data_format="json")


def landing(made: Plan, photos: Sequence[tuple[Pixels, Boxes, Sequence[str]]], *, seed: int = 0) -> Landing:
    """Augment photos once each and tell how many land in the plan's bins.

    Image attributes are counted in photos. Where an attribute of objects is among them, objects are counted: those of
    ``only_label`` where the plan is for one class.

    Args:
        made: the plan, with a pipeline.
        photos: pixels, boxes (n, 4) and their n classes.
        seed: of the pipeline's draws.
    """
    if made.pipeline is None or not made.told_by:
        return Landing(0, 0, 0, 0.0)
    used = [item for item in photos if made.only_label is None or made.only_label in item[2]]
    made.pipeline.set_random_seed(seed)
    augmented = []
    for pixels, boxes, labels in used:
        result = made.pipeline(image=pixels, bboxes=boxes, **{LABELS: list(labels)})
        kept = np.asarray(result["bboxes"], dtype=np.float64).reshape(-1, 4)
        augmented.append((np.ascontiguousarray(result["image"]), kept, list(result[LABELS])))
    inside, known = _told(made, augmented)
    before, known_before = _told(made, used)
    share = float(before.sum() / known_before.sum()) if known_before.any() else 0.0
    return Landing(int(inside.sum()), int(known.sum()), len(known), share)


def _told(made: Plan, photos: Sequence[tuple[Pixels, Boxes, Sequence[str]]]) -> tuple[Any, Any]:
    """Return (m,) whether each photo, or object, is in all bins, and whether that is known."""
    names = list(made.told_by)
    of_objects = any(ATTRIBUTES[name].level == "object" for name in names)
    counts = [len(boxes) for _, boxes, _ in photos]
    units = sum(counts) if of_objects else len(photos)
    inside, known = np.ones(units, dtype=np.bool_), np.ones(units, dtype=np.bool_)
    found = measure([pixels for pixels, _, _ in photos], [boxes for _, boxes, _ in photos], names=names)
    for name in names:
        values = found.images.get(name, found.objects.get(name, np.empty(0)))
        if of_objects and ATTRIBUTES[name].level == "image":
            values = np.repeat(values, counts)
        low, high = _bounds(name, made.told_by[name])
        known &= np.isfinite(values)
        inside &= (values >= low) & (values < high)
    if of_objects and made.only_label is not None:
        chosen = np.array([label == made.only_label for _, _, labels in photos for label in labels], dtype=np.bool_)
        inside, known = inside[chosen], known[chosen]
    return inside & known, known


def _compose(steps: Sequence[Any]) -> Compose:
    albumentations = import_quietly()
    boxes = albumentations.BboxParams(
        format="pascal_voc", label_fields=[LABELS], min_visibility=MIN_VISIBILITY, min_area=16, clip=True
    )
    if not any(isinstance(step, albumentations.DualTransform) for step in steps):
        # Nothing moves the boxes; a pipeline with boxes and no step that takes them warns whenever it is loaded.
        steps = [*steps, albumentations.NoOp(p=1)]
    made: Compose = albumentations.Compose(list(steps), bbox_params=boxes)
    return made


def _bounds(attribute: str, name: str) -> tuple[float, float]:
    """Return the bounds of a bin, infinite where open; what lies on the upper bound of the last counts too."""
    bins = {part.name: part for part in ATTRIBUTES[attribute].bins} if attribute in ATTRIBUTES else {}
    if name not in bins:
        return float("nan"), float("nan")
    low, high = bins[name].low, bins[name].high
    return -np.inf if low is None else low, np.inf if high is None else high


def _order(condition: str) -> int:
    """Geometry first, then light, then what the camera does: blur, noise, compression."""
    stages = ("rotation", "layout", "roll", "truncation", "object_size", "occlusion", "haze", "brightness",
              "object_brightness", "clipped", "contrast", "object_contrast", "colorfulness", "sharpness",
              "object_sharpness", "noise", "jpeg_quality")  # fmt: skip
    attribute = condition.partition("=")[0]
    return stages.index(attribute) if attribute in stages else -1


def _reason(attribute: str, name: str) -> str:
    if attribute in REASONS:
        return REASONS[attribute]
    if attribute in ATTRIBUTES:
        return f"nothing turns usual photos into {attribute} {name}: collect such photos"
    return (
        f"what {attribute.removeprefix('label_').removeprefix('meta_')} says of a photo is not in its pixels to change"
    )

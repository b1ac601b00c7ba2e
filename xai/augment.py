"""Augmentation that fills a gap: albumentations pipelines whose strength follows the bin, or why there is none.

Strengths are computed from the bin's bounds and from what the training photos are like, so that what comes out lands in
the bin: `landing` tags augmented photos to tell how much of it does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attributes import ATTRIBUTES, measure
from xai.files import replacing
from xai.types import Boxes, Pixels

if TYPE_CHECKING:
    from albumentations import Compose

DETAIL = 640
"""Longest side, pixels, at which sharpness and noise are told."""

GREY = 114
"""Fill of what a photo does not show, as YOLO pads. A mirrored border would show objects that no box names."""

MIN_VISIBILITY = 0.3
"""Boxes of which less remains are dropped."""

LABELS = "labels"
"""Name under which the classes of boxes are handed to a pipeline."""


@dataclass(frozen=True, slots=True)
class Typical:
    """What the photos to be augmented are like.

    Attributes:
        longest: median longest side, pixels.
        medians: attribute → median over photos or objects.
    """

    longest: float
    medians: Mapping[str, float]


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


def import_quietly() -> Any:
    """Import albumentations without its look for a newer version on the network."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


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


Recipe = Callable[[float, float, Typical], "list[Any] | None"]


def _scaled(attribute: str, argument: str, parts: tuple[float, float]) -> Recipe:
    """Multiply the photo's tones so that the typical value lands between two parts of the bin's bound."""

    def recipe(low: float, high: float, typical: Typical) -> list[Any] | None:
        median = typical.medians.get(attribute)
        if not median:
            return None
        bound = high if np.isfinite(high) else low
        factors = sorted(float(np.clip(part * bound / median, 0.02, 6)) for part in parts)
        neutral = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
        return [import_quietly().ColorJitter(**{**neutral, argument: tuple(factors)}, p=1)]

    return recipe


def _brighter(first: float, last: float) -> Recipe:
    """Multiply tones until light burns out."""

    def recipe(low: float, high: float, typical: Typical) -> list[Any] | None:
        neutral = {"contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
        return [import_quietly().ColorJitter(brightness=(first, last), **neutral, p=1)]

    return recipe


def _veil(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Mix the photo with a white veil, whose share is what haze is told by."""
    albumentations = import_quietly()
    top = high if np.isfinite(high) else 1.9 * low
    own = min(typical.medians.get("haze", 0.0), 0.5 * low)
    # A veil over a photo that has one of its own: what is left of the scene's light multiplies.
    shares = 1 - (1 - np.linspace(low + 0.2 * (top - low), low + 0.7 * (top - low), 5)) / (1 - own)
    veils = [
        albumentations.RandomBrightnessContrast(
            brightness_limit=(0.92 * share, 0.92 * share), contrast_limit=(-share, -share), p=1
        )
        for share in shares.tolist()
    ]
    return [albumentations.OneOf(veils, p=1)]


def _blur(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Blur by the s px that the bin's values stand for: sharpness is 1 / √(1 + s²) at 640 px."""
    albumentations = import_quietly()
    least, most = (0.62 * high, 0.92 * high) if not np.isfinite(low) else (low + 0.1 * (high - low), high)
    scale = max(typical.longest, DETAIL) / DETAIL
    if np.isfinite(low):  # photos bring some blur of their own
        least, most = low + 0.35 * (high - low), low + 0.95 * (high - low)
    weak, strong = (scale * float(np.sqrt(1 / value**2 - 1)) for value in (most, least))
    gaussian = albumentations.GaussianBlur(blur_limit=0, sigma_limit=(weak, strong), p=1)
    if np.isfinite(low):
        return [gaussian]
    # A box of length n has the standard deviation n / √12.
    lengths = sorted(max(3, 2 * round(np.sqrt(12) * sigma / 2) + 1) for sigma in (weak, strong))
    motion = albumentations.MotionBlur(blur_limit=tuple(lengths), allow_shifted=False, p=1)
    return [albumentations.OneOf([gaussian, motion], p=1)]


def _noise(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Add noise of so many grey levels at 640 px; of three channels' noise luma keeps two thirds."""
    top = high if np.isfinite(high) else 3 * low
    own = typical.medians.get("noise", 0.0)
    scale = max(typical.longest, DETAIL) / DETAIL / 255 / 0.669
    first, last = low + 0.2 * (top - low), low + 0.8 * (top - low)
    levels = [scale * float(np.sqrt(max(level**2 - own**2, 0.1))) for level in (first, last)]
    return [import_quietly().GaussNoise(std_range=tuple(min(level, 1.0) for level in levels), p=1)]


def _jpeg(low: float, high: float, typical: Typical) -> list[Any] | None:
    bottom, top = (low if np.isfinite(low) else 12), (high if np.isfinite(high) else 92)
    return [import_quietly().ImageCompression(quality_range=(int(bottom) + 3, int(top) - 3), p=1)]


def _grey(low: float, high: float, typical: Typical) -> list[Any] | None:
    return [import_quietly().ToGray(p=1)]


def _turned(*steps: str) -> Recipe:
    """Turn by quarters, pixel by pixel."""

    def recipe(low: float, high: float, typical: Typical) -> list[Any] | None:
        albumentations = import_quietly()
        return [getattr(albumentations, step)(p=1) for step in steps]

    return recipe


def _tilted(sign: int) -> Recipe:
    """Rotate by more than the bin's bound and cut the borders off."""

    def recipe(low: float, high: float, typical: Typical) -> list[Any] | None:
        bound = abs(low if np.isfinite(low) else high)
        angles = sorted((sign * (bound + 2), sign * (bound + 15)))
        return [import_quietly().Rotate(limit=tuple(angles), crop_border=True, p=1)]

    return recipe


def _zoom(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Scale the photo about its centre so that a typical object gets a size of the bin."""
    median = typical.medians.get("object_size")
    if not median:
        return None
    least, most = (low if low > 0 else 0.4 * high), (high if np.isfinite(high) else 1.2 * low)
    first, last = least + 0.15 * (most - least), least + 0.75 * (most - least)
    factors = (float(np.clip(first / median, 0.05, 4)), float(np.clip(last / median, 0.06, 5)))
    return [import_quietly().Affine(scale=factors, keep_ratio=True, fill=GREY, p=1)]


def _cut(low: float, high: float, typical: Typical) -> list[Any] | None:
    sides = dict.fromkeys(("crop_left", "crop_right", "crop_top", "crop_bottom"), 0.45)
    return [import_quietly().RandomCropFromBorders(**sides, p=1)]


def _shaped(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Crop to a shape of the bin."""
    least, most = (low if np.isfinite(low) else 0.6), (high if np.isfinite(high) else 1.25 * low)
    first, last = least + 0.2 * (most - least), least + 0.8 * (most - least)
    middle = (first + last) / 2
    side = round(min(typical.longest, 1280))
    width, height = (side, round(side / middle)) if middle > 1 else (round(side * middle), side)
    crop = import_quietly().RandomResizedCrop(size=(height, width), scale=(0.4, 1.0), ratio=(first, last), p=1)
    return [crop]


def _erase(low: float, high: float, typical: Typical) -> list[Any] | None:
    holes = (0.08, 0.25)
    return [
        import_quietly().CoarseDropout(
            num_holes_range=(3, 8), hole_height_range=holes, hole_width_range=holes, fill=GREY, p=1
        )
    ]


RECIPES: Mapping[tuple[str, str], Recipe] = {
    ("brightness", "dark"): _scaled("brightness", "brightness", (0.3, 0.85)),
    ("brightness", "bright"): _scaled("brightness", "brightness", (1.45, 2.2)),
    ("object_brightness", "dark"): _scaled("object_brightness", "brightness", (0.3, 0.85)),
    ("object_brightness", "bright"): _scaled("object_brightness", "brightness", (1.45, 2.2)),
    ("contrast", "low"): _scaled("contrast", "contrast", (0.35, 0.8)),
    ("contrast", "high"): _scaled("contrast", "contrast", (1.6, 2.8)),
    ("object_contrast", "low"): _scaled("object_contrast", "contrast", (0.2, 0.6)),
    ("clipped", "much"): _brighter(2.4, 3.6),
    ("haze", "light"): _veil,
    ("haze", "heavy"): _veil,
    ("sharpness", "blurred"): _blur,
    ("sharpness", "soft"): _blur,
    ("object_sharpness", "blurred"): _blur,
    ("object_sharpness", "soft"): _blur,
    ("noise", "moderate"): _noise,
    ("noise", "strong"): _noise,
    ("jpeg_quality", "low"): _jpeg,
    ("jpeg_quality", "medium"): _jpeg,
    ("colorfulness", "grey"): _grey,
    ("colorfulness", "vivid"): _scaled("colorfulness", "saturation", (1.4, 2.4)),
    ("layout", "portrait"): _shaped,
    ("layout", "square"): _shaped,
    ("layout", "landscape"): _shaped,
    ("layout", "panorama"): _shaped,
    ("rotation", "90"): _turned("Transpose", "VerticalFlip"),
    ("rotation", "180"): _turned("HorizontalFlip", "VerticalFlip"),
    ("rotation", "270"): _turned("Transpose", "HorizontalFlip"),
    ("roll", "left"): _tilted(-1),
    ("roll", "right"): _tilted(1),
    ("object_size", "tiny"): _zoom,
    ("object_size", "small"): _zoom,
    ("object_size", "large"): _zoom,
    ("object_size", "huge"): _zoom,
    ("truncation", "cut"): _cut,
    ("occlusion", "some"): _erase,
    ("occlusion", "much"): _erase,
}
"""(attribute, bin) → the transforms that bring photos there."""

UNTOLD: Mapping[str, str] = {
    "occlusion": "erased parts are not told by the attribute, which looks at other objects' boxes"
}
"""Attribute → why what its recipe does cannot be checked by tagging."""

REASONS: Mapping[str, str] = {
    "glare": "painted flares are not the light that scatters in a lens: collect photos taken against the light",
    "object_glare": "painted flares are not the light that scatters in a lens: collect photos taken against the light",
    "pitch": "another camera angle shows other sides of things, which no photo holds",
    "crowding": "objects pasted beside others look pasted, which detectors learn: collect crowded scenes",
    "object_aspect": "stretched objects have a shape that no camera sees",
    "object_position": "crops that move objects to the edge also change their size: collect such views",
    "novelty": "what looks like nothing in training cannot be made of training",
}
"""Attribute → why photos cannot be augmented towards any of its bins."""


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

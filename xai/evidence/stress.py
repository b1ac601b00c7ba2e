"""Stress: add a condition in graded strength to objects that are found, and see at which dose they are lost.

Repairs ask what made the misses that there are; stress asks what the detector stands before it misses. Every curve
starts from found objects, so that at dose 0 all of them are found, and ends where the promise breaks: the dose from
which fewer of them stay found than the promised recall.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import albumentations
import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from attributes import measure
from xai import tables
from xai.evidence import geometric
from xai.evidence.geometric import Repaired, identity, move
from xai.evidence.kept import Kept, not_kept
from xai.evidence.trial import ask, boxes_of, by_photo, labels_of
from xai.types import Boxes, Detector, Pixels, Progress, no_progress

STRESS = tables.BESIDE["stress"]

Floats = NDArray[np.float64]
Change = Callable[[Pixels, Boxes, float, int], Repaired]
"""(photo, boxes (k, 4) of its found objects, dose, seed) → the stressed photo; ``box`` is of the first object."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One dose axis.

    Attributes:
        change: adds the condition.
        doses: rising strengths.
        unit: of the dose.
        attribute: what tells the condition, so that photos have a place on the axis; None where nothing does.
        low: the attribute falls with the dose.
        start: the dose that changes nothing.
    """

    change: Change
    doses: tuple[float, ...]
    unit: str
    attribute: str | None
    low: bool = False
    start: float = 0.0


def _in_place(pixels: Pixels, boxes: Boxes) -> Repaired:
    return Repaired(np.ascontiguousarray(pixels), identity(), boxes[0])


def _exposed(stops: float, pixels: Pixels) -> Pixels:
    """More or less light on the sensor; gamma 2.2."""
    table = np.clip((np.arange(256) / 255.0) ** 2.2 * 2.0**stops, 0, 1) ** (1 / 2.2) * 255
    return np.asarray(cv2.LUT(pixels, table.round().astype(np.uint8)), dtype=np.uint8)


def _darker(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    return _in_place(_exposed(-dose, pixels), boxes)


def _brighter(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    return _in_place(_exposed(dose, pixels), boxes)


def _veiled(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    """Even white light over the photo, ``dose`` of all light."""
    return _in_place((pixels * (1 - dose) + 225 * dose).round().astype(np.uint8), boxes)


def _glaring(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    """A source of light at each object with a halo as wide as it; ``dose`` is its light in the middle, white = 1."""
    rows, columns = np.indices(pixels.shape[:2], dtype=np.float32)
    light = np.zeros(pixels.shape[:2], np.float32)
    for box in boxes:
        x, y = (box[:2] + box[2:]) / 2
        reach = max(float(np.sqrt(np.prod(box[2:] - box[:2]))) / 3, 2.0)
        light += np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / reach**2).astype(np.float32)
    bright = (pixels / np.float32(255)) ** 2.2 + (dose * light)[..., None]
    return _in_place((np.clip(bright, 0, 1) ** (1 / 2.2) * 255).round().astype(np.uint8), boxes)


def _blurred(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    """Gaussian blur of ``dose`` px standard deviation in a photo of 640 px."""
    sigma = dose * max(pixels.shape[:2]) / 640
    return _in_place(np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), dtype=np.uint8), boxes)


def _flattened(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    """Levels drawn towards their mean by ``dose``."""
    mean = float(pixels.mean())
    return _in_place((mean + (pixels - mean) * (1 - dose)).round().astype(np.uint8), boxes)


def _augmented(transform: Callable[[float], albumentations.BasicTransform]) -> Change:
    """Make a change of an albumentations transform of the dose; its draws follow the seed."""

    def change(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
        pipeline = albumentations.Compose([transform(dose)], seed=seed)
        return _in_place(pipeline(image=pixels)["image"], boxes)

    return change


def _noise(dose: float) -> albumentations.BasicTransform:
    return albumentations.GaussNoise(std_range=(dose / 255, dose / 255), p=1)


def _compression(dose: float) -> albumentations.BasicTransform:
    quality = round(100 - dose)
    return albumentations.ImageCompression(quality_range=(quality, quality), p=1)


def _tilted(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    """Turn the photo counter-clockwise, as a camera turned clockwise by ``dose`` degrees gives it."""
    middle = np.array([0.0, 0.0, pixels.shape[1], pixels.shape[0]])
    turned = geometric.rotate(pixels, middle, -dose)
    return Repaired(turned.pixels, turned.matrix, move(boxes, turned.matrix)[0])


def _turned(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    return geometric.turn(pixels, boxes[0], round(dose))


def _smaller(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    """Show the photo ``dose`` times smaller, on grey."""
    return geometric.shrink(pixels, boxes[0], 1 / dose)


def _hidden(pixels: Pixels, boxes: Boxes, dose: float, seed: int) -> Repaired:
    """Cover the lower part of each object, ``dose`` of its height, with the grey of padding."""
    covered = pixels.copy()
    for x1, y1, x2, y2 in boxes.round().astype(int):
        covered[max(round(y2 - dose * (y2 - y1)), 0) : y2, max(x1, 0) : x2] = geometric.GREY
    return _in_place(covered, boxes)


CONDITIONS: Mapping[str, Condition] = {
    "glare": Condition(_glaring, (0.3, 1.0, 2.0, 4.0), "of white", "object_glare"),
    "haze": Condition(_veiled, (0.3, 0.5, 0.7, 0.85), "of light", "haze"),
    "darkness": Condition(_darker, (2.0, 4.0, 5.0, 6.0), "stops", "brightness", low=True),
    "overexposure": Condition(_brighter, (1.0, 2.0, 3.0, 4.0), "stops", "clipped"),
    "low_contrast": Condition(_flattened, (0.5, 0.7, 0.8, 0.9), "of contrast", "contrast", low=True),
    "blur": Condition(_blurred, (1.0, 2.0, 4.0, 8.0), "px at 640", "sharpness", low=True),
    "noise": Condition(_augmented(_noise), (10.0, 20.0, 40.0, 60.0), "grey levels", "noise"),
    "compression": Condition(
        _augmented(_compression), (70.0, 85.0, 92.0, 96.0), "below quality 100", "jpeg_quality", True
    ),
    "tilt": Condition(_tilted, (10.0, 20.0, 30.0, 45.0), "degrees", "roll"),
    "rotation": Condition(_turned, (90.0, 180.0, 270.0), "degrees", "rotation"),
    "small_object": Condition(_smaller, (1.5, 2.5, 4.0, 6.0), "times smaller", "object_size", low=True, start=1.0),
    "occlusion": Condition(_hidden, (0.3, 0.5, 0.6, 0.75), "of height", None),
}
"""Cause → its dose axis."""

UNORDERED = ("rotation",)
"""Conditions whose doses are no axis: three turns, each judged alone."""

FORWARDS = sum(len(condition.doses) for condition in CONDITIONS.values())
"""Photos that are put through the detector for one."""


def stress(
    found: pl.DataFrame,
    images: pl.DataFrame,
    train: tuple[pl.DataFrame, pl.DataFrame] | None,
    *,
    load_pixels: Callable[[str], Pixels],
    detector: Detector,
    budget: int,
    recall: float,
    match_iou: float,
    seed: int,
    progress: Progress = no_progress,
    kept: Kept = not_kept,
) -> pl.DataFrame:
    """Draw photos with found objects and lose these objects by graded conditions.

    Args:
        found: found evaluation objects: ``image_id label x1 y1 x2 y2`` and object attributes.
        images: evaluation photos with image attributes.
        train: training photos and objects with attributes, None without a training set.
        load_pixels: ``image_id`` → photo.
        detector: the detector.
        budget: forwards in all; a photo costs ``FORWARDS``.
        recall: share of found objects that has to stay found.
        match_iou: IoU at which a detection finds an object.
        seed: of the draw and of random changes.
        progress: told after each photo.
        kept: keeps the answer about each photo.

    Returns:
        Columns of ``tables.BESIDE["stress"]``: a row for every condition and dose. ``breaks`` is the dose at which
        recall falls below ``recall``, interpolated; null where it never does or doses are no axis. ``value`` is the
        attribute's median under this dose, ``eval_beyond`` and ``train_beyond`` the share of photos (objects) that lie
        as far out already. Intervals are 95% over photos. Without a photo to spend the budget on there is no row.
    """
    photos = by_photo(found.filter(pl.col("x1").is_not_null()).sort("image_id"))
    count = min(budget // FORWARDS, len(photos))
    chosen = sorted(np.random.default_rng(seed).permutation(len(photos))[:count].tolist())
    tallies: dict[tuple[str, float], list[tuple[int, int]]] = {}
    values: dict[tuple[str, float], list[float]] = {}
    for step, index in enumerate(chosen):
        part = photos[index]
        work = partial(_photo, part, load_pixels, detector, match_iou, seed + index)
        for name, dose, size, still, told in kept("stress", str(part["image_id"][0]), work) or []:
            tallies.setdefault((name, dose), []).append((size, still))
            values.setdefault((name, dose), []).extend(told)
        progress("stress", step + 1, count)
    if not tallies:
        return tables.empty(STRESS)
    rows = [
        row
        for name, condition in CONDITIONS.items()
        for row in _curve(name, condition, tallies, values, recall, _places(images, found), _places(*train or ()))
    ]
    return pl.DataFrame(rows, schema=dict(STRESS), orient="row")


def _photo(
    objects: pl.DataFrame,
    load_pixels: Callable[[str], Pixels],
    detector: Detector,
    match_iou: float,
    seed: int,
) -> list[tuple[str, float, int, int, list[float]]]:
    """Stress one photo by all conditions and doses: objects, how many stay found, and what the attribute then is."""
    pixels = load_pixels(str(objects["image_id"][0]))
    boxes, labels = boxes_of(objects), labels_of(objects, detector)
    keys = [(name, dose) for name, condition in CONDITIONS.items() for dose in condition.doses]
    made = [CONDITIONS[name].change(pixels, boxes, dose, seed) for name, dose in keys]
    placed = np.stack([move(boxes, item.matrix) for item in made])
    answers = ask(detector, [item.pixels for item in made], placed, labels, match_iou=match_iou)
    rows = []
    for row, ((name, dose), item) in enumerate(zip(keys, made, strict=True)):
        attribute, value = CONDITIONS[name].attribute, np.empty(0)
        if attribute is not None:
            told = measure([item.pixels], [placed[row]], names=[attribute])
            value = {**told.images, **told.objects}[attribute]
        value = np.abs(value) if attribute == "roll" else value
        rows.append((name, dose, len(boxes), int(answers.found[row].sum()), value.tolist()))
    return rows


def _places(images: pl.DataFrame | None = None, objects: pl.DataFrame | None = None) -> dict[str, Floats]:
    """Known values of every attribute that is an axis, from photos or objects."""
    places = {}
    for condition in CONDITIONS.values():
        for frame in (images, objects):
            name = condition.attribute
            if name is not None and frame is not None and name in frame.columns:
                told = frame[name].cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
                places[name] = np.abs(told) if name == "roll" else told
                break
    return places


def _curve(
    name: str,
    condition: Condition,
    tallies: Mapping[tuple[str, float], Sequence[tuple[int, int]]],
    values: Mapping[tuple[str, float], Sequence[float]],
    recall: float,
    evaluation: Mapping[str, Floats],
    train: Mapping[str, Floats],
) -> list[tuple[object, ...]]:
    counts = [np.array(tallies.get((name, dose), np.empty((0, 2)))) for dose in condition.doses]
    rates = [float(part[:, 1].sum() / part[:, 0].sum()) for part in counts]
    limit = None if name in UNORDERED else breaks(condition.doses, rates, recall, start=condition.start)
    rows: list[tuple[object, ...]] = []
    for dose, part, rate in zip(condition.doses, counts, rates, strict=True):
        low, high = interval(part)
        told = np.array(values.get((name, dose), []), dtype=np.float64)
        value = float(np.median(told[np.isfinite(told)])) if np.isfinite(told).any() else None
        beyond = [_beyond(condition, value, side.get(condition.attribute or "")) for side in (evaluation, train)]
        n_objects, n_found = (int(total) for total in part.sum(0))
        figures = (n_objects, len(part), n_found, rate, low, high, limit)
        rows.append((name, dose, condition.unit, *figures, condition.attribute, value, *beyond))
    return rows


def _beyond(condition: Condition, value: float | None, known: Floats | None) -> float | None:
    if value is None or known is None or not len(known):
        return None
    if condition.attribute == "rotation":
        return float((known == value).mean())
    return float((known <= value).mean() if condition.low else (known >= value).mean())


def breaks(doses: Sequence[float], rates: Sequence[float], recall: float, *, start: float = 0.0) -> float | None:
    """Return the dose at which recall falls below what is promised, on the line between doses; None if it never does.

    At the dose ``start``, which changes nothing, every object is found. Later rates are taken as no higher than earlier
    ones: what a small dose loses, a large one does not bring back.

    >>> breaks([10, 20], [1.0, 0.5], 0.75), breaks([10], [0.95], 0.9)
    (15.0, None)
    """
    falling = np.minimum.accumulate([1.0, *rates])
    axis = [start, *doses]
    below = np.flatnonzero(falling < recall)
    if not len(below):
        return None
    last = int(below[0])
    before, after = falling[last - 1], falling[last]
    return float(axis[last - 1] + (axis[last] - axis[last - 1]) * (before - recall) / (before - after))


def interval(counts: NDArray[np.generic]) -> tuple[float, float]:
    """95% interval of a share over photos: Clopper–Pearson for the effective number of objects.

    Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from
    survey data", Survey Methodology 1998: the number of objects is divided by the design effect of the photos, at
    least 1, so that the interval stays honest where all or none are found.

    Args:
        counts: (photos, 2) objects and how many of them are found.
    """
    n, k = counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64)
    total, share = n.sum(), k.sum() / n.sum()
    effect = 1.0
    if len(n) > 1 and 0 < share < 1:
        residual = k - share * n
        variance = len(n) / (len(n) - 1) * (residual**2).sum() / total**2
        effect = max(1.0, variance * total / (share * (1 - share)))
    size = total / effect
    low = stats.beta.ppf(0.025, share * size, (1 - share) * size + 1) if share > 0 else 0.0
    high = stats.beta.ppf(0.975, share * size + 1, (1 - share) * size) if share < 1 else 1.0
    return float(low), float(high)

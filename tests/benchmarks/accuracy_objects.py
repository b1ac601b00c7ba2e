"""Accuracy of object attributes: truncation against VOC's flag, sharpness of small boxes against that of large ones."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import accuracy_data as data
import numpy as np
from accuracy_bins import bin_of, judge_bins
from harness import Ledger
from numpy.typing import NDArray
from scipy.optimize import minimize

from attributes.arrays import Boxes, Floats
from attributes.objects import crowding, object_aspect, object_position, object_size, occlusion, truncation
from attributes.sharpness import object_sharpness, sharpness
from attributes.views import Views

SIDES = (8, 12, 16, 24, 32, 48, 64, 96, 128)
"""px at the size at which sharpness is measured."""

BLURS = (0.0, 1.0, 2.0)
BOXES_EACH = 40
_IN_FRONT = 0.05


class Annotated(NamedTuple):
    """Size of a VOC photo, its (n, 4) boxes and its (n,) flags ``truncated``."""

    width: int
    height: int
    boxes: Boxes
    truncated: NDArray[np.bool_]


def annotated(path: Path) -> Annotated:
    """Read a VOC annotation. Pixels count from 1 and the last one is included."""
    root = ET.parse(path).getroot()
    sides = [int(root.findtext(f"size/{side}", "0")) for side in ("width", "height")]
    boxes = [
        [float(item.findtext(f"bndbox/{corner}", "nan")) - (corner in ("xmin", "ymin")) for corner in _CORNERS]
        for item in root.findall("object")
    ]
    flags = [item.findtext("truncated") == "1" for item in root.findall("object")]
    return Annotated(*sides, np.array(boxes).reshape(-1, 4), np.array(flags))


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def truncations(ledger: Ledger, folder: Path) -> None:
    """VOC's flag says that an object is not wholly in its box, be it cut by the photo's edge or hidden by something.

    ``truncation`` speaks of the first alone, so the flag is told besides from all that boxes say.
    """
    parts, views, flag = _flagged(folder, "report")
    cut, hidden = truncation(views), occlusion(views)
    note = f"{len(flag)} objects of {len(parts)} VOC photos; VOC flags hidden objects too"
    ledger.add("truncation: AUC", data.auc(cut[flag], cut[~flag]), 0.80, "higher", note)
    either = (cut > 0) + hidden
    note = "on the edge, or covered by a box in front of it"
    ledger.add("truncation or occlusion: AUC", data.auc(either[flag], either[~flag]), None, "higher", note)
    _, tuned, tuned_flag = _flagged(folder, "tune")
    told = _regression(_geometry(tuned), tuned_flag)(_geometry(views))
    note = "regression on truncation, occlusion, crowding, size, shape and place, fitted on the other half"
    ledger.add("flag from all of the box: AUC", data.auc(told[flag], told[~flag]), 0.80, "higher", note)
    free = hidden < _IN_FRONT
    note = f"{free.sum()} objects with no other in front"
    ledger.add("truncation, nothing in front: AUC", data.auc(cut[flag & free], cut[~flag & free]), 0.80, "higher", note)
    judge_bins(ledger, "truncation", flag[free].astype(np.int64), bin_of("truncation", cut[free]), note)


def _flagged(folder: Path, half: str) -> tuple[list[Annotated], Views, NDArray[np.bool_]]:
    """VOC photos of one half, their boxes, and the flags of these."""
    parts = [
        annotated(path)
        for split in ("train", "eval")
        for path in sorted((folder / f"voc/{split}/Annotations").glob("*.xml"))
        if data.half(path) == half
    ]
    views = Views([np.zeros((item.height, item.width, 3), np.uint8) for item in parts], [item.boxes for item in parts])
    return parts, views, np.concatenate([item.truncated for item in parts])


def _geometry(views: Views) -> Floats:
    """(N, 20) what a box and its neighbours say about whether its object is whole."""
    boxes, size = views.all_boxes, views.sizes[views.photo_of]
    gaps = np.concatenate([boxes[:, :2], size - boxes[:, 2:]], axis=1)
    cut, hidden, crowded = truncation(views), occlusion(views), crowding(views)
    side, aspect = object_size(views), object_aspect(views)
    neighbours = np.bincount(views.photo_of, minlength=len(views))[views.photo_of]
    columns = [cut, cut > 0, cut > 0.25, *(gaps <= 2.0).T, *np.exp(-np.minimum(gaps, 40.0) / 6.0).T]
    columns += [hidden, hidden > _IN_FRONT, crowded, np.log(side), side**2, aspect, aspect**2, np.log(neighbours)]
    return np.stack([np.asarray(column, dtype=np.float64) for column in [*columns, object_position(views)]], axis=1)


def _regression(known: Floats, flag: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """Logistic regression with a penalty of 1 on the weights of standardised columns; gives log odds."""
    middle, spread = known.mean(axis=0), known.std(axis=0)

    def with_bias(columns: Floats) -> Floats:
        return np.column_stack([(columns - middle) / spread, np.ones(len(columns))])

    design = with_bias(known)

    def loss(weights: Floats) -> float:
        score = design @ weights
        return float((np.logaddexp(0.0, score) - flag * score).sum() + (weights[:-1] ** 2).sum())

    weights = minimize(loss, np.zeros(design.shape[1])).x
    return lambda columns: with_bias(columns) @ weights


def small_boxes(ledger: Ledger, folder: Path) -> dict[int, list[float]]:
    """Boxes of all sizes anywhere in photos of one blur each: the size of a box must not tell in its sharpness.

    Returns:
        Side of the boxes in px → sharpness of each over that of its photo.
    """
    rng = np.random.default_rng(0)
    ratios: dict[int, list[float]] = {side: [] for side in SIDES}
    drawn = dict.fromkeys(SIDES, 0)
    for path in data.paths(folder / "voc/eval/JPEGImages", most=30):
        photo = data.pixels(path)
        height, width = photo.shape[:2]
        sides = np.repeat(SIDES, BOXES_EACH)
        corners = rng.uniform(0, 1, (len(sides), 2)) * (np.array([width, height]) - sides[:, None])
        boxes = np.concatenate([corners, corners + sides[:, None]], axis=1)
        for blur in BLURS:
            views = Views([data.blurred(photo, blur)], [boxes])
            values = object_sharpness(views) / sharpness(views)[0]
            for side in SIDES:
                found = values[sides == side]
                drawn[side] += len(found)
                ratios[side] += found[np.isfinite(found)].tolist()
    print("object_sharpness over the photo's own, by the side of the box (px):")
    for side, values in ratios.items():
        if values:
            low, middle, high = np.percentile(values, [10, 50, 90])
            told = len(values) / drawn[side]
            print(f"  {side:>4} px  median {middle:.3f}  80% in {low:.3f}–{high:.3f}  told {told:.2f}")
    told = [side for side in SIDES if len(ratios[side]) >= 30]
    worst = max(told, key=lambda side: abs(np.median(ratios[side]) - 1))
    bias = abs(float(np.median(ratios[worst])) - 1)
    note = f"median of any box size against the photo's, worst at {worst} px; {len(BLURS)} blurs"
    ledger.add("object_sharpness: bias by size", bias, 0.1, "lower", note)
    return ratios

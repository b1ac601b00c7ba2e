"""Accuracy of object attributes: truncation against VOC's flag, sharpness of small boxes against that of large ones."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import accuracy_data as data
import numpy as np
from accuracy_bins import bin_of, judge_bins
from harness import Ledger
from numpy.typing import NDArray

from attributes.objects import occlusion, truncation
from attributes.sharpness import object_sharpness, sharpness
from attributes.views import Boxes, Views

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
    """VOC's flag says that an object is not wholly in its box, be it cut by the photo's edge or hidden by something."""
    parts = [
        annotated(path)
        for split in ("train", "eval")
        for path in sorted((folder / f"voc/{split}/Annotations").glob("*.xml"))
        if data.half(path) == "report"
    ]
    views = Views([np.zeros((item.height, item.width, 3), np.uint8) for item in parts], [item.boxes for item in parts])
    cut, hidden = truncation(views), occlusion(views)
    flag = np.concatenate([item.truncated for item in parts])
    note = f"{len(flag)} objects of {len(parts)} VOC photos; VOC flags hidden objects too"
    ledger.add("truncation: AUC", data.auc(cut[flag], cut[~flag]), 0.80, "higher", note)
    either = (cut > 0) + hidden
    note = "on the edge, or covered by a box in front of it"
    ledger.add("truncation or occlusion: AUC", data.auc(either[flag], either[~flag]), None, "higher", note)
    free = hidden < _IN_FRONT
    note = f"{free.sum()} objects with no other in front"
    ledger.add("truncation, nothing in front: AUC", data.auc(cut[flag & free], cut[~flag & free]), 0.80, "higher", note)
    judge_bins(ledger, "truncation", flag[free].astype(np.int64), bin_of("truncation", cut[free]), note)


def small_boxes(ledger: Ledger, folder: Path) -> None:
    """Boxes of all sizes anywhere in photos of one blur each: the size of a box must not tell in its sharpness."""
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

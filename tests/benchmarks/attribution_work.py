"""What `attribution.py` measures with: objects of VOC photos, patches, clocks, rows that are kept."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from attributes.decode import read
from xai import dataset, detect
from xai.config import DetectorConfig
from xai.evidence.drise import DRISE
from xai.evidence.extremal import COST, ExtremalPerturbation
from xai.evidence.faithfulness import insertion_deletion
from xai.evidence.maps import estimated
from xai.evidence.masks import blurred, inpainted, mean_colour
from xai.evidence.targets import Score, forward_func, iou, iou_times_score, to_input
from xai.types import Boxes, Candidates, Detector, Pixels, Prepared

BATCH = 8
LEAST_SCORE = 0.005
"""Overlap × score below which a miss leaves no trace that a map could explain."""

STEPS = 12

PLACES = 80
"""Places at which a suppressing patch is tried."""

_RENAMED = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


@dataclasses.dataclass(frozen=True)
class Item:
    """An annotated object: the photo's path, its (4,) box in pixels of the photo, and its class in the detector."""

    path: Path
    box: Boxes
    label: int


@dataclasses.dataclass(frozen=True)
class Shown:
    """A photo as the detector takes it, with one object: what scores it, and what hidden pixels show."""

    prepared: Prepared
    boxes: Tensor
    labels: Tensor
    detector: Detector
    score: Callable[[Tensor], Tensor]
    baseline: Tensor

    @property
    def inputs(self) -> Tensor:
        return self.prepared.inputs


def load(data: Path, side: int, device: str) -> Detector:
    """YOLO11n with its deployed threshold."""
    config = DetectorConfig(
        kind="ultralytics", weights=data / "weights/yolo11n_coco.pt", image_size=side, score_threshold=0.25
    )
    detector: Detector = detect.load(config, device)
    return detector


def choose(data: Path, detector: Detector, count: int, seed: int = 0) -> tuple[list[Item], list[Item]]:
    """Draw found and missed objects, at most one of each a photo; misses that leave a trace."""
    eval_set = dataset.read(data / "voc/eval", "voc", role="eval")
    labels = eval_set.labels.filter(pl.col("ignore").is_null())
    known = {name: code for code, name in enumerate(detector.names)}
    order = np.random.default_rng(seed).permutation(len(eval_set.image_ids))
    chosen: dict[bool, list[Item]] = {True: [], False: []}
    for index in order:
        image_id = eval_set.image_ids[index]
        rows = labels.filter(image_id=image_id)
        path = eval_set.root / image_id
        if rows.is_empty() or all(len(items) >= count for items in chosen.values()):
            continue
        codes = torch.tensor([known[_RENAMED.get(name, name)] for name in rows["label"]])
        boxes = rows.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float64)
        taken = set()
        for place, (close, is_found) in enumerate(zip(*_state(detector, read(path).pixels, boxes, codes), strict=True)):
            if is_found in taken or len(chosen[is_found]) >= count or (not is_found and close < LEAST_SCORE):
                continue
            taken.add(is_found)
            chosen[is_found].append(Item(path, boxes[place], int(codes[place])))
    return chosen[True], chosen[False]


def _state(detector: Detector, photo: Pixels, boxes: Boxes, labels: Tensor) -> tuple[list[float], list[bool]]:
    """How close each object comes to being found, and whether it is found at an IoU of 0.5."""
    prepared = detector.prepare([photo])[0]
    with torch.no_grad():
        candidates = detector.forward(prepared.inputs)
    close = iou_times_score(candidates, to_input(boxes, prepared, 0), labels)[0].tolist()
    found = detector.select(candidates, prepared)[0]
    overlap = iou(torch.from_numpy(found.boxes)[:, None], torch.from_numpy(boxes))
    alike = torch.from_numpy(found.labels)[:, None] == labels
    return close, ((overlap >= 0.5) & alike).any(0).tolist()


def prepare(detector: Detector, item: Item, photo: Pixels | None = None) -> Shown:
    """Prepare an item's photo, or another one in its place."""
    prepared = detector.prepare([read(item.path).pixels if photo is None else photo])[0]
    boxes = to_input(item.box[None], prepared, 0)
    labels = torch.tensor([item.label])
    score = forward_func(detector.forward, boxes, labels)
    return Shown(prepared, boxes, labels, detector, score, blurred(prepared.inputs))


def ours(shown: Shown, forwards: int, seed: int = 0) -> Tensor:
    """Map of the object by gradient, (h, w); a masked copy with its gradient counts as three forwards."""
    found: Tensor = ExtremalPerturbation(shown.score).attribute(
        shown.inputs, baselines=shown.baseline, n_masks=forwards // COST, seed=seed
    )
    return found[0, 0]


def masked(shown: Shown, forwards: int, seed: int = 0) -> Tensor:
    """Map of the object by masks alone, (h, w), as black boxes get it."""
    found: Tensor = DRISE(shown.score).attribute(
        shown.inputs, baselines=shown.baseline, n_masks=forwards, perturbations_per_eval=BATCH, seed=seed
    )
    return found[0, 0]


def judge_twice(shown: Shown, maps: Tensor) -> list[float]:
    """Insertion − deletion of m maps on the blurred photo, and then on its mean colour; 2m figures."""
    flat = dataclasses.replace(shown, baseline=mean_colour(shown.inputs))
    return [*judge(shown, maps).tolist(), *judge(flat, maps).tolist()]


def judge(shown: Shown, maps: Tensor) -> Tensor:
    """Insertion − deletion of m maps of the one object, (m,)."""
    score = Score(shown.detector, shown.boxes.repeat(len(maps), 1), shown.labels.repeat(len(maps)))
    return insertion_deletion(
        score, shown.inputs, maps, shown.baseline, steps=STEPS, perturbations_per_eval=BATCH
    ).difference


def paired(differences: NDArray[np.float64], draws: int = 10_000) -> tuple[float, float, float]:
    """Mean of paired differences with its 95% bootstrap interval."""
    drawn = np.random.default_rng(0).choice(differences, (draws, len(differences))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)


def plant(detector: Detector, item: Item, seed: int) -> tuple[Shown, Boxes] | None:
    """Paste a patch of stripes and noise on or beside the object that suppresses it; (4,) patch in input pixels.

    The object is lost with the patch, and once the patch is painted over it is found again with at least twice the
    overlap × score: a patch that only hides what the detector needs suppresses nothing that hiding it could give back.
    None where no place of many does that.
    """
    rng = np.random.default_rng(seed)
    photo = read(item.path).pixels
    sides = item.box[2:] - item.box[:2]
    label = torch.tensor([item.label])
    for _ in range(PLACES):
        size = np.maximum(np.rint(sides * rng.uniform(0.25, 0.5, 2)), 8).astype(int)
        middle = item.box[:2] + sides * rng.uniform(-0.25, 1.25, 2)
        low = np.clip(np.rint(middle - size / 2), 0, np.array(photo.shape[1::-1]) - size).astype(int)
        if (low < 0).any():
            continue
        changed, shown = photo.copy(), np.ones(photo.shape[:2], np.float32)
        area = (slice(low[1], low[1] + size[1]), slice(low[0], low[0] + size[0]))
        changed[area], shown[area] = _texture(size, rng), 0
        (close,), (is_found,) = _state(detector, changed, item.box[None], label)
        if is_found:
            continue
        whole = torch.from_numpy(changed).permute(2, 0, 1)[None] / 255
        painted = (inpainted(whole, torch.from_numpy(shown)[None, None])[0].permute(1, 2, 0) * 255).round().byte()
        (closer,), (is_found,) = _state(detector, painted.numpy(), item.box[None], label)
        if is_found and closer >= 2 * close:
            corners = np.concatenate([low, low + size])[None].astype(np.float64)
            ready = prepare(detector, item, changed)
            return ready, to_input(corners, ready.prepared, 0)[0].cpu().numpy()
    return None


def _texture(size: NDArray[np.int64], rng: np.random.Generator) -> Pixels:
    """Coloured stripes with noise, h×w×3."""
    across = np.arange(size[0]) // max(2, size[0] // 8) % 2
    colours = rng.integers(0, 256, (2, 3))
    noise = rng.normal(0, 25, (size[1], size[0], 3))
    return np.clip(colours[across][None] + noise, 0, 255).astype(np.uint8)


def deepest(map_: Tensor) -> tuple[int, int]:
    """Column and row of the lowest place of a map, averaged over 8 px."""
    pooled = functional.avg_pool2d(map_[None, None], 8, stride=1, padding=4, count_include_pad=False)[0, 0]
    row, column = np.unravel_index(int(pooled.argmin()), pooled.shape)
    return int(column), int(row)


def inside(place: tuple[int, int], box: Boxes) -> bool:
    """Whether a place (column, row) lies in a box (4,)."""
    return bool(box[0] <= place[0] <= box[2] and box[1] <= place[1] <= box[3])


def gains(shown: Shown, boxes: Boxes) -> list[float]:
    """Target with each of the boxes (m, 4) painted over from around it, minus the target as it is."""
    masks = torch.ones(len(boxes), 1, *shown.inputs.shape[-2:], device=shown.inputs.device)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.round().astype(int).clip(0).tolist(), strict=True):
        mask[:, y1:y2, x1:x2] = 0
    with torch.no_grad():
        before, *after = shown.score(torch.cat([shown.inputs, inpainted(shown.inputs, masks)]))[:, 0].tolist()
    return [value - before for value in after]


class Kept:
    """Rows of figures by part and object, in a file of JSON lines, so that a measurement can go on where it ended."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: dict[tuple[str, str], list[float]] = {}
        if path is not None and path.is_file():
            for line in path.read_text("utf-8").splitlines():
                row = json.loads(line)
                self.rows[row["part"], row["key"]] = row["values"]

    def column(
        self, part: str, items: Sequence[Item], detector: Detector, task: Callable[[Shown], Sequence[float]]
    ) -> NDArray[np.float64]:
        """Return the rows of objects, one line each, of a task on the object's photo."""
        return np.array(
            [self.measure(part, item, lambda item=item: task(prepare(detector, item))) for item in items]  # type: ignore[misc]
        )

    def measure(self, part: str, item: Item, task: Callable[[], Sequence[float]]) -> list[float]:
        """Return the row of an object, measured unless it is there."""
        key = f"{item.path.name} {item.label} {item.box.round().tolist()}"
        if (part, key) not in self.rows:
            self.rows[part, key] = [float(value) for value in task()]
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"part": part, "key": key, "values": self.rows[part, key]}) + "\n")
        return self.rows[part, key]


def time_objects(
    data: Path, detector: Detector, explain: Callable[[Score, Tensor], object]
) -> tuple[float, float, int]:
    """Seconds for one and for all objects of the fullest of some photos, in turns, and how many those are."""
    eval_set = dataset.read(data / "voc/eval", "voc", role="eval")
    counts = eval_set.labels.group_by("image_id").len().sort("len", "image_id", descending=True)
    image_id = counts["image_id"][0]
    rows = eval_set.labels.filter(image_id=image_id)
    prepared = detector.prepare([read(eval_set.root / image_id).pixels])[0]
    boxes = to_input(rows.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float64), prepared, 0)
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    seconds: dict[int, list[float]] = {1: [], len(boxes): []}
    for _ in range(4):
        for count in seconds:
            start = time.perf_counter()
            explain(Score(detector, boxes[:count], labels[:count]), prepared.inputs)
            seconds[count].append(time.perf_counter() - start)
    one, every = (float(np.median(values[1:])) for values in seconds.values())
    return one, every, len(boxes)


def by_masks(score: Score, inputs: Tensor) -> object:
    """Maps of masks alone, 100 forwards for all objects."""
    return DRISE(score).attribute(inputs, n_masks=100, perturbations_per_eval=BATCH)


def as_triage(score: Score, inputs: Tensor) -> object:
    """Maps as a run makes them, in a budget of 200 forwards a photo."""
    return estimated(score, inputs, blurred(inputs), 200, 0)


def time_outside(data: Path, detector: Detector) -> tuple[float, float]:
    """Seconds of one map, and of these in the detector's forward."""
    inside = 0.0

    def forward(inputs: Tensor) -> Candidates:
        nonlocal inside
        start = time.perf_counter()
        candidates = detector.forward(inputs)
        if inputs.is_cuda:
            torch.cuda.synchronize()
        inside += time.perf_counter() - start
        return candidates

    path = next((data / "voc/eval/JPEGImages").glob("*.jpg"))
    prepared = detector.prepare([read(path).pixels])[0]
    box = torch.tensor([[50.0, 50, 200, 200]], device=prepared.inputs.device)
    method = DRISE(forward_func(forward, box, torch.tensor([0])))
    method.attribute(prepared.inputs, n_masks=20, perturbations_per_eval=BATCH)
    inside = 0.0
    start = time.perf_counter()
    method.attribute(prepared.inputs, n_masks=200, perturbations_per_eval=BATCH)
    return time.perf_counter() - start, inside

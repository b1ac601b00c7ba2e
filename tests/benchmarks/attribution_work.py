"""What `attribution.py` measures with: objects of VOC photos, plain D-RISE as a peer, seeds, patches, clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from attributes.decode import read
from xai import dataset, detect
from xai.config import DetectorConfig
from xai.evidence.drise import DRISE
from xai.evidence.masks import blurred
from xai.evidence.faithfulness import insertion_deletion
from xai.evidence.targets import Score, deployed_score, forward_func, iou, iou_times_score, to_input
from xai.types import Boxes, Candidates, Detector, Pixels, Prepared

BATCH = 8
LEAST_SCORE = 0.005
"""Overlap × score below which a miss leaves no trace that a map could explain."""

AGREEING = {"ours": (50, 100, 200, 400), "plain": (250, 500, 1000)}
STEPS = 12

_RENAMED = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


@dataclass(frozen=True)
class Item:
    """An annotated object: the photo's path, its (4,) box in pixels of the photo, and its class in the detector."""

    path: Path
    box: Boxes
    label: int


@dataclass(frozen=True)
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
    """Map of the object, (h, w)."""
    found: Tensor = DRISE(shown.score).attribute(
        shown.inputs, baselines=shown.baseline, n_masks=forwards, perturbations_per_eval=BATCH, seed=seed
    )
    return found[0, 0]


def plain_drise(shown: Shown, forwards: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two (h, w) maps of plain D-RISE from the same masks: of candidates, and of deployed detections."""
    *_, last = plain_steps(shown, (forwards,), seed)
    return last


def plain_steps(shown: Shown, counts: Sequence[int], seed: int) -> list[tuple[Tensor, Tensor]]:
    """Plain D-RISE after growing numbers of forwards; 16×16 cells, each shown with probability ½."""
    deployed = deployed_score(shown.detector, shown.prepared)
    generator = torch.Generator().manual_seed(seed)
    height, width = shown.inputs.shape[-2:]
    cell = (-(-height // 16), -(-width // 16))
    sums, weight, results, done = torch.zeros(2, height, width), torch.zeros(height, width), [], 0
    while done < counts[-1]:
        count = min(BATCH, next(item for item in counts if item > done) - done)
        cells = (torch.rand(count, 1, 17, 17, generator=generator) < 0.5).float()
        large = functional.interpolate(cells, size=(17 * cell[0], 17 * cell[1]), mode="bilinear", align_corners=False)
        shifts = [(int(torch.randint(0, side, (1,), generator=generator))) for side in cell]
        masks = large[..., shifts[0] : shifts[0] + height, shifts[1] : shifts[1] + width]
        with torch.no_grad():
            candidates = shown.detector.forward(torch.lerp(shown.baseline, shown.inputs, masks))
            values = torch.cat(
                [target(candidates, shown.boxes, shown.labels) for target in (iou_times_score, deployed)], 1
            )
        sums += torch.einsum("nt,nhw->thw", values.cpu(), masks[:, 0])
        weight += masks[:, 0].sum(0)
        done += count
        if done in counts:
            maps = sums / weight
            results.append((maps[0].to(shown.inputs), maps[1].to(shown.inputs)))
    return results


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


def agreement_curves(shown: Shown) -> dict[str, list[tuple[int, float]]]:
    """Rank correlation of two seeds' maps by forwards, ours and plain, over means of 8×8 px."""
    plain = [plain_steps(shown, AGREEING["plain"], seed) for seed in (1, 2)]
    curves = {
        "plain": [
            (count, _rank_correlation(first[0], second[0]))
            for count, first, second in zip(AGREEING["plain"], *plain, strict=True)
        ]
    }
    curves["ours"] = [
        (count, _rank_correlation(ours(shown, count, seed=1), ours(shown, count, seed=2))) for count in AGREEING["ours"]
    ]
    return curves


def _rank_correlation(first: Tensor, second: Tensor) -> float:
    ranks = [rankdata(functional.avg_pool2d(item[None], 8)[0].flatten().cpu()) for item in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def first_above(curve: Sequence[tuple[int, float]], level: float) -> float:
    """Forwards at which a curve reaches a level, between its points and beyond: noise falls as 1 / forwards.

    With signal s and noise n / forwards the correlation is s / (s + n / forwards): its odds grow with the forwards.
    """
    odds = level / (1 - level)
    for count, correlation in curve:
        if correlation >= level:
            return count * odds / (correlation / (1 - correlation))
    count, correlation = curve[-1]
    return float("inf") if correlation <= 0 else count * odds / (correlation / (1 - correlation))


def plant(detector: Detector, item: Item, seed: int) -> tuple[Shown, Boxes] | None:
    """Paste a patch of stripes and noise on or beside the object so that it is lost; (4,) patch in input pixels.

    None where no place of a dozen loses it.
    """
    rng = np.random.default_rng(seed)
    photo = read(item.path).pixels
    sides = item.box[2:] - item.box[:2]
    for _ in range(12):
        size = np.maximum(np.rint(sides * rng.uniform(0.25, 0.5, 2)), 8).astype(int)
        middle = item.box[:2] + sides * rng.uniform(-0.1, 1.1, 2)
        low = np.clip(np.rint(middle - size / 2), 0, np.array(photo.shape[1::-1]) - size).astype(int)
        if (low < 0).any():
            continue
        changed = photo.copy()
        changed[low[1] : low[1] + size[1], low[0] : low[0] + size[0]] = _texture(size, rng)
        _, found = _state(detector, changed, item.box[None], torch.tensor([item.label]))
        if not found[0]:
            shown = prepare(detector, item, changed)
            corners = np.concatenate([low, low + size])[None].astype(np.float64)
            return shown, to_input(corners, shown.prepared, 0)[0].cpu().numpy()
    return None


def _texture(size: NDArray[np.int64], rng: np.random.Generator) -> Pixels:
    """Coloured stripes with noise, h×w×3."""
    across = np.arange(size[0]) // max(2, size[0] // 8) % 2
    colours = rng.integers(0, 256, (2, 3))
    noise = rng.normal(0, 25, (size[1], size[0], 3))
    return np.clip(colours[across][None] + noise, 0, 255).astype(np.uint8)


def deepest_inside(map_: Tensor, box: Boxes) -> bool:
    """Whether the lowest place of a map, averaged over 8 px, lies in a box (4,)."""
    pooled = functional.avg_pool2d(map_[None, None], 8, stride=1, padding=4, count_include_pad=False)[0, 0]
    row, column = np.unravel_index(int(pooled.argmin()), pooled.shape)
    return bool(box[0] <= column <= box[2] and box[1] <= row <= box[3])


def time_objects(data: Path, detector: Detector) -> tuple[float, float, int]:
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
            method = DRISE(forward_func(detector.forward, boxes[:count], labels[:count]))
            start = time.perf_counter()
            method.attribute(prepared.inputs, n_masks=100, perturbations_per_eval=BATCH)
            seconds[count].append(time.perf_counter() - start)
    one, every = (float(np.median(values[1:])) for values in seconds.values())
    return one, every, len(boxes)


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

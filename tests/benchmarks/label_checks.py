"""How well damaged labels are found: average precision of the list of labels to look at, damage by damage.

Of the labels of PASCAL VOC 5% are damaged in one of eight ways; the list is made from them, from the detections and
candidates of a detector, and from the undamaged other half of the photos as the training profile. Thresholds were
chosen on `voc/train` (judged against `voc/eval`); figures are of `voc/eval` (judged against `voc/train`), means over
seeds. A row of the list counts where it names a damaged label or a detection of one that was deleted; rows that name
the undamaged place of a damaged label are passed over. What VOC itself annotates wrongly counts as sound.

`--cleanlab PYTHON`: an interpreter that has cleanlab (`python -m venv V; V/bin/pip install cleanlab`); its scores of
whole photos (Tkachenko et al., "ObjectLab", 2023) are compared with the best row of each photo here.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from harness import DATA, Ledger, chunks

from attributes.decode import read
from xai import config, dataset, detect, labels
from xai.batch import FORWARD_SIZE
from xai.labels import shapes
from xai.reference import name_as_detector
from xai.shard import _match
from xai.types import Candidates, Dataset, Detections, Detector, Prepared

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "voc.yaml"
SHARE = 0.05
GROSS = 0.5
"""A misplaced dot is gross damage where the box overlaps what it was by less."""

KEPT = 1e-3
"""Candidates whose scores are all below are noise by far, and left out to save memory."""

TARGETS = {
    "misplaced_dot": 0.9, "swapped_axes": 0.9, "swapped_corners": 0.9, "other_frame": 0.9,
    "shifted": 0.6, "wrong_class": 0.6, "missing": 0.6, "duplicate": 0.6,
}  # fmt: skip
"""Way of damage → target: gross ones first."""


class Seen(NamedTuple):
    """What the detector says of one photo."""

    boxes: np.ndarray
    scores: np.ndarray
    detections: Detections
    size: tuple[int, int]


class Damaged(NamedTuple):
    """Labels after damage.

    Attributes:
        labels: as ``types.Dataset.labels``.
        keys: damaged labels ``image_id object_id``, and ``x1 y1 x2 y2 label`` as they were.
    """

    labels: pl.DataFrame
    keys: pl.DataFrame


def record(detector: Detector, data: Dataset) -> dict[str, Seen]:
    """Run the detector once over a split."""
    seen: dict[str, Seen] = {}
    for batch in chunks(data.image_ids, 16):
        photos = [read(data.root / image_id) for image_id in batch]
        with torch.no_grad():
            groups = detector.prepare([photo.pixels for photo in photos])
            size = FORWARD_SIZE[groups[0].inputs.device.type]
            for prepared in (part for group in groups for part in group.parts(size)):
                found = detector.forward(prepared.inputs)
                for row, detections in enumerate(detector.select(found, prepared)):
                    kept = found.scores[row].amax(dim=1) > KEPT
                    offset, scale = np.tile(prepared.offset[row], 2), np.tile(prepared.scale[row], 2)
                    photo = photos[prepared.indices[row]]
                    seen[batch[prepared.indices[row]]] = Seen(
                        ((found.boxes[row][kept].double().cpu().numpy() - offset) / scale).astype(np.float32),
                        found.scores[row][kept].cpu().numpy(),
                        detections,
                        (photo.width, photo.height),
                    )
    return seen


def damage(labels: pl.DataFrame, way: str, seen: Mapping[str, Seen], random: np.random.Generator) -> Damaged:
    """Damage 5% of the labels that count; of whole photos for ``other_frame``."""
    rows = labels.with_row_index("row")
    sound = rows.filter(pl.col("ignore").is_null())
    if way == "other_frame":
        return _of_another_frame(rows, seen, random)
    chosen = sound.sample(round(SHARE * len(sound)), seed=int(random.integers(2**31)), shuffle=True)
    keys = chosen.select("image_id", "object_id", "label", *shapes.CORNERS)
    if way == "missing":
        return Damaged(labels.filter(~pl.Series(rows["row"].is_in(chosen["row"].to_list()))), keys)
    boxes = shapes.corners(chosen)
    names = chosen["label"].to_list()
    if way == "wrong_class":
        everything = sound["label"].to_numpy()
        names = [random.choice(everything[everything != name]) for name in names]
    sizes = np.array([seen[image_id].size for image_id in chosen["image_id"]], dtype=np.float64)
    changed = chosen.with_columns(pl.Series("label", names), *_columns(BOXES.get(way, _kept)(boxes, sizes, random)))
    if way == "duplicate":
        last = labels.group_by("image_id").agg(last=pl.col("object_id").max())
        extra = changed.join(last, on="image_id", maintain_order="left")
        extra = extra.with_columns(object_id=pl.col("last") + 1 + pl.int_range(pl.len()).over("image_id"))
        keys = pl.concat(
            [
                keys.with_columns(twin=pl.Series(range(len(keys)))),
                extra.select(*keys.columns, twin=pl.Series(range(len(keys)))),
            ]
        )
        return Damaged(pl.concat([labels, extra.select(labels.columns)]).sort("image_id", "object_id"), keys)
    rest = rows.filter(~pl.col("row").is_in(chosen["row"].to_list()))
    return Damaged(pl.concat([rest, changed]).sort("row").drop("row"), keys)


def _kept(boxes: np.ndarray, sizes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return boxes


def _misplaced_dot(boxes: np.ndarray, sizes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One of four numbers ten times as large or small; one that leaves the box nearly as it was is drawn again."""
    result = boxes.copy()
    for row, box in enumerate(boxes):
        while shapes.iou(result[row], box) >= GROSS:
            result[row] = box
            result[row, random.integers(4)] *= random.choice([0.1, 10.0])
    return result


def _swapped_corners(boxes: np.ndarray, sizes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Left and right exchanged, or top and bottom."""
    return np.where(random.random(len(boxes))[:, None] < 0.5, boxes[:, [2, 1, 0, 3]], boxes[:, [0, 3, 2, 1]])


def _shifted(boxes: np.ndarray, sizes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """By 40 to 70% of its side, up, down, left or right, whichever of two opposite ways has more room."""
    sides = boxes[:, 2:] - boxes[:, :2]
    room = sizes - boxes[:, 2:] > boxes[:, :2]
    step = sides * random.uniform(0.4, 0.7, (len(boxes), 1)) * np.where(room, 1, -1)
    step[np.arange(len(boxes)), random.integers(2, size=len(boxes))] = 0
    moved = boxes + np.tile(step, 2)
    return np.clip(moved, 0, np.tile(sizes, 2))


def _jittered(boxes: np.ndarray, sizes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return np.clip(boxes + 0.03 * sides * random.standard_normal(boxes.shape), 0, np.tile(sizes, 2))


BOXES: Mapping[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "misplaced_dot": _misplaced_dot,
    "swapped_axes": lambda boxes, sizes, random: boxes[:, [1, 0, 3, 2]],
    "swapped_corners": _swapped_corners,
    "shifted": _shifted,
    "duplicate": _jittered,
}


def _of_another_frame(rows: pl.DataFrame, seen: Mapping[str, Seen], random: np.random.Generator) -> Damaged:
    """Give photos the labels of another one of their size, as if frames had been counted wrongly."""
    ids = rows.filter(pl.col("ignore").is_null())["image_id"].unique().sort().to_list()
    random.shuffle(ids)
    parts, keys, taken = [], [], []
    for image_id in ids[: round(SHARE * len(ids))]:
        donors = [other for other in ids if other != image_id and seen[other].size == seen[image_id].size]
        if not donors:
            continue
        given = rows.filter(pl.col("image_id") == str(random.choice(donors))).with_columns(image_id=pl.lit(image_id))
        parts.append(given)
        keys.append(given.filter(pl.col("ignore").is_null()).select("image_id", "object_id", "label", *shapes.CORNERS))
        taken.append(image_id)
    rest = rows.filter(~pl.col("image_id").is_in(taken))
    return Damaged(pl.concat([rest, *parts]).drop("row").sort("image_id", "object_id"), pl.concat(keys))


def _columns(boxes: np.ndarray) -> list[pl.Series]:
    return [pl.Series(name, boxes[:, column]) for column, name in enumerate(shapes.CORNERS)]


class Judged(NamedTuple):
    """Tables as a scan makes them."""

    objects: pl.DataFrame
    images: pl.DataFrame
    predictions: pl.DataFrame
    issues: pl.DataFrame


def judge(split: str, labels: pl.DataFrame, seen: Mapping[str, Seen], names: tuple[str, ...]) -> Judged:
    """Validate and match labels against what was recorded."""
    ids = sorted(seen)
    sizes = [(image_id, *seen[image_id].size, 1) for image_id in ids]
    images = pl.DataFrame(sizes, schema=["image_id", "width", "height", "exif_orientation"], orient="row")
    objects, issues = dataset.resolve(labels.sort("image_id", "object_id"), images, "displayed")
    codes = {name: code for code, name in enumerate(names)}
    columns: dict[str, list[np.ndarray]] = {}
    for image_id, part in objects.partition_by("image_id", as_dict=True, maintain_order=True).items():
        photo = seen[str(image_id[0])]
        candidates = Candidates(torch.from_numpy(photo.boxes)[None], torch.from_numpy(photo.scores)[None])
        unit = Prepared((0,), torch.zeros(1, 3, 1, 1), np.ones((1, 2)), np.zeros((1, 2)), np.array([photo.size]))
        known = part["label"].replace_strict(codes, default=-1, return_dtype=pl.Int64).to_numpy(writable=True)
        for name, values in detect.summarise(candidates, unit, [shapes.corners(part)], [known], 0.5).items():
            columns.setdefault(name, []).append(values)
    told = {name: pl.Series(np.concatenate(values)).fill_nan(None) for name, values in columns.items()}
    told["cand_other_label"] = told["cand_other_label"].cast(pl.Int64).replace_strict(
        dict(enumerate(names)), default=None, return_dtype=pl.String
    )  # fmt: skip
    objects = objects.sort("image_id", "object_id").with_columns(split=pl.lit(split), **told)
    found = {image_id: seen[image_id].detections for image_id in ids}
    matched, predictions = _match(objects, found, names, 0.5, set(objects["label"].unique()), split)
    return Judged(
        matched, images.with_columns(split=pl.lit(split)), predictions, issues.with_columns(split=pl.lit(split))
    )


def listed(judged: Judged, reference: Judged, *, detector: bool = True) -> pl.DataFrame:
    """Make the list of labels to look at."""
    told = judged.objects if detector else judged.objects.with_columns(outcome=pl.lit(None, pl.String))
    rows = labels.review(
        told,
        judged.images,
        judged.predictions if detector else None,
        reference=(reference.objects, reference.images),
        reference_predictions=reference.predictions if detector else None,
    )
    return labels.ordered([rows, labels.from_issues(judged.issues)])


def relevance(rows: pl.DataFrame, damaged: Damaged, way: str) -> tuple[np.ndarray, int]:
    """Return which rows name damage (passed-over rows left out), each damage once, and how much damage there is."""
    twins = "twin" in damaged.keys.columns
    names = {
        (image_id, object_id): place
        for place, (image_id, object_id) in enumerate(damaged.keys.select("image_id", "object_id").iter_rows())
    }
    twin = damaged.keys["twin"].to_list() if twins else list(range(len(damaged.keys)))
    boxes, photos = shapes.corners(damaged.keys), damaged.keys["image_id"].to_numpy()
    told: set[int] = set()
    result = []
    for row in rows.iter_rows(named=True):
        place = names.get((row["image_id"], row["object_id"])) if way != "missing" else None
        if row["object_id"] is None and row["check"] == "missing":
            box = np.array([[row[name] for name in shapes.CORNERS]])
            fits = (shapes.iou(boxes, box) >= 0.5) & (photos == row["image_id"])
            if way == "other_frame" and row["image_id"] in photos:
                continue
            if fits.any() and way != "missing":
                continue
            place = int(fits.argmax()) if fits.any() else None
        if place is None:
            result.append(False)
        elif twin[place] not in told:
            told.add(twin[place])
            result.append(True)
    return np.array(result, dtype=bool), len(set(twin))


def average_precision(hits: np.ndarray, total: int) -> float:
    """Mean of the precision at each hit; damage that is not listed counts as precision 0."""
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].sum() / total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--data", type=Path, default=DATA / "voc")
    parser.add_argument("--judged", default="eval", choices=["eval", "train"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recorded", type=Path, help="file of what the detector said; made if it is not there")
    parser.add_argument("--cleanlab", type=Path, help="an interpreter that has cleanlab")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"skipped: no photos at {arguments.data}")
        return
    wanted = config.load(arguments.config)
    detector = detect.load(wanted.detector, wanted.device)
    splits = {}
    for split in ("train", "eval"):
        as_read = dataset.read(arguments.data / split, "voc", role=split)
        splits[split] = name_as_detector(as_read, wanted.data.classes, detector.names)
    if arguments.recorded and arguments.recorded.is_file():
        seen = pickle.loads(arguments.recorded.read_bytes())
    else:
        seen = {split: record(detector, data) for split, data in splits.items()}
        if arguments.recorded:
            arguments.recorded.write_bytes(pickle.dumps(seen))
    other = "train" if arguments.judged == "eval" else "eval"
    reference = judge(other, splits[other].labels, seen[other], detector.names)
    mine, photos = splits[arguments.judged].labels, seen[arguments.judged]
    ledger = Ledger("label_checks")
    note = f"voc/{arguments.judged}, {arguments.seeds} seeds"
    peer: dict[str, list[float]] = {}
    ours: dict[str, list[float]] = {}
    for way, target in TARGETS.items():
        values: dict[str, list[float]] = {"with": [], "without": []}
        for seed in range(arguments.seeds):
            damaged = damage(mine, way, photos, np.random.default_rng(seed))
            judged = judge(arguments.judged, damaged.labels, photos, detector.names)
            for name, rows in (
                ("with", listed(judged, reference)),
                ("without", listed(judged, reference, detector=False)),
            ):
                values[name].append(average_precision(*relevance(rows, damaged, way)))
            if arguments.cleanlab and way in ("shifted", "wrong_class", "missing"):
                by_photo = _by_photo(listed(judged, reference), damaged, sorted(photos))
                ours.setdefault(way, []).append(by_photo)
                peer.setdefault(way, []).append(_cleanlab(arguments.cleanlab, judged, damaged, detector.names))
        ledger.add(f"{way}: average precision", np.mean(values["with"]), target, "higher", note)
        ledger.add(f"{way}: without a detector", np.mean(values["without"]), None, "higher", note)
    for way, figures in peer.items():
        ledger.add(f"{way}: by photo", np.mean(ours[way]), None, "higher", note)
        ledger.add(f"{way}: cleanlab by photo", np.mean(figures), None, "higher", note)
    if not arguments.cleanlab:
        print("cleanlab left out: name an interpreter that has it with --cleanlab")
    sound = judge(arguments.judged, mine, photos, detector.names)
    rows = listed(sound, reference).filter("doubtful")
    total = sound.objects.filter(pl.col("ignore").is_null()).height
    named = rows.filter(pl.col("object_id").is_not_null())
    ledger.add("share of sound labels called doubtful", len(named) / total, None, "lower", f"of {total}, {note}")
    for check in labels.CHECKS:
        count = rows.filter(pl.col("check") == check).height
        ledger.add(f"{check}: doubtful rows per 1,000 sound labels", 1000 * count / total, None, "lower", note)
    ledger.table()


def _by_photo(rows: pl.DataFrame, damaged: Damaged, ids: list[str]) -> float:
    """Average precision of photos, in the order in which the list first names them."""
    wrong = set(damaged.keys["image_id"])
    order = rows["image_id"].unique(maintain_order=True).to_list()
    hits = np.array([image_id in wrong for image_id in order])
    return average_precision(hits, len(wrong))


def _cleanlab(python: Path, judged: Judged, damaged: Damaged, names: tuple[str, ...]) -> float:
    """Average precision of photos by cleanlab's label quality scores."""
    codes = {name: code for code, name in enumerate(names)}
    ids = judged.images["image_id"].to_list()
    objects = judged.objects.filter(pl.col("ignore").is_null()).partition_by("image_id", as_dict=True)
    found = judged.predictions.partition_by("image_id", as_dict=True)
    given, said = [], []
    for image_id in ids:
        part, seen = objects.get((image_id,)), found.get((image_id,))
        given.append({
            "bboxes": shapes.corners(part).tolist() if part is not None else [],
            "labels": [codes[name] for name in part["label"]] if part is not None else [],
        })  # fmt: skip
        by_class: list[list[list[float]]] = [[] for _ in names]
        for *box, score, label in (
            seen.select(*shapes.CORNERS, "score", "label").iter_rows() if seen is not None else []
        ):
            by_class[codes[label]].append([*box, score])
        said.append(by_class)
    script = (
        "import json,sys,numpy as np\n"
        "from cleanlab.object_detection.rank import get_label_quality_scores as s\n"
        "g,p=json.load(sys.stdin)\n"
        "g=[{'bboxes':np.array(x['bboxes'],float).reshape(-1,4),'labels':np.array(x['labels'],int)} for x in g]\n"
        "p=[np.array([np.array(c,float).reshape(-1,5) for c in x]+[None],dtype=object)[:-1] for x in p]\n"
        "print(json.dumps(list(map(float,s(g,p,verbose=False)))))\n"
    )
    output = subprocess.run(
        [str(python), "-c", script], input=json.dumps([given, said]), capture_output=True, text=True, check=True
    ).stdout
    scores = np.array(json.loads(output.splitlines()[-1]))
    wrong = set(damaged.keys["image_id"])
    hits = np.array([ids[place] in wrong for place in scores.argsort(kind="stable")])
    return average_precision(hits, len(wrong))


if __name__ == "__main__":
    main()

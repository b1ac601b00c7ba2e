"""Whether novelty tells what training lacks: cars of a pose that is left out of the reference, and other classes.

The photos of `voc/eval` hold cars of known pose. One pose after the other is left out of the reference cars; novelty of
its cars is compared with that of the reference cars themselves (of other photos, as always). Levels and poolings were
tried on one half of the photos, `--half tune`; the figures are of the other. A second check gives objects of other
classes the label car: nothing like them is in the reference.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from harness import DATA, Ledger, chunks
from scipy.stats import rankdata

from attributes.decode import read
from xai import config, dataset, detect
from xai.batch import FORWARD_SIZE
from xai.detect.features import object_features
from xai.detect.novelty import Objects, novelty
from xai.reference import name_as_detector
from xai.types import Dataset, Detector

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "voc.yaml"
POSES = ("Frontal", "Rear", "Left", "Right")
CAR, OTHER = 0, 1


class Seen(NamedTuple):
    """Objects of a split (n): their labels and poses, photos as codes, and (n, d) features as they are stored."""

    labels: np.ndarray
    poses: np.ndarray
    photos: np.ndarray
    features: np.ndarray


def look(detector: Detector, data: Dataset) -> Seen:
    """Read the features of all labelled objects."""
    rows: list[pl.DataFrame] = []
    features: list[np.ndarray] = []
    labels = data.labels.sort("image_id", "object_id")
    for batch in chunks(data.image_ids, 16):
        photos = [read(data.root / image_id).pixels for image_id in batch]
        parts = [labels.filter(pl.col("image_id") == image_id) for image_id in batch]
        boxes = [part.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float64) for part in parts]
        with torch.no_grad():
            groups = detector.prepare(photos)
            size = FORWARD_SIZE[groups[0].inputs.device.type]
            for prepared in (part for group in groups for part in group.parts(size)):
                found = detector.forward(prepared.inputs)
                features += object_features(found, prepared, [boxes[index] for index in prepared.indices])
                rows += [parts[index] for index in prepared.indices]
    table = pl.concat(rows, how="diagonal_relaxed")
    return Seen(
        table["label"].to_numpy(),
        table["label_pose"].fill_null("").to_numpy(),
        table["image_id"].rank("dense").to_numpy().astype(np.int64),
        np.concatenate(features).astype(np.float16),
    )


def of(seen: Seen, keep: np.ndarray, label: int) -> Objects:
    return Objects(seen.features[keep], np.full(int(keep.sum()), label), seen.photos[keep])


def together(*parts: Objects) -> Objects:
    """Join sets of objects whose photos differ."""
    shifted = [part.draws + 1_000_000 * place for place, part in enumerate(parts)]
    return Objects(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(shifted),
    )


def auc(more: np.ndarray, less: np.ndarray) -> float:
    """Probability that a value of ``more`` exceeds one of ``less``, ties half (Mann & Whitney 1947)."""
    more, less = more[np.isfinite(more)], less[np.isfinite(less)]
    ranks = rankdata(np.concatenate([more, less]))[: len(more)]
    return float((ranks.sum() - len(more) * (len(more) + 1) / 2) / (len(more) * len(less)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--data", type=Path, default=DATA / "voc")
    parser.add_argument("--half", default="report", choices=["tune", "report", "all"])
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"skipped: no photos at {arguments.data}")
        return
    wanted = config.load(arguments.config)
    detector = detect.load(wanted.detector, wanted.device)
    train, judged = (
        look(
            detector,
            name_as_detector(
                dataset.read(arguments.data / split, "voc", role=split), wanted.data.classes, detector.names
            ),
        )
        for split in ("train", "eval")
    )
    halves = np.random.default_rng(42).permutation(judged.photos.max() + 1) % 2
    half = {"tune": halves[judged.photos] == 0, "report": halves[judged.photos] == 1}.get(
        arguments.half, np.ones(len(judged.photos), dtype=bool)
    )
    background = of(train, np.ones(len(train.labels), dtype=bool), OTHER)  # of all classes, for the whitening
    cars = (judged.labels == "car") & np.isin(judged.poses, POSES) & half
    ledger = Ledger("novelty")
    note = f"{int(cars.sum())} cars of known pose, half: {arguments.half}"
    values, shares, chances = [], [], []
    for pose in POSES:
        out = cars & (judged.poses == pose)
        rest = of(judged, cars & ~out, CAR)
        found = novelty(together(rest, background), of(judged, out, CAR))
        values.append(auc(found.judged, found.train[: len(rest.labels)]))
        ledger.add(f"{pose} left out: AUC", values[-1], None, "higher", f"{int(out.sum())} of {note}")
    ledger.add("pose left out: AUC, mean", np.mean(values), 0.75, "higher", note)
    places = np.flatnonzero(cars)
    for place in places:
        others = cars & (judged.photos != judged.photos[place])
        one = np.zeros(len(cars), dtype=bool)
        one[place] = True
        found = novelty(together(of(judged, others, CAR), background), of(judged, one, CAR))
        near = np.flatnonzero(others)[found.nearest[0, :3]]
        shares.append((judged.poses[near] == judged.poses[place]).mean())
        chances.append((judged.poses[others] == judged.poses[place]).mean())
    chance = float(np.mean(chances))
    ledger.add("three nearest cars share the pose", np.mean(shares), chance, "higher", f"chance {chance:.3f}; {note}")
    reference = together(of(train, train.labels == "car", CAR), of(train, train.labels != "car", OTHER))
    sound = novelty(reference, of(judged, (judged.labels == "car") & half, CAR)).judged
    other = novelty(reference, of(judged, (judged.labels != "car") & half, CAR)).judged
    alike = np.isin(judged.labels, ["bus", "train", "motorcycle", "airplane", "boat"]) & half
    vehicles = novelty(reference, of(judged, alike, CAR)).judged
    count = int((train.labels == "car").sum())
    ledger.add(
        "other classes called car: AUC", auc(other, sound), None, "higher", f"{len(other)}; {count} reference cars"
    )
    ledger.add("other vehicles called car: AUC", auc(vehicles, sound), None, "higher", f"{len(vehicles)} vehicles")
    ledger.add(
        "sound cars called novel", (sound >= 95).mean(), None, "lower", f"{len(sound)} cars; 0.05 of training's own"
    )
    ledger.add("bytes an object", 2 * train.features.shape[1], 1024, "lower", f"{train.features.shape[1]} float16")
    ledger.table()


if __name__ == "__main__":
    main()

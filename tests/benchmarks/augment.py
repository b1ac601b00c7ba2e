"""How much of what the augmentation recipes make lands in the bin that they aim at, and how well pools are searched.

    python tests/benchmarks/augment.py [--data ../shared/data] [--photos 80]

Every recipe is tried once on each photo; what comes out is tagged like any photo. Recipes of camera tilt and of
quarter turns are tried on photos of buildings (York Urban), where the attributes tell most; the others on PASCAL VOC.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import polars as pl
from harness import DATA, Ledger

from attributes import ATTRIBUTES, measure
from attributes.decode import read
from xai import augment, dataset
from xai.coverage.fill import fill

TURNS = ("rotation", "roll")
SIZES = "object_size"


def landings(ledger: Ledger, data: Path, photos: int) -> None:
    voc = dataset.read(data / "voc/train", "voc", role="train")
    step = max(len(voc.image_ids) // photos, 1)
    samples = []
    for image_id in voc.image_ids[::step][:photos]:
        rows = voc.labels.filter(pl.col("image_id") == image_id)
        boxes = rows.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float64)
        samples.append((read(voc.root / image_id).pixels, boxes, rows["label"].to_list()))
    york = sorted((data / "york").rglob("*.jpg"))
    straight = [(read(path).pixels, np.empty((0, 4)), []) for path in york]
    found = measure([item[0] for item in samples], [item[1] for item in samples])
    medians = {name: float(np.nanmedian(values)) for name, values in {**found.images, **found.objects}.items()}
    typical = augment.Typical(float(np.median([max(item[0].shape) for item in samples])), medians)
    every = []
    for attribute, name in augment.RECIPES:
        others = {other: value for other, value in medians.items() if other != attribute or attribute == SIZES}
        known = medians if attribute not in ("layout", *TURNS) else others
        made = augment.plan([f"{attribute}={name}"], augment.Typical(typical.longest, known))
        if made.pipeline is None or not made.told_by:
            continue
        landed = augment.landing(made, straight if attribute in TURNS else samples)
        unit = "objects" if ATTRIBUTES[attribute].level == "object" else "photos"
        note = (
            f"{landed.inside} of {landed.known} {unit} that are told, {landed.tried} tried; before {landed.before:.0%}"
        )
        share = landed.share or 0.0
        # One scale for all objects of a photo cannot bring large and small ones into a narrow range of sizes.
        ledger.add(f"lands in {attribute} {name}", share, None if attribute == SIZES else 0.5, "higher", note)
        every.append(share)
    ledger.add("recipes: median share that lands", float(np.median(every)), 0.8, "higher", f"{len(every)} recipes")


def choices(ledger: Ledger) -> None:
    """Compare greedy choice with the best of all, and time it on a large pool."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(100):
        holds = rng.poisson(0.5, (14, 6))
        needed, weight = rng.integers(1, 5, 6), rng.uniform(0.1, 3, 6)
        found = fill(holds, needed, weight, most=5)
        parts = itertools.combinations(range(14), 5)
        best = max((weight * np.minimum(holds[list(part)].sum(axis=0), needed) / needed).sum() for part in parts)
        ratios.append(found.gain.sum() / best)
    ledger.add("greedy against the best choice: worst of 100", min(ratios), 1 - 1 / np.e, "higher", "14 photos, take 5")
    ledger.add("greedy against the best choice: mean", float(np.mean(ratios)), 0.95, "higher")
    holds = (rng.random((100_000, 60)) < rng.uniform(0.001, 0.1, 60)).astype(np.int64)
    hashes = rng.integers(0, 256, (100_000, 32), dtype=np.uint8)
    start = time.perf_counter()
    found = fill(holds, np.full(60, 300), np.ones(60), most=1000, hashes=hashes)
    seconds = time.perf_counter() - start
    ledger.add(
        "seconds to choose 1,000 of 100,000 photos", seconds, 30, "lower", f"60 gaps, {len(found.chosen)} chosen"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--photos", type=int, default=80)
    arguments = parser.parse_args()
    ledger = Ledger("augment")
    landings(ledger, arguments.data, arguments.photos)
    choices(ledger)
    ledger.table()


if __name__ == "__main__":
    main()

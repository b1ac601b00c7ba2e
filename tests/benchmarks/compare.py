"""How honest `xai compare` and `xai history` are: false alarms where nothing differs, and how often intervals cover.

    python tests/benchmarks/compare.py [--runs 400] [--parts differences compare history moves]

Worlds are drawn at random; objects of a photo share its difficulty. Nothing but the tables' code is used: no detector.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace

import numpy as np
import polars as pl
from harness import Ledger

from attributes import ATTRIBUTES
from xai.after import histories, portions
from xai.coverage.bins import fit_user_bins, inherit
from xai.coverage.changes import cells, members
from xai.coverage.drift import moved
from xai.coverage.intervals import false_discovery, indicator
from xai.coverage.onehot import conditions
from xai.coverage.paired import paired
from xai.coverage.sample import Sample, sample
from xai.coverage.slices import slices

PHOTO = ("brightness", "contrast", "haze", "glare", "sharpness", "noise")
OBJECT = ("object_size", "object_position", "crowding", "occlusion", "object_contrast", "object_brightness")


def beta(rng: np.random.Generator, mean: float, correlation: float, size: int) -> np.ndarray:
    """Difficulties of photos: misses of one photo then have this intraclass correlation."""
    total = 1 / correlation - 1
    return rng.beta(mean * total, (1 - mean) * total, size)


def misses(
    rng: np.random.Generator, photo: np.ndarray, rates: tuple[float, float], same: float, correlation: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw the misses of two detectors; with probability `same` a photo's are B's as they are A's."""
    photos = int(photo.max()) + 1
    a, fresh = (rng.random(len(photo)) < beta(rng, rate, correlation, photos)[photo] for rate in rates)
    keep = (rng.random(photos) < same)[photo]
    return a, np.where(keep, a, fresh), (1 - same) * (rates[1] - rates[0])


def cover_differences(ledger: Ledger, runs: int) -> None:
    """How often the interval of the difference in miss rate holds the true one."""
    worlds = {
        "200 photos of 8, 20% and 15%": (200, 8, (0.2, 0.15), 0.5, 0.3, (0.93, None)),
        "200 photos of 8, 10% both, 90% of photos the same": (200, 8, (0.1, 0.1), 0.9, 0.3, (0.93, None)),
        "40 photos of 8, 20% and 10%": (40, 8, (0.2, 0.1), 0.3, 0.3, (0.93, None)),
        "200 photos of 8, 1% and 2%": (200, 8, (0.01, 0.02), 0.3, 0.3, (0.93, None)),
        "400 photos of 1, 20% and 25%": (400, 1, (0.2, 0.25), 0.5, 0.3, (0.93, None)),
    }
    for name, (photos, objects, rates, same, correlation, (target, _)) in worlds.items():
        rng = np.random.default_rng(1)
        covered, widths, naive = [], [], []
        for _ in range(runs):
            counts = rng.poisson(objects - 1, photos) + 1 if objects > 1 else np.ones(photos, dtype=int)
            photo = np.repeat(np.arange(photos), counts)
            a, b, truth = misses(rng, photo, rates, same, correlation)
            everything = np.ones((len(photo), 1), dtype=bool)
            found = paired(everything, a, b, indicator(photo, photos))
            covered.append(found.low[0] <= truth <= found.high[0])
            widths.append(found.high[0] - found.low[0])
            change = b.astype(float) - a
            reach = 1.96 * change.std() / np.sqrt(len(change))
            naive.append(abs(change.mean() - truth) <= reach)
        note = f"mean width {100 * np.mean(widths):.1f} points; objects as draws cover {np.mean(naive):.3f}"
        ledger.add(f"difference covered: {name}", float(np.mean(covered)), target, "higher", note)


def tables_of(rng: np.random.Generator, photos: int, objects: int) -> Sample:
    """Draw photos and objects with 12 attributes, values as the catalog's bins allow."""
    counts = rng.poisson(objects, photos)
    photo = np.repeat(np.arange(photos), counts)

    def values(name: str, size: int) -> np.ndarray:
        bins = ATTRIBUTES[name].bins
        cuts = [part.low for part in bins[1:]]
        middles = [cuts[0] - abs(cuts[0]) / 2, *[(low + high) / 2 for low, high in itertools.pairwise(cuts)],
                   cuts[-1] + abs(cuts[-1]) / 10]  # fmt: skip
        shares = rng.dirichlet(np.full(len(middles), 1.5))
        return np.array(middles)[rng.choice(len(middles), size, p=shares)]

    ids = np.array([f"p{place:05d}" for place in range(photos)])
    images = pl.DataFrame({"image_id": ids, "status": "ok", **{name: values(name, photos) for name in PHOTO}})
    frame = pl.DataFrame(
        {
            "image_id": ids[photo],
            "object_id": np.concatenate([np.arange(count) for count in counts]),
            "label": rng.choice(["car", "person", "dog"], len(photo), p=[0.5, 0.3, 0.2]),
            "outcome": "found",
            **{name: values(name, len(photo)) for name in OBJECT},
        }
    )
    user = fit_user_bins(inherit(frame, images, ATTRIBUTES))
    return sample(images, frame, ATTRIBUTES, user)


def alarms_of_compare(ledger: Ledger, runs: int) -> None:
    """Two detectors that are alike: how often anything is said to be better or worse."""
    rng = np.random.default_rng(2)
    overall, conditional = [], []
    for _ in range(runs):
        held = tables_of(rng, 250, 5)
        photos = held.photos
        difficulty = beta(rng, 0.2, 0.3, photos)[held.photo]
        hard = 1 + 2 * (held.codes["object_size"] == 0) + (held.codes["glare"] == 2)
        a, b = (rng.random(len(held.photo)) < np.minimum(difficulty * hard, 0.95) for _ in range(2))
        grid = conditions(held, ATTRIBUTES, {})
        columns = grid.columns_of(held, ATTRIBUTES, {})
        either = slices(None, replace(held, miss=a | b), ATTRIBUTES, {})
        found = members(grid, columns, held, {"slice": either})
        joined = pl.DataFrame(
            {"cause_a": None, "outcome_b": ["found"] * len(a)}, schema_overrides={"cause_a": pl.String}
        )
        told = cells(found, a, b, held, joined)
        overall.append(told["p_value"][0] <= 0.05)
        conditional.append(bool((told["q_value"].drop_nulls() <= 0.05).any()))
    ledger.add(
        "null: overall difference claimed", float(np.mean(overall)), 0.05, "lower", f"{runs} runs, 12 attributes"
    )
    ledger.add("null: any condition claimed", float(np.mean(conditional)), 0.05, "lower", "slices searched in each")


def alarms_of_history(ledger: Ledger, runs: int) -> None:
    """Three runs of one population: how often any share is said to have moved."""
    for name, overlap in (("no photo shared", 0.0), ("half of the photos shared", 0.5)):
        rng = np.random.default_rng(3)
        alarms = []
        for _ in range(runs):
            held = tables_of(rng, 750, 4)
            difficulty = beta(rng, 0.15, 0.3, held.photos)[held.photo]
            held = replace(held, miss=rng.random(len(held.photo)) < difficulty)
            start = [0, round(250 * (1 - overlap)), 2 * round(250 * (1 - overlap))]
            sides = [side(held, first, first + 250) for first in start]
            steps = [(0, 1), (1, 2), (0, 2)]
            moves = pl.concat([histories._moves(first, last, sides, misses_only=False) for first, last in steps])
            alarms.append(bool((false_discovery(moves["p_value"].to_numpy()) <= 0.05).any()))
        ledger.add(f"null: any share moved, {name}", float(np.mean(alarms)), 0.05, "lower", f"{runs} runs of 3 sets")


def side(held: Sample, first: int, last: int) -> list[portions.Cells]:
    """Cut some photos out as a run of their own."""
    keys = pl.Series([f"p{place}" for place in range(held.photos)])
    inside = (held.photo >= first) & (held.photo < last)
    part = held.where(inside)
    by_photo = {name: values[first:last] for name, values in held.image_codes.items()}
    by_object = {name: values for name, values in part.codes.items() if name not in by_photo}
    cells = portions.count_cells("objects", by_object, keys[part.photo.tolist()], ATTRIBUTES, {})
    return [
        portions.count_cells("photos", by_photo, keys[first:last], ATTRIBUTES, {}),
        portions.with_labels(cells, part),
        portions.misses(part, cells.keys),
    ]


def cover_moves(ledger: Ledger, runs: int) -> None:
    """How often the interval of a share ratio holds the true one."""
    worlds = {
        "photos, 5% to 8%": (400, 1, 0.05, 0.08, 0.0),
        "photos, 5% to 8%, half shared": (400, 1, 0.05, 0.08, 0.5),
        "photos, 1% to 1%": (300, 1, 0.01, 0.01, 0.0),
        "objects in fives, 10% to 10%": (200, 5, 0.1, 0.1, 0.0),
        "objects in fives, 10% to 10%, half shared": (200, 5, 0.1, 0.1, 0.5),
    }
    for name, (photos, objects, before, after, shared) in worlds.items():
        rng = np.random.default_rng(4)
        covered = []
        for _ in range(runs):
            same = round(photos * shared)
            key = np.concatenate([np.arange(photos), np.arange(photos - same, 2 * photos - same)])
            draw = np.repeat(key, objects)
            later = np.repeat([False, True], photos * objects)
            rate = {rate: beta(rng, rate, 0.3, 2 * photos) for rate in {before, after}}
            if objects == 1:
                inside = rng.random(2 * photos)[key] < np.where(later, after, before)
            else:
                chance = rng.random((2 * photos, objects))
                inside = (chance[key].ravel()) < np.where(later, rate[after][draw], rate[before][draw])
            found = moved(inside[:, None], later, indicator(draw, 2 * photos))
            low, high = found.low[0], found.high[0]
            if np.isnan(low):  # nothing in the cell, nothing is said
                continue
            covered.append(low <= after / before <= high)
        ledger.add(f"share ratio covered: {name}", float(np.mean(covered)), 0.93, "higher", f"{len(covered)} runs")


PARTS = {
    "differences": cover_differences,
    "compare": alarms_of_compare,
    "history": alarms_of_history,
    "moves": cover_moves,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400, help="worlds of each kind")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    ledger = Ledger("compare")
    for part in arguments.parts:
        PARTS[part](ledger, arguments.runs)
    ledger.table()


if __name__ == "__main__":
    main()

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from worlds import CATALOG, Side, world

from xai import tables
from xai.coverage import analyse
from xai.coverage.bins import fit_user_bins
from xai.coverage.gaps import uncovered
from xai.coverage.sample import Sample, sample

USER = fit_user_bins(world(1).objects)


def prepared(side: Side) -> Sample:
    return sample(side.images, side.objects, CATALOG, USER)


def by_brute_force(train: Sample, evaluation: Sample, threshold: int) -> dict[frozenset[str], tuple[int, int, int]]:
    """Count every combination of up to three conditions in plain Python."""

    def rows(side: Sample) -> list[frozenset[str]]:
        return [
            frozenset(f"{name}={value}" for name, value in row.items() if name not in {"image_id", "object_id"})
            for row in side.named().iter_rows(named=True)
        ]

    held, shown = rows(train), rows(evaluation)
    names = sorted({name for row in shown for name in row if not name.endswith("=unknown")})
    found: dict[frozenset[str], tuple[int, int, int]] = {}
    for size in (1, 2, 3):
        for group in combinations(names, size):
            pattern = frozenset(group)
            if len({name.split("=")[0] for name in pattern}) < size:
                continue
            count = sum(pattern <= row for row in held)
            covered = [sum((pattern - {name}) <= row for row in held) >= threshold for name in pattern]
            visits = [pattern <= row for row in shown]
            if count < threshold and (size == 1 or all(covered)) and any(visits):
                misses = sum(bool(miss) for miss, visit in zip(evaluation.miss, visits, strict=True) if visit)
                found[pattern] = (count, sum(visits), misses)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_patterns_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    train = prepared(world(seed, int(rng.integers(2, 25)), glare=float(rng.random())))
    evaluation = prepared(world(seed + 50, 20))
    threshold = int(rng.integers(1, 12))
    got = uncovered(train, evaluation, CATALOG, USER, threshold=threshold)
    expected = by_brute_force(train, evaluation, threshold)
    table = {
        frozenset(pattern): counts
        for pattern, *counts in got.select("pattern", "train_count", "eval_count", "miss_count").iter_rows()
    }
    assert {pattern: tuple(counts) for pattern, counts in table.items()} == expected
    assert len(got) == len(expected)
    assert (got["collect"] == threshold - got["train_count"]).all()
    assert got["miss_count"].is_sorted(descending=True)


def test_the_planted_hole_is_found_with_its_misses() -> None:
    train, evaluation = world(1, 500), world(2, 300, crowd_risk=3.0)
    joined = train.objects.join(train.images, on="image_id", maintain_order="left")
    hole = ((joined["brightness"] < 0.3) & (joined["crowding"] >= 0.7)).to_numpy()
    holed = Side(train.images, train.objects.filter(pl.Series(~hole)))
    first = analyse(holed, evaluation, train_detected=True, catalog=CATALOG).uncovered.row(0, named=True)
    assert set(first["pattern"]) == {"brightness=dark", "crowding=crowded"}
    assert first["train_count"] == 0
    assert first["miss_count"] > 0


def test_no_training_set_an_empty_one_and_unmeasured_attributes() -> None:
    evaluation = prepared(world(2, 30))
    nothing = uncovered(None, evaluation, CATALOG, USER)
    assert nothing.is_empty()
    assert nothing.schema == pl.Schema(tables.TABLES["uncovered"])
    side = world(1, 300)
    empty = prepared(Side(side.images.clear(), side.objects.clear()))
    assert uncovered(empty, evaluation, CATALOG, USER)["pattern"].list.len().max() == 1
    blind = prepared(Side(side.images.drop("glare"), side.objects))
    patterns = uncovered(blind, evaluation, CATALOG, USER)["pattern"].list.join(" ")
    assert not patterns.str.contains("glare").any()

import numpy as np
import polars as pl
import pytest
from worlds import CATALOG, Side, world

from xai.coverage import analyse, collect
from xai.coverage.assess import Counts
from xai.rules import RARE_COUNT


def counts(
    objects: list[float], photos: list[float], everything: float, among: float, neighbours: list[float]
) -> Counts:
    return Counts(*(np.array(part) for part in (objects, photos, [everything], [among], neighbours)))


def test_both_rules_by_hand() -> None:
    """20 of 1,000 training objects, 100 of 500 evaluation ones on 50 photos that hold 200."""
    train = counts([20.0], [10.0], 1000.0, 250.0, [40.0])
    evaluation = counts([100.0], [50.0], 500.0, 125.0, [200.0])
    got = {name: float(values[0]) for name, values in collect.needed(train, evaluation, photos_only=False).items()}
    photos = got["collect"]
    assert (20 + 2 * photos) / (1000 + 4 * photos) == pytest.approx(0.2, abs=1e-3)
    assert got["collect_objects"] == 2 * photos
    assert got["collect_reach_objects"] == RARE_COUNT - 20
    assert got["collect_reach"] == 15
    by_photo = {name: float(values[0]) for name, values in collect.needed(train, evaluation, photos_only=True).items()}
    assert (10 + by_photo["collect"]) / (250 + by_photo["collect"]) == pytest.approx(0.4, abs=1e-2)


def test_what_is_never_seen_and_what_no_number_reaches_is_null() -> None:
    train = counts([60.0, 0.0], [10.0, 0.0], 60.0, 10.0, [60.0, 0.0])
    evaluation = counts([50.0, 0.0], [10.0, 0.0], 50.0, 10.0, [50.0, 0.0])
    got = collect.needed(train, evaluation, photos_only=False)
    assert np.isnan(got["collect"]).all()
    assert got["collect_reach"][0] == 0
    assert np.isnan(got["collect_reach"][1])
    assert all(np.isnan(values).all() for values in collect.needed(None, evaluation, photos_only=False).values())


def test_misses_avoided_are_the_attributable_fraction() -> None:
    row = pl.DataFrame(
        {
            "miss_count": [30, 30, 30, 30],
            "adjusted_risk_ratio": [3.0, 0.8, 4.0, None],
            "adjusted_low": [2.0, 0.5, 0.0, None],
            "adjusted_high": [5.0, 1.5, None, None],
        }
    ).select(collect.avoided())
    assert row.rows() == [
        (pytest.approx(20.0), pytest.approx(15.0), pytest.approx(24.0)),
        (0.0, 0.0, pytest.approx(10.0)),
        (pytest.approx(22.5), 0.0, 30.0),
        (None, None, None),
    ]


def test_the_estimate_holds_what_was_planted() -> None:
    """Objects of photos with strong glare are missed four times as often: three of four of their misses are extra."""
    inside = 0
    for seed in range(12):
        train, evaluation = world(seed, 300, glare=0.0), world(100 + seed, 700, glare=0.15, glare_risk=4.0)
        table = analyse(train, evaluation, train_detected=True, catalog=CATALOG).coverage
        strong = (pl.col("attribute") == "glare") & (pl.col("bin") == "strong") & pl.col("label").is_null()
        row = table.filter(strong).row(0, named=True)
        assert row["assessment"] == "coverage_gap"
        assert row["avoided_low"] < row["avoided"] < row["avoided_high"]
        assert row["collect_reach_objects"] == RARE_COUNT
        inside += row["avoided_low"] <= 0.75 * row["miss_count"] <= row["avoided_high"]
    assert inside >= 10


def test_only_what_is_rare_has_figures() -> None:
    side: Side = world(3, 500, glare=0.3, glare_risk=4.0)
    table = analyse(side, side, train_detected=True, catalog=CATALOG).coverage
    plenty = table.filter(pl.col("label").is_null() & (pl.col("train_count") >= RARE_COUNT))
    assert len(plenty) > 5
    for name in collect.COLUMNS:
        assert plenty[name].null_count() == len(plenty)

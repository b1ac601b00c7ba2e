"""What only the detector tells is compared with the training photos that it was run on, and with those alone."""

import numpy as np
import polars as pl
from worlds import Side, world

from xai.catalog import CATALOG, OF_DETECTOR
from xai.coverage import analyse
from xai.coverage.assess import assess
from xai.rules import MISSES


def with_novelty(side: Side, seed: int, known: pl.Expr) -> Side:
    """Give the objects that the detector was asked about novelties, spread evenly."""
    drawn = pl.Series("novelty", np.random.default_rng(seed).uniform(0, 100, len(side.objects)))
    objects = side.objects.with_columns(drawn).with_columns(novelty=pl.when(known).then("novelty"))
    return Side(side.images, objects)


def test_the_base_of_training_is_what_the_detector_was_asked_about() -> None:
    asked = pl.col("image_id").rank("dense") % 4 == 0
    train = world(1, detected=True)
    train = Side(train.images, train.objects.with_columns(outcome=pl.when(asked).then("outcome")))
    train, evaluation = with_novelty(train, 3, asked), with_novelty(world(2), 4, pl.lit(True))
    found = analyse(train, evaluation, train_detected=True, catalog=CATALOG)
    table = found.coverage.filter((pl.col("attribute") == "novelty") & pl.col("label").is_null())
    rows = {row["bin"]: row for row in table.rows(named=True)}
    base = train.objects.filter(asked & (pl.col("outcome").is_in(["found", *MISSES])))
    assert sum(row["train_count"] for row in rows.values()) == len(base)
    novel = int((base["novelty"] >= 95).sum())
    assert rows["novel"]["train_count"] == novel
    assert rows["novel"]["train_share"] == novel / len(base)
    others = found.coverage.filter((pl.col("attribute") == "glare") & pl.col("label").is_null())
    assert others["train_count"].sum() == train.objects.height


def test_patterns_are_not_made_of_novelty() -> None:
    train, evaluation = with_novelty(world(1, detected=True), 3, pl.lit(True)), with_novelty(world(2), 4, pl.lit(True))
    found = analyse(train, evaluation, train_detected=True, catalog=CATALOG)
    assert set(OF_DETECTOR) & set(found.bins.columns)
    named = [*found.slices["conditions"].explode(), *found.uncovered["pattern"].explode()]
    assert not [condition for condition in named if condition is not None and condition.startswith("novelty=")]


def test_few_training_objects_beyond_a_percentile_of_their_own_are_not_rare() -> None:
    table = pl.DataFrame(
        {
            "attribute": ["novelty", "novelty", "glare"], "train_share": [0.046, 0.02, 0.046],
            "eval_share": [0.066, 0.066, 0.066], "train_count": [43, 43, 43], "q_value": [0.001] * 3,
            "adjusted_risk_ratio": [5.0] * 3, "adjusted_low": [3.0] * 3, "adjusted_high": [8.0] * 3,
            "train_elevated": [False] * 3, "collect": [18] * 3,
        }
    )  # fmt: skip
    found = assess(table, pl.lit(True))
    assert found["assessment"].to_list() == ["hard", "coverage_gap", "coverage_gap"]
    assert found["collect"].to_list() == [None, 18, 18]

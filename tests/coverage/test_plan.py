import numpy as np
import polars as pl
import pytest
from scipy.optimize import LinearConstraint, milp
from worlds import CATALOG, world

from xai.coverage import analyse
from xai.coverage.bins import bin_columns, inherit
from xai.coverage.plan import SCHEMA, cover


def smallest(adds: np.ndarray, needed: np.ndarray) -> int:
    """The exact minimum, by integer programming."""
    rows = LinearConstraint(adds.T, needed, np.inf)
    return round(milp(np.ones(len(adds)), constraints=rows, integrality=np.ones(len(adds))).fun)


@pytest.mark.parametrize("seed", range(20))
def test_the_list_covers_all_needs_and_is_near_the_smallest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    adds = rng.poisson(0.5, (int(rng.integers(5, 30)), int(rng.integers(1, 8))))
    adds[np.arange(adds.shape[1]) % len(adds), np.arange(adds.shape[1])] += 1
    needed = rng.integers(1, 30, adds.shape[1])
    chosen, times = cover(adds, needed)
    assert (times @ adds[chosen] >= needed).all()
    assert (times > 0).all()
    assert len(set(chosen.tolist())) == len(chosen)
    best = smallest(adds, needed)
    assert best <= times.sum() <= best + adds.shape[1]
    assert times.sum() <= 1.1 * best + 2


def test_a_need_that_nothing_adds_to_is_left_out() -> None:
    chosen, times = cover(np.array([[1, 0], [2, 0]]), np.array([5, 3]))
    assert (chosen.tolist(), times.tolist()) == ([1], [3])
    assert [part.tolist() for part in cover(np.zeros((2, 0), dtype=int), np.array([], dtype=int))] == [[], []]


def test_collected_photos_cover_every_pattern_with_misses() -> None:
    train, evaluation = world(1, 150), world(2, 200, crowd_risk=3.0)
    found = analyse(train, evaluation, train_detected=True, catalog=CATALOG)
    missed = found.uncovered.filter(pl.col("miss_count") > 0)
    assert len(missed) > 3
    assert found.plan.schema == pl.Schema(SCHEMA)
    bins = bin_columns(inherit(evaluation.objects, evaluation.images, CATALOG), CATALOG)
    for pattern, needed in missed.select("pattern", "collect").iter_rows():
        parts = [part.partition("=") for part in pattern]
        shown = bins.filter([pl.col(name) == value for name, _, value in parts])["image_id"].value_counts()
        added = found.plan.join(shown, left_on="like", right_on="image_id", how="inner")
        assert (added["photos"] * added["count"]).sum() >= needed
    assert found.plan["photos"].sum() <= missed["collect"].sum()


def test_without_training_set_there_is_nothing_to_cover() -> None:
    plan = analyse(None, world(2, 50), train_detected=False, catalog=CATALOG).plan
    assert plan.is_empty()
    assert plan.schema == pl.Schema(SCHEMA)

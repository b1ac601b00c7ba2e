"""Intervals over photos, against statsmodels, a bootstrap over photos and hand-made counts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from xai.report.intervals import effective_size, of_counts, wilson


@pytest.mark.parametrize(("found", "size"), [(0, 5), (5, 5), (3, 7), (480, 500), (1, 1)])
def test_wilson_equals_statsmodels(found: int, size: int) -> None:
    expected = proportion_confint(found, size, alpha=0.05, method="wilson")
    assert wilson(found / size, size) == pytest.approx(expected, abs=1e-9)


def test_intervals_widen_with_clustering_as_the_variance_over_photos_says() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 200)
    found = rng.binomial(sizes, rng.beta(1, 1, 200))
    squares = (float((sizes**2).sum()), float((sizes * found).sum()), float((found**2).sum()))
    low, high = of_counts(int(found.sum()), int(sizes.sum()), squares, 200)
    draws = rng.integers(0, 200, (4000, 200))
    boot = found[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    assert (low, high) == pytest.approx(tuple(np.quantile(boot, [0.025, 0.975])), abs=0.01)
    naive = wilson(float(found.sum() / sizes.sum()), float(sizes.sum()))
    assert high - low > 1.3 * (naive[1] - naive[0])


def test_small_counts_take_photos_as_draws() -> None:
    assert of_counts(30, 30, (300, 300, 300), 3) == pytest.approx(wilson(1.0, 3))


def test_the_effective_size_counts_copies_once() -> None:
    ids = pl.Series(["a"] * 9 + ["b"])
    assert effective_size(ids) == pytest.approx(100 / 82)
    grouped = pl.DataFrame({"image_id": ["a", "b"], "group": ["site", "site"]})
    assert effective_size(ids, grouped) == pytest.approx(1)
    assert effective_size(pl.Series([], dtype=pl.String)) == 0


def test_intervals_at_the_effective_size_hold_the_truth_when_photos_share_a_condition() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        sizes = rng.integers(1, 9, 60)
        shown = rng.random(60) < 0.3
        ids = pl.Series(np.repeat(np.arange(60), sizes).astype(str))
        low, high = wilson(float(sizes[shown].sum() / sizes.sum()), effective_size(ids))
        held += low <= 0.3 <= high
    assert held / 400 > 0.92

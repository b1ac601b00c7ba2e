"""Shares of two data sets: against independent tests where no photo is in both, against pairs where all are."""

import numpy as np
import pytest
from scipy import stats

from xai.coverage.drift import moved, share_bounds
from xai.coverage.intervals import indicator, intraclass_correlation
from xai.coverage.ratios import risk_ratios


def test_separate_photos_against_the_two_sample_test() -> None:
    inside = np.zeros((700, 2), dtype=bool)
    inside[:30, 0] = True
    inside[300:390, 0] = True
    inside[[0, 1, 300], 1] = True
    later = np.arange(700) >= 300
    found = moved(inside, later, indicator(np.arange(700), 700))
    assert found.before == pytest.approx([30 / 300, 2 / 300])
    assert found.after == pytest.approx([90 / 400, 1 / 400])
    variance = (1 - 0.1) / 30 + (1 - 0.225) / 90  # Katz et al., of the log ratio
    student = 2 * stats.t.sf(np.log(2.25) / np.sqrt(variance), 299)
    assert found.p_value[0] == pytest.approx(student, rel=0.02)
    low = 2.25 * np.exp(-1.96 * np.sqrt(variance))
    assert found.low[0] == pytest.approx(low, rel=0.03)
    rare = 2 * stats.binom.cdf(1, 3, 400 / 700)
    assert found.p_value[1] == pytest.approx(min(rare, 1), rel=1e-6)


def test_few_photos_out_of_a_cell_tell_as_much_as_few_in_it() -> None:
    """996 of 1,000 against 940 of 1,000 is 4 against 60: Fisher's exact test, whichever is counted."""
    inside = np.concatenate([np.arange(1000) < 940, np.arange(1000) < 996])[:, None]
    later, draws = np.arange(2000) >= 1000, indicator(np.arange(2000), 2000)
    found, turned = moved(inside, later, draws), moved(~inside, later, draws)
    fisher = stats.fisher_exact([[996, 4], [940, 60]])[1]
    assert found.p_value[0] == pytest.approx(fisher, rel=1e-6)
    assert 0 < turned.p_value[0] < 1e-10
    assert 1 < found.low[0] < found.ratio[0] < found.high[0]


def test_cells_at_once_are_risk_ratios_of_the_set() -> None:
    rng = np.random.default_rng(0)
    draw = np.concatenate([np.arange(200), np.arange(100, 350)])
    inside = rng.random((450, 4)) < [0.1, 0.5, 0.8, 0.01]
    later, draws = np.repeat([False, True], [200, 250]), indicator(draw, 350)
    found = moved(inside, later, draws)
    for cell in range(4):
        icc = intraclass_correlation(inside[:, cell], draws)
        alone = risk_ratios(later[:, None], np.ones((450, 1), dtype=bool), inside[:, cell], draws, icc=icc)
        for name in ("ratio", "low", "high", "p_value"):
            assert getattr(found, name)[cell] == pytest.approx(getattr(alone, name)[0])


def test_photos_in_both_sets_are_paired() -> None:
    rng = np.random.default_rng(0)
    before = rng.random(400) < 0.3
    after = before | (rng.random(400) < 0.03)
    inside = np.concatenate([before, after])[:, None]
    later = np.repeat([False, True], 400)
    photo = np.tile(np.arange(400), 2)
    paired = moved(inside, later, indicator(photo, 400)).p_value[0]
    separate = moved(inside, later, indicator(np.arange(800), 800)).p_value[0]
    change = after.astype(float) - before
    expected = 2 * stats.norm.sf(change.sum() / np.sqrt(((change - change.mean()) ** 2).sum()))
    assert paired == pytest.approx(expected, rel=0.6)
    assert paired < 0.01 < separate


def test_the_same_photos_have_not_moved() -> None:
    inside = np.tile(np.random.default_rng(1).random((50, 3)) < [0.5, 0.1, 0.0], (2, 1))
    found = moved(inside, np.repeat([False, True], 50), indicator(np.tile(np.arange(50), 2), 50))
    assert found.p_value == pytest.approx([1, 1, 1])


def test_bounds_of_single_rows_are_clopper_and_pearsons() -> None:
    inside = (np.arange(200) < 8)[:, None]
    low, high = share_bounds(inside, indicator(np.arange(200), 200))
    exact = stats.binomtest(8, 200).proportion_ci(method="exact")
    assert (low[0], high[0]) == pytest.approx((exact.low, exact.high))


def test_alike_objects_count_as_their_photo() -> None:
    photo = np.repeat(np.arange(60), 5)
    inside = (photo < 15)[:, None]
    low, high = share_bounds(inside, indicator(photo, 60))
    exact = stats.binomtest(15, 60).proportion_ci(method="exact")
    assert (low[0], high[0]) == pytest.approx((exact.low, exact.high), rel=1e-6)

"""Two detectors on the same objects: exact against enumeration, McNemar and a solved score equation."""

import itertools

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar

from xai.coverage.intervals import indicator
from xai.coverage.paired import MOST_EXACT, change_correlation, paired, sign_flip, tango


def test_sign_flips_against_all_assignments() -> None:
    rng = np.random.default_rng(0)
    sums = rng.integers(-4, 5, (12, 6)).astype(float)
    sums[:, 0] = 0
    signs = np.array(list(itertools.product((-1, 1), repeat=12)), dtype=float)
    expected = (np.abs(signs @ np.abs(sums)) >= np.abs(sums.sum(axis=0)) - 1e-9).mean(axis=0)
    assert sign_flip(sums) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (1, 0), (9, 1), (40, 22), (300, 250)])
def test_unclustered_changes_are_mcnemars_test(fixed: int, broken: int) -> None:
    change = np.concatenate([np.full(fixed, -1.0), np.full(broken, 1.0), np.zeros(50)])
    expected = mcnemar([[50, broken], [fixed, 0]], exact=True).pvalue
    assert sign_flip(change[:, None])[0] == pytest.approx(expected, rel=1e-6)


def test_many_changes_are_normal_and_continue_the_exact_ones() -> None:
    few = np.repeat([1.0, -1.0], [MOST_EXACT // 2 + 60, MOST_EXACT // 2 - 60])
    more = np.append(few, [1.0, -1.0])
    near, beyond = sign_flip(few[:, None])[0], sign_flip(more[:, None])[0]
    assert near == pytest.approx(beyond, rel=0.05)


def test_tail_probabilities_stay_exact() -> None:
    assert sign_flip(np.ones((60, 1)))[0] == pytest.approx(2.0**-59, rel=1e-9)


@pytest.mark.parametrize(("fixed", "broken", "size"), [(0, 0, 40), (1, 0, 40), (12, 3, 100), (2.5, 7.5, 33.0)])
def test_score_interval_solves_tangos_equation(fixed: float, broken: float, size: float) -> None:
    """At each bound the constrained likelihood's score equals the quantile; maximised here by brute force."""
    low, high = (float(v[0]) for v in tango(*(np.array([float(v)]) for v in (fixed, broken, size, 1.96))))

    def score(value: float) -> float:
        def negative(share: float) -> float:  # share = probability of fixed; that of broken is share + value
            rest = 1 - 2 * share - value
            pieces = ((fixed, share), (broken, share + value), (size - fixed - broken, rest))
            return -sum(count * np.log(max(p, 1e-300)) for count, p in pieces if count)

        bounds = (max(0.0, -value), (1 - value) / 2)
        best = optimize.minimize_scalar(negative, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        if not fixed:  # the maximum may lie on the border, which the search only approaches
            best = min((bounds[0], best), key=negative)
        return (broken - fixed - size * value) / np.sqrt(size * (2 * best + value * (1 - value)))

    assert score(low) == pytest.approx(1.96, abs=2e-3)
    assert score(high) == pytest.approx(-1.96, abs=2e-3)


def test_nothing_changed_is_not_nothing_can_change() -> None:
    low, high = tango(np.zeros(1), np.zeros(1), np.array([100.0]), np.array([1.96]))
    assert high[0] == pytest.approx(1.96**2 / (100 + 1.96**2), abs=1e-6)
    assert low[0] == pytest.approx(-high[0], abs=1e-9)


def test_cells_count_what_changed() -> None:
    a = np.array([1, 1, 0, 0, 1, 0], dtype=bool)
    b = np.array([0, 0, 1, 0, 1, 0], dtype=bool)
    inside = np.array([[1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=bool).T
    found = paired(inside, a, b, indicator(np.array([0, 0, 1, 1, 2, 2]), 3))
    assert found.fixed.tolist() == [2, 1, 0]
    assert found.broken.tolist() == [1, 1, 0]
    assert found.objects.tolist() == [6, 2, 0]
    assert found.changed.tolist() == [2, 2, 0]
    assert found.difference[:2] == pytest.approx([-1 / 6, 0])
    assert np.isnan([found.difference[2], found.low[2], found.high[2]]).all()
    assert ((found.low[:2] < found.difference[:2]) & (found.difference[:2] < found.high[:2])).all()


def test_clustered_changes_have_wider_intervals() -> None:
    rng = np.random.default_rng(1)
    photo = np.repeat(np.arange(200), 8)
    shared = rng.random(200) < 0.2
    a = rng.random(1600) < 0.3
    b = np.where(shared[photo], False, a)
    everything = np.ones((1600, 1), dtype=bool)
    clustered = paired(everything, a, b, indicator(photo, 200))
    single = paired(everything, a, b, indicator(np.arange(1600), 1600))
    assert clustered.high[0] - clustered.low[0] > 1.2 * (single.high[0] - single.low[0])
    assert clustered.p_value[0] > single.p_value[0]
    assert 0.05 < change_correlation(b.astype(float) - a, indicator(photo, 200)) < 0.6


def test_interval_against_a_bootstrap_of_photos() -> None:
    rng = np.random.default_rng(2)
    photo = np.repeat(np.arange(300), 5)
    mood = rng.normal(0, 0.8, 300)[photo]
    a = rng.random(1500) < 1 / (1 + np.exp(1.2 - mood))
    b = rng.random(1500) < 1 / (1 + np.exp(1.5 - mood))
    found = paired(np.ones((1500, 1), dtype=bool), a, b, indicator(photo, 300))
    change = (b.astype(float) - a).reshape(300, 5).mean(axis=1)
    drawn = change[rng.integers(0, 300, (4000, 300))].mean(axis=1)
    assert found.low[0] == pytest.approx(np.quantile(drawn, 0.025), abs=0.006)
    assert found.high[0] == pytest.approx(np.quantile(drawn, 0.975), abs=0.006)
    normal = 2 * stats.norm.sf(abs(change.sum()) / np.sqrt((change**2).sum()))
    assert found.p_value[0] == pytest.approx(normal, rel=0.1)

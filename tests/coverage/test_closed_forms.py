"""Design effects, correlations and scores against scipy, statsmodels and matrices written out."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats

from xai.coverage.intervals import indicator, intraclass_correlation, rates
from xai.coverage.paired import change_correlation
from xai.coverage.ratios import design_effect, of_variance
from xai.coverage.search import Counted


def by_analysis_of_variance(values: NDArray[np.float64], photo: NDArray[np.int64]) -> float:
    """Donner's estimator from scipy's F: (F − 1) / (F − 1 + n₀), n₀ the typical size of a photo."""
    groups = [values[photo == one] for one in np.unique(photo)]
    size = np.array([len(group) for group in groups])
    ratio = stats.f_oneway(*groups).statistic
    typical = (size.sum() - (size**2).sum() / size.sum()) / (len(size) - 1)
    return float((ratio - 1) / (ratio - 1 + typical))


@pytest.mark.parametrize("equal", [True, False])
def test_correlations_are_those_of_an_analysis_of_variance(equal: bool) -> None:
    rng = np.random.default_rng(8)
    photo = np.repeat(np.arange(60), np.full(60, 5) if equal else 1 + rng.poisson(4, 60))
    shared = rng.normal(size=60)[photo] + rng.normal(size=len(photo))
    miss = shared > 0.7
    photos = indicator(photo, 60)
    assert intraclass_correlation(miss, photos) == pytest.approx(by_analysis_of_variance(miss.astype(float), photo))
    change = np.sign(shared) * (np.abs(shared) > 1.2)
    assert change_correlation(change, photos) == pytest.approx(by_analysis_of_variance(change, photo))


def test_kishs_design_effect_is_that_of_the_covariance_matrix() -> None:
    size = np.array([1, 4, 2, 7])
    photo = np.repeat(np.arange(4), size)
    covariance = np.where(photo[:, None] == photo, 0.3, 0.0)
    np.fill_diagonal(covariance, 1.0)
    expected = covariance.sum() / len(photo)
    got = design_effect(np.array([14.0]), np.array([float((size**2).sum())]), 0.3)
    assert got[0] == pytest.approx(expected)
    assert design_effect(np.zeros(1), np.zeros(1), 0.3)[0] == 1


def test_the_design_effect_of_a_rate_is_statsmodels_robust_variance() -> None:
    rng = np.random.default_rng(2)
    photo = np.repeat(np.arange(80), 1 + rng.poisson(5, 80))
    miss = (rng.normal(size=80)[photo] + rng.normal(size=len(photo))) > 1
    found = rates(np.ones((len(photo), 1), dtype=bool), miss, indicator(photo, 80), icc=0.0)
    model = sm.OLS(miss.astype(float), np.ones(len(miss))).fit(
        cov_type="cluster", cov_kwds={"groups": photo, "use_correction": False}
    )
    rate = miss.mean()
    variance = model.bse[0] ** 2 * 80 / 79
    assert found.design_effect[0] == pytest.approx(variance * len(miss) / (rate * (1 - rate)))


def test_bounds_of_a_variance_are_students() -> None:
    found = of_variance(np.array([2.0]), np.array([0.09]), np.array([50.0]), np.array([12.0]), 0.05)
    error = np.sqrt(50 / 49 * 0.09)
    reach = stats.t.ppf(0.975, 11) * error
    assert (found.low[0], found.high[0]) == pytest.approx((2 * np.exp(-reach), 2 * np.exp(reach)))
    assert found.p_value[0] == pytest.approx(2 * stats.t.sf(np.log(2) / error, 11))


def test_slices_are_ranked_by_the_z_of_statsmodels() -> None:
    size, lost, parent_size, parent_lost = 60.0, 18.0, 500.0, 40.0
    nothing = np.full((1, 3), -1)
    counted = Counted(nothing, nothing, *(np.array([value]) for value in (size, lost, parent_size, parent_lost)))
    table = np.array([[lost + 0.5, size - lost], [parent_lost - lost + 0.5, parent_size - size - parent_lost + lost]])
    expected = sm.stats.Table2x2(table, shift_zeros=False)
    z = expected.log_riskratio / expected.log_riskratio_se
    assert counted.z(1.0)[0] == pytest.approx(z)
    assert counted.z(2.25)[0] == pytest.approx(z / 1.5)
    assert counted.excess[0] == pytest.approx((18 / 60) / (22 / 440))

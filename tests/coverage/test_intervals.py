import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from xai.coverage import intervals
from xai.coverage.intervals import indicator, intraclass_correlation, rates
from xai.coverage.ratios import Ratios, risk_ratios


def one(ratios: Ratios) -> tuple[float, float, float, float]:
    return tuple(float(getattr(ratios, name)[0]) for name in ("ratio", "low", "high", "p_value"))  # type: ignore[return-value]


def photos_of(count: int, mean: float, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.repeat(np.arange(count), 1 + rng.poisson(mean - 1, count))


def clustered(
    photo: NDArray[np.int64], risk: NDArray[np.float64], correlation: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Misses of given risks whose latent normals share a part with the photo's other objects (Gaussian copula)."""
    shared = rng.normal(size=photo.max() + 1)[photo]
    latent = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=len(photo))
    return np.asarray(latent < stats.norm.ppf(risk))


@pytest.mark.parametrize("misses", [0, 1, 7, 39, 40])
@pytest.mark.parametrize("two_sided", [True, False])
def test_independent_objects_give_clopper_pearson(misses: int, two_sided: bool) -> None:
    miss = np.arange(40) < misses
    photos = indicator(np.arange(40), 40)
    got = rates(np.ones((40, 1), dtype=bool), miss, photos, icc=0.0, two_sided=two_sided)
    alpha = 0.05 if two_sided else 0.10
    low, high = proportion_confint(misses, 40, alpha=alpha, method="beta")
    # The variance of the cell's own counts carries the m / (m − 1) of 40 photos.
    tolerance = 0.02 if 5 <= misses <= 35 else 1e-9
    assert got.low[0] == pytest.approx(low, abs=tolerance)
    assert got.high[0] == pytest.approx(high, abs=tolerance)


def test_perfectly_alike_objects_count_as_photos() -> None:
    rng = np.random.default_rng(3)
    photo = np.repeat(np.arange(100), 6)
    miss = (rng.random(100) < 0.2)[photo]
    photos = indicator(photo, 100)
    assert intraclass_correlation(miss, photos) == pytest.approx(1.0)
    got = rates(np.ones((600, 1), dtype=bool), miss, photos, icc=1.0)
    low, high = proportion_confint(miss.sum() // 6, 100, method="beta")
    assert got.low[0] == pytest.approx(low, abs=0.003)
    assert got.high[0] == pytest.approx(high, abs=0.003)


def test_zero_misses_are_as_honest_as_the_photos_are_independent() -> None:
    photo = np.repeat(np.arange(50), 8)
    miss = np.zeros(400, dtype=bool)
    photos = indicator(photo, 50)
    assert intraclass_correlation(miss, photos) == 1.0
    unknown = rates(np.ones((400, 1), dtype=bool), miss, photos, icc=1.0, two_sided=False)
    assert unknown.high[0] == pytest.approx(1 - 0.05 ** (1 / 50), rel=0.05)
    independent = rates(np.ones((400, 1), dtype=bool), miss, photos, icc=0.0, two_sided=False)
    assert independent.high[0] == pytest.approx(1 - 0.05 ** (1 / 400), rel=0.05)
    assert unknown.low[0] == 0.0


def test_the_effective_sample_never_exceeds_the_objects() -> None:
    rng = np.random.default_rng(11)
    for _ in range(50):
        photo = photos_of(60, 4, rng)
        miss = rng.random(len(photo)) < 0.3
        inside = rng.random((len(photo), 5)) < rng.uniform(0.01, 1, 5)
        got = rates(inside, miss, indicator(photo, 60), icc=float(rng.random()))
        assert (got.design_effect[inside.any(axis=0)] >= 1).all()
        kept = inside.any(axis=0)
        low, high = proportion_confint(inside[miss].sum(axis=0)[kept], inside.sum(axis=0)[kept], method="beta")
        assert (got.low[kept] <= np.nan_to_num(low) + 1e-9).all()
        assert (got.high[kept] >= np.nan_to_num(high, nan=1.0) - 1e-9).all()


def test_empty_cells_are_unknown_and_all_missed_is_bounded_by_one() -> None:
    photos = indicator(np.array([0, 0, 1]), 2)
    inside = np.array([[True, False], [True, False], [True, False]])
    got = rates(inside, np.ones(3, dtype=bool), photos, icc=1.0)
    assert got.rate[0] == got.high[0] == 1.0
    assert 0 < got.low[0] < 0.5
    assert np.isnan(got.rate[1])
    assert np.isnan(got.low[1])
    assert np.isnan(got.high[1])


def test_one_photo_is_one_draw() -> None:
    photos = indicator(np.zeros(30, dtype=np.int64), 1)
    miss = np.arange(30) < 12
    icc = intraclass_correlation(miss, photos)
    got = rates(np.ones((30, 1), dtype=bool), miss, photos, icc=icc)
    assert got.low[0] < 0.02
    assert got.high[0] > 0.97


def test_intraclass_correlation_finds_what_was_planted() -> None:
    rng = np.random.default_rng(5)
    photo = photos_of(4000, 6, rng)
    chance = rng.beta(0.2 * 0.7 / 0.3, 0.8 * 0.7 / 0.3, 4000)
    got = intraclass_correlation(rng.random(len(photo)) < chance[photo], indicator(photo, 4000))
    assert got == pytest.approx(0.3, abs=0.02)


def table_world(seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    photo = photos_of(300, 5, rng)
    stratum = rng.integers(0, 6, len(photo))
    inside = rng.random(len(photo)) < 0.1 + 0.1 * stratum
    miss = clustered(photo, 0.05 * (1 + stratum / 2) * np.where(inside, 2.0, 1.0), 0.3, rng)
    return photo, inside, miss, stratum


def test_crude_ratio_and_error_equal_a_cluster_robust_log_binomial_model() -> None:
    photo, inside, miss, _ = table_world()
    model = sm.GLM(
        miss.astype(float), sm.add_constant(inside.astype(float)), family=sm.families.Poisson()
    ).fit(cov_type="cluster", cov_kwds={"groups": photo, "use_correction": False})  # fmt: skip
    clusters = photo.max() + 1
    error = model.bse[1] * np.sqrt(clusters / (clusters - 1))
    ratio, low, high, p_value = one(
        risk_ratios(inside[:, None], np.ones((len(miss), 1), dtype=bool), miss, indicator(photo, clusters), icc=0.3)
    )
    freedom = min(len(np.unique(photo[inside])), len(np.unique(photo[~inside]))) - 1
    reach = stats.t.ppf(0.975, freedom) * error
    assert ratio == pytest.approx(np.exp(model.params[1]), rel=1e-6)
    assert (np.log(low), np.log(high)) == pytest.approx((model.params[1] - reach, model.params[1] + reach), rel=1e-5)
    assert p_value == pytest.approx(2 * stats.t.sf(model.params[1] / error, freedom), rel=1e-4)


def test_adjusted_ratio_equals_mantel_haenszel_and_robins_error_for_independent_objects() -> None:
    _, inside, _, stratum = table_world()
    rng = np.random.default_rng(9)
    inside, stratum = np.tile(inside, 10), np.tile(stratum, 10)
    miss = rng.random(len(inside)) < 0.05 * (1 + stratum / 2) * np.where(inside, 2.0, 1.0)
    tables = [
        np.array(
            [
                [(miss & inside & at).sum(), (~miss & inside & at).sum()],
                [(miss & ~inside & at).sum(), (~miss & ~inside & at).sum()],
            ]
        )
        for at in (stratum == k for k in range(6))
    ]
    a, n1 = np.array([[t[0, 0], t[0].sum()] for t in tables]).T
    b, n0 = np.array([[t[1, 0], t[1].sum()] for t in tables]).T
    total = n1 + n0
    upper, lower = (a * n0 / total).sum(), (b * n1 / total).sum()
    robins = (((a + b) * n1 * n0 - a * b * total) / total**2).sum() / (upper * lower)
    photos = indicator(np.arange(len(miss)), len(miss))
    ratio, low, high, _ = one(
        risk_ratios(inside[:, None], np.ones((len(miss), 1), dtype=bool), miss, photos, stratum, icc=0.0)
    )
    assert ratio == pytest.approx(upper / lower)
    assert np.log(high / low) / 2 / 1.96 == pytest.approx(np.sqrt(robins), rel=0.01)
    assert ratio == pytest.approx(sm.stats.StratifiedTable(tables).riskratio_pooled, rel=1e-9)


def test_the_influence_function_is_the_derivative() -> None:
    """Each photo's influence equals the numerical derivative of log RR by the photo's weight."""
    photo, inside, miss, stratum = table_world(2)
    clusters = photo.max() + 1

    def log_ratio(weight: NDArray[np.float64]) -> float:
        counts = {
            key: np.bincount(stratum[mask], weights=weight[photo[mask]], minlength=6)
            for key, mask in {"a": inside & miss, "b": ~inside & miss, "n1": inside, "n0": ~inside}.items()
        }
        total = counts["n1"] + counts["n0"]
        return float(np.log((counts["a"] * counts["n0"] / total).sum() / (counts["b"] * counts["n1"] / total).sum()))

    base = np.ones(clusters)
    step = 1e-5
    influence = np.array(
        [(log_ratio(base + step * row) - log_ratio(base - step * row)) / (2 * step) for row in np.eye(clusters)]
    )
    error = np.sqrt(clusters / (clusters - 1) * (influence**2).sum())
    _, low, high, _ = one(
        risk_ratios(
            inside[:, None], np.ones((len(miss), 1), dtype=bool), miss, indicator(photo, clusters), stratum, icc=0.3
        )
    )
    freedom = min(len(np.unique(photo[inside])), len(np.unique(photo[~inside]))) - 1
    assert np.log(high / low) / 2 == pytest.approx(stats.t.ppf(0.975, freedom) * error, rel=1e-5)


@pytest.mark.parametrize(("a", "b"), [(0, 12), (3, 12), (4, 0), (0, 1)])
def test_rare_cells_are_the_conditional_exact_interval(a: int, b: int) -> None:
    n1, n0 = 60, 400
    inside = np.arange(n1 + n0) < n1
    miss = np.zeros(n1 + n0, dtype=bool)
    miss[:a] = True
    miss[n1 : n1 + b] = True
    photos = indicator(np.arange(n1 + n0), n1 + n0)
    ratio, low, high, p_value = one(
        risk_ratios(inside[:, None], np.ones((n1 + n0, 1), dtype=bool), miss, photos, icc=0.0)
    )
    test = stats.binomtest(a, a + b, n1 / (n1 + n0))
    shares = test.proportion_ci(0.95, method="exact")
    expected = [share / (1 - share) * n0 / n1 if share < 1 else np.inf for share in (shares.low, shares.high)]
    assert (low, high) == pytest.approx(tuple(expected), rel=1e-6)
    assert low <= ratio <= high
    assert np.isfinite(ratio)
    tails = [stats.binom.sf(a - 1, a + b, n1 / (n1 + n0)), stats.binom.cdf(a, a + b, n1 / (n1 + n0))]
    assert p_value == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-6)


def test_nothing_to_compare_is_unknown() -> None:
    photos = indicator(np.arange(20), 20)
    everything = np.ones((20, 1), dtype=bool)
    for inside, miss in ((everything, np.arange(20) < 8), (~everything, np.arange(20) < 8)):
        assert np.isnan(one(risk_ratios(inside, everything, miss, photos, icc=0.1))).all()
    no_miss = risk_ratios((np.arange(20) < 9)[:, None], everything, np.zeros(20, dtype=bool), photos, icc=1.0)
    assert np.isnan(one(no_miss)).all()


def test_strata_without_both_sides_carry_no_weight() -> None:
    photo, inside, miss, stratum = table_world(4)
    photos = indicator(photo, photo.max() + 1)
    compared = np.ones((len(miss), 1), dtype=bool)
    alone = np.where(inside & (stratum == 0), 6, stratum)
    kept = ~(inside & (stratum == 0)) & (stratum != 0)
    everything = one(risk_ratios(inside[:, None], compared, miss, photos, alone, icc=0.1))
    part = one(risk_ratios(inside[:, None], kept[:, None], miss, photos, stratum, icc=0.1))
    assert everything[0] == pytest.approx(part[0], rel=1e-12)


def test_q_values_equal_statsmodels_and_leave_missing_tests_out() -> None:
    p = np.random.default_rng(0).uniform(0, 1, 40) ** 3
    p[[3, 17]] = np.nan
    got = intervals.false_discovery(p)
    known = ~np.isnan(p)
    assert np.isnan(got[~known]).all()
    assert got[known] == pytest.approx(multipletests(p[known], method="fdr_bh")[1])
    assert np.isnan(intervals.false_discovery(np.full(3, np.nan))).all()
    assert len(intervals.false_discovery(np.empty(0))) == 0


@pytest.mark.parametrize("groups", [1, 3, 2000])
def test_sums_of_rows_are_those_of_each_group(groups: int) -> None:
    """Sorted and unsorted groups, empty ones among them, of numbers and of truths."""
    rng = np.random.default_rng(groups)
    values = rng.random((500, 4))
    for codes in (rng.integers(0, groups, 500), np.sort(rng.integers(0, groups, 500)), np.zeros(500, dtype=np.int64)):
        sums = indicator(codes, groups)
        for part in (values, values > 0.3):
            expected = np.stack([np.bincount(codes, weights=column, minlength=groups) for column in part.T], axis=1)
            got = intervals.sum_rows(part, sums)
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, expected, rtol=1e-12)


def rate_coverage(count: int, per_photo: int, rate: float, correlation: float, runs: int) -> float:
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(runs):
        photo = np.repeat(np.arange(count), per_photo)
        shape = (1 - correlation) / correlation
        miss = rng.random(len(photo)) < rng.beta(rate * shape, (1 - rate) * shape, count)[photo]
        photos = indicator(photo, count)
        got = rates(
            np.ones((len(photo), 1), dtype=bool), miss, photos, icc=intraclass_correlation(miss, photos)
        )  # fmt: skip
        hits += bool(got.low[0] <= rate <= got.high[0])
    return hits / runs


def test_rate_intervals_cover_under_clustering() -> None:
    """Nominal 95%: 600 runs have a standard error of 0.9 points."""
    assert 0.93 <= rate_coverage(200, 8, 0.1, 0.3, 600) <= 0.975


@pytest.mark.slow
@pytest.mark.parametrize(("count", "rate"), [(200, 0.3), (200, 0.01), (40, 0.1), (40, 0.3), (40, 0.01)])
def test_rate_intervals_cover_in_small_and_rare_samples(count: int, rate: float) -> None:
    assert rate_coverage(count, 8, rate, 0.3, 1500) >= 0.93


def ratio_coverage(
    count: int, risk: float, truth: float, share: float, *, by_photo: bool, runs: int
) -> tuple[float, float]:
    """Share of runs whose adjusted interval covers the planted ratio, and in which the p-value is at most 0.05."""
    rng = np.random.default_rng(13)
    hits = rejected = 0
    for _ in range(runs):
        photo = photos_of(count, 8, rng)
        stratum = rng.integers(0, 8, len(photo))
        inside = (rng.random(count) < share)[photo] if by_photo else rng.random(len(photo)) < share * stratum / 4
        miss = clustered(photo, risk * (1 + stratum / 7) * np.where(inside, truth, 1.0), 0.4, rng)
        photos = indicator(photo, count)
        _, low, high, p_value = one(
            risk_ratios(
                inside[:, None],
                np.ones((len(photo), 1), dtype=bool),
                miss,
                photos,
                stratum,
                icc=intraclass_correlation(miss, photos),
            )
        )
        hits += bool(low <= truth <= high)
        rejected += bool(p_value <= 0.05)
    return hits / runs, rejected / runs


def test_adjusted_ratio_intervals_cover_under_clustering_and_confounding() -> None:
    covered, _ = ratio_coverage(200, 0.1, 3.0, 0.3, by_photo=False, runs=300)
    assert 0.92 <= covered <= 0.98
    covered, rejected = ratio_coverage(200, 0.1, 1.0, 0.3, by_photo=True, runs=300)
    assert covered >= 0.92
    assert rejected <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("by_photo", [True, False])
@pytest.mark.parametrize(
    ("count", "risk", "truth", "share"),
    [(200, 0.1, 3.0, 0.04), (40, 0.1, 1.0, 0.3), (200, 0.01, 1.0, 0.3), (200, 0.01, 3.0, 0.1)],
)
def test_adjusted_ratio_intervals_cover_in_rare_cells(
    count: int, risk: float, truth: float, share: float, by_photo: bool
) -> None:
    covered, _ = ratio_coverage(count, risk, truth, share, by_photo=by_photo, runs=800)
    assert covered >= 0.925

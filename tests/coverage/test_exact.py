"""Few finds: against Fisher's test, sums by brute force, statsmodels' score bounds, and planted clustering."""

from itertools import product

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.proportion import confint_proportions_2indep

from xai.coverage import exact
from xai.coverage.exact import Table, exact_ratios, hypergeometric_tails, score_bounds
from xai.coverage.intervals import indicator, intraclass_correlation
from xai.coverage.ratios import risk_ratios


def one_table(*counts: float) -> Table:
    """Misses and objects inside, misses and objects outside."""
    return Table(*(np.array([[float(count)]]) for count in counts))


def doubled(a: int, n1: int, b: int, n0: int) -> float:
    """Twice the smaller tail of Fisher's exact test."""
    tails = [stats.fisher_exact([[a, n1 - a], [b, n0 - b]], alternative=side)[1] for side in ("greater", "less")]
    return float(min(2 * min(tails), 1.0))


def of_objects(a: int, n1: int, b: int, n0: int) -> tuple[float, float, float]:
    """Return the bounds and the p-value for objects that are each a photo."""
    inside, place = np.arange(n1 + n0) < n1, np.arange(n1 + n0)
    miss = (place < a) | ((place >= n1) & (place < n1 + b))
    photos = indicator(place, n1 + n0)
    found = risk_ratios(inside[:, None], np.ones((n1 + n0, 1), dtype=bool), miss, photos, icc=0.0)
    return float(found.low[0]), float(found.high[0]), float(found.p_value[0])


@pytest.mark.parametrize(
    "counts", [(20, 20, 550, 1000), (996, 1000, 940, 1000), (4, 4, 300, 1000), (17, 20, 9, 20), (6, 30, 48, 50)]
)
def test_few_finds_are_fishers_exact_test(counts: tuple[int, int, int, int]) -> None:
    low, high, p_value = of_objects(*counts)
    assert p_value == pytest.approx(doubled(*counts), rel=1e-9)
    assert (low > 1 or high < 1) == (p_value <= 0.05)


def test_strata_are_summed_by_brute_force() -> None:
    """Four strata of which one has no object outside: every combination of misses inside is weighed."""
    lost_in, size_in = np.array([4, 3, 2, 5]), np.array([4, 4, 2, 5])
    lost_out, size_out = np.array([5, 6, 3, 0]), np.array([9, 8, 7, 0])
    table = Table(*(values[:, None].astype(float) for values in (lost_in, size_in, lost_out, size_out)))
    many, few = hypergeometric_tails(table.thinned(np.ones(1), np.ones(1)))
    drawn = [stats.hypergeom(size_in[k] + size_out[k], lost_in[k] + lost_out[k], size_in[k]) for k in range(3)]
    mass = np.zeros(12)
    for values in product(*(range(part.args[2] + 1) for part in drawn)):
        mass[sum(values)] += np.prod([part.pmf(value) for part, value in zip(drawn, values, strict=True)])
    assert (many[0], few[0]) == pytest.approx((mass[9:].sum(), mass[:10].sum()))


def test_thinned_counts_lie_between_whole_ones() -> None:
    """The chance of as many misses inside falls without a jump from 19 of 20 to 20 of 20."""
    shares = np.linspace(0, 1, 41)
    tails = [hypergeometric_tails(one_table(19 + share, 20, 50, 100))[0][0] for share in shares]
    whole = [stats.hypergeom(120, 50 + misses, 20).sf(misses - 1) for misses in (19, 20)]
    assert (tails[0], tails[-1]) == pytest.approx(tuple(whole))
    assert (np.diff(np.log(tails)) < 0).all()
    assert np.abs(np.diff(np.log(tails))).max() < 0.2


def test_beyond_what_is_summed_a_binomial_is_the_safer(monkeypatch: pytest.MonkeyPatch) -> None:
    for counts in ((20, 20, 55, 100), (60, 64, 40, 64), (96, 100, 84, 100), (30, 90, 3, 40)):
        summed = np.ravel(hypergeometric_tails(one_table(*counts)))
        with monkeypatch.context() as patch:
            patch.setattr(exact, "MOST_OUTCOMES", -1)
            wide = np.ravel(hypergeometric_tails(one_table(*counts)))
        assert wide.min() >= summed.min()
        assert np.argmin(wide) == np.argmin(summed)


@pytest.mark.parametrize("counts", [(996, 1000, 940, 1000), (17, 20, 9, 20), (9, 30, 46, 50)])
def test_score_bounds_are_miettinen_and_nurminens(counts: tuple[int, int, int, int]) -> None:
    low, high = score_bounds(one_table(*counts), 0.05)
    a, n1, b, n0 = counts
    expected = confint_proportions_2indep(a, n1, b, n0, method="score", compare="ratio", correction=True)
    assert (low[0], high[0]) == pytest.approx(expected, rel=1e-3)


def test_at_a_score_bound_the_likeliest_risks_are_a_quantile_away() -> None:
    """Where all is missed, by maximising the likelihood under the bound's ratio."""
    a, n1, b, n0 = 20, 20, 550, 1000
    for ratio in np.ravel(score_bounds(one_table(a, n1, b, n0), 0.05)):

        def surprise(outside: float, ratio: float = float(ratio)) -> float:
            return -float(stats.binom.logpmf(a, n1, ratio * outside) + stats.binom.logpmf(b, n0, outside))

        outside = optimize.minimize_scalar(
            surprise, bounds=(0.3, 1 / ratio), method="bounded", options={"xatol": 1e-9}
        ).x
        inside = ratio * outside
        spread = (inside * (1 - inside) / n1 + ratio**2 * outside * (1 - outside) / n0) * 1020 / 1019
        assert abs(a / n1 - ratio * b / n0) / np.sqrt(spread) == pytest.approx(stats.norm.ppf(0.975), rel=1e-3)


def test_score_bounds_of_many_equal_strata_are_those_of_one() -> None:
    parts = Table(*(np.full((10, 1), value) for value in (57.0, 60.0, 40.0, 50.0)))
    low, high = score_bounds(parts, 0.05)
    alone = score_bounds(one_table(570, 600, 400, 500), 0.05)
    assert (low[0], high[0]) == pytest.approx((alone[0][0], alone[1][0]), rel=2e-3)


def test_sides_without_a_bound_have_none() -> None:
    low, high = score_bounds(one_table(5, 5, 0, 20), 0.05)
    assert low[0] > 1
    assert high[0] == np.inf
    low, high = score_bounds(one_table(0, 20, 5, 5), 0.05)
    assert low[0] == 0
    assert high[0] < 1
    everything = exact_ratios(one_table(9, 9, 30, 30), np.array([False]), np.array([True]), 0.05)
    assert everything.p_value[0] == 1
    assert everything.low[0] < 1 < everything.high[0]


def drawn(runs: int, photos: int, risk: float, ratio: float, share: float) -> tuple[float, float]:
    """Share of runs whose interval covers, and whose p-value is at most 0.05; 6 objects a photo, correlation .3."""
    rng = np.random.default_rng(5)
    hits, rejected = [], []
    for _ in range(runs):
        photo = np.repeat(np.arange(photos), 1 + rng.poisson(5, photos))
        inside = (rng.random(photos) < share)[photo]
        if not inside.any():
            continue
        latent = np.sqrt(0.3) * rng.normal(size=photos)[photo] + np.sqrt(0.7) * rng.normal(size=len(photo))
        miss = latent < stats.norm.ppf(risk * np.where(inside, ratio, 1.0))
        draws = indicator(photo, photos)
        icc = intraclass_correlation(miss, draws)
        found = risk_ratios(inside[:, None], np.ones((len(photo), 1), dtype=bool), miss, draws, icc=icc)
        hits.append(bool(found.low[0] <= ratio <= found.high[0]))
        rejected.append(bool(found.p_value[0] <= 0.05))
    return float(np.mean(hits)), float(np.mean(rejected))


@pytest.mark.parametrize(("risk", "share"), [(0.9, 0.1), (0.6, 0.03)])
def test_alike_objects_of_a_photo_raise_no_false_alarm(risk: float, share: float) -> None:
    covered, rejected = drawn(200, 100, risk, 1.0, share)
    assert covered >= 0.93
    assert rejected <= 0.05


def test_where_nearly_all_is_missed_it_is_told_and_covered() -> None:
    covered, rejected = drawn(150, 100, 0.5, 1.9, 0.06)
    assert covered >= 0.93
    assert rejected > 0.6

"""Planted misclassification: intervals of what is told leave the truth, widened ones hold it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from worlds import CATALOG, Item, Side, world

from xai.coverage import analyse
from xai.coverage.bins import Range
from xai.coverage.intervals import indicator, shares
from xai.coverage.misread import COLUMNS, Misread, misread, widen_rates, widen_ratios, widen_shares
from xai.coverage.ratios import risk_ratios

PHOTOS, OBJECTS_EACH, DRAWS = 400, 3, 150


def errors(missed: float, stray: float) -> Misread:
    return Misread(np.array([missed]), np.array([stray]), np.array([np.nan]))


def held(low: float, high: float, truth: float) -> bool:
    return bool(np.isnan(low) or low <= truth <= high)


@pytest.mark.parametrize(
    ("share", "missed", "stray", "ratio", "biased"),
    [
        (0.1, 0.2, 0.05, 4.0, True),
        (0.3, 0.2, 0.2, 3.0, True),
        (0.2, 0.3, 0.05, 0.4, True),
        (0.1, 0.1, 0.05, 1.0, False),
        (0.3, 0.0, 0.0, 3.0, False),
    ],
)
def test_widened_intervals_hold_the_truth(
    share: float, missed: float, stray: float, ratio: float, biased: bool
) -> None:
    rng = np.random.default_rng(7)
    photo = np.repeat(np.arange(PHOTOS), OBJECTS_EACH)
    photos = indicator(photo, PHOTOS)
    told_ratio, widened_ratio, told_share, widened_share = 0, 0, 0, 0
    for _ in range(DRAWS):
        lies = rng.random(PHOTOS) < share
        told = np.where(lies, rng.random(PHOTOS) >= missed, rng.random(PHOTOS) < stray)[photo][:, None]
        miss = rng.random(len(photo)) < 0.06 * np.where(lies, ratio, 1.0)[photo]
        found = risk_ratios(told, np.ones((len(photo), 1), dtype=bool), miss, photos, icc=0.02)
        low, high = widen_ratios(found.low, found.high, told.mean(axis=0), errors(missed, stray))
        told_ratio += held(found.low[0], found.high[0], ratio)
        widened_ratio += held(low[0], high[0], ratio)
        part = shares(told, photos)
        low, high = widen_shares(part.low, part.high, errors(missed, stray))
        told_share += held(part.low[0], part.high[0], share)
        widened_share += held(low[0], high[0], share)
    # Of 150 draws at 95%, fewer than 137 are outside what chance gives one time in a hundred.
    assert min(widened_ratio, widened_share) >= 137
    assert (told_ratio < 137) == biased
    if stray > 0.1:
        assert told_share < 30


def test_a_ratio_by_hand() -> None:
    """1,000 objects, 100 truly in the bin; 40 of them missed, 90 of the 900 others: a risk ratio of 4."""
    missed, stray = 0.2, 0.05
    objects, misses = 100 * 0.8 + 900 * 0.05, 40 * 0.8 + 90 * 0.05
    seen = (misses / objects) / ((130 - misses) / (1000 - objects))
    low, high = widen_ratios(np.array([1.1]), np.array([seen]), np.array([objects / 1000]), errors(missed, stray))
    assert high[0] == pytest.approx(4.0)
    assert low[0] == 1.1  # errors draw towards 1, so that a lower bound above 1 stays one
    under, _ = widen_ratios(np.array([0.5]), np.array([0.9]), np.array([objects / 1000]), errors(missed, stray))
    assert under[0] < 0.5


def test_what_may_all_have_strayed_has_no_bound() -> None:
    arguments = np.array([0.2]), np.array([3.0]), np.array([0.04])
    assert [float(bound[0]) for bound in widen_ratios(*arguments, errors(0.1, 0.05))] == [0.0, np.inf]
    assert float(widen_shares(np.array([0.03]), np.array([0.05]), errors(0.0, 0.05))[0][0]) == 0.0
    assert float(widen_shares(np.array([0.9]), np.array([0.95]), errors(0.2, 0.0))[1][0]) == 1.0


def test_exact_bins_and_missing_bounds_stay() -> None:
    low, high = widen_ratios(np.array([0.5, np.nan]), np.array([np.inf, np.nan]), np.array([0.1, 0.0]), nothing(2))
    np.testing.assert_array_equal(low, [0.5, np.nan])
    np.testing.assert_array_equal(high, [np.inf, np.nan])


def nothing(bins: int) -> Misread:
    return Misread(np.zeros(bins), np.zeros(bins), np.full(bins, np.nan))


def test_a_bin_that_was_not_judged_has_the_error_of_its_attribute() -> None:
    bins = (Range("low", None, 0.5, 0.1, 0.2, 0.3), Range("high", 0.5, None))
    told = misread("haze", 3, {"haze": Item("image", bins, bin_error=0.07)})
    np.testing.assert_array_equal(told.missed, [0.2, 0.07, 0])
    np.testing.assert_array_equal(told.stray, [0.3, 0.07, 0])
    np.testing.assert_array_equal(told.error, [0.1, 0.07, np.nan])
    exact = misread("haze", 3, {"haze": Item("image", bins[1:] * 2)})
    np.testing.assert_array_equal([exact.missed, exact.stray], np.zeros((2, 3)))
    np.testing.assert_array_equal(misread("label_pose", 2, {}).missed, np.zeros(2))


def doubted(catalog: dict[str, Item], **shares: float) -> dict[str, Item]:
    """The catalog with errors of the bin ``strong`` of glare."""
    bins = tuple(replace(part, **shares) if part.name == "strong" else part for part in catalog["glare"].bins)
    return {**catalog, "glare": replace(catalog["glare"], bins=bins)}


def test_the_coverage_table_is_widened_and_says_by_how_much_the_tag_errs() -> None:
    sides: list[Side] = [world(1, 400), world(2, 400, glare=0.2, glare_risk=3.0)]
    exact = analyse(*sides, train_detected=True, catalog=CATALOG).coverage
    wide = analyse(*sides, train_detected=True, catalog=doubted(CATALOG, error=0.1, missed=0.2, stray=0.05)).coverage
    strong = (pl.col("attribute") == "glare") & (pl.col("bin") == "strong") & pl.col("label").is_null()
    before, after = (table.filter(strong).row(0, named=True) for table in (exact, wide))
    for name in ("risk_ratio_high", "adjusted_high", "eval_share_high", "train_share_high"):
        assert after[name] > before[name]
    for name in ("eval_share_low", "train_share_low"):
        assert after[name] < before[name]
    assert (after["tag_error"], before["tag_error"]) == (0.1, None)
    # Strayed objects of the other bins may hide a higher miss rate; they cannot make up one above that of all.
    assert after["miss_rate_high"] > before["miss_rate_high"]
    assert after["miss_rate_low"] == before["miss_rate_low"]
    widened = {*COLUMNS, "risk_ratio_high", "adjusted_high", "miss_rate_high"}
    same = [name for name in exact.columns if name not in widened]
    assert {name: before[name] for name in same} == {name: after[name] for name in same}
    others = pl.col("attribute") != "glare"
    assert exact.filter(others).equals(wide.filter(others))


def test_share_bounds_by_photo_are_those_of_a_binomial_where_photos_hold_one_object() -> None:
    from scipy.stats import beta

    inside = np.array([[True]] * 12 + [[False]] * 88)
    found = shares(inside, indicator(np.arange(100), 100))
    assert found.rate[0] == 0.12
    assert found.low[0] == pytest.approx(beta.ppf(0.025, 12, 89), rel=0.02)
    assert found.high[0] == pytest.approx(beta.ppf(0.975, 13, 88), rel=0.02)
    assert np.isnan(shares(inside[:0], indicator(np.empty(0, dtype=np.int64), 0)).rate[0])


def test_a_rate_by_hand() -> None:
    """1,000 objects, 100 truly in the bin; 40 of them missed, 90 of the 900 others."""
    missed, stray = 0.2, 0.05
    objects, misses = 100 * 0.8 + 900 * 0.05, 40 * 0.8 + 90 * 0.05
    arguments = np.array([objects / 1000]), 0.13, errors(missed, stray)
    low, high = widen_rates(np.array([0.2]), np.array([misses / objects]), *arguments)
    assert high[0] == pytest.approx(0.4)
    assert low[0] == 0.2  # errors draw towards the rate of all, so that a lower bound above it stays one
    low, high = widen_rates(np.array([0.05]), np.array([0.1]), *arguments)
    assert low[0] == 0.0
    assert high[0] == 0.1
    unbounded = widen_rates(np.array([0.05]), np.array([0.4]), np.array([0.04]), 0.13, errors(missed, stray))
    assert [float(bound[0]) for bound in unbounded] == [0.0, 1.0]
    exact = widen_rates(np.array([0.05]), np.array([0.4]), np.array([0.04]), 0.13, nothing(1))
    assert [float(bound[0]) for bound in exact] == [0.05, 0.4]

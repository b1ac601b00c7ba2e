from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from xai.config import Promise
from xai.coverage import promise_words
from xai.coverage.intervals import Moments, indicator, intraclass_correlation, rates_of
from xai.coverage.promise import Answer, distribution, promise, promise_of_parts

NOTHING = pl.DataFrame(schema={"image_id": pl.String, "outcome": pl.String})


def objects(found: int, missed: int, per_photo: int = 1, ignored: int = 0) -> pl.DataFrame:
    outcome = ["found"] * found + ["missed", "confused", "mislocated"] * (missed // 3) + ["missed"] * (missed % 3)
    outcome = np.random.default_rng(0).permutation(outcome).tolist() + ["ignored"] * ignored
    return pl.DataFrame({"image_id": [f"{index // per_photo}" for index in range(len(outcome))], "outcome": outcome})


def recall(table: pl.DataFrame, target: float, confidence: float = 0.95) -> Answer:
    (answer,) = promise(table, NOTHING, Promise(recall=target, confidence=confidence))
    return answer


@pytest.mark.parametrize(("target", "expected"), [(0.9, "inside"), (0.97, "broken"), (0.945, "not shown")])
def test_three_answers(target: float, expected: str) -> None:
    answer = recall(objects(950, 50, ignored=7), target)
    assert answer.answer == expected
    assert (answer.numerator, answer.denominator, answer.photos) == (950, 1000, 1000)
    assert answer.rate == pytest.approx(0.95)
    low, high = proportion_confint(950, 1000, alpha=0.1, method="beta")
    assert (answer.low, answer.high) == pytest.approx((low, high), abs=0.001)
    assert (answer.photos_needed is not None) == (expected == "not shown")


def test_photos_without_objects_are_needed_too() -> None:
    table = objects(95, 5)
    empty = [f"empty {index}" for index in range(300)]
    photos = pl.DataFrame({"image_id": [*table["image_id"], *empty], "status": ["ok"] * 400})
    unread = pl.DataFrame({"image_id": ["bad"], "status": ["photo_empty"]})
    (answer,) = promise(table, NOTHING, Promise(recall=0.93), pl.concat([photos, unread]))
    bare = recall(table, 0.93)
    assert answer.photos_needed is not None
    assert bare.photos_needed is not None
    assert answer.photos == bare.photos == 100
    assert answer.photos_needed == pytest.approx(4 * bare.photos_needed, abs=4)


def test_the_photos_needed_would_show_it() -> None:
    answer = recall(objects(95, 5), 0.93)
    needed = answer.photos_needed
    assert needed is not None
    assert needed > 100
    assert proportion_confint(round(0.95 * needed), needed, alpha=0.1, method="beta")[0] == pytest.approx(
        0.93, abs=0.002
    )
    assert f"{needed:,} photos" in answer.sentence
    grown = recall(objects(round(0.95 * needed * 1.1), round(0.05 * needed * 1.1)), 0.93)
    assert grown.answer == "inside"


def test_below_the_target_but_not_shown_asks_for_no_photos() -> None:
    answer = recall(objects(18, 3), 0.9)
    assert answer.answer == "not shown"
    assert answer.photos_needed is None
    assert "not met here" in answer.sentence


def test_clustered_misses_need_more_photos() -> None:
    alike = pl.DataFrame(
        {"image_id": [f"{index // 10}" for index in range(1000)], "outcome": ["missed"] * 50 + ["found"] * 950}
    )
    answer = recall(alike, 0.93)
    assert answer.answer == "not shown"
    assert recall(objects(950, 50), 0.93).answer == "inside"
    assert answer.photos_needed is not None
    assert answer.photos_needed > 100


def test_no_miss_at_all_rests_on_photos() -> None:
    answer = recall(objects(400, 0, per_photo=8), 0.95)
    assert answer.rate == 1.0
    assert answer.low == pytest.approx(0.05 ** (1 / 50), abs=0.005)
    assert answer.answer == "not shown"
    assert recall(objects(1600, 0, per_photo=8), 0.95).answer == "inside"


def test_everything_missed_is_broken() -> None:
    answer = recall(objects(0, 60), 0.9)
    assert answer.answer == "broken"
    assert answer.low == 0.0
    assert answer.sentence.startswith("0 of 60 objects")


def test_precision_counts_wrong_detections_and_ignores_the_ignored() -> None:
    outcomes = ["matched"] * 90 + ["duplicate", "confused", "mislocated", "background"] * 2 + ["ignored"] * 20
    table = pl.DataFrame({"image_id": [str(index) for index in range(len(outcomes))], "outcome": outcomes})
    answers = promise(objects(9, 1), table, Promise(recall=0.5, precision=0.5))
    assert [answer.metric for answer in answers] == ["recall", "precision"]
    assert (answers[1].numerator, answers[1].denominator) == (90, 98)


def test_nothing_asked_and_nothing_measured() -> None:
    assert promise(objects(3, 1), NOTHING, Promise()) == []
    (answer,) = promise(NOTHING, NOTHING, Promise(recall=0.9))
    assert answer.answer == "not shown"
    assert answer.rate is answer.low is answer.high is answer.photos_needed is None
    assert answer.denominator == 0


def test_the_sentence_reads_well_and_the_row_is_plain() -> None:
    answer = recall(objects(1173, 71), 0.9)
    assert answer.sentence == (
        "1,173 of 1,244 objects in 1,244 photos were found (94.3%); with 95% confidence recall is at least 93.1%, "
        "so the promised 90% is kept."
    )
    assert set(asdict(answer)) == {
        "metric", "target", "confidence", "answer", "rate", "low", "high", "numerator", "denominator", "photos",
        "groups", "photos_needed", "sentence", "part", "quantiles", "kept", "cost",
    }  # fmt: skip
    one = recall(objects(1, 0), 0.9)
    assert one.sentence.startswith("1 of 1 object in 1 photo was found (100%)")
    for table in (objects(1, 0), objects(0, 1), objects(18, 3), objects(95, 5)):
        sentence = recall(table, 0.93).sentence
        assert "nan" not in sentence
        assert "None" not in sentence


def test_a_target_met_exactly_is_not_decided_by_rounding() -> None:
    answer = recall(objects(90, 10), 0.9)
    assert answer.answer == "not shown"
    assert answer.photos_needed is None
    assert "not met" not in answer.sentence
    assert "so close that no practical number of photos would show it" in answer.sentence


def test_the_photos_needed_count_few_groups_as_the_answer_does() -> None:
    """With 12 groups, by searching every number of photos with the very bound that the answer rests on."""
    group = np.repeat(np.arange(12), 30)
    outcome = np.where(np.arange(360) % 30 < 2, "missed", "found")
    table = pl.DataFrame({"image_id": [str(place) for place in range(360)], "outcome": outcome})
    groups = table.select("image_id", group=pl.Series(group).cast(pl.String))
    asked = Promise(recall=0.905)
    (answer,) = promise(table, NOTHING, asked, groups)
    assert (answer.answer, answer.groups) == ("not shown", 12)

    def high(photos: int) -> float:
        grown = photos / 360
        moments = Moments(
            *(np.array([grown * value]) for value in (360.0, 24.0, 12.0, 12 * 900.0, 12 * 4.0, 12 * 60.0))
        )
        icc = intraclass_correlation(outcome == "missed", indicator(group, 12))
        found = rates_of(moments, icc, 0.05, grown * 12)  # type: ignore[arg-type]
        return float(found.high[0])

    assert high(360) == pytest.approx(1 - answer.low)
    smallest = next(photos for photos in range(361, 10_000) if high(photos) <= 0.095)
    assert answer.photos_needed == smallest


def test_photos_without_any_group_are_no_groups() -> None:
    table = objects(95, 5)
    groups = table.select("image_id", group=pl.lit(None, pl.String))
    (answer,) = promise(table, NOTHING, Promise(recall=0.93), groups)
    assert answer == recall(table, 0.93)
    assert answer.groups is None
    assert "group" not in answer.sentence


def test_the_distribution_of_independent_objects_is_the_jeffreys_posterior() -> None:
    answer = recall(objects(950, 50), 0.94)
    low, high = proportion_confint(950, 1000, alpha=0.05, method="jeffreys")
    assert answer.quantiles is not None
    assert (answer.quantiles["0.025"], answer.quantiles["0.975"]) == pytest.approx((low, high), abs=5e-4)
    assert list(answer.quantiles.values()) == sorted(answer.quantiles.values())
    assert answer.kept == pytest.approx(stats.beta(950.5, 50.5).sf(0.94), abs=0.01)
    assert distribution(0.05, 1000).mean() == pytest.approx(50.5 / 1001)


def test_alike_objects_widen_the_distribution() -> None:
    alike = pl.DataFrame(
        {"image_id": [f"{index // 10}" for index in range(1000)], "outcome": ["missed"] * 50 + ["found"] * 950}
    )
    spread = [
        answer.quantiles["0.975"] - answer.quantiles["0.025"]
        for answer in (recall(alike, 0.93), recall(objects(950, 50), 0.93))
        if answer.quantiles
    ]
    assert spread[0] > 2.5 * spread[1]


def test_misses_have_a_price_where_one_is_given() -> None:
    table = objects(95, 5)
    wrong = pl.DataFrame({"image_id": ["0", "1"], "outcome": ["matched", "background"]})
    found, right = promise(table, wrong, Promise(recall=0.97, precision=0.5), cost_per_miss=12.5)
    assert right.cost is None
    assert recall(table, 0.97).cost is None
    assert found.cost is not None
    assert (found.cost["misses"], found.cost["allowed"]) == (62.5, pytest.approx(37.5))
    assert found.cost["over_budget"] == pytest.approx(25.0)
    assert found.cost["per_1000_objects"] == pytest.approx(625.0)
    assert found.cost["per_1000_objects_low"] < 625 < found.cost["per_1000_objects_high"]


def parted() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """400 cars of which 4 are missed, 200 people of which 80 are, 60 of those in the dark."""
    label = ["car"] * 400 + ["person"] * 200
    missed = [index < 4 for index in range(400)] + [index < 80 for index in range(200)]
    keys = {"image_id": [str(index) for index in range(600)], "object_id": [0] * 600, "label": label}
    table = pl.DataFrame({**keys, "outcome": ["missed" if lost else "found" for lost in missed]})
    dark = [label == "person" and place % 200 < 60 for place, label in enumerate(label)]
    bins = pl.DataFrame({**keys, "brightness": ["dark" if part else "normal" for part in dark]})
    seen = table.filter(pl.col("outcome") == "found").with_columns(outcome=pl.lit("matched"))
    return table, bins, seen


def test_every_class_and_slice_has_an_answer_of_its_own() -> None:
    table, bins, seen = parted()
    asked = Promise(recall=0.9, precision=0.9)
    slices = [["label=person", "brightness=dark"]]
    answers = promise_of_parts(table, seen, asked, slices=slices, bins=bins, cost_per_miss=2.0)
    told = {(answer.metric, answer.part): answer for answer in answers}
    assert list(told) == [
        ("recall", "label=car"),
        ("recall", "label=person"),
        ("recall", "label=person & brightness=dark"),
        ("precision", "label=car"),
        ("precision", "label=person"),
    ]
    assert told["recall", "label=car"].answer == "inside"
    assert told["recall", "label=person"].answer == "broken"
    dark = told["recall", "label=person & brightness=dark"]
    assert (dark.numerator, dark.denominator, dark.cost and dark.cost["misses"]) == (0, 60, 120.0)
    assert told["recall", "label=person"].sentence.startswith("label=person: 120 of 200 objects in 200 photos were")
    # Two classes are asked at once, one slice.
    assert told["recall", "label=car"].confidence == pytest.approx(0.975)
    assert dark.confidence == 0.95
    low, _ = proportion_confint(396, 400, alpha=0.05, method="beta")
    assert told["recall", "label=car"].low == pytest.approx(low, abs=2e-3)


def test_parts_without_objects_say_so() -> None:
    table, bins, _ = parted()
    (answer,) = promise_of_parts(table.clear(), NOTHING, Promise(recall=0.9), slices=[["brightness=dark"]], bins=bins)
    assert (answer.part, answer.answer, answer.rate) == ("brightness=dark", "not shown", None)
    assert "for brightness=dark" in answer.sentence
    assert promise_of_parts(table, NOTHING, Promise()) == []


def test_photos_to_settle_are_weighed_against_all_photos_not_those_of_the_class() -> None:
    """A class in 20 of 10,000 photos: 900 more photos are practical, whatever share of them holds one."""
    told = promise_words.sentence(
        part="class bus",
        metric="recall",
        target=0.9,
        confidence=0.95,
        answer="not shown",
        bounds=(0.82, 0.97),
        counts=(46, 50, 20),
        drawn=None,
        needed=10_900,
        every=10_000,
    )
    assert "about 10,900 photos in all would show" in told

from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from xai.config import Promise
from xai.coverage.promise import Answer, promise

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
        "groups", "photos_needed", "sentence",
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

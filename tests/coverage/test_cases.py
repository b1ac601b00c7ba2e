"""Reported misses against production and training photos."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from attributes import ATTRIBUTES
from xai import tables
from xai.config import Promise
from xai.coverage import analyse_cases, unanswered

GLARE = {"strong": 0.8, "none": 0.1}


@dataclass
class Tables:
    images: pl.DataFrame
    objects: pl.DataFrame


def photos(split: str, strong: int, plain: int) -> pl.DataFrame:
    glare = [GLARE["strong"]] * strong + [GLARE["none"]] * plain
    return pl.DataFrame(
        {
            "split": split,
            "image_id": [f"{split}{index}.jpg" for index in range(len(glare))],
            "status": "ok",
            "glare": glare,
        }
    )


def objects(split: str, image_ids: list[str], outcome: str | None, size: float | None = 0.1) -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "split": split,
            "image_id": image_ids,
            "object_id": range(len(image_ids)),
            "label": "car",
            "outcome": pl.Series([outcome] * len(image_ids), dtype=pl.String),
            "object_size": pl.Series([size] * len(image_ids), dtype=pl.Float64),
        }
    )
    return tables.conform(rows, tables.TABLES["objects"])


def row(coverage: pl.DataFrame, attribute: str, name: str) -> dict[str, object]:
    return coverage.filter((pl.col("attribute") == attribute) & (pl.col("bin") == name)).row(0, named=True)


@pytest.fixture(scope="module")
def world() -> tuple[Tables, Tables]:
    """Return training, and production whose 40 photos with strong glare hold 12 of 16 reported misses."""
    production = photos("production", 40, 960)
    ids = production["image_id"].to_list()
    cases = objects("production", [*ids[:12], *ids[500:504]], "missed")
    found = objects("production", ids[600:602], "found").with_columns(pl.col("object_id") + 50)
    train = photos("train", 2, 498)
    return (
        Tables(train, objects("train", train["image_id"].to_list(), None, 0.3)),
        Tables(production, pl.concat([cases, found])),
    )


def test_shares_are_of_reports_production_photos_and_training_photos(world: tuple[Tables, Tables]) -> None:
    told = row(analyse_cases(*world, train_detected=False).coverage, "glare", "strong")
    assert told["miss_count"] == 12
    assert told["miss_share"] == 12 / 16
    assert (told["eval_count"], told["eval_photos"], told["eval_share"]) == (40, 40, 0.04)
    assert (told["train_count"], told["train_share"]) == (2, 0.004)
    assert told["risk_ratio"] == pytest.approx((12 / 40) / (4 / 960))
    assert 1 < told["risk_ratio_low"] < told["risk_ratio"]
    # As often as strong glare is overlooked, all four reports without it may have it.
    assert told["risk_ratio_high"] is None
    assert told["q_value"] < 1e-6
    assert told["assessment"] == "coverage_gap"
    assert told["collect"] > 0


def test_no_miss_rate_is_stated_anywhere(world: tuple[Tables, Tables]) -> None:
    found = analyse_cases(*world, train_detected=False)
    for frame in (found.coverage, found.slices):
        rates = frame.select("miss_rate", "miss_rate_low", "miss_rate_high", "train_miss_rate")
        assert all(rates[name].null_count() == len(rates) for name in rates.columns)


def test_objects_are_compared_with_training_only(world: tuple[Tables, Tables]) -> None:
    told = row(analyse_cases(*world, train_detected=False).coverage, "object_size", "small")
    assert (told["miss_count"], told["miss_share"], told["train_count"]) == (16, 1.0, 0)
    compared = ("eval_count", "eval_share", "risk_ratio", "adjusted_risk_ratio", "q_value", "assessment", "collect")
    assert all(told[name] is None for name in compared)


def test_misses_are_compared_with_photos_that_nobody_reported(world: tuple[Tables, Tables]) -> None:
    found = analyse_cases(*world, train_detected=False)
    counts = dict(found.compared["outcome"].value_counts().iter_rows())
    assert counts == {"missed": 16, "found": 1000 - 16}
    assert len(found.bins) == 1000
    assert found.bins.filter(pl.col("object_size") == "unknown").height == 984
    keys = ["image_id", "object_id"]
    assert len(found.bins.join(found.compared, on=keys)) == 1000


def test_reports_are_counted_in_the_bins_of_their_photos() -> None:
    """Quartiles of a photo's column are those of production, not of the reported photos."""
    production = photos("production", 0, 200).with_columns(meta_speed=pl.int_range(200).cast(pl.Float64))
    ids = production["image_id"].to_list()
    found = analyse_cases(None, Tables(production, objects("production", ids[150:190], "missed")), train_detected=False)
    told = found.coverage.filter(pl.col("attribute") == "meta_speed")
    assert told["miss_count"].to_list() == told["miss_photos"].to_list() == [0, 0, 0, 40]
    assert set(found.bins["meta_speed"]) == set(told["bin"]) - {"unknown"}


def test_training_that_fails_too_is_hard(world: tuple[Tables, Tables]) -> None:
    train = photos("train", 60, 440)
    ids = train["image_id"].to_list()
    failing = pl.concat([objects("train", ids[:60], "missed"), objects("train", ids[60:], "found")])
    told = analyse_cases(Tables(train, failing), world[1], train_detected=True)
    assert row(told.coverage, "glare", "strong")["assessment"] == "hard"


def test_without_training_and_without_cases() -> None:
    production = photos("production", 5, 20)
    none = Tables(production, objects("production", [], None))
    found = analyse_cases(None, none, train_detected=False)
    assert found.coverage["miss_count"].fill_null(0).sum() == 0
    assert found.coverage["train_count"].null_count() == len(found.coverage)
    assert found.compared.height == 25
    image_level = {name for name, item in ATTRIBUTES.items() if item.level == "image"}
    assert set(found.coverage.filter(pl.col("eval_count") > 0)["attribute"]) <= image_level


def test_intervals_of_report_ratios_cover() -> None:
    """Reports drawn at known rates: the 95% interval of their ratio covers the truth about as often as it says."""
    generator = np.random.default_rng(7)
    production = photos("production", 300, 700)
    ids = np.array(production["image_id"].to_list())
    rate = np.where(np.arange(1000) < 300, 0.09, 0.03)
    covered = 0
    for _ in range(60):
        reported = ids[generator.random(1000) < rate].tolist()
        told = row(
            analyse_cases(
                None, Tables(production, objects("production", reported, "missed")), train_detected=False
            ).coverage,
            "glare",
            "strong",
        )
        covered += told["risk_ratio_low"] <= 3 <= told["risk_ratio_high"]
    assert covered >= 53  # 60 draws at 95%: below 53 has a chance of 1%


def test_a_promise_is_not_answered_by_reports() -> None:
    answers = unanswered(Promise(recall=0.95, precision=0.9))
    assert [(answer.metric, answer.answer, answer.rate) for answer in answers] == [
        ("recall", "not shown", None),
        ("precision", "not shown", None),
    ]
    assert "xai sample" in answers[0].sentence
    assert unanswered(Promise()) == []

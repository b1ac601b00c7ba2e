from typing import Any

import numpy as np
import polars as pl
import pytest
from worlds import CATALOG, Side, world

from xai import tables
from xai.coverage import analyse, collect
from xai.coverage.bins import bin_columns, inherit
from xai.coverage.misread import COLUMNS

MISSES = ["missed", "confused", "mislocated"]


def cover(train: Side | None, evaluation: Side, **options: Any) -> pl.DataFrame:
    return analyse(train, evaluation, **{"train_detected": True, "catalog": CATALOG, **options}).coverage


def row(table: pl.DataFrame, attribute: str, name: str, label: str | None = None) -> dict[str, Any]:
    where = (pl.col("attribute") == attribute) & (pl.col("bin") == name) & pl.col("label").eq_missing(pl.lit(label))
    return table.filter(where).row(0, named=True)


def test_columns_and_types_are_the_contract() -> None:
    table = cover(world(1), world(2))
    assert table.schema == pl.Schema({**tables.TABLES["coverage"], **COLUMNS, **collect.COLUMNS})
    floats = table.select(pl.selectors.float())
    assert not floats.select(pl.any_horizontal(pl.all().is_nan().any())).item()
    assert not floats.select(pl.any_horizontal(pl.all().is_infinite().any())).item()


def test_counts_shares_and_rates_equal_group_by() -> None:
    train, evaluation = world(1, detected=True), world(2)
    table = cover(train, evaluation)
    for side, data in (("train", train), ("eval", evaluation)):
        binned = bin_columns(inherit(data.objects, data.images, CATALOG), CATALOG)
        binned = binned.with_columns(miss=pl.col("outcome").is_in(MISSES))
        for label in (None, "car"):
            part = binned if label is None else binned.filter(pl.col("label") == label)
            for name in ("glare", "crowding", "label_pose"):
                expected = part.group_by(pl.col(name).alias("bin")).agg(
                    count=pl.len(), misses=pl.col("miss").sum(), rate=pl.col("miss").mean()
                )
                got = table.filter(
                    (pl.col("attribute") == name) & pl.col("label").eq_missing(pl.lit(label))
                ).join(expected, on="bin")  # fmt: skip
                assert got[f"{side}_count"].to_list() == got["count"].to_list()
                assert got[f"{side}_share"].to_list() == pytest.approx((got["count"] / len(part)).to_list())
                rate = "miss_rate" if side == "eval" else "train_miss_rate"
                assert got[rate].to_list() == pytest.approx(got["rate"].to_list())
                if side == "eval":
                    assert got["miss_count"].to_list() == got["misses"].to_list()
                    assert got["miss_share"].sum() == pytest.approx(1)


def test_photo_counts_of_image_attributes_include_photos_without_objects() -> None:
    evaluation = world(2, per_photo=1.0)
    table = cover(world(1), evaluation)
    photos = bin_columns(evaluation.images, CATALOG)["glare"].value_counts()
    for name, count in photos.iter_rows():
        assert row(table, "glare", name)["eval_photos"] == count
    holders = evaluation.objects.filter(pl.col("crowding") >= 0.7)["image_id"].n_unique()
    assert row(table, "crowding", "crowded")["eval_photos"] == holders


def test_ignored_objects_and_unread_photos_do_not_count() -> None:
    evaluation = world(2)
    ignored = evaluation.objects.with_columns(
        outcome=pl.when(pl.col("label") == "person").then(pl.lit("ignored")).otherwise("outcome")
    )
    extra = pl.DataFrame({"image_id": ["broken.jpg"], "status": ["photo_unreadable"]})
    images = pl.concat([evaluation.images, extra], how="diagonal")
    table = cover(None, Side(images, ignored))
    assert row(table, "glare", "none")["eval_photos"] == row(cover(None, evaluation), "glare", "none")["eval_photos"]
    assert set(table["label"].to_list()) == {None, "car"}
    total = table.filter((pl.col("attribute") == "glare") & pl.col("label").is_null())["eval_count"].sum()
    assert total == (ignored["outcome"] != "ignored").sum()


def test_a_gap_and_a_hard_condition_are_told_apart() -> None:
    evaluation = world(2, 600, glare_risk=5.0, crowd_risk=4.0)
    table = cover(world(1, 600, glare=0.0, glare_risk=5.0, crowd_risk=4.0), evaluation)
    assert row(table, "glare", "strong")["assessment"] == "coverage_gap"
    assert row(table, "crowding", "crowded")["assessment"] == "hard"
    assert row(table, "brightness", "dark")["assessment"] == "fine"
    assert row(table, "label_pose", "Left")["assessment"] == "fine"
    fails_there_too = cover(world(1, 600, glare=0.04, glare_risk=5.0), evaluation)
    assert row(fails_there_too, "glare", "strong")["assessment"] == "hard"
    never_asked = cover(world(1, 600, glare=0.04, glare_risk=5.0, detected=False), evaluation, train_detected=False)
    assert row(never_asked, "glare", "strong")["assessment"] == "coverage_gap"
    assert row(never_asked, "glare", "strong")["train_miss_rate"] is None


def test_a_harmless_rare_condition_is_called_so_once_enough_objects_show_it() -> None:
    table = cover(world(1, 800, glare=0.0), world(2, 800, glare=0.3, base=0.2))
    assert row(table, "glare", "strong")["assessment"] == "rare_harmless"
    few = cover(world(1, 800, glare=0.0), world(2, 60, glare=0.05, base=0.1))
    assert row(few, "glare", "strong")["assessment"] == "too_few"


def test_ignored_outcomes_of_the_training_set_are_disregarded_where_it_was_not_detected() -> None:
    told = cover(world(1), world(2), train_detected=False)
    silent = cover(world(1, detected=False), world(2))
    assert told.equals(silent)
    assert told["train_miss_rate"].null_count() == len(told)


def test_without_training_set_its_columns_are_null_and_elevated_bins_are_hard() -> None:
    table = cover(None, world(2, 600, glare_risk=5.0))
    for name in ("train_count", "train_photos", "train_share", "train_miss_rate", "collect"):
        assert table[name].null_count() == len(table)
    assert row(table, "glare", "strong")["assessment"] == "hard"


def test_unknown_is_shown_and_never_tested() -> None:
    evaluation = world(2)
    blind = evaluation.images.with_columns(
        glare=pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise(pl.col("glare"))
    )
    got = row(cover(world(1), Side(blind, evaluation.objects)), "glare", "unknown")
    assert got["eval_count"] > 0
    assert got["miss_rate"] > 0
    assert got["risk_ratio"] is got["adjusted_risk_ratio"] is got["q_value"] is got["assessment"] is None


def test_collected_photos_equalise_the_share() -> None:
    train, evaluation = world(1, 400, glare=0.02), world(2, 500, glare=0.3)
    table = cover(train, evaluation)
    got = row(table, "glare", "strong")
    share = got["eval_photos"] / 500
    assert (got["train_photos"] + got["collect"]) / (400 + got["collect"]) == pytest.approx(share, abs=0.002)
    assert row(table, "glare", "none")["collect"] is None

    scarce = Side(train.images, train.objects.filter((pl.col("crowding") < 0.7) | (pl.int_range(pl.len()) % 8 == 0)))
    got = row(cover(scarce, evaluation), "crowding", "crowded")
    held = evaluation.objects.filter(
        pl.col("image_id").is_in(evaluation.objects.filter(pl.col("crowding") >= 0.7)["image_id"].to_list())
    )
    per_photo = len(held) / got["eval_photos"]
    crowded = got["eval_count"] / got["eval_photos"]
    after = (got["train_count"] + got["collect"] * crowded) / (len(scarce.objects) + got["collect"] * per_photo)
    assert after == pytest.approx(got["eval_share"], abs=0.003)


def test_adjustment_takes_size_and_label_out() -> None:
    """Crowded objects are the small ones, and smallness alone raises the risk."""
    side = world(2, 800, size_risk=6.0)
    tied = side.objects.with_columns(
        crowding=pl.when(pl.col("object_size") < 0.2).then(0.9).otherwise(pl.col("crowding") * 0.8)
    )
    got = row(cover(None, Side(side.images, tied)), "crowding", "crowded")
    assert got["risk_ratio_low"] > 1.5
    assert got["adjusted_low"] < 1 < got["adjusted_high"]
    assert got["assessment"] != "hard"


@pytest.mark.parametrize("found", [True, False])
def test_no_miss_and_all_missed_can_be_told(found: bool) -> None:
    side = world(2, 80)
    same = Side(side.images, side.objects.with_columns(outcome=pl.lit("found" if found else "missed")))
    table = cover(world(1, 80), same)
    got = row(table, "crowding", "crowded")
    assert got["miss_rate"] == (0 if found else 1)
    assert 0 <= got["miss_rate_low"] < got["miss_rate_high"] <= 1
    assert set(table["assessment"].drop_nulls()) <= {"too_few", "fine", "rare_harmless"}


def test_one_photo_and_no_photo_can_be_told() -> None:
    side = world(2, 1, per_photo=12)
    table = cover(side, side)
    assert set(table["assessment"].drop_nulls()) == {"too_few"}
    nothing = Side(side.images.clear(), side.objects.clear())
    empty = cover(nothing, nothing)
    assert empty["eval_count"].sum() == 0
    assert empty["miss_rate"].null_count() == len(empty)
    assert cover(nothing, world(3))["train_share"].null_count() == len(cover(nothing, world(3)))


def test_labels_of_few_objects_have_no_rows() -> None:
    side = world(2, 100)
    rare = side.objects.with_columns(label=pl.when(pl.int_range(pl.len()) < 29).then(pl.lit("tram")).otherwise("label"))
    assert "tram" not in cover(None, Side(side.images, rare))["label"].to_list()
    enough = side.objects.with_columns(
        label=pl.when(pl.int_range(pl.len()) < 30).then(pl.lit("tram")).otherwise("label")
    )
    assert "tram" in cover(None, Side(side.images, enough))["label"].to_list()


@pytest.mark.slow
def test_null_data_rarely_raise_an_alarm() -> None:
    """Nothing but chance (and size, adjusted for): the two families together may err in about one run of ten."""
    alarms = 0
    for seed in range(40):
        table = cover(None, world(100 + seed, 120, size_risk=1.0))
        alarms += table["assessment"].is_in(["hard", "coverage_gap"]).any()
    assert alarms <= 6


def test_the_order_of_rows_does_not_matter() -> None:
    side = world(2)
    order = np.random.default_rng(0).permutation(len(side.objects))
    mixed = Side(side.images.reverse(), side.objects[order])
    left, right = cover(world(1), side), cover(world(1), mixed)
    for name, dtype in tables.TABLES["coverage"].items():
        if dtype == pl.Float64:
            assert left[name].fill_null(-1).to_list() == pytest.approx(right[name].fill_null(-1).to_list())
        else:
            assert left[name].to_list() == right[name].to_list()

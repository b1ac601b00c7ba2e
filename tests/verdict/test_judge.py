import re

import polars as pl
import pytest
from planted import Judged, World, judge, world

from xai import coverage, tables, verdict
from xai.config import Promise
from xai.verdict.judge import runner_up

DARK, SMALL = ("brightness", "dark"), ("object_size", "small")
CROWDED, NOISY = ("crowding", "crowded"), ("noise", "strong")
HARMFUL = {DARK: (0.1, 0.5), SMALL: (0.1, 0.45), CROWDED: (0.08, 0.4)}
PLANTED = {**HARMFUL, NOISY: (0.12, 0.0)}


@pytest.fixture(scope="module")
def judged() -> Judged:
    train = world(2, 400, {**PLANTED, DARK: (0.0, 0.5)})
    return judge(train, world(1, 300, PLANTED), recall=0.6, tried=True)


def named(result: Judged) -> pl.DataFrame:
    return result.verdicts.join(result.world.errors.select("error_id", "truth"), on="error_id")


def test_columns_are_the_contract_one_row_per_miss(judged: Judged) -> None:
    assert judged.verdicts.schema == pl.Schema(tables.TABLES["verdicts"])
    assert judged.verdicts["error_id"].to_list() == judged.world.errors["error_id"].to_list()
    assert judged.verdicts["strength"].is_between(0, 1).all()
    assert judged.verdicts["cause"].null_count() == 0
    assert judged.verdicts["sentence"].null_count() == 0
    below = judged.verdicts.filter(pl.col("verdict").is_in(["coverage_gap", "hard"]))
    assert (below["runner_up_strength"] + below["strength"] <= 1 + 1e-9).all()


def test_planted_causes_are_mostly_named_and_harmless_conditions_hardly_ever(judged: Judged) -> None:
    table = named(judged)
    for cause in ("darkness", "small_object", "crowding"):
        part = table.filter(pl.col("truth") == cause)
        assert len(part) >= 15
        assert (part["cause"] == cause).mean() >= 0.75
    assert (table["cause"] == "noise").mean() <= 0.03
    assert not table["cause"].str.contains(":").any()


def test_gap_and_hard_follow_the_training_set(judged: Judged) -> None:
    kinds = dict(judged.verdicts.group_by("cause").agg(pl.col("verdict").unique()).iter_rows())
    assert kinds["darkness"] == ["coverage_gap"]
    assert kinds["small_object"] == ["hard"]


def test_figures_are_those_of_the_coverage_table(judged: Judged) -> None:
    row = judged.verdicts.filter(pl.col("cause") == "darkness").row(0, named=True)
    table = judged.analysis.coverage.filter(
        (pl.col("attribute") == row["attribute"]) & (pl.col("bin") == row["bin"]) & pl.col("label").is_null()
    ).row(0, named=True)
    assert row["attribute"] == "brightness"
    assert row["risk_ratio"] == table["adjusted_risk_ratio"]
    for name in ("train_share", "eval_share", "miss_share"):
        assert row[name] == table[name]


def test_a_repair_is_named_only_where_it_worked_beyond_placebos(judged: Judged) -> None:
    found = judged.evidence.filter(pl.col("kind") == "repair_found")
    worked = found.filter((pl.col("after") == 1) & (pl.col("placebo") == 0)).select("error_id", cause="name")
    repaired = judged.verdicts.filter(pl.col("repair").is_not_null()).select("error_id", "cause")
    assert 0 < len(repaired) < len(judged.verdicts)
    assert len(repaired.join(worked, on=["error_id", "cause"])) == len(repaired)


def test_evidence_of_repairs_raises_the_strength(judged: Judged) -> None:
    told = judged.verdicts.filter(pl.col("cause") == "darkness")
    worked = told.filter(pl.col("repair").is_not_null())["strength"].mean()
    not_worked = told.filter(pl.col("repair").is_null())["strength"].mean()
    assert isinstance(worked, float)
    assert isinstance(not_worked, float)
    # In odds, as strengths near 1 differ little.
    assert worked / (1 - worked) > 2 * not_worked / (1 - not_worked)


def test_natural_misses_without_conditions_are_chance_inside_the_promise_else_unexplained() -> None:
    plain = world(3, 200, {}, base=0.08)
    train = world(4, 200, {}, base=0.08)
    for recall, expected in ((0.6, "chance"), (0.99, "unexplained"), (None, "unexplained")):
        result = judge(train, plain, recall=recall).verdicts
        assert result["verdict"].unique().to_list() == [expected]
        assert result["cause"].unique().to_list() == ["unexplained"]
        # What is left is the chance that a pose of the labels made the miss.
        assert result["strength"].min() > 0.7
        assert result["runner_up"].drop_nulls().str.starts_with("label_pose:").all()


@pytest.mark.parametrize(
    ("cause", "odds", "second"),
    [
        ("haze", {"overexposure": 4.0, "low_contrast": 2.0, "small_object": 0.5}, "small_object"),
        ("darkness", {"low_contrast": 2.0, "overexposure": 0.3}, "overexposure"),
        ("haze", {"overexposure": 4.0, "small_object": 0.05}, "unexplained"),
        ("rotation", {"haze": 0.3, "glare": 0.3}, "glare"),
        ("rotation", {}, "unexplained"),
        ("unexplained", {"small_object": 0.1}, "small_object"),
        ("unexplained", {}, None),
    ],
)
def test_the_second_guess_is_another_cause_and_no_other_name_of_the_first(
    cause: str, odds: dict[str, float], second: str | None
) -> None:
    assert runner_up(cause, {**odds, cause: 9.0, "unexplained": 1.0}) == second


def test_a_rare_condition_is_the_surer_the_more_its_repair_does_beyond_placebos() -> None:
    """The coverage table calls it too few, but every repair brings the objects back, or none, or placebos too."""
    side = world(5, 120, {DARK: (0.05, 1.0)}, base=0.03)
    dark = side.errors.filter(pl.col("truth") == "darkness")["error_id"].to_list()
    assert 3 <= len(dark) <= 40
    analysis = coverage.analyse(world(6, 300, {}), side, train_detected=True)
    errors = side.errors.drop("truth")
    arguments = (errors, side.objects, side.images, analysis.coverage)
    lines = verdict.rank(*arguments, bins=analysis.bins, score_threshold=0.25)
    quiet = analysis.coverage.with_columns(
        assessment=pl.when(pl.col("assessment").is_in(["hard", "coverage_gap"]))
        .then(pl.lit("too_few"))
        .otherwise("assessment")
    )

    def decide(found: float, placebo: float) -> pl.DataFrame:
        rows = [
            row
            for error_id in dark
            for row in (
                (error_id, "repair", "darkness", 0.05, 0.7 if found else 0.1, 0.1, 0.6 if found else 0.0),
                (error_id, "repair_found", "darkness", 0.0, found, placebo, found - placebo),
            )
        ]
        tried = pl.DataFrame(rows, schema=dict(tables.TABLES["evidence"]), orient="row")
        result = verdict.judge(
            errors, side.objects, side.images, quiet, pl.concat([lines, tried]),
            bins=analysis.bins, promises=[], score_threshold=0.25, is_training_set=True,
        )  # fmt: skip
        return result.filter(pl.col("error_id").is_in(dark))

    proven = decide(1.0, 0.0)
    assert proven["cause"].unique().to_list() == ["darkness"]
    assert proven["verdict"].unique().to_list() == ["coverage_gap"]
    assert proven["repair"].unique().to_list() == ["lift_shadows"]
    strengths = [
        float(
            result.select(pl.when(cause="darkness").then("strength").otherwise("runner_up_strength")).to_series().min()
        )  # type: ignore[arg-type]
        for result in (proven, decide(1.0, 0.5), decide(0.0, 0.0))
    ]
    assert strengths == sorted(strengths, reverse=True)
    assert 1 - strengths[0] < (1 - strengths[2]) / 5


def one_by_one(evaluation: World, mechanism: str, score: float) -> pl.DataFrame:
    errors = evaluation.errors.drop("truth").with_columns(mechanism=pl.lit(mechanism), best_score=pl.lit(score))
    return judge(None, World(evaluation.images, evaluation.objects, errors.with_columns(truth=pl.lit("")))).verdicts


def test_labels_come_first_and_thresholds_after_conditions() -> None:
    evaluation = world(1, 300, PLANTED)
    labels = one_by_one(evaluation, "annotation", 0.9)
    assert labels["verdict"].unique().to_list() == ["label"]
    assert labels["cause"].unique().to_list() == ["label_error"]
    near = one_by_one(evaluation, "low_score", 0.22)
    assert set(near["verdict"]) == {"threshold", "hard"}
    assert near.filter(pl.col("verdict") == "threshold")["cause"].unique().to_list() == ["score_threshold"]
    assert "threshold" not in one_by_one(evaluation, "low_score", 0.19)["verdict"].to_list()


def test_a_hidden_object_that_only_suppression_took_is_crowded() -> None:
    """Under both conditions the mechanism decides: what the detector saw and a neighbour took was not hidden."""
    side = world(11, 400, {}, base=0.03)
    both = pl.int_range(pl.len()) % 8 == 0
    hidden = both & (pl.int_range(pl.len()) % 3 > 0)
    objects = side.objects.with_columns(
        crowding=pl.when(both).then(0.9).otherwise(0.1),
        occlusion=pl.when(hidden).then(0.9).otherwise(0.0),
        outcome=pl.when(both & (pl.int_range(pl.len()) % 16 == 0)).then(pl.lit("missed")).otherwise("outcome"),
    )
    lost = objects.with_row_index("row").filter(pl.col("outcome") == "missed")
    errors = lost.select(
        pl.Series("error_id", [f"{index:012x}" for index in range(len(lost))]), pl.col("outcome").alias("kind"),
        "image_id", "object_id", pl.lit(None, pl.Int64).alias("prediction_id"), "label",
        pl.when(pl.col("row") % 32 == 0).then(pl.lit("suppressed")).otherwise(pl.lit("low_score")).alias("mechanism"),
        pl.lit(0.1).alias("best_score"), pl.lit(None, pl.Float64).alias("best_iou"),
        pl.lit(None, pl.String).alias("best_label"), pl.lit("").alias("truth"), "occlusion", "crowding",
    )  # fmt: skip
    result = judge(None, World(side.images, objects, errors.drop("occlusion", "crowding"))).verdicts
    told = result.join(errors.select("error_id", "occlusion", "crowding"), on="error_id")
    told = told.filter((pl.col("occlusion") > 0.5) & (pl.col("crowding") > 0.5))
    suppressed = told.filter(pl.col("mechanism") == "suppressed")
    assert len(suppressed) > 10
    assert suppressed["cause"].unique().to_list() == ["crowding"]


def test_a_users_column_can_be_the_cause() -> None:
    side = world(7, 300, {}, base=0.05)
    wet = pl.int_range(pl.len()) % 9 == 0
    objects = side.objects.with_columns(label_weather=pl.when(wet).then(pl.lit("wet {road}")).otherwise(pl.lit("dry")))
    objects = objects.with_columns(
        outcome=pl.when(wet & (pl.int_range(pl.len()) % 2 == 0)).then(pl.lit("missed")).otherwise("outcome")
    )
    lost = objects.filter(pl.col("outcome") == "missed")
    errors = lost.select(
        pl.Series("error_id", [f"{index:012x}" for index in range(len(lost))]), pl.col("outcome").alias("kind"),
        "image_id", "object_id", pl.lit(None, pl.Int64).alias("prediction_id"), "label",
        pl.lit("no_candidate").alias("mechanism"), pl.lit(None, pl.Float64).alias("best_score"),
        pl.lit(None, pl.Float64).alias("best_iou"), pl.lit(None, pl.String).alias("best_label"),
        pl.lit("").alias("truth"),
    )  # fmt: skip
    result = judge(None, World(side.images, objects, errors)).verdicts
    told = result.filter(pl.col("cause") == "label_weather:wet {road}")
    assert len(told) >= 30
    assert told["value"].unique().to_list() == ["wet {road}"]
    assert "wet {road}”" in told["sentence"][0]
    assert "There is no training set" in told["sentence"][0]


def test_sentences_have_no_holes_and_figures_from_the_tables(judged: Judged) -> None:
    for row in judged.verdicts.iter_rows(named=True):
        text = row["sentence"]
        assert not re.search(r"\b(nan|None|null|inf)\b|[{}]|\s\s|\.\.", text)
        assert text[0].isupper()
        assert text.endswith(".")
    table = judged.analysis.coverage.filter(pl.col("label").is_null())
    row = judged.verdicts.filter(pl.col("cause") == "small_object").row(0, named=True)
    figures = table.filter((pl.col("attribute") == "object_size") & (pl.col("bin") == row["bin"])).row(0, named=True)
    assert f"{100 * figures['miss_rate']:.0f}% are missed" in row["sentence"]
    assert f"{figures['adjusted_low']:.1f}–{figures['adjusted_high']:.1f}" in row["sentence"]


def test_what_could_not_be_measured_is_said() -> None:
    side = world(1, 300, PLANTED)
    blind = side.images.with_columns(
        brightness=pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise("brightness")
    )
    result = judge(None, World(blind, side.objects, side.errors)).verdicts
    unseen = side.errors.filter(
        pl.col("image_id").is_in(blind.filter(pl.col("brightness").is_null())["image_id"].to_list())
    )
    told = result.filter(pl.col("sentence").str.contains("Brightness could not be measured here."))
    assert len(told) > 0
    assert set(told["error_id"]) <= set(unseen["error_id"])


def test_a_reference_set_is_called_so() -> None:
    evaluation = world(1, 200, PLANTED)
    result = judge(world(2, 200, PLANTED), evaluation, is_training_set=False).verdicts
    told = " ".join(result["sentence"])
    assert "training" not in told
    assert "reference" in told


def test_nothing_to_judge_and_false_detections_only() -> None:
    side = world(1, 40, {}, base=0.0)
    result = judge(None, side).verdicts
    assert result.is_empty()
    assert result.schema == pl.Schema(tables.TABLES["verdicts"])


def test_the_promise_is_named_with_its_figures() -> None:
    plain = world(3, 200, {}, base=0.08)
    (answer,) = coverage.promise(plain.objects, pl.DataFrame(), Promise(recall=0.6))
    text = judge(world(4, 200, {}), plain, recall=0.6).verdicts["sentence"][0]
    assert f"{answer.denominator - answer.numerator:,} of {answer.denominator:,} objects are missed" in text
    assert "promised recall of 60%" in text

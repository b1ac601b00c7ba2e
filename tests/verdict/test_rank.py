from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from planted import World, judge, world

from xai import coverage, tables, verdict
from xai.causes import CAUSES

PLANTED = {("brightness", "dark"): (0.1, 0.5), ("object_size", "small"): (0.1, 0.4), ("noise", "strong"): (0.1, 0.2)}


@pytest.fixture(scope="module")
def evaluation() -> World:
    return world(1, 200, PLANTED)


@pytest.fixture(scope="module")
def lines(evaluation: World) -> pl.DataFrame:
    return judge(world(2, 200, {}), evaluation).evidence


def test_columns_are_the_contract_and_figures_are_finite(lines: pl.DataFrame) -> None:
    assert lines.schema == pl.Schema(tables.TABLES["evidence"])
    assert set(lines["kind"]) == {"unusualness", "severity", "risk", "joint_risk", "coverage"}
    assert lines.select(pl.col("effect").is_finite().all()).item()
    assert lines.select(pl.struct("error_id", "kind", "name").is_duplicated().any()).item() is False


def test_only_conditions_that_the_object_shows_have_lines(evaluation: World, lines: pl.DataFrame) -> None:
    dark = evaluation.images.filter(pl.col("brightness") < 0.2)["image_id"].to_list()
    expected = evaluation.errors.filter(pl.col("image_id").is_in(dark))["error_id"].to_list()
    told = lines.filter((pl.col("name") == "darkness") & (pl.col("kind") == "risk"))["error_id"].to_list()
    assert set(expected) <= set(told)
    assert set(lines["name"]) <= {*CAUSES, "label_pose:Left", "label_pose:Right", "label_pose:Frontal"}


@pytest.mark.parametrize(("risk", "blind", "shown"), [(0.0, False, False), (0.0, True, True), (0.8, False, True)])
def test_glare_elsewhere_in_the_photo_is_shown_only_where_its_risk_is_elevated(
    risk: float, blind: bool, shown: bool
) -> None:
    planted = world(3, 150, {("glare", "strong"): (0.15, risk)})
    if blind:  # nobody can tell where in the photo the glare lies
        unknown = planted.objects.with_columns(object_glare=pl.lit(None, pl.Float64))
        planted = replace(planted, objects=unknown)
    assert ("glare" in judge(None, planted).evidence["name"].to_list()) is shown


def test_unusualness_is_the_tail_among_found_objects(evaluation: World, lines: pl.DataFrame) -> None:
    joined = evaluation.objects.join(evaluation.images, on="image_id")
    found = joined.filter(pl.col("outcome") == "found")
    missed = evaluation.errors.join(joined, on=["image_id", "object_id"])
    got = lines.filter(pl.col("kind") == "unusualness")
    for name, attribute, low in (("small_object", "object_size", True), ("noise", "noise", False)):
        part = got.filter(pl.col("name") == name).join(missed, on="error_id")
        assert len(part) >= 3
        for row in part.iter_rows(named=True):
            beyond = found[attribute] <= row[attribute] if low else found[attribute] >= row[attribute]
            share = (beyond.sum() + 1) / (len(found) + 1)
            assert row["before"] == row[attribute]
            assert row["after"] == pytest.approx(share)
            assert row["effect"] == pytest.approx(-np.log10(share))


def test_severity_is_in_distances_of_the_edge_from_the_median_and_half_the_edge_at_least(
    evaluation: World, lines: pl.DataFrame
) -> None:
    joined = evaluation.objects.join(evaluation.images, on="image_id")
    usual = joined.filter(pl.col("outcome") == "found")["noise"].median()
    assert isinstance(usual, float)
    told = lines.filter((pl.col("kind") == "severity") & (pl.col("name") == "noise"))
    assert len(told) >= 3
    for row in told.iter_rows(named=True):
        assert row["before"] == 5.0
        assert row["effect"] == pytest.approx((row["after"] - 5.0) / max(5.0 - usual, 5.0 / 2))
        assert row["effect"] >= 0


def test_controls_are_planned_repairs_on_misses_without_the_condition(evaluation: World, lines: pl.DataFrame) -> None:
    errors = evaluation.errors.drop("truth")
    plan = verdict.plan(lines, errors, 40)
    controls = verdict.controls(lines, plan, errors, 40)
    assert controls.columns == plan.columns
    shown = lines.filter(pl.col("kind") == "joint_risk").select("error_id", cause="name")
    assert controls.join(shown, on=["error_id", "cause"]).is_empty()
    assert set(controls["cause"]) <= set(plan["cause"])
    assert controls["error_id"].n_unique() == 16
    assert verdict.controls(lines, plan, errors, 0).is_empty()


def test_risk_and_coverage_lines_repeat_the_coverage_table(evaluation: World, lines: pl.DataFrame) -> None:
    table = coverage.analyse(world(2, 200, {}), evaluation, train_detected=True).coverage
    rows = table.filter((pl.col("attribute") == "object_size") & pl.col("label").is_null())
    small = rows.filter(pl.col("bin") == "small").row(0, named=True)
    others = rows.filter((pl.col("bin") != "small") & (pl.col("bin") != "unknown"))
    risk = lines.filter((pl.col("name") == "small_object") & (pl.col("kind") == "risk")).row(0, named=True)
    assert risk["after"] == small["miss_rate"]
    assert risk["before"] == pytest.approx(others["miss_count"].sum() / others["eval_count"].sum())
    assert risk["effect"] == small["adjusted_risk_ratio"]
    share = lines.filter((pl.col("name") == "small_object") & (pl.col("kind") == "coverage")).row(0, named=True)
    assert (share["before"], share["after"]) == (small["eval_share"], small["train_share"])
    objects = rows["train_count"].sum()
    assert share["effect"] == pytest.approx(small["eval_share"] * (objects + 1) / (small["train_count"] + 0.5))


def test_without_training_set_there_are_no_coverage_lines(evaluation: World) -> None:
    assert "coverage" not in judge(None, evaluation).evidence["kind"].to_list()


def test_mechanisms_tell_label_errors_and_near_thresholds(evaluation: World) -> None:
    first, second, third, fourth = evaluation.errors["error_id"].head(4).to_list()
    analysis = coverage.analyse(None, evaluation, train_detected=False)
    errors = evaluation.errors.drop("truth").with_columns(
        mechanism=pl.col("error_id").replace_strict(
            {first: "annotation", second: "low_score", third: "low_score", fourth: "annotation"}, default="no_candidate"
        ),
        best_score=pl.col("error_id").replace_strict(
            {first: 0.9, second: 0.21, third: 0.19, fourth: None}, default=0.24, return_dtype=pl.Float64
        ),
    )
    lines = verdict.rank(
        errors, evaluation.objects, evaluation.images, analysis.coverage, bins=analysis.bins, score_threshold=0.25
    ).filter(pl.col("kind") == "mechanism")
    marks = {(row["error_id"], row["name"]): row["effect"] for row in lines.iter_rows(named=True)}
    assert set(marks) == {(first, "label_error"), (second, "score_threshold"), (fourth, "label_error")}
    assert marks[first, "label_error"] == pytest.approx(9)
    assert marks[second, "score_threshold"] == pytest.approx(-0.04)
    assert marks[fourth, "label_error"] is None


def test_the_plan_names_real_repairs_best_first_and_keeps_the_budget(lines: pl.DataFrame, evaluation: World) -> None:
    errors = evaluation.errors.drop("truth")
    plan = verdict.plan(lines, errors, 40)
    assert plan.columns == ["error_id", "cause", "repair", "priority"]
    assert plan["repair"].null_count() == 0
    assert all(CAUSES[cause].repair == repair for cause, repair in plan.select("cause", "repair").iter_rows())
    assert plan["priority"].is_sorted(descending=True)
    assert plan["priority"].is_between(0, 1).all()
    assert len(verdict.plan(lines, errors.head(3), 2)) == 6
    assert verdict.plan(lines, errors, 0).is_empty()
    assert not plan.select("error_id", "cause").is_duplicated().any()


def test_no_miss_means_no_line() -> None:
    side = world(1, 40, {}, base=0.0)
    analysis = coverage.analyse(None, side, train_detected=False)
    lines = verdict.rank(side.errors, side.objects, side.images, analysis.coverage, bins=analysis.bins)
    assert lines.is_empty()
    assert lines.schema == pl.Schema(tables.TABLES["evidence"])
    assert verdict.plan(lines, side.errors, 10).is_empty()


def test_false_detections_are_not_ranked(evaluation: World) -> None:
    analysis = coverage.analyse(None, evaluation, train_detected=False)
    background = evaluation.errors.head(1).with_columns(
        kind=pl.lit("background"), error_id=pl.lit("f" * 12), object_id=pl.lit(None, pl.Int64)
    )
    errors = pl.concat([evaluation.errors, background]).drop("truth")
    lines = verdict.rank(errors, evaluation.objects, evaluation.images, analysis.coverage, bins=analysis.bins)
    assert "f" * 12 not in lines["error_id"].to_list()

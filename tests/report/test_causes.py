"""What could be avoided, and the intervals of a cause's shares, against figures by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from make_run import make_run

from xai import report, tables
from xai.report.causes import by_avoidable, cause_lines
from xai.report.intervals import wilson
from xai.report.source import open_run


def test_avoidable_misses_are_those_beyond_the_risk_of_others(run_dir: Path) -> None:
    for line in cause_lines(open_run(run_dir)):
        elevated = [row for row in line.conditions if row["assessment"] in ("coverage_gap", "hard")]
        assert line.avoidable is not None
        if not elevated:
            continue
        expected = sum(row["miss_count"] * (1 - 1 / row["adjusted_risk_ratio"]) for row in elevated)
        assert line.avoidable.misses == pytest.approx(expected)
        assert line.avoidable.of == sum(row["miss_count"] for row in elevated)
        assert line.avoidable.low is not None
        assert line.avoidable.high is not None
        assert 0 <= line.avoidable.low <= line.avoidable.misses <= line.avoidable.high <= line.avoidable.of


def test_actions_are_sorted_by_what_could_be_avoided(run_dir: Path) -> None:
    summary = report.summarize(run_dir)
    gains = [line.avoidable.misses for line in summary.actions if line.avoidable]
    assert gains == sorted(gains, reverse=True)
    assert sorted(line.cause for line in summary.actions) == sorted(line.cause for line in summary.causes)


def test_risks_that_are_unknown_open_or_small(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=30, gallery=0)
    verdicts = tables.read(run, "verdicts").with_columns(
        cause=pl.lit("glare"), verdict=pl.lit("hard"), attribute=pl.lit("object_glare"), bin=pl.lit("strong")
    )
    tables.write(verdicts, run / "verdicts.parquet")
    whole = tables.read(run, "coverage").filter(
        (pl.col("attribute") == "object_glare") & (pl.col("bin") == "strong") & pl.col("label").is_null()
    )

    def avoidable(ratio: float | None, low: float | None, high: float | None) -> object:
        told = whole.with_columns(
            miss_count=pl.lit(10, pl.Int64),
            assessment=pl.lit("hard"),
            risk_ratio=pl.lit(None, pl.Float64),
            adjusted_risk_ratio=pl.lit(ratio, pl.Float64),
            adjusted_low=pl.lit(low, pl.Float64),
            adjusted_high=pl.lit(high, pl.Float64),
        )
        tables.write(told, run / "coverage.parquet")
        (line,) = cause_lines(open_run(run))
        return line.avoidable

    assert avoidable(2.0, 1.25, None) == pytest.approx((5.0, 10, 2.0, 10.0))
    assert avoidable(0.5, 0.2, 2.0) == pytest.approx((0.0, 10, 0.0, 5.0))
    assert avoidable(None, None, None) is None


def test_causes_without_a_condition_avoid_what_they_name(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=30, gallery=0)
    nothing = pl.lit(None, pl.String)
    verdicts = tables.read(run, "verdicts").with_columns(
        cause=pl.lit("label_error"), verdict=pl.lit("label"), attribute=nothing, bin=nothing
    )
    tables.write(verdicts, run / "verdicts.parquet")
    (line,) = cause_lines(open_run(run))
    assert line.avoidable == (verdicts.height, verdicts.height, None, None)
    assert f"These {verdicts.height} are no misses of the detector where the label is wrong" in report.render(
        run
    ).read_text(encoding="utf-8")


def test_shares_have_the_tables_intervals_or_those_over_photos(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=60, gallery=0)
    source = open_run(run)
    per_photo = source.misses["image_id"].value_counts()["count"]
    size = per_photo.sum() ** 2 / (per_photo.cast(pl.Float64) ** 2).sum()
    lines = cause_lines(source)
    assert lines
    for line in lines:
        assert line.miss_share is not None
        assert line.bounds["miss_share"] == pytest.approx(wilson(line.miss_share, size))
    told = tables.read(run, "coverage").with_columns(eval_share_low=pl.lit(0.01), eval_share_high=pl.lit(0.99))
    tables.write(told, run / "coverage.parquet")
    for line in cause_lines(open_run(run)):
        elevated = [row for row in line.conditions if row["assessment"] in ("coverage_gap", "hard")]
        assert (line.bounds["eval_share"] == (0.01, 0.99)) == (len(elevated) == 1)


def test_unknown_gains_come_last(run_dir: Path) -> None:
    first, *others = report.summarize(run_dir).actions
    assert by_avoidable([replace(first, avoidable=None), *others])[-1].cause == first.cause


def test_a_cause_that_verdicts_hardly_name_is_not_what_to_do_first(run_dir: Path) -> None:
    often, rarely = cause_lines(open_run(run_dir))[:2]
    assert often.avoidable is not None
    often = replace(often, misses=20, avoidable=often.avoidable._replace(misses=15.0))
    rarely = replace(rarely, misses=1, avoidable=often.avoidable._replace(misses=28.0))  # type: ignore[union-attr]
    assert [line.cause for line in by_avoidable([rarely, often])] == [often.cause, rarely.cause]


def test_a_condition_that_is_not_shown_to_be_missed_more_often_is_only_suspected(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=30, gallery=0)
    calm = tables.read(run, "coverage").with_columns(assessment=pl.lit("too_few"))
    tables.write(calm, run / "coverage.parquet")
    source = open_run(run)
    named = source.misses.filter(pl.col("attribute").is_not_null())
    assert set(named["verdict"]) <= {"coverage_gap", "hard"}
    assert set(named["standing"]) == {"suspected"}
    for line in cause_lines(source):
        assert (line.verdict, line.shown, line.collect) == ("suspected", False, None)
    page = report.render(run).read_text(encoding="utf-8")
    assert "if they are more than chance" in page
    assert "That such objects are missed more often than others is not shown" in page
    assert '<span class="tag quiet" title="The evidence on this one miss' in page
    assert "Coverage gap</span>" not in page
    answer = " ".join(report.summarize(run).lines())
    assert "of these it is only suspected, since such objects are not shown to be missed more often" in answer
    assert "No excess of misses over comparable objects is shown for" in answer
    assert "may avoid nothing." in answer
    # The row of the class that the verdict quotes may show what the row of all classes does not.
    own = calm.with_columns(
        pl.when(pl.col("label") == "car").then(pl.lit("hard")).otherwise("assessment").alias("assessment")
    )
    tables.write(own, run / "coverage.parquet")
    quoted = own.filter(pl.col("label") == "car").select("attribute", "bin", ratio="adjusted_risk_ratio")
    verdicts = tables.read(run, "verdicts").join(quoted, on=["attribute", "bin"], how="left")
    tables.write(
        verdicts.with_columns(risk_ratio=pl.coalesce("ratio", "risk_ratio")).drop("ratio"), run / "verdicts.parquet"
    )
    told = open_run(run).misses.filter(pl.col("attribute").is_not_null() & pl.col("risk_ratio").is_not_null())
    assert set(told.filter(pl.col("label") == "car")["standing"]) == {"hard", "coverage_gap"} & set(told["verdict"])
    assert set(told.filter(pl.col("label") != "car")["standing"]) == {"suspected"}
    assert {line.classes for line in cause_lines(open_run(run)) if "car" in set(told["label"])} <= {("car",), ()}
    answer = " ".join(report.summarize(run).lines())
    assert "is shown for" in answer
    assert "only of the class car" in answer


def test_a_condition_shown_over_all_that_a_class_does_not_show_is_told_so(tmp_path: Path) -> None:
    """Verdicts quote the row of the class where it overrules that of all classes."""
    run = make_run(tmp_path, photos=30, gallery=0)
    coverage = tables.read(run, "coverage").with_columns(assessment=pl.lit("hard"))
    tables.write(coverage, run / "coverage.parquet")
    verdicts = tables.read(run, "verdicts").with_columns(risk_ratio=pl.lit(0.123))
    tables.write(verdicts, run / "verdicts.parquet")
    lines = [line for line in cause_lines(open_run(run)) if line.conditions]
    assert {(line.verdict, line.shown, len(line.doubted)) for line in lines} == {("suspected", True, 0)}
    page = report.render(run).read_text(encoding="utf-8")
    assert "That such objects are missed more often than others of their class is not shown. Look at these" in page

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
from make_run import make_run

from xai import tables
from xai.report import sections, words
from xai.report.source import open_run


def test_issues_are_grouped_with_examples(run_dir: Path) -> None:
    groups = sections.issues(open_run(run_dir))
    table = tables.read(run_dir, "issues")
    assert sum(group.count for group in groups) == table.height
    severities = [group.severity for group in groups]
    assert severities == sorted(severities, key=["error", "warning"].index)
    for group in groups:
        same = table.filter((pl.col("split") == group.split) & (pl.col("code") == group.code))
        assert group.count == same.height
        assert 1 <= len(group.examples) <= sections.EXAMPLES
        assert {row["code"] for row in group.examples} == {group.code}


def test_coverage_shows_all_bins_and_the_telling_classes(run_dir: Path) -> None:
    view, table = sections.coverage(open_run(run_dir)), tables.read(run_dir, "coverage")
    every = table.filter(pl.col("label").is_null())
    shown = [row for row in every.rows(named=True) if row["eval_count"] or row["train_count"]]
    assert sorted((row["attribute"], row["bin"]) for row in view.overall) == sorted(
        (row["attribute"], row["bin"]) for row in shown
    )
    assert view.absent == every.height - len(shown)
    places = [list(words.ASSESSMENTS).index(row["assessment"]) for row in view.overall]
    assert places == sorted(places)
    assert all(row["assessment"] in sections.TELLING for row in view.by_label)
    assert len(view.by_label) + view.hidden == table.height - every.height


def test_provenance_says_unknown_where_nothing_tells(run_dir: Path) -> None:
    groups = {title: dict(pairs) for title, pairs in sections.provenance(open_run(run_dir))}
    assert list(groups) == ["Model", "Training set", "Evaluation set", "Thresholds", "Run"]
    assert groups["Model"]["Trained"] == "unknown"
    assert groups["Model"]["SHA-256"] == "ab" * 32
    assert groups["Evaluation set"]["Photos taken"] == "unknown"
    assert groups["Thresholds"]["Found from overlap (IoU)"] == "0.5"
    assert groups["Thresholds"]["Score threshold"] == "unknown"
    assert "torch 2.14.0" in groups["Run"]["Versions"]


def test_differences_and_gaps_come_from_the_coverage_table(run_dir: Path) -> None:
    source = open_run(run_dir)
    found = sections.differences(source)
    sizes = [abs(item.difference) for item in found]
    assert sizes == sorted(sizes, reverse=True)
    assert not any(item.told for item in found), "this run states no intervals of shares"
    for item in found:
        assert item.difference == item.row["eval_share"] - item.row["train_share"]
    gaps = sections.to_collect(source)
    assert gaps
    assert all(row["assessment"] == "coverage_gap" and row["collect"] > 0 for row in gaps)


def test_gaps_that_are_rare_by_count_alone_are_told_to_collect(run_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir, tmp_path / "run")
    path = tmp_path / "run" / "coverage.parquet"
    before = sections.to_collect(open_run(run_dir))
    table = pl.read_parquet(path).with_columns(collect=pl.lit(0), collect_reach=pl.lit(17))
    table.write_parquet(path)
    gaps = sections.to_collect(open_run(tmp_path / "run"))
    assert [(row["attribute"], row["bin"]) for row in gaps] == [(row["attribute"], row["bin"]) for row in before]
    assert {row["collect"] for row in gaps} == {17}


def test_the_promise_of_parts_stands_broken_first(run_dir: Path, page: str) -> None:
    source = open_run(run_dir)
    parts = sections.promise_parts(source)
    assert parts[0]["part"] == "label=dog"
    assert parts[-1]["part"] == "label=car"
    for text in (
        "Class dog",
        "Tiny object + some objects around it",
        "The fewest photos that fill all groups",
        "and 1 more",
    ):
        assert text in page
    source.info["promise_parts"][0]["denominator"] = 0  # type: ignore[index]
    assert len(sections.promise_parts(source)) == len(parts) - 1, "what holds no object is left out"


def test_apart_means_that_the_intervals_do_not_touch(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=8, gallery=0)
    table = tables.read(run, "coverage").filter(pl.col("label").is_null()).head(2)
    told = table.with_columns(
        eval_share=pl.Series([0.5, 0.5]),
        eval_share_low=pl.Series([0.4, 0.4]),
        eval_share_high=pl.Series([0.6, 0.6]),
        train_share=pl.Series([0.2, 0.3]),
        train_share_low=pl.Series([0.1, 0.2]),
        train_share_high=pl.Series([0.3, 0.45]),
    )
    tables.write(told, run / "coverage.parquet")
    assert [item.told for item in sections.differences(open_run(run))] == [True, False]

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from make_run import make_run

from xai import report, tables
from xai.exceptions import RunError
from xai.report.source import open_run

MISSES = {"missed", "confused", "mislocated"}


def test_counts_equal_a_count_by_hand(run_dir: Path) -> None:
    summary = report.summarize(run_dir)
    objects = [row for row in tables.read(run_dir, "objects").rows(named=True) if row["split"] == "eval"]
    scored = [row for row in objects if row["outcome"] != "ignored"]
    missed = [row for row in scored if row["outcome"] in MISSES]
    verdicts = tables.read(run_dir, "verdicts").rows(named=True)
    assert (summary.objects, summary.ignored) == (len(scored), len(objects) - len(scored))
    assert summary.misses == len(missed) == sum(summary.kinds.values()) == sum(summary.mechanisms.values())
    assert summary.miss_photos == len({row["image_id"] for row in missed})
    assert summary.photos == 40
    assert summary.miss_rate == pytest.approx(len(missed) / len(scored))
    assert summary.chance == sum(row["verdict"] == "chance" for row in verdicts)
    assert summary.unexplained == sum(row["verdict"] == "unexplained" for row in verdicts)
    assert summary.explained + summary.chance + summary.unexplained + summary.unjudged == summary.misses


def test_causes_are_sorted_and_their_shares_are_sums_of_the_coverage_table(run_dir: Path) -> None:
    summary = report.summarize(run_dir)
    coverage = tables.read(run_dir, "coverage").filter(pl.col("label").is_null())
    assert [line.misses for line in summary.causes] == sorted((line.misses for line in summary.causes), reverse=True)
    assert summary.causes, "the fixture must name causes"
    verdicts = tables.read(run_dir, "verdicts").rows(named=True)
    for line in summary.causes:
        named = Counter((row["attribute"], row["bin"]) for row in verdicts if row["cause"] == line.cause)
        assert {(row["attribute"], row["bin"]): row["named"] for row in line.conditions} == dict(named)
        rows = [row for row in coverage.rows(named=True) if (row["attribute"], row["bin"]) in named]
        standing_out = [row for row in rows if row["assessment"] in ("coverage_gap", "hard")]
        for name in ("train_share", "eval_share", "miss_share"):
            assert getattr(line, name) == pytest.approx(sum(row[name] for row in standing_out or rows))
        assert sum(line.verdicts.values()) == line.misses
        assert line.share == pytest.approx(line.misses / summary.misses)


def test_repairs_are_counted_over_all_misses_on_which_they_were_tried(run_dir: Path) -> None:
    lines = [row for row in tables.read(run_dir, "evidence").rows(named=True) if row["kind"] == "repair_found"]
    for cause in report.summarize(run_dir).causes:
        own = [row for row in lines if row["name"] == cause.cause]
        assert (cause.tried, cause.restored) == (len(own), sum(row["after"] == 1 for row in own))
        assert cause.placebo == pytest.approx(1 / 3)


def test_unknown_shares_stay_unknown(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=25, gallery=0)
    coverage = tables.read(run, "coverage").with_columns(train_share=pl.lit(None, dtype=pl.Float64))
    tables.write(coverage, run / "coverage.parquet")
    for line in report.summarize(run).causes:
        assert line.train_share is None
        assert line.miss_share is not None


@pytest.mark.parametrize("train", [True, False, None])
def test_reference_is_named_for_what_it_is(tmp_path: Path, train: bool | None) -> None:
    summary = report.summarize(make_run(tmp_path, photos=10, train=train, gallery=0))
    assert summary.reference == {True: "training set", False: "reference set", None: None}[train]
    text = " ".join(summary.lines())
    assert ("No training set was given" in text) == (train is None)
    assert ("not what the detector was trained on" in text) == (train is False)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("inside", "Not a quality problem"),
        ("broken", "A quality problem"),
        ("not shown", "Not settled"),
        (None, "No promise"),
    ],
)
def test_the_first_line_answers_the_question(tmp_path: Path, answer: str | None, words: str) -> None:
    lines = report.summarize(make_run(tmp_path, photos=12, promise=answer, gallery=0)).lines()
    assert lines[0].startswith(words)


def test_the_worst_of_several_promises_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=6, promise="inside", gallery=0)
    info = json.loads((run / "run.json").read_text())
    info["promise"].append(info["promise"][0] | {"metric": "precision", "answer": "broken", "sentence": "So so."})
    (run / "run.json").write_text(json.dumps(info))
    summary = report.summarize(run)
    assert summary.answer == "broken"
    assert "So so." in summary.lines()


def test_figures_are_json_and_lines_are_plain_text(run_dir: Path) -> None:
    summary = report.summarize(run_dir)
    assert json.loads(json.dumps(summary.figures()))["misses"] == summary.misses
    text = "\n".join(summary.lines())
    assert f"The other {summary.misses} (" in text
    assert not any(mark in text for mark in ("<", "&amp;", "None", "nan", "{{"))


def test_no_misses_no_verdicts_no_objects(tmp_path: Path) -> None:
    whole = report.summarize(make_run(tmp_path / "whole", photos=8, missing=False))
    assert (whole.misses, whole.causes, whole.miss_rate) == (0, (), 0.0)
    assert any("found all" in line for line in whole.lines())
    unjudged = report.summarize(make_run(tmp_path / "unjudged", photos=20, judged=False, gallery=0))
    assert unjudged.unjudged == unjudged.misses > 0
    assert any("no verdict" in line for line in unjudged.lines())
    empty = make_run(tmp_path / "empty", photos=8, missing=False)
    tables.write(tables.empty(tables.TABLES["objects"]), empty / "objects.parquet")
    nothing = report.summarize(empty)
    assert nothing.miss_rate is None
    assert nothing.lines()[0].startswith("Nothing to judge")


def test_the_base_is_stated_where_no_promise_states_it(tmp_path: Path) -> None:
    summary = report.summarize(make_run(tmp_path, photos=20, promise=None, gallery=0))
    text = f"missed {summary.misses} of {summary.objects} annotated objects"
    assert text in "\n".join(summary.lines())


def test_cost_is_stated_where_it_is_configured(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=20, gallery=0)
    info = json.loads((run / "run.json").read_text())
    info["config"]["report"] |= {"cost_per_miss": 12.5, "currency": "EUR"}
    (run / "run.json").write_text(json.dumps(info))
    summary = report.summarize(run)
    assert f"EUR {12.5 * summary.misses:,.0f}" in " ".join(summary.lines())


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"found no run\.json"):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 99}')
    with pytest.raises(RunError, match="expected schema 1, got 99"):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 1}')
    with pytest.raises(RunError, match=r"errors\.parquet|objects\.parquet"):
        report.summarize(tmp_path)


def test_doubts_come_before_the_answer(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=10, gallery=0)
    told = "the detector found nothing in any of 10 photos: check <the> weights"
    row = {"split": "eval", "code": "detector_silent", "severity": "warning", "message": told}
    tables.write(tables.stack([tables.read(run, "issues"), pl.DataFrame(row)], tables.ISSUES), run / "issues.parquet")
    summary = report.summarize(run)
    assert summary.doubts == (told,)
    assert summary.lines()[0] == f"Doubtful: {told}."
    page = report.render(run).read_text(encoding="utf-8")
    assert page.index("The detector found nothing in any of 10 photos: check &lt;the&gt; weights.") < page.index(
        'id="answer-title"'
    )


def test_objects_that_do_not_count_are_told_with_their_reason(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=20, gallery=0)
    objects = tables.read(run, "objects")
    first = (
        pl.col("split").eq("eval") & pl.col("outcome").eq("found") & (pl.col("outcome").cum_count().over("split") < 7)
    )
    objects = objects.with_columns(outcome=pl.when(first).then(pl.lit("ignored")).otherwise("outcome"))
    tables.write(objects, run / "objects.parquet")
    ignored = report.summarize(run).ignored
    assert ignored > 1
    assert f"{ignored} more annotated objects of these photos do not count." in " ".join(report.summarize(run).lines())
    info = json.loads((run / "run.json").read_text())
    info["funnel"]["eval"][-1]["lost"] = {"difficult": ignored - 1, "class": 1}
    (run / "run.json").write_text(json.dumps(info))
    assert (f"do not count: {ignored - 1} marked as difficult and 1 of a class that the detector lacks.") in " ".join(
        report.summarize(run).lines()
    )

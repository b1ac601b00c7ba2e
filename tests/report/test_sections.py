from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from xai import tables
from xai.report import sections, words
from xai.report.source import open_run


@pytest.mark.parametrize(("found", "size"), [(0, 5), (5, 5), (3, 7), (480, 500), (1, 1)])
def test_wilson_equals_statsmodels(found: int, size: int) -> None:
    expected = proportion_confint(found, size, alpha=0.05, method="wilson")
    assert sections.wilson(found / size, size) == pytest.approx(expected, abs=1e-9)


def test_recall_by_class_equals_a_count_by_hand(run_dir: Path) -> None:
    objects = [
        row
        for row in tables.read(run_dir, "objects").rows(named=True)
        if row["split"] == "eval" and row["outcome"] != "ignored"
    ]
    lines = sections.recall_by_class(open_run(run_dir))
    assert [line.objects for line in lines] == sorted((line.objects for line in lines), reverse=True)
    assert {line.label for line in lines} == {row["label"] for row in objects}
    for line in lines:
        own = [row for row in objects if row["label"] == line.label]
        assert line.objects == len(own)
        assert line.found == sum(row["outcome"] == "found" for row in own)
        assert line.photos == len({row["image_id"] for row in own})
        assert line.low <= line.recall <= line.high


def test_intervals_widen_with_clustering_as_the_variance_over_photos_says() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 200)
    found = rng.binomial(sizes, rng.beta(1, 1, 200))
    row = {
        "label": "car",
        "objects": int(sizes.sum()),
        "found": int(found.sum()),
        "photos": 200,
        "oo": int((sizes**2).sum()),
        "of": int((sizes * found).sum()),
        "ff": int((found**2).sum()),
    }
    line = sections._class_recall(row)
    draws = rng.integers(0, 200, (4000, 200))
    boot = found[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(boot, [0.025, 0.975])
    assert (line.low, line.high) == pytest.approx((low, high), abs=0.01)
    naive = sections.wilson(line.recall, line.objects)
    assert line.high - line.low > 1.3 * (naive[1] - naive[0])


def test_small_classes_count_photos() -> None:
    row = {"label": "car", "objects": 30, "found": 30, "photos": 3, "oo": 300, "of": 300, "ff": 300}
    line = sections._class_recall(row)
    assert (line.low, line.high) == pytest.approx(sections.wilson(1.0, 3))


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
    assert list(groups) == ["Model", "Training set", "Evaluation set", "Run"]
    assert groups["Model"]["Trained"] == "unknown"
    assert groups["Model"]["SHA-256"] == "ab" * 32
    assert groups["Evaluation set"]["Photos taken"] == "unknown"
    assert groups["Run"]["Command"] == "xai triage configs/street.yaml"
    assert "torch 2.14.0" in groups["Run"]["Versions"]

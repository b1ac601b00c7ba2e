"""Recall by class and size, and calibration, against counts by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from make_run import make_run

from xai import tables
from xai.report import detector
from xai.report.intervals import of_counts
from xai.report.source import open_run


def test_recall_by_class_equals_a_count_by_hand(run_dir: Path) -> None:
    objects = [
        row
        for row in tables.read(run_dir, "objects").rows(named=True)
        if row["split"] == "eval" and row["outcome"] != "ignored"
    ]
    lines = detector.recall_by_class(open_run(run_dir))
    assert [line.objects for line in lines] == sorted((line.objects for line in lines), reverse=True)
    assert {line.label for line in lines} == {row["label"] for row in objects}
    for line in lines:
        own = [row for row in objects if row["label"] == line.label]
        assert line.objects == len(own)
        assert line.found == sum(row["outcome"] == "found" for row in own)
        assert line.photos == len({row["image_id"] for row in own})
        assert line.low <= line.recall <= line.high


def test_recall_by_size_is_the_coverage_tables(run_dir: Path) -> None:
    table = tables.read(run_dir, "coverage").filter((pl.col("attribute") == "object_size") & pl.col("label").is_null())
    lines = detector.recall_by_size(open_run(run_dir))
    rows = table.filter(pl.col("eval_count") > 0).rows(named=True)
    assert [line.recall for line in lines] == pytest.approx([1 - row["miss_rate"] for row in rows])
    assert sum(line.objects for line in lines) == table["eval_count"].sum()
    assert all(line.low <= line.recall <= line.high for line in lines)


def predictions(rows: list[tuple[str, float, str]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["image_id", "score", "outcome"], orient="row").with_columns(split=pl.lit("eval"))
    return tables.conform(frame, tables.TABLES["predictions"])


def test_calibration_equals_a_count_by_hand(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=6, gallery=0)
    rows = [("a", 0.25, "matched"), ("a", 0.29, "background"), ("b", 0.21, "duplicate"), ("b", 1.0, "matched")]
    tables.write(predictions([*rows, ("b", 0.95, "matched"), ("b", 0.5, "ignored")]), run / "predictions.parquet")
    low, high = detector.calibration(open_run(run))
    assert (low.low, low.matched, low.detections, low.photos) == (0.2, 1, 3, 2)
    assert low.score == pytest.approx(0.25)
    assert (low.share_low, low.share_high) == pytest.approx(of_counts(1, 3, (5, 2, 1), 2))
    assert (high.low, high.matched, high.detections) == (0.9, 2, 2), "1.0 lies in the last band"
    error = detector.miscalibration((low, high))
    assert error == pytest.approx((3 * abs(1 / 3 - 0.25) + 2 * abs(1 - 0.975)) / 5)
    assert detector.miscalibration(()) is None


@pytest.mark.parametrize(("matched", "verdict"), [(10, "too much"), (75, None), (99, "too little")])
def test_scores_that_promise_wrongly_are_named(tmp_path: Path, matched: int, verdict: str | None) -> None:
    run = make_run(tmp_path, photos=6, gallery=0)
    rows = [(str(place), 0.75, "matched" if place < matched else "background") for place in range(100)]
    tables.write(predictions(rows), run / "predictions.parquet")
    (band,) = detector.calibration(open_run(run))
    assert band.verdict == verdict


def test_neighbouring_bands_are_named_as_one() -> None:
    def band(place: int, share: float) -> detector.Band:
        return detector.Band(
            place / 10, (place + 1) / 10, place / 10 + 0.05, 1, 2, 2, share, share - 0.01, share + 0.01
        )

    bands = [band(2, 0.9), band(3, 0.9), band(4, 0.45), band(6, 0.1), band(7, 0.1), band(9, 0.1)]
    assert detector.spans(bands, "too little") == [pytest.approx((0.2, 0.4))]
    assert detector.spans(bands, "too much") == [pytest.approx((0.6, 0.8)), pytest.approx((0.9, 1.0))]

"""What the misses just below the score threshold would take, counted by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from make_run import make_run

from xai import report, tables
from xai.report.source import open_run
from xai.report.threshold import lowered


@pytest.fixture
def near(tmp_path: Path) -> Path:
    """A run in which two misses are put down to a score just below the threshold of 0.25."""
    run = make_run(tmp_path, photos=30, gallery=0)
    first = tables.read(run, "verdicts")["error_id"].head(2).to_list()
    chosen = pl.col("error_id").is_in(first)
    told: dict[str, pl.Expr] = {name: pl.when(~chosen).then(name) for name in ("attribute", "bin")}
    named = {"cause": "score_threshold", "verdict": "threshold"}
    told |= {name: pl.when(chosen).then(pl.lit(value)).otherwise(name) for name, value in named.items()}
    verdicts = tables.read(run, "verdicts").with_columns(**told)
    tables.write(verdicts, run / "verdicts.parquet")
    lines = pl.DataFrame({"error_id": first, "after": [0.2219, 0.24]}).with_columns(
        kind=pl.lit("mechanism"), name=pl.lit("score_threshold"), before=pl.lit(0.25)
    )
    kept = tables.read(run, "evidence")
    tables.write(tables.stack([kept, lines], tables.TABLES["evidence"]), run / "evidence.parquet")
    scores = pl.DataFrame(
        {
            "score": [0.25, 0.26, 0.277, 0.279, 0.9],
            "outcome": ["matched", "background", "ignored", "background", "matched"],
        }
    )
    rows = scores.with_columns(split=pl.lit("eval"), image_id=pl.lit("street/photo_0000.jpg"))
    tables.write(tables.conform(rows, tables.TABLES["predictions"]), run / "predictions.parquet")
    return run


def test_the_band_above_the_threshold_is_as_wide_as_that_below(near: Path) -> None:
    source = open_run(near)
    named = source.misses.filter(pl.col("cause") == "score_threshold")
    found = lowered(source, named)
    assert found is not None
    assert (found.deployed, found.threshold) == (0.25, 0.221)
    assert found.upto == pytest.approx(0.279)
    assert (found.detections, found.false) == (2, 1), "ignored ones and those from its end up do not count"
    assert lowered(source, named.head(0)) is None


def test_the_report_says_at_which_threshold_and_with_which_false_alarms(near: Path) -> None:
    page = report.render(near).read_text(encoding="utf-8")
    assert "All 2 pass a score threshold of 0.221 instead of 0.25." in page
    assert (
        "The false alarms that come with it were not counted: "
        "in as wide a band above the threshold, up to 0.279, 1 of 2 detections matches no object."
    ) in page
    assert "--set detector.score_threshold=0.221" in page

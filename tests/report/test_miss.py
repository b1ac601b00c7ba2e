"""One miss as text."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from xai import report, tables
from xai.exceptions import RunError


def test_every_line_of_evidence_is_told(run_dir: Path) -> None:
    verdicts = tables.read(run_dir, "verdicts")
    evidence = tables.read(run_dir, "evidence")
    for row in verdicts.rows(named=True):
        lines = report.miss_lines(run_dir, row["error_id"])
        assert row["error_id"] in lines[0]
        assert row["sentence"] in lines
        assert sum(line.startswith("  ") for line in lines) == evidence.filter(error_id=row["error_id"]).height
        assert not any("None" in line or "nan" in line.split() for line in lines)


def test_other_evidence_takes_the_place_of_the_runs(run_dir: Path) -> None:
    name = tables.read(run_dir, "verdicts")["error_id"][0]
    one = pl.DataFrame(
        {"error_id": name, "kind": "faithfulness", "name": "better_than_random", "effect": 0.3, "placebo": 0.1}
    )
    lines = report.miss_lines(run_dir, name, tables.conform(one, tables.TABLES["evidence"]))
    told = [line for line in lines if line.startswith("  ")]
    assert told == ["  Trust in the map: Better than random maps (insertion − deletion +0.30, random at most +0.10)"]


def test_unknown_misses_are_refused(run_dir: Path) -> None:
    with pytest.raises(RunError, match="none with the id 'nobody'"):
        report.miss_lines(run_dir, "nobody")


def test_the_most_alike_training_objects_are_named(run_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    miss = tables.read(folder, "errors").filter(pl.col("object_id").is_not_null()).row(0, named=True)
    rows = pl.DataFrame(
        {
            "image_id": miss["image_id"],
            "object_id": miss["object_id"],
            "rank": [2, 1],
            "train_image_id": ["far.jpg", "near.jpg"],
            "train_object_id": [0, 3],
            "distance": [0.9, 0.25],
        }
    )
    tables.write(tables.conform(rows, tables.BESIDE["nearest"]), folder / "nearest.parquet")
    lines = report.miss_lines(folder, miss["error_id"])
    assert lines[-1].endswith(": near.jpg #3 (distance 0.25), far.jpg #0 (distance 0.90)")
    assert lines[-1].startswith("Most alike in the ")

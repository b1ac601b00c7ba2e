from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import polars as pl
import pytest
from conftest import HOSTILE_LABEL

from xai import report, tables
from xai.report import charts
from xai.report.source import open_run
from xai.report.tolerance import tolerance

STRESS = tables.BESIDE["stress"]


def _row(condition: str, dose: float, recall: float, breaks: float | None, unit: str = "degrees") -> tuple[object, ...]:
    found = round(40 * recall)
    return (
        condition,
        dose,
        unit,
        40,
        12,
        found,
        recall,
        recall - 0.1,
        min(recall + 0.1, 1),
        breaks,
        "roll",
        dose,
        0.1,
        0.2,
    )


@pytest.fixture
def stressed(run_dir: Path) -> Path:
    """A run whose detector loses tilted photos early, blurred ones late, hazy ones never, and all of one turn."""
    rows = [
        _row("haze", 0.5, 1.0, None, "of light"),
        _row("blur", 2.0, 0.975, 7.0, "px at 640"),
        _row("blur", 8.0, 0.875, 7.0, "px at 640"),
        _row("rotation", 90.0, 0.2, None),
        _row("tilt", 45.0, 0.5, 12.0),
        _row("tilt", 10.0, 0.95, 12.0),
    ]
    pl.DataFrame(rows, schema=dict(STRESS), orient="row").write_parquet(run_dir / "stress.parquet")
    return run_dir


def test_what_breaks_first_comes_first(stressed: Path) -> None:
    curves = tolerance(open_run(stressed))
    assert [curve.condition for curve in curves] == ["tilt", "blur", "haze", "rotation"]
    assert [row["dose"] for row in curves[0].doses] == [10.0, 45.0]
    assert [curve.breaks for curve in curves] == [12.0, 7.0, None, None]


@pytest.mark.parametrize("width", [charts.WIDE, charts.NARROW])
def test_the_chart_fits_and_draws_axes_only(stressed: Path, width: int) -> None:
    svg = charts.tolerance(tolerance(open_run(stressed)), 0.9, width)
    assert svg is not None
    root = ET.fromstring(svg)
    texts = [text for text in root.itertext() if text.strip()]
    assert {"Tilt", "Blur", "(degrees)"} <= set(texts)
    assert "Quarter turns" not in texts
    assert float(root.attrib["width"]) <= width + 8
    assert "NaN" not in svg


def test_the_page_says_the_dose_and_lists_every_figure(stressed: Path) -> None:
    page = report.render(stressed).read_text(encoding="utf-8")
    assert "90% of them stay found up to these doses: tilt (12 degrees), blur (7 px at 640)." in page
    assert "Nothing that was tried of veil over the photo takes it below that." in page
    assert "Quarter turns" in page


def test_runs_without_stress_say_nothing(run_dir: Path) -> None:
    (run_dir / "stress.parquet").unlink(missing_ok=True)
    assert tolerance(open_run(run_dir)) == ()
    assert charts.tolerance((), 0.9, charts.WIDE) is None
    assert "What it tolerates" not in report.render(run_dir).read_text(encoding="utf-8")


def test_a_condition_that_carries_markup_is_text(run_dir: Path) -> None:
    pl.DataFrame([_row(HOSTILE_LABEL, 1.0, 0.5, 0.5)], schema=dict(STRESS), orient="row").write_parquet(
        run_dir / "stress.parquet"
    )
    page = report.render(run_dir).read_text(encoding="utf-8")
    assert HOSTILE_LABEL not in page

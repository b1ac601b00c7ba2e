"""A run directory opens as data frames, or says clearly why it does not."""

import json
from pathlib import Path

import polars as pl
import pytest

import xai
from xai import run_json, tables
from xai.exceptions import RunError


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in tables.TABLES.items():
        tables.write(tables.empty(schema), folder / f"{name}.parquet")
    rows = pl.DataFrame({"error_id": ["a", "b", "c"], "cause": ["glare", "<b>pose", "glare"]})
    tables.write(tables.conform(rows, tables.TABLES["verdicts"]), folder / "verdicts.parquet")
    run_json.write({"promise": [{"sentence": "Recall <ok>"}]}, folder)
    return folder


def test_every_table_opens(tmp_path: Path) -> None:
    opened = xai.Run(make_run(tmp_path / "Läufe 1"))
    for name in tables.TABLES:
        assert getattr(opened, name).columns[: len(tables.TABLES[name])] == list(tables.TABLES[name])
    assert opened.causes().rows() == [("glare", 2), ("<b>pose", 1)]
    assert "3 misses" in repr(opened)


def test_what_a_notebook_shows_is_escaped(tmp_path: Path) -> None:
    shown = xai.Run(make_run(tmp_path))._repr_html_()
    assert "<b>pose" not in shown
    assert "&lt;b&gt;pose" in shown
    assert "Recall &lt;ok&gt;" in shown


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"found no run\.json"):
        xai.Run(tmp_path)


def test_run_of_another_schema(tmp_path: Path) -> None:
    make_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(RunError, match="expected schema 1, got 99"):
        xai.Run(tmp_path)


def test_damaged_run(tmp_path: Path) -> None:
    make_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        xai.Run(tmp_path)


def test_unknown_table(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a table out of images"):
        xai.Run(make_run(tmp_path)).table("pictures")


def test_public_names() -> None:
    assert xai.__all__ == ["Run", "check", "collect", "compare", "explain", "history", "profile", "sample", "triage"]
    with pytest.raises(AttributeError, match="public names: Run"):
        _ = xai.nothing

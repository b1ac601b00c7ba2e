"""Markdown, CSV and PDF: the same figures, harmless whatever the data is called."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from conftest import HOSTILE_LABEL
from make_run import make_run
from typer.testing import CliRunner

from xai import report, tables
from xai.cli import app
from xai.exceptions import RequestError
from xai.report import export
from xai.report.tickets import escaped


def test_markdown_says_what_the_page_says(run_dir: Path) -> None:
    (path,) = report.render_as(run_dir, ["md"])
    text, summary = path.read_text(encoding="utf-8"), report.summarize(run_dir)
    for line in summary.lines():
        assert escaped(line) in text
    for cause in summary.causes:
        assert f"{cause.misses} (" in text
    assert "`xai triage configs/street.yaml`" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows[: 2 + len(summary.causes)]}) == 1, "rows fit their table's head"
    assert not any(word in text.split() for word in ("None", "nan"))


def test_markup_in_names_stays_text(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=30, labels=(HOSTILE_LABEL, "a|b `c` [d](http://e)"), gallery=0)
    text = report.render_as(run, ["md"])[0].read_text(encoding="utf-8")
    outside = "".join(part for place, part in enumerate(text.split("`")) if place % 2 == 0)
    assert "<script" not in outside
    assert "[d](http" not in text


def test_csv_holds_every_row(run_dir: Path) -> None:
    files = {path.stem: path for path in report.render_as(run_dir, ["csv"])}
    assert set(files) == {*tables.TABLES, "misses"} - {"verdicts"}
    misses = pl.read_csv(files["misses"])
    assert misses.height == report.summarize(run_dir).misses
    assert set(misses["error_id"]) == set(tables.read(run_dir, "verdicts")["error_id"])
    assert pl.read_csv(files["slices"])["conditions"].str.contains("=").all()


def test_spreadsheets_run_nothing() -> None:
    frame = pl.DataFrame({"label": ["=HYPERLINK(1)", "+1", "-1", "@x", "fine", None], "score": [-1.0] * 6})
    assert export.plain(frame)["label"].to_list() == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", "fine", None]
    assert export.plain(frame)["score"].to_list() == [-1.0] * 6


def test_formats_are_read_or_refused() -> None:
    assert export.parse_formats("pdf, HTML,md") == ["html", "md", "pdf"]
    for text in ("docx", "html,docx", "", " , "):
        with pytest.raises(RequestError, match="html, md, pdf, csv"):
            export.parse_formats(text)


def test_the_command_names_what_it_wrote(run_dir: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(run_dir), "--format", "md,csv"])
    assert done.exit_code == 0, done.output
    assert str(run_dir / "report.md") in done.output
    assert str(run_dir / "tables" / "misses.csv") in done.output


@pytest.mark.parametrize(
    "options",
    [{}, {"missing": False}, {"train": None}, {"promise": None}, {"judged": False}, {"labels": (HOSTILE_LABEL, "車")}],
    ids=lambda options: "-".join(options) or "whole",
)
def test_the_pdf_has_two_pages_whatever_the_run(tmp_path: Path, options: dict[str, object]) -> None:
    pytest.importorskip("reportlab", reason="ReportLab is not installed")
    pdfium = pytest.importorskip("pypdfium2", reason="pypdfium2, which reads PDF, is not installed")
    run = make_run(tmp_path, photos=30, gallery=12, **options)  # type: ignore[arg-type]
    (path,) = report.render_as(run, ["pdf"])
    document = pdfium.PdfDocument(path)
    try:
        assert len(document) == 2
        texts = []
        for number in range(2):
            page = document[number]
            reader = page.get_textpage()
            texts.append(" ".join(reader.get_text_range().split()))
            reader.close()
            page.close()
    finally:
        document.close()
    assert report.summarize(run).lines()[0] in texts[0]
    assert "Provenance" in texts[1]
    assert "None" not in " ".join(texts).split()
    again = path.read_bytes()
    report.render_as(run, ["pdf"])
    assert path.read_bytes() == again, "the same run gives the same file"

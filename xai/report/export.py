"""The report in other forms: Markdown for a pull request or wiki, and the tables as CSV."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from xai import tables
from xai.exceptions import RequestError
from xai.files import make_folder, replacing
from xai.report import sections
from xai.report.sentences import environment
from xai.report.source import open_run
from xai.report.summarize import summarize_source
from xai.report.tickets import code, escaped

ReportFormat = Literal["html", "md", "pdf", "csv"]

FORMATS: tuple[ReportFormat, ...] = get_args(ReportFormat)

SLICES = 5
"""Slices, gaps and data problems that the Markdown names."""

CSV_FOLDER = "tables"
"""Where CSV files go, in the run directory."""


def parse_formats(text: str) -> list[ReportFormat]:
    """Read a list of formats, ``html,pdf``.

    Raises:
        RequestError: one is not known, or there is none.

    >>> parse_formats("md, csv")
    ['md', 'csv']
    """
    asked = [part.strip().lower() for part in text.split(",") if part.strip()]
    known = [name for name in FORMATS if name in asked]
    if not asked or set(asked) - set(known):
        raise RequestError(f"expected formats out of {', '.join(FORMATS)}, separated by commas; got {text!r}")
    return known


def render_markdown(run_dir: Path) -> Path:
    """Write ``report.md`` into a finished run: the answer, the causes, what stands out, where it came from.

    Raises:
        RunError: the run is missing, incomplete, damaged or from another version.
    """
    source = open_run(Path(run_dir))
    made = environment(autoescape=False)
    made.filters |= {"md": lambda value: escaped(str(value)), "code": lambda value: code(str(value))}
    text = made.get_template("report.md.j2").render(
        s=summarize_source(source),
        info=source.info,
        slices=sections.slices(source)[:SLICES],
        gaps=sections.to_collect(source)[:SLICES],
        issues=sections.issues(source)[:SLICES],
        split_names=sections.split_names(source),
        provenance=sections.provenance(source),
    )
    path = source.path / "report.md"
    with replacing(path) as temporary:
        temporary.write_text(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n", encoding="utf-8")
    return path


def render_csv(run_dir: Path) -> list[Path]:
    """Write the tables that people read in spreadsheets into ``tables/``, one CSV file each.

    ``misses`` joins errors, verdicts and boxes; lists are joined by `` & ``. A text that a spreadsheet would take for a
    formula gets an apostrophe in front.

    Raises:
        RunError: the run is missing, incomplete, damaged or from another version.
        RequestError: the folder cannot be made.
    """
    source = open_run(Path(run_dir))
    folder = source.path / CSV_FOLDER
    make_folder(folder)
    frames = {"misses": source.misses} | {name: source.table(name) for name in tables.TABLES if name != "verdicts"}
    written = []
    for name, frame in frames.items():
        path = folder / f"{name}.csv"
        with replacing(path) as temporary:
            plain(frame).write_csv(temporary)
        written.append(path)
    return written


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table that CSV and spreadsheets can hold.

    >>> plain(pl.DataFrame({"a": ["=1+1", "b"], "c": [["x", "y"], []]})).rows()
    [("'=1+1", 'x & y'), ('b', '')]
    """
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    joined = frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(" & ") for name in lists)
    nested = [name for name, dtype in joined.schema.items() if dtype.is_nested()]
    texts = [name for name, dtype in joined.schema.items() if dtype == pl.String]
    return joined.drop(nested).with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA))
        .then(pl.concat_str(pl.lit("'"), name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    )


_FORMULA = r"^[=+\-@\t\r]"
"""How texts begin that spreadsheets run (OWASP, CSV injection)."""

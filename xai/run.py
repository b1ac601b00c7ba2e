"""A run directory, opened: its tables as data frames, its provenance as a dictionary."""

from __future__ import annotations

import html
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from xai import run_json, tables
from xai.exceptions import RunError

if TYPE_CHECKING:
    from xai.notebook import Chart, CoverageTable, Miss, Misses
    from xai.report.source import Source


class Run:
    """The result of ``xai triage``.

    Args:
        path: the run directory.

    Raises:
        RunError: there is no finished run, or another version wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.info: dict[str, Any] = run_json.read(self.path)

    def table(self, name: str) -> pl.DataFrame:
        """Read one of ``xai.tables.TABLES`` or ``BESIDE``."""
        if name not in (known := tables.TABLES | tables.BESIDE):
            raise RunError(f"expected a table out of {', '.join(known)}; got {name!r}")
        return tables.read(self.path, name)

    @cached_property
    def images(self) -> pl.DataFrame:
        """One row per photo, with its attributes."""
        return self.table("images")

    @cached_property
    def objects(self) -> pl.DataFrame:
        """One row per annotated object, with outcome and attributes."""
        return self.table("objects")

    @cached_property
    def predictions(self) -> pl.DataFrame:
        """One row per deployed detection."""
        return self.table("predictions")

    @cached_property
    def errors(self) -> pl.DataFrame:
        """One row per error, with its mechanism."""
        return self.table("errors")

    @cached_property
    def coverage(self) -> pl.DataFrame:
        """One row per attribute, bin and label: shares, miss rates, risk ratios, assessment."""
        return self.table("coverage")

    @cached_property
    def slices(self) -> pl.DataFrame:
        """Slices of one to three bins that fail more than their parents explain."""
        return self.table("slices")

    @cached_property
    def uncovered(self) -> pl.DataFrame:
        """Maximal patterns of bins that the training set does not cover."""
        return self.table("uncovered")

    @cached_property
    def evidence(self) -> pl.DataFrame:
        """One row per miss and line of evidence."""
        return self.table("evidence")

    @cached_property
    def verdicts(self) -> pl.DataFrame:
        """One row per miss: cause, strength, sentence."""
        return self.table("verdicts")

    @cached_property
    def stress(self) -> pl.DataFrame:
        """One row per condition and dose: the recall of found objects under it; empty without ``explain.stress``."""
        return self.table("stress")

    @cached_property
    def issues(self) -> pl.DataFrame:
        """One row per data problem."""
        return self.table("issues")

    @cached_property
    def misses(self) -> Misses:
        """The objects that were not found, each with its verdict: a sequence of ``xai.notebook.Miss``."""
        from xai.notebook import Misses

        return Misses.of(self._source)

    def miss(self, error_id: str) -> Miss:
        """Return the one miss whose id begins like this.

        Raises:
            RequestError: none or several do.
        """
        return self.misses.find(error_id)

    def coverage_table(self, label: str | None = None) -> CoverageTable:
        """Return the conditions in words, riskiest first, of all classes or of one."""
        from xai.notebook import CoverageTable

        return CoverageTable.of(self._source, label)

    def plot(self) -> Chart:
        """Draw the causes: their shares of the misses, of what these are compared with, and of training."""
        from xai.notebook import Chart
        from xai.report import charts, words
        from xai.report.causes import cause_lines

        source, nouns = self._source, words.QUESTIONS[self._source.question]
        drawn = charts.shares(
            cause_lines(source), source.reference, nouns["misses"], nouns["compared"], charts.WIDE
        )  # fmt: skip
        return Chart.of(drawn)

    @cached_property
    def _source(self) -> Source:
        from xai.report.source import Source

        return Source(self.path, self.info)

    @property
    def report(self) -> Path:
        """The stakeholder's page."""
        return self.path / "report.html"

    def causes(self) -> pl.DataFrame:
        """Count the misses by cause, most frequent first."""
        return self.verdicts.group_by("cause").agg(misses=pl.len()).sort(["misses", "cause"], descending=[True, False])

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {len(self.verdicts)} misses explained)"

    def _repr_html_(self) -> str:
        """Show the promise and the causes in a notebook."""
        answers = "".join(f"<li>{html.escape(str(answer['sentence']))}</li>" for answer in self.info["promise"])
        rows = "".join(
            f"<tr><td>{html.escape(cause)}</td><td style='text-align:right'>{count}</td></tr>"
            for cause, count in self.causes().iter_rows()
        )
        return (
            f"<p><b>{html.escape(str(self.path))}</b>: {len(self.verdicts)} misses explained</p><ul>{answers}</ul>"
            f"<table><thead><tr><th>cause</th><th>misses</th></tr></thead><tbody>{rows}</tbody></table>"
        )

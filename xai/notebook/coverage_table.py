"""The coverage table of a run as a notebook shows it: each condition in words, with its shares, rates and risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from xai import extras
from xai.notebook import html
from xai.notebook.drawing import Chart
from xai.report import charts, sections, words
from xai.report import format as fmt
from xai.report.source import Source

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20
"""Rows that a notebook shows; all are in ``frame``."""


@dataclass(frozen=True, slots=True, eq=False)
class CoverageTable:
    """Conditions with how common they are and how often objects are missed under them, the riskiest first.

    Attributes:
        source: the run.
        label: the class that the rows are of; None for all classes.
        frame: rows of ``coverage.parquet``.
    """

    source: Source
    label: str | None
    frame: pl.DataFrame

    @classmethod
    def of(cls, source: Source, label: str | None = None) -> CoverageTable:
        """Take the rows of all classes, or of one."""
        table = source.table("coverage")
        mine = table.filter(pl.col("label").is_null() if label is None else pl.col("label") == label)
        seen = [pl.col(name).fill_null(0) > 0 for name in ("eval_count", "train_count", "miss_count")]
        ranks = {name: rank for rank, name in enumerate(words.ASSESSMENTS)}
        order = pl.col("assessment").replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64)
        rows = mine.filter(pl.any_horizontal(seen)).sort(
            order, "adjusted_risk_ratio", descending=[False, True], nulls_last=True
        )
        return cls(source, label, rows)

    def where(self, **values: object) -> CoverageTable:
        """Keep the rows with these values: ``where(assessment="coverage_gap")``, ``where(attribute="glare")``."""
        return CoverageTable(self.source, self.label, self.frame.filter(matching(values)))

    def plot(self) -> Chart:
        """Draw how common the conditions are in the evaluation and the training set, the most different first."""
        drawn = sections.by_difference(self.frame)
        return Chart.of(charts.distributions(drawn, self.source.reference or "training set", charts.WIDE))

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a pandas data frame."""
        extras.need("pandas", "notebooks")
        return self.frame.to_pandas()

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"CoverageTable({len(self)} conditions of {self.label or 'all classes'})"

    def _repr_html_(self) -> str:
        reference = self.source.reference
        nouns = words.QUESTIONS[self.source.question]
        header = ["condition", f"of {nouns['misses']}", f"of {nouns['compared']}", f"of {reference or 'training set'}"]
        header += ["missed", "95%", "risk ratio", "95%", "assessment"]
        shown = self.frame.head(SHOWN).iter_rows(named=True)
        table = html.table(header, [_cells(row) for row in shown], numbers=range(1, 8))
        left = len(self) - SHOWN
        more = f"<p>and {left:,} more: <code>.frame</code> holds all</p>" if left > 0 else ""
        about = f"Conditions of {html.text(self.label) if self.label else 'all classes'}, the riskiest first"
        return f"<p><b>{about}</b></p>{table}{more}"


def matching(values: Mapping[str, object]) -> list[pl.Expr]:
    """Return what keeps the rows with these values; None is a value like any other."""
    return [pl.col(name).eq_missing(pl.lit(value)) for name, value in values.items()]


def _cells(row: Mapping[str, Any]) -> list[object]:
    name = words.ASSESSMENTS.get(row["assessment"], (row["assessment"] or fmt.UNKNOWN,))[0]
    return [
        fmt.sentence(words.condition(row["attribute"], row["bin"])),
        fmt.share(row["miss_share"]),
        fmt.share(row["eval_share"]),
        fmt.share(row["train_share"]),
        fmt.share(row["miss_rate"]),
        fmt.share_interval(row["miss_rate_low"], row["miss_rate_high"]),
        fmt.ratio(row["adjusted_risk_ratio"]),
        fmt.ratio_interval(row["adjusted_low"], row["adjusted_high"]),
        name,
    ]

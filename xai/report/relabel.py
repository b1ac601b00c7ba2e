"""The first of the labels to look at, for the report's data section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from xai import tables
from xai.report.source import Source

SHOWN = 20
"""Labels that the page names; the rest is in the files beside it."""


@dataclass(frozen=True, slots=True)
class LabelsView:
    """Labels to look at.

    Attributes:
        rows: the first of the list, most doubtful first.
        doubtful: how many labels, and objects without one, reach the threshold of their check.
    """

    rows: tuple[Mapping[str, Any], ...]
    doubtful: int


def labels_to_look_at(source: Source) -> LabelsView | None:
    """Return the first of the list; None where the run made none (reported misses, or an earlier version)."""
    if source.question != "evaluate" or not (source.path / "relabel.parquet").is_file():
        return None
    listed = tables.read(source.path, "relabel").filter("doubtful")
    shown = listed.head(SHOWN).with_columns(what=pl.col("check").str.replace_all("_", " "))
    return LabelsView(tuple(shown.rows(named=True)), listed.height)

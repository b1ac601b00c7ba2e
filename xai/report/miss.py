"""One miss as text: its verdict, where it was lost, and the ledger of evidence, for a terminal."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from xai.exceptions import RunError
from xai.report import cards
from xai.report.sentences import environment
from xai.report.source import open_run
from xai.report.summarize import summarize_source


def miss_lines(run_dir: Path, error_id: str, evidence: pl.DataFrame | None = None) -> list[str]:
    """Return what a run says of one miss, as lines of plain text.

    Args:
        run_dir: a finished run.
        error_id: of the miss.
        evidence: its lines, columns of ``tables.TABLES["evidence"]``; the run's own if left out.

    Raises:
        RunError: the run is missing, incomplete, from another version, or has no such miss.
    """
    source = open_run(Path(run_dir))
    misses = source.misses.filter(pl.col("error_id") == error_id)
    if misses.is_empty():
        raise RunError(f"expected a miss of {run_dir}, it has none with the id {error_id!r}")
    told = source.scan("evidence").filter(pl.col("error_id") == error_id).collect() if evidence is None else evidence
    card = cards.facts(misses, told, cards.detections(source, misses))
    keys = misses.select("image_id", "object_id")
    alike = (
        source.nearest.join(keys, on=["image_id", "object_id"], how="semi") if len(source.nearest) else pl.DataFrame()
    )
    text = (
        environment(autoescape=False)
        .get_template("miss.txt.j2")
        .render(s=summarize_source(source), **(card | {"nearest": alike.rows(named=True)}))
    )
    return [line.rstrip() for line in text.splitlines() if line.strip()]

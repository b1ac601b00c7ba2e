"""What changes of the photo did to a miss, as its sentence tells it."""

from __future__ import annotations

import polars as pl

from xai.causes import CAUSES
from xai.verdict.scene import Repaired

FOUND = 0.5
"""Between a found object, 1, and one that is not, 0."""


def repaired(tried: pl.DataFrame) -> dict[str, list[Repaired]]:
    """Return the repairs of rows of ``features.trials`` by ``error_id``."""
    made: dict[str, list[Repaired]] = {}
    columns = ["error_id", "cause", "before", "after", "placebo", "hit_placebo"]
    for key, cause, *figures in tried.select(columns).iter_rows():
        repair = CAUSES[cause].repair if cause in CAUSES else None
        if repair is not None:
            made.setdefault(key, []).append(Repaired(repair, *figures))
    return made


def idle_changes(evidence: pl.DataFrame) -> dict[str, tuple[int, int, float]]:
    """Return by ``error_id`` after how many placebos, of how many, a miss is found, and the best target of those.

    A turn that does not bring the photo upright is compared with the one that does, and means something.
    """
    hits = evidence.filter((pl.col("kind") == "placebo_found") & ~pl.col("name").str.starts_with("turn"))
    targets = evidence.filter(pl.col("kind") == "placebo").select("error_id", "name", target="after")
    both = hits.select("error_id", "name", hit=pl.col("after") > FOUND).join(
        targets, on=["error_id", "name"], how="left"
    )
    reach = pl.col("target").filter("hit").max().fill_null(0.0)
    counts = both.group_by("error_id").agg(pl.col("hit").sum(), pl.len(), reach)
    return {key: (int(count), int(many), best) for key, count, many, best in counts.iter_rows()}

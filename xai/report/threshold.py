"""What a lower score threshold would let through: counted where detections were kept, and said to be unknown below."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from xai.report.source import Source, gathered


@dataclass(frozen=True, slots=True)
class Lowered:
    """A lower threshold that the misses just below the deployed one would pass.

    Attributes:
        deployed: the threshold that the run used.
        threshold: the lowest score of these misses, rounded down to three decimals.
        upto: end of an equally wide band of scores above the deployed threshold.
        detections: that count in this band; None where nobody labelled the photos. The run keeps none below.
        false: of those, the ones that match no object.
    """

    deployed: float
    threshold: float
    upto: float
    detections: int | None
    false: int | None


def lowered(source: Source, named: pl.DataFrame) -> Lowered | None:
    """Return what it takes to find the misses that a score just below the threshold explains; None without any.

    Args:
        source: the run.
        named: these misses, ``error_id``.
    """
    near = source.scan("evidence").filter((pl.col("kind") == "mechanism") & (pl.col("name") == "score_threshold"))
    told = gathered(near.select("error_id", "before", "after")).join(
        named.select("error_id"), on="error_id", how="semi"
    )
    told = told.drop_nulls()
    if told.is_empty():
        return None
    deployed, lowest = (float(told[name].min()) for name in ("before", "after"))  # type: ignore[arg-type]
    threshold = math.floor(lowest * 1000) / 1000
    upto = 2 * deployed - threshold
    if source.question == "reported":
        return Lowered(deployed, threshold, upto, None, None)
    counted = source.scan("predictions").filter(
        (pl.col("split") == source.split)
        & pl.col("score").is_between(deployed, upto, closed="left")
        & pl.col("outcome").is_not_null()
        & (pl.col("outcome") != "ignored")
    )
    outcomes = gathered(counted.select("outcome"))["outcome"]
    return Lowered(deployed, threshold, upto, len(outcomes), int((outcomes != "matched").sum()))

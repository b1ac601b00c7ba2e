"""What training lacks, as a list of gaps that photos can fill: from the tables of a run."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from xai import tables
from xai.coverage.bins import is_of_photos
from xai.rules import due

GAPS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "gap": pl.String,
    "source": pl.String,
    "conditions": pl.List(pl.String),
    "unit": pl.String,
    "needed": pl.Int64,
    "weight": pl.Float64,
    "miss_count": pl.Int64,
    "eval_count": pl.Int64,
    "train_count": pl.Int64,
}
"""Columns of ``gaps``."""

MOST_PATTERNS = 30
"""Uncovered patterns that are looked for, by weight: hundreds overlap, and what fills the first fills most others."""

LEAST_WEIGHT = 0.1
"""Weight of a gap without an excess of misses: filled where nothing better is left to do."""


def gaps(coverage: pl.DataFrame, slices: pl.DataFrame, uncovered: pl.DataFrame, miss_rate: float) -> pl.DataFrame:
    """List what to collect, columns of ``GAPS``, coverage and slices before patterns, heaviest first.

    - ``coverage``: bins that are assessed as a coverage gap, over all labels or of one;
    - ``slices``: slices that are rare in training (assessed as a gap, or with photos to collect);
    - ``uncovered``: maximal patterns of bins that training hardly holds and that hold a miss.

    The same conditions are listed once, by the first of these. ``needed`` is in photos what both rules of
    ``collect.needed`` ask for, training's share and 50 training objects (``rules.due``); in objects ``collect`` of
    patterns. ``weight`` is the excess of misses: those beyond what as many other objects would have,
    miss_count · (1 − 1 / RR) with the adjusted risk ratio, for patterns with their miss rate over that of all objects;
    at least 0.1.

    Args:
        coverage: ``tables.TABLES["coverage"]``.
        slices: ``tables.TABLES["slices"]``.
        uncovered: ``tables.TABLES["uncovered"]``.
        miss_rate: of all scored evaluation objects.
    """
    bins = coverage.filter(pl.col("assessment") == "coverage_gap").with_columns(
        source=pl.lit("coverage"),
        conditions=pl.concat_list(
            pl.format("{}={}", "attribute", "bin"), pl.format("label={}", "label")
        ).list.drop_nulls(),
        unit=pl.lit("photos"),
        ratio=pl.col("adjusted_risk_ratio"),
    )
    rare = (pl.col("assessment") == "coverage_gap") | pl.col("collect").is_not_null()
    combined = slices.filter(rare).with_columns(
        source=pl.lit("slice"), unit=pl.lit("photos"), ratio=pl.col("adjusted_risk_ratio")
    )
    bins, combined = bins.with_columns(collect=due(bins)), combined.with_columns(collect=due(combined))
    rate = pl.col("miss_count") / pl.col("eval_count")
    patterns = uncovered.rename({"pattern": "conditions"}).with_columns(
        source=pl.lit("uncovered"),
        unit=pl.lit("objects"),
        ratio=rate / miss_rate if miss_rate > 0 else pl.lit(None, pl.Float64),
    )
    columns = ["source", "conditions", "unit", "ratio", "collect", "miss_count", "eval_count", "train_count"]
    every = pl.concat([frame.select(columns) for frame in (bins, combined, patterns)], how="vertical_relaxed")
    excess = pl.col("miss_count") * (1 - 1 / pl.col("ratio"))
    listed = every.with_columns(
        gap=pl.col("conditions").list.join(" & "),
        same=pl.col("conditions").list.sort().list.join(" & "),
        needed=pl.col("collect"),
        weight=pl.max_horizontal(excess.fill_nan(None).fill_null(0.0), pl.lit(LEAST_WEIGHT)),
    )
    listed = listed.filter(pl.col("needed") > 0).unique("same", keep="first", maintain_order=True)
    listed = listed.sort(["weight", "gap"], descending=[True, False])
    pattern = pl.col("source") == "uncovered"
    rows = pl.concat([listed.filter(~pattern), listed.filter(pattern & (pl.col("miss_count") > 0)).head(MOST_PATTERNS)])
    return tables.conform(rows, GAPS).select(list(GAPS))


def of_photos_alone(conditions: list[str]) -> bool:
    """Tell whether conditions say something of a photo only, so that no object has to be known.

    >>> of_photos_alone(["glare=strong", "meta_weather=rain"]), of_photos_alone(["glare=strong", "label=car"])
    (True, False)
    """
    from attributes import ATTRIBUTES

    return all(is_of_photos(part.partition("=")[0], ATTRIBUTES) for part in conditions)

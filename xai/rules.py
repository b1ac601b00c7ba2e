"""Rules of the contract that several stages apply, so that none of them has a version of its own."""

from __future__ import annotations

import polars as pl

MISSES = ("missed", "confused", "mislocated")
"""Outcomes of an object that is not found, and kinds of the error that it is."""

ELEVATED = ("coverage_gap", "hard")
"""Assessments of bins whose risk is shown to be elevated."""

RARE_SHARE = 0.5
"""A bin is rare in training below this part of its share of the evaluation set ..."""

RARE_COUNT = 50
"""... or with fewer training objects than this."""

PART_SHARE = 0.45
"""Share of an object's box that a part beside one of its sides is, of which the detector is asked."""

DOUBTS = ("detector_silent", "boxes_as_fractions", "boxes_off_photo", "class_never_detected")
"""Codes of issues that make all detections of a split doubtful; a run says them before anything else."""


def due(rows: pl.DataFrame) -> pl.Expr:
    """Return how many photos a gap asks for: the greater of ``collect`` and ``collect_reach`` of the coverage table.

    A bin may be rare by count though not by share, and then ``collect`` is 0; where no number of photos brings
    training's share up it is null, and at least one photo is asked for. In a table that does not tell
    ``collect_reach``, what is short of 50 training objects takes its place in both cases, by the objects that an
    evaluation photo of the kind holds (one where that is not told).

    Args:
        rows: ``collect train_count eval_count``, and ``eval_photos`` and ``collect_reach`` where they are told.
    """
    unknown = pl.lit(None, pl.Int64)
    told = pl.col("collect_reach") if "collect_reach" in rows.columns else unknown
    photos = pl.col("eval_photos") if "eval_photos" in rows.columns else unknown
    per_photo = (pl.col("eval_count") / photos).fill_nan(None).fill_null(1.0)
    short = (pl.max_horizontal(RARE_COUNT - pl.col("train_count"), pl.lit(0)) / per_photo - 1e-9).ceil()
    no_share = pl.col("collect").is_null()
    reach = pl.coalesce(told, pl.when(no_share | (pl.col("collect") == 0)).then(short.cast(pl.Int64, strict=False)))
    return pl.max_horizontal("collect", reach, pl.when(no_share).then(pl.lit(1)))

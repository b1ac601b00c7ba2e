"""How much to collect for a gap, by two rules, and what that may save: estimates, and named so."""

from __future__ import annotations

import numpy as np
import polars as pl

from xai.coverage.assess import Counts
from xai.coverage.intervals import Floats
from xai.rules import RARE_COUNT

COLUMNS: dict[str, type[pl.Int64] | type[pl.Float64]] = {
    "collect_objects": pl.Int64,
    "collect_reach": pl.Int64,
    "collect_reach_objects": pl.Int64,
    "avoided": pl.Float64,
    "avoided_low": pl.Float64,
    "avoided_high": pl.Float64,
}
"""What the tables of coverage and slices have beside ``collect``, the photos by the first rule."""


def needed(train: Counts | None, evaluation: Counts, *, photos_only: bool) -> dict[str, Floats]:
    """Return how many photos and objects of each cell to collect; NaN where no number does it.

    - ``collect``, ``collect_objects`` match the evaluation share: photos n with (t + n·m) / (T + n·k) equal to it, of T
      training objects t being in the cell, where a new photo holds k objects, m of the cell, as the evaluation photos
      of the cell do. With ``photos_only`` the share is of photos.
    - ``collect_reach``, ``collect_reach_objects`` reach 50 training objects, the number under which a bin is rare.

    Args:
        train: counts of the training set, or None.
        evaluation: counts of the evaluation set.
        photos_only: whether the cells tell of photos.
    """
    missing = np.full(evaluation.objects.shape, np.nan)
    if train is None:
        return dict.fromkeys(("collect", "collect_objects", "collect_reach", "collect_reach_objects"), missing)
    seen = evaluation.objects > 0
    holders = np.maximum(evaluation.photos, 1)
    per_photo = evaluation.objects / holders
    if photos_only:
        present, everything = train.photos, train.all_photos
        wanted = evaluation.photos / np.maximum(evaluation.all_photos, 1)
        inside = among = np.ones(missing.shape)
    else:
        present, everything = train.objects, train.all_objects
        wanted = evaluation.objects / np.maximum(evaluation.all_objects, 1)
        inside, among = per_photo, evaluation.neighbours / holders
    gain = inside - wanted * among
    photos = missing.copy()
    np.divide(wanted * everything - present, gain, out=photos, where=(gain > 1e-12) & seen)
    photos = np.ceil(np.maximum(photos - 1e-9, 0.0))
    lacking = np.maximum(RARE_COUNT - train.objects, 0.0)
    reach = missing.copy()
    np.divide(lacking, per_photo, out=reach, where=seen)
    return {
        "collect": photos,
        "collect_objects": np.ceil(photos * per_photo - 1e-9),
        "collect_reach": np.ceil(reach - 1e-9),
        "collect_reach_objects": np.where(seen, lacking, np.nan),
    }


def avoided() -> list[pl.Expr]:
    """Return the estimate of misses avoided, with bounds, from ``miss_count`` and the adjusted ratio of a row.

    Were the cell missed no more often than what it is compared with, miss_count · (1 − 1 / RR) of its misses would not
    have been: the attributable fraction among the exposed, with the adjusted ratio (Miettinen, Am. J. Epidemiol. 1974).
    It grows with RR, so the bounds of RR give those of the fraction; what RR does not bound is bounded by 0 and by all.
    An estimate for as many photos as the evaluation set holds, as far as more examples are what the cell lacks; nobody
    has trained on them.
    """
    count = pl.col("miss_count")

    def saved(ratio: str) -> pl.Expr:
        return count * (1 - 1 / pl.col(ratio)).clip(lower_bound=0.0)

    known = pl.col("adjusted_risk_ratio").is_not_null()
    return [
        pl.when(known).then(saved("adjusted_risk_ratio")).alias("avoided"),
        pl.when(known).then(saved("adjusted_low").fill_null(0.0).fill_nan(0.0)).alias("avoided_low"),
        pl.when(known).then(saved("adjusted_high").fill_null(count.cast(pl.Float64))).alias("avoided_high"),
    ]

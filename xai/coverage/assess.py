"""What to make of a bin or slice: counts on both sides, how much to collect, and the assessment."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy import sparse

from xai.catalog import OF_DETECTOR
from xai.coverage.intervals import Floats, sum_rows
from xai.coverage.joint import Codes
from xai.rules import RARE_COUNT, RARE_SHARE

ELEVATED_RATIO = 1.5
"""Adjusted risk ratio from which a bin counts as elevated."""

FALSE_DISCOVERY_RATE = 0.05
"""q-value up to which a bin counts as elevated."""

FAMILIES = 3
"""Families of tests in a run: bins over all labels, bins of each label, slices."""
DUE = (
    "collect", "collect_objects", "collect_reach", "collect_reach_objects", "avoided", "avoided_low", "avoided_high",
)  # fmt: skip
"""Figures of what is rare in training, null elsewhere."""

UNDECIDED = (1.0, 3.0)
"""A bin whose interval allows both of these risk ratios has too few objects to be judged."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How often each cell (bin or slice) occurs; in G groups apart with a first axis of G.

    Attributes:
        objects: (..., K) objects.
        photos: (..., K) photos: that have the bin (image attributes over all labels), else that hold such an object.
        all_objects: (..., 1) objects in all.
        all_photos: (..., 1) photos in all, or that hold an object.
        neighbours: (..., K) objects on the photos that hold an object of the cell.
    """

    objects: Floats
    photos: Floats
    all_objects: Floats
    all_photos: Floats
    neighbours: Floats

    @classmethod
    def of_rows(cls, held: Floats, groups: sparse.csr_array) -> Counts:
        """Count cells.

        Args:
            held: (R, K) objects of each photo in each cell, every object in one of them.
            groups: (G, R) indicator of the photos' groups.
        """
        on_photo, holds = held.sum(axis=1, keepdims=True), held > 0
        parts = (held, holds, on_photo, on_photo > 0, holds * on_photo)
        return cls(*(sum_rows(part, groups) for part in parts))

    def with_photos(self, codes: Codes) -> Counts:
        """Count the photos themselves by their bins (P,), those without objects too."""
        photos = np.bincount(codes, minlength=self.photos.shape[-1])
        counted = np.broadcast_to(photos, self.photos.shape).astype(np.float64)
        return replace(self, photos=counted, all_photos=np.full(self.all_photos.shape, float(len(codes))))

    def columns(self, side: str) -> dict[str, Floats]:
        """Return ``SIDE_count``, ``SIDE_photos`` and ``SIDE_share``."""
        with np.errstate(invalid="ignore", divide="ignore"):
            share = self.objects / self.all_objects
        return {f"{side}_count": self.objects, f"{side}_photos": self.photos, f"{side}_share": share}


def assess(family: pl.DataFrame, tested: pl.Expr) -> pl.DataFrame:
    """Add ``assessment`` and keep figures of collecting where they are due; rules as in ``table.tabulate``.

    Args:
        family: figures of the coverage table, ``q_value`` and ``train_elevated`` included.
        tested: False for rows that are shown only.
    """
    few = pl.col("train_count") < RARE_COUNT
    if "attribute" in family.columns:
        # Bins between percentiles of the training set hold the same share of any training set: how many objects that
        # makes says how large the set is, not what it lacks.
        few &= ~pl.col("attribute").is_in(list(OF_DETECTOR))
    rare = ((pl.col("train_share") < RARE_SHARE * pl.col("eval_share")) | few).fill_null(False)
    elevated = (pl.col("q_value") <= FALSE_DISCOVERY_RATE) & (pl.col("adjusted_risk_ratio") >= ELEVATED_RATIO)
    low, high = pl.col("adjusted_low"), pl.col("adjusted_high")
    allows_none = (low <= UNDECIDED[0]) | (pl.col("q_value") > FALSE_DISCOVERY_RATE)
    undecided = low.is_null() | (allows_none & (high.is_null() | (high >= UNDECIDED[1])))
    assessment = (
        pl.when(~tested)
        .then(None)
        .when(elevated & rare & ~pl.col("train_elevated").fill_null(False))
        .then(pl.lit("coverage_gap"))
        .when(elevated)
        .then(pl.lit("hard"))
        .when(undecided)
        .then(pl.lit("too_few"))
        .when(rare)
        .then(pl.lit("rare_harmless"))
        .otherwise(pl.lit("fine"))
    )
    figures = [pl.when(rare & tested).then(pl.col(name)).alias(name) for name in family.columns if name in DUE]
    return family.with_columns(assessment=assessment).with_columns(figures)

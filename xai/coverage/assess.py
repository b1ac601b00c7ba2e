"""What to make of a bin or slice: counts on both sides, how much to collect, and the assessment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from xai.coverage.intervals import Bools, Floats, Integers
from xai.coverage.sample import Sample
from xai.rules import RARE_COUNT, RARE_SHARE

ELEVATED_RATIO = 1.5
"""Adjusted risk ratio from which a bin counts as elevated."""

FALSE_DISCOVERY_RATE = 0.05
"""q-value up to which a bin counts as elevated."""


UNDECIDED = (1.0, 3.0)
"""A bin whose interval allows both of these risk ratios has too few objects to be judged."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How often each of K cells (bins or slices) occurs.

    Attributes:
        objects: (K,) objects.
        photos: (K,) photos: that have the bin (image attributes over all labels), else that hold such an object.
        all_objects: objects in all.
        all_photos: photos in all, or that hold an object.
        neighbours: (K,) objects on the photos that hold an object of the bin.
    """

    objects: Integers
    photos: Integers
    all_objects: int
    all_photos: int
    neighbours: Integers

    @classmethod
    def of_attribute(cls, sample: Sample, attribute: str, bins: int, count_photos: bool) -> Counts:
        """Count the bins of an attribute; with ``count_photos`` photos without objects count as photos too."""
        codes = sample.codes[attribute]
        holders = held(sample.photo, sample.photos, codes, bins)
        objects = np.bincount(codes, minlength=bins)
        on_photo = np.bincount(sample.photo, minlength=sample.photos)
        photos, all_photos = holders.sum(axis=1), int((on_photo > 0).sum())
        if count_photos:
            photos = np.bincount(sample.image_codes[attribute], minlength=bins)
            all_photos = len(sample.image_codes[attribute])
        return cls(objects, photos, len(codes), all_photos, holders @ on_photo)

    @classmethod
    def of_members(cls, sample: Sample, members: Bools) -> Counts:
        """Count the slices whose members (n, K) are given."""
        holders = (sample.by_photo() @ members.astype(np.float64)).T > 0
        on_photo = np.bincount(sample.photo, minlength=sample.photos)
        return cls(
            members.sum(axis=0), holders.sum(axis=1), len(members), int((on_photo > 0).sum()), holders @ on_photo
        )

    def columns(self, side: str) -> dict[str, Floats | Integers | Bools]:
        """Return ``SIDE_count``, ``SIDE_photos`` and ``SIDE_share``."""
        share = self.objects / self.all_objects if self.all_objects else np.full(len(self.objects), np.nan)
        return {f"{side}_count": self.objects, f"{side}_photos": self.photos, f"{side}_share": share}


def held(photo: Integers, photos: int, codes: Integers, bins: int) -> Bools:
    """Return (K, P) whether a photo holds an object of a bin."""
    pairs = np.bincount(codes * photos + photo, minlength=bins * photos)
    return np.asarray(pairs.reshape(bins, photos) > 0)


def photos_to_collect(train: Counts | None, evaluation: Counts, *, photos_only: bool) -> Floats:
    """Return the photos n after which (t + n·m) / (T + n·k) is the evaluation share; NaN where no number does it.

    Of T training objects t are in the cell, and a new photo holds k objects, m of the cell, as evaluation photos do.
    With ``photos_only`` photos are counted in place of objects.
    """
    missing = np.full(len(evaluation.objects), np.nan)
    if train is None:
        return missing
    if photos_only:
        present, everything = train.photos, train.all_photos
        wanted = evaluation.photos / max(evaluation.all_photos, 1)
        inside = among = np.ones(len(missing))
    else:
        present, everything = train.objects, train.all_objects
        wanted = evaluation.objects / max(evaluation.all_objects, 1)
        holders = np.maximum(evaluation.photos, 1)
        inside, among = evaluation.objects / holders, evaluation.neighbours / holders
    gain = inside - wanted * among
    np.divide(wanted * everything - present, gain, out=missing, where=(gain > 1e-12) & (evaluation.objects > 0))
    return np.asarray(np.ceil(np.maximum(missing - 1e-9, 0.0)))


def assess(family: pl.DataFrame, tested: pl.Expr) -> pl.DataFrame:
    """Add ``assessment`` and keep ``collect`` where it is due; rules as in ``table.tabulate``.

    Args:
        family: figures of the coverage table, ``q_value`` and ``train_elevated`` included.
        tested: False for rows that are shown only.
    """
    rare = (pl.col("train_share") < RARE_SHARE * pl.col("eval_share")) | (pl.col("train_count") < RARE_COUNT)
    rare = rare.fill_null(False)
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
    return family.with_columns(assessment=assessment, collect=pl.when(rare & tested).then(pl.col("collect")))

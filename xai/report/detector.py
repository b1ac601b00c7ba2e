"""The detector's card: whether its scores mean what they say, and what it finds by class and by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from xai.report import words
from xai.report.format import known
from xai.report.intervals import of_counts
from xai.report.source import Source, gathered

BANDS = 10
"""Bands of equal width that scores, 0 to 1, are put in."""

RIGHT = "matched"
WRONG = ("duplicate", "confused", "mislocated", "background")
"""Outcomes of a detection that count; ignored ones do not."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall of a class or size with its base and a 95% interval that respects photos."""

    label: str
    found: int
    objects: int
    photos: int
    recall: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Band:
    """Detections whose scores lie in one band.

    Attributes:
        low, high: of the band; the last one holds its upper end too.
        score: mean score.
        matched, detections, photos: counts.
        share: matched per detection, with its 95% interval over photos.
    """

    low: float
    high: float
    score: float
    matched: int
    detections: int
    photos: int
    share: float
    share_low: float
    share_high: float

    @property
    def verdict(self) -> str | None:
        """Whether scores promise ``too much`` or ``too little``, as the interval excludes their mean; else None."""
        if self.share_high < self.score:
            return "too much"
        return "too little" if self.share_low > self.score else None


def recall_by_class(source: Source) -> tuple[Recall, ...]:
    """Return the recall of every annotated class, most objects first; intervals are ``intervals.of_counts``."""
    per_photo = source.judged.group_by("label", "image_id").agg(
        total=pl.len(), right=(pl.col("outcome") == "found").sum()
    )
    rows = _counted(per_photo, "label").sort(["total", "label"], descending=[True, False])
    return tuple(_recall(row) for row in rows.rows(named=True))


def recall_by_size(source: Source) -> tuple[Recall, ...]:
    """Return the recall by size of the object, smallest first, as the coverage table has it, if it has."""
    table = source.table("coverage").filter((pl.col("attribute") == "object_size") & pl.col("label").is_null())
    return tuple(
        Recall(
            words.condition("object_size", row["bin"]),
            row["eval_count"] - row["miss_count"],
            row["eval_count"],
            row["eval_photos"],
            1 - row["miss_rate"],
            1 - row["miss_rate_high"],
            1 - row["miss_rate_low"],
        )
        for row in table.rows(named=True)
        if row["eval_count"] and all(known(row[name]) for name in ("miss_rate", "miss_rate_low", "miss_rate_high"))
    )


def calibration(source: Source) -> tuple[Band, ...]:
    """Return how often detections match an annotated object, by score, with intervals over photos.

    The reliability diagram of Niculescu-Mizil and Caruana (ICML 2005); empty where no detection counts.
    """
    counted = source.scan("predictions").filter(
        (pl.col("split") == source.judged_split)
        & pl.col("outcome").is_in([RIGHT, *WRONG])
        & pl.col("score").is_between(0, 1)
    )
    banded = counted.with_columns(band=(pl.col("score") * BANDS).floor().clip(0, BANDS - 1).cast(pl.Int64))
    per_photo = banded.group_by("band", "image_id").agg(
        total=pl.len(), right=(pl.col("outcome") == RIGHT).sum(), score=pl.col("score").sum()
    )
    rows = _counted(per_photo, "band", pl.col("score").sum()).sort("band")
    return tuple(_band(row) for row in rows.rows(named=True))


def miscalibration(bands: tuple[Band, ...]) -> float | None:
    """Return the expected calibration error (Naeini et al., AAAI 2015): mean |matched share − mean score|, 0 to 1."""
    total = sum(band.detections for band in bands)
    return sum(band.detections * abs(band.share - band.score) for band in bands) / total if total else None


def spans(bands: Sequence[Band], verdict: str) -> list[tuple[float, float]]:
    """Return the ranges of scores that promise ``too much`` or ``too little``, neighbouring bands as one."""
    found: list[tuple[float, float]] = []
    for band in bands:
        if band.verdict == verdict:
            joined = found and abs(found[-1][1] - band.low) < 1e-9
            low = found.pop()[0] if joined else band.low
            found.append((low, band.high))
    return found


def _counted(per_photo: pl.LazyFrame, key: str, *further: pl.Expr) -> pl.DataFrame:
    """Sum ``total`` and ``right`` of photos, and the products that a design effect needs."""
    sums = per_photo.group_by(key).agg(
        pl.col("total").sum(),
        pl.col("right").sum(),
        pl.len().alias("photos"),
        (pl.col("total") ** 2).sum().alias("tt"),
        (pl.col("total") * pl.col("right")).sum().alias("tr"),
        (pl.col("right") ** 2).sum().alias("rr"),
        *further,
    )
    return gathered(sums)


def _recall(row: Mapping[str, Any]) -> Recall:
    found, objects, photos = row["right"], row["total"], row["photos"]
    low, high = of_counts(found, objects, (row["tt"], row["tr"], row["rr"]), photos)
    return Recall(str(row["label"]), found, objects, photos, found / objects, low, high)


def _band(row: Mapping[str, Any]) -> Band:
    matched, detections, photos = row["right"], row["total"], row["photos"]
    low, high = of_counts(matched, detections, (row["tt"], row["tr"], row["rr"]), photos)
    first = row["band"] / BANDS
    return Band(
        first,
        first + 1 / BANDS,
        round(row["score"] / detections, 9),  # sums in parallel differ in their last digits from run to run
        matched,
        detections,
        photos,
        matched / detections,
        low,
        high,
    )

"""Measure: from a run's tables to the few figures that the report opens with and the command line ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from xai.report import words
from xai.report.causes import CauseLine, by_avoidable, cause_lines, counts
from xai.report.sentences import answer_lines
from xai.report.source import Source, gathered, open_run
from xai.rules import DOUBTS, ELEVATED

UNUSABLE = ("case_not_understood", "case_without_photo")
"""Issues of lines of the list of reported misses that are no case."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run says in one paragraph.

    Attributes:
        title: of the report.
        report: where the page is (or will be).
        question: ``evaluate``: an annotated set; ``reported``: misses that people reported in production photos.
        photos: evaluation or production photos that were used.
        objects: annotated objects that are scored, or reported cases.
        ignored: annotated objects that are not.
        reasons: why they are not → count, where the run tells of all of them.
        misses: scored objects that were not found.
        miss_photos: photos that hold at least one miss.
        kinds: kind of miss → count.
        promises: the answers as the promise stage wrote them; ``answer`` is inside, broken or not shown.
        causes: named causes, most frequent first.
        elevated: rows of ``coverage.parquet`` over all classes whose risk is shown to be elevated, which no verdict
            names and at most half of the objects show; most misses first.
        suspected: misses whose verdict names a condition that is not shown to be missed more often.
        chance: misses whose verdict is chance.
        unexplained: misses whose verdict is unexplained.
        unjudged: misses without a verdict.
        mechanisms: mechanism → count, most frequent first.
        doubts: what makes all detections doubtful, with what to do, worst first.
        unusable: lines of the list of reported misses that could not be used.
        judged_photos: photos that rates rest on, with and without objects: of the evaluation set, or of the labelled
            sample; 0 without one.
        reference: "training set", "reference set", or None where there is none.
        cost_per_miss: as configured.
        currency: of the cost.
    """

    title: str
    report: Path
    question: str
    photos: int
    objects: int
    ignored: int
    reasons: Mapping[str, int]
    misses: int
    miss_photos: int
    kinds: Mapping[str, int]
    promises: tuple[Mapping[str, Any], ...]
    causes: tuple[CauseLine, ...]
    elevated: tuple[Mapping[str, Any], ...]
    suspected: int
    chance: int
    unexplained: int
    unjudged: int
    mechanisms: Mapping[str, int]
    doubts: tuple[str, ...]
    unusable: int
    judged_photos: int
    reference: str | None
    cost_per_miss: float | None
    currency: str

    @property
    def reported(self) -> bool:
        """Whether the misses are reported cases."""
        return self.question == "reported"

    @property
    def reports(self) -> int:
        """Reported cases that name a photo which could be read, those that cannot be judged too."""
        return self.objects + self.ignored

    @property
    def nouns(self) -> Mapping[str, str]:
        """What is explained, and what it is compared with."""
        return words.QUESTIONS[self.question]

    @property
    def miss_rate(self) -> float | None:
        """Misses per scored object; None where nothing is scored, and of reported misses."""
        return self.misses / self.objects if self.objects and not self.reported else None

    @property
    def explained(self) -> int:
        """Misses whose verdict names a cause."""
        return sum(line.misses for line in self.causes)

    @property
    def actions(self) -> list[CauseLine]:
        """The causes by the misses that could be avoided, most first; those where that is not known last."""
        return by_avoidable(self.causes)

    @property
    def answer(self) -> str | None:
        """The worst answer of the promises: broken, then not_shown, then inside; None without a promise."""
        given = {str(promise.get("answer")).replace(" ", "_") for promise in self.promises}
        return next((answer for answer in ("broken", "not_shown", "inside") if answer in given), None)

    @property
    def promised_recall(self) -> bool:
        """Whether a promise's sentence has already counted the found among the same objects."""
        return any(
            promise.get("metric") == "recall" and promise.get("denominator") == self.objects
            for promise in self.promises
        )

    def figures(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {
            "question": self.question,
            "photos": self.photos,
            "objects": self.objects,
            "misses": self.misses,
            "miss_rate": self.miss_rate,
            "promise": [dict(promise) for promise in self.promises],
            "causes": {line.cause: line.misses for line in self.causes},
            "chance": self.chance,
            "unexplained": self.unexplained,
            "unjudged": self.unjudged,
            "mechanisms": dict(self.mechanisms),
        }

    def lines(self) -> list[str]:
        """Return the answer as lines of plain text, the same sentences that open the report."""
        return answer_lines(self)


def summarize(run_dir: Path) -> Summary:
    """Sum up a finished run.

    Args:
        run_dir: the run directory with its tables and ``run.json``.

    Raises:
        RunError: the run is missing, incomplete or from another version.
    """
    return summarize_source(open_run(Path(run_dir)))


def summarize_source(source: Source) -> Summary:
    """Sum up an opened run."""
    misses = source.misses
    read = gathered(source.scan("images").filter(pl.col("status") == "ok").group_by("split").len())
    photos = dict(read.iter_rows())
    annotated = source.scan("objects").filter(pl.col("split") == source.split)
    objects = _count(source.scored)
    verdicts = counts(misses["verdict"])
    settings = source.config.get("report") or {}
    causes = cause_lines(source)
    return Summary(
        title=settings.get("title") or "Why did the detector miss it?",
        report=source.path / "report.html",
        question=source.question,
        photos=photos.get(source.split, 0),
        objects=objects,
        ignored=_count(annotated) - objects,
        reasons=_reasons(source, _count(annotated) - objects),
        misses=misses.height,
        miss_photos=misses["image_id"].n_unique(),
        kinds=counts(misses["kind"]),
        promises=tuple(source.info.get("promise") or ()),
        causes=causes,
        elevated=_elevated(source, causes),
        suspected=misses.filter(pl.col("standing") == "suspected").height,
        chance=verdicts.get("chance", 0),
        unexplained=verdicts.get("unexplained", 0),
        unjudged=misses["verdict"].null_count(),
        mechanisms=counts(misses["mechanism"].fill_null("unknown")),
        doubts=_doubts(source),
        unusable=source.table("issues").filter(pl.col("code").is_in(UNUSABLE)).height,
        judged_photos=photos.get(source.judged_split, 0),
        reference=source.reference,
        cost_per_miss=settings.get("cost_per_miss"),
        currency=settings.get("currency") or "",
    )


def _reasons(source: Source, ignored: int) -> Mapping[str, int]:
    """Return why annotated objects do not count, from the funnel's last step; nothing where that does not add up."""
    steps = (source.info.get("funnel") or {}).get(source.split) or ()
    used = (step["lost"] for step in steps if (step["step"], step["unit"]) == ("used", "objects"))
    lost: Mapping[str, int] = next(used, {})
    return lost if sum(lost.values()) == ignored else {}


def _count(rows: pl.LazyFrame) -> int:
    return int(gathered(rows.select(pl.len())).item())


def _elevated(source: Source, causes: tuple[CauseLine, ...]) -> tuple[Mapping[str, Any], ...]:
    named = {(row["attribute"], row["bin"]) for line in causes for row in line.conditions}
    rows = source.table("coverage").filter(pl.col("label").is_null() & pl.col("assessment").is_in(ELEVATED))
    ordered = rows.sort(["miss_count", "attribute", "bin"], descending=[True, False, False]).rows(named=True)
    return tuple(row for row in ordered if (row["attribute"], row["bin"]) not in named and not _is_usual(row))


def _is_usual(row: Mapping[str, Any]) -> bool:
    """Whether most objects show a condition: that others are missed less is no news of it."""
    share = row["eval_share"]
    return share is not None and share > 0.5


def _doubts(source: Source) -> tuple[str, ...]:
    found = source.table("issues").filter((pl.col("split") == source.split) & pl.col("code").is_in(DOUBTS))
    order = pl.col("code").replace_strict({code: place for place, code in enumerate(DOUBTS)}, return_dtype=pl.Int64)
    return tuple(found.sort(order, maintain_order=True)["message"].to_list())

"""Measure: from a run's tables to the few figures that the report opens with and the command line ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from xai.report import words
from xai.report.sentences import answer_lines
from xai.report.source import Source, open_run
from xai.rules import DOUBTS, ELEVATED

UNUSABLE = ("case_not_understood", "case_without_photo")
"""Issues of lines of the list of reported misses that are no case."""

UNCLEAR = ("chance", "unexplained")
"""Verdicts that name no cause."""


@dataclass(frozen=True, slots=True)
class CauseLine:
    """One cause and how often it is named.

    Attributes:
        cause: the name as in ``verdicts.parquet``.
        words: noun phrase.
        advice: what to do about it, or None where the toolkit has no advice.
        misses: misses whose verdict names this cause.
        share: of all misses.
        verdicts: verdict → count, most frequent first.
        train_share: share of the training set's objects in the cause's conditions; None where unknown.
        eval_share: share of the scored evaluation objects in them.
        miss_share: share of the misses in them, whatever their verdict says.
        collect: photos to collect until training's share equals the evaluation set's; None where none are asked for.
        conditions: the rows of ``coverage.parquet`` that verdicts name, with ``named``: how many do.
        tried: misses, whatever their verdict, whose photo was repaired of this cause and shown to the detector again.
        restored: of those, how many were found then.
        placebo: mean share of changes that should not matter after which they were found; None where none was tried.
    """

    cause: str
    words: str
    advice: str | None
    misses: int
    share: float
    verdicts: Mapping[str, int]
    train_share: float | None
    eval_share: float | None
    miss_share: float | None
    collect: int | None
    conditions: tuple[Mapping[str, Any], ...]
    tried: int
    restored: int
    placebo: float | None

    @property
    def verdict(self) -> str:
        """The verdict that is reached most often with this cause."""
        return next(iter(self.verdicts))


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
        misses: scored objects that were not found.
        miss_photos: photos that hold at least one miss.
        kinds: kind of miss → count.
        promises: the answers as the promise stage wrote them; ``answer`` is inside, broken or not shown.
        causes: named causes, most frequent first.
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
    misses: int
    miss_photos: int
    kinds: Mapping[str, int]
    promises: tuple[Mapping[str, Any], ...]
    causes: tuple[CauseLine, ...]
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
    read = source.table("images").filter(pl.col("status") == "ok")["split"]
    annotated = source.table("objects").filter(pl.col("split") == source.split)
    verdicts = _counts(misses["verdict"])
    settings = source.config.get("report") or {}
    return Summary(
        title=settings.get("title") or "Why did the detector miss it?",
        report=source.path / "report.html",
        question=source.question,
        photos=int((read == source.split).sum()),
        objects=source.scored.height,
        ignored=annotated.height - source.scored.height,
        misses=misses.height,
        miss_photos=misses["image_id"].n_unique(),
        kinds=_counts(misses["kind"]),
        promises=tuple(source.info.get("promise") or ()),
        causes=_causes(misses, source.table("coverage"), source.table("evidence")),
        chance=verdicts.get("chance", 0),
        unexplained=verdicts.get("unexplained", 0),
        unjudged=misses["verdict"].null_count(),
        mechanisms=_counts(misses["mechanism"].fill_null("unknown")),
        doubts=_doubts(source),
        unusable=source.table("issues").filter(pl.col("code").is_in(UNUSABLE)).height,
        judged_photos=int((read == source.judged_split).sum()),
        reference=source.reference,
        cost_per_miss=settings.get("cost_per_miss"),
        currency=settings.get("currency") or "",
    )


def _doubts(source: Source) -> tuple[str, ...]:
    found = source.table("issues").filter((pl.col("split") == source.split) & pl.col("code").is_in(DOUBTS))
    order = pl.col("code").replace_strict({code: place for place, code in enumerate(DOUBTS)}, return_dtype=pl.Int64)
    return tuple(found.sort(order, maintain_order=True)["message"].to_list())


def _causes(misses: pl.DataFrame, coverage: pl.DataFrame, evidence: pl.DataFrame) -> tuple[CauseLine, ...]:
    """Group the misses by the cause that their verdict names; look up its three shares and what repairs did."""
    named = misses.filter(pl.col("cause").is_not_null() & ~pl.col("verdict").is_in(UNCLEAR))
    overall = coverage.filter(pl.col("label").is_null())
    repaired = evidence.filter(pl.col("kind") == "repair_found")
    lines = [
        _cause_line(str(cause), named.filter(pl.col("cause") == cause), overall, repaired, misses.height)
        for cause in _counts(named["cause"])
    ]
    return tuple(lines)


def _cause_line(
    cause: str, rows: pl.DataFrame, coverage: pl.DataFrame, repaired: pl.DataFrame, total: int
) -> CauseLine:
    noun, advice = words.cause(cause)
    conditions = _conditions(rows, coverage)
    shares = _shares(conditions)
    # All misses on which the repair was tried: a verdict may rest on the repair, so its own misses would flatter it.
    tried = repaired.filter(pl.col("name") == cause)
    placebo = tried["placebo"].mean()
    # Bins of one attribute add up; attributes that tell the same cause lie on the same photos, so the largest counts.
    gaps = conditions.filter(pl.col("assessment") == "coverage_gap").group_by("attribute").agg(pl.col("collect").sum())
    return CauseLine(
        cause=cause,
        words=noun,
        advice=advice,
        misses=rows.height,
        share=rows.height / total,
        verdicts=_counts(rows["verdict"]),
        train_share=shares.get("train_share"),
        eval_share=shares.get("eval_share"),
        miss_share=shares.get("miss_share"),
        collect=int(gaps["collect"].max() or 0) or None,  # type: ignore[arg-type]
        conditions=tuple(conditions.rows(named=True)),
        tried=tried.height,
        restored=tried.filter(pl.col("after") >= 1).height,
        placebo=placebo if isinstance(placebo, float) else None,
    )


def _conditions(rows: pl.DataFrame, coverage: pl.DataFrame) -> pl.DataFrame:
    """Return the coverage rows of the conditions that verdicts name, with ``named``: how many do; most named first."""
    keys = ["attribute", "bin"]
    named = rows.drop_nulls(keys).group_by(keys).agg(named=pl.len())
    return named.join(coverage, on=keys).sort(["named", *keys], descending=[True, False, False])


def _shares(conditions: pl.DataFrame) -> dict[str, float | None]:
    """Add up the three shares over the bins of the attribute that is named most.

    Only bins that stand out over all classes count where there are such; others are named for single classes. Bins of
    one attribute do not overlap, so their shares add up; an unknown share makes the sum unknown.
    """
    if conditions.is_empty():
        return {}
    attribute = conditions.group_by("attribute").agg(pl.col("named").sum()).sort(["named", "attribute"]).row(-1)[0]
    bins = conditions.filter(pl.col("attribute") == attribute)
    elevated = bins.filter(pl.col("assessment").is_in(ELEVATED))
    summed = bins if elevated.is_empty() else elevated
    return {name: _sum(summed[name]) for name in ("train_share", "eval_share", "miss_share")}


def _sum(values: pl.Series) -> float | None:
    return None if values.is_null().any() or values.is_nan().any() else float(values.sum())


def _counts(values: pl.Series) -> dict[str, int]:
    """Count the values, most frequent first, ties by name; nulls are left out."""
    pairs: Sequence[tuple[str, int]] = (
        values.drop_nulls()
        .rename("value")
        .value_counts(name="count")
        .sort(["count", "value"], descending=[True, False])
        .rows()
    )
    return {str(value): int(count) for value, count in pairs}

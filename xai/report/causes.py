"""What each cause comes to: its misses, its shares with intervals, what could be avoided, what repairs did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from xai.report import words
from xai.report.format import about, known
from xai.report.intervals import effective_size, wilson
from xai.report.source import Source, gathered
from xai.report.threshold import Lowered, lowered
from xai.rules import ELEVATED, due

UNCLEAR = ("chance", "unexplained")
"""Verdicts that name no cause."""

SHARES = ("miss_share", "eval_share", "train_share")


class Avoidable(NamedTuple):
    """Misses that there would not be, of how many; bounds are those of the risk, None where nothing is estimated."""

    misses: float
    of: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class CauseLine:
    """One cause and how often it is named.

    Attributes:
        cause: the name as in ``verdicts.parquet``.
        words: noun phrase.
        advice: what to do about it, or None where the toolkit has no advice.
        misses: misses whose verdict names this cause.
        share: of all misses.
        verdicts: verdict → count, most frequent first; ``suspected`` where the condition is not shown to be missed more
            often (``Source.misses``).
        train_share: share of the training set's objects in the cause's conditions; None where unknown.
        eval_share: share of the scored evaluation objects in them.
        miss_share: share of the misses in them, whatever their verdict says.
        bounds: of these shares by name, 95% over photos; absent where unknown.
        avoidable: misses that there would not be if objects in the cause's conditions were missed as rarely as
            comparable ones outside; of a cause without conditions those whose verdict names it. None where the risk is
            not known.
        shown: whether misses in the cause's conditions are shown, over all objects, to be more than elsewhere; True of
            causes without conditions.
        classes: where they are not, the classes of which they are: verdicts quote their own rows.
        lowered: the threshold that the misses just below the deployed one would pass; None of other causes.
        collect: photos to collect (``rules.due``); None where none are asked for.
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
    bounds: Mapping[str, tuple[float, float]]
    avoidable: Avoidable | None
    shown: bool
    classes: tuple[str, ...]
    lowered: Lowered | None
    collect: int | None
    conditions: tuple[Mapping[str, Any], ...]
    tried: int
    restored: int
    placebo: float | None

    @property
    def verdict(self) -> str:
        """The verdict that is reached most often with this cause."""
        return next(iter(self.verdicts))

    @property
    def doubted(self) -> Mapping[str, Any]:
        """The condition, most named first, that is not shown to be missed more often; empty where each is shown."""
        return next((row for row in self.conditions if row["assessment"] not in ELEVATED), {})

    @property
    def gain(self) -> str:
        """What a chart says of the misses that could be avoided; nothing where it is not known."""
        if self.avoidable is None:
            return ""
        doubt = "" if self.shown or self.avoidable.misses < 0.95 else ", if real"
        return f"{about(self.avoidable.misses)} avoidable{doubt}"


def cause_lines(source: Source) -> tuple[CauseLine, ...]:
    """Group the misses by the cause that their verdict names, most frequent first."""
    misses = source.misses
    named = misses.filter(pl.col("cause").is_not_null() & ~pl.col("verdict").is_in(UNCLEAR))
    overall = source.table("coverage").filter(pl.col("label").is_null())
    repaired = gathered(source.scan("evidence").filter(pl.col("kind") == "repair_found"))
    sizes = _effective_sizes(source)
    return tuple(
        _cause_line(source, str(cause), named.filter(pl.col("cause") == cause), overall, repaired, sizes)
        for cause in counts(named["cause"])
    )


def by_avoidable(causes: Sequence[CauseLine]) -> list[CauseLine]:
    """Sort causes by the misses that could be avoided, those where that is not known last.

    No more misses count than verdicts put down to the cause: others in the condition have a likelier one.
    """

    def key(line: CauseLine) -> tuple[bool, float, int]:
        return line.avoidable is None, -min(line.avoidable.misses if line.avoidable else 0.0, line.misses), -line.misses

    return sorted(causes, key=key)


def counts(values: pl.Series) -> dict[str, int]:
    """Count the values, most frequent first, ties by name; nulls are left out."""
    pairs: Sequence[tuple[str, int]] = (
        values.drop_nulls()
        .rename("value")
        .value_counts(name="count")
        .sort(["count", "value"], descending=[True, False])
        .rows()
    )
    return {str(value): int(count) for value, count in pairs}


def _cause_line(
    source: Source,
    cause: str,
    rows: pl.DataFrame,
    coverage: pl.DataFrame,
    repaired: pl.DataFrame,
    sizes: Mapping[str, float],
) -> CauseLine:
    noun, advice = words.cause(cause)
    conditions = _conditions(rows, coverage)
    counted = _counted(conditions)
    shares = {name: _sum(counted[name]) for name in SHARES if not counted.is_empty()}
    # All misses on which the repair was tried: a verdict may rest on the repair, so its own misses would flatter it.
    tried = repaired.filter(pl.col("name") == cause)
    placebo = tried["placebo"].mean()
    # Bins of one attribute add up; attributes that tell the same cause lie on the same photos, so the largest counts.
    rare = (pl.col("assessment") == "coverage_gap") & pl.col("train_count").is_not_null()
    gaps = conditions.filter(rare).with_columns(collect=due(conditions))
    gaps = gaps.group_by("attribute").agg(pl.col("collect").sum())
    shown = conditions.is_empty() or bool(counted["assessment"].is_in(ELEVATED).any())
    sure = rows.filter((pl.col("standing") != "suspected") & pl.col("attribute").is_not_null())
    return CauseLine(
        cause=cause,
        words=noun,
        advice=advice,
        misses=rows.height,
        share=rows.height / source.misses.height,
        verdicts=counts(rows["standing"]),
        train_share=shares.get("train_share"),
        eval_share=shares.get("eval_share"),
        miss_share=shares.get("miss_share"),
        bounds=_bounds(counted, shares, sizes),
        avoidable=_avoidable(counted) if len(conditions) else Avoidable(rows.height, rows.height, None, None),
        shown=shown,
        classes=() if shown else tuple(sorted(set(sure["label"].drop_nulls()))),
        lowered=lowered(source, rows) if cause == "score_threshold" else None,
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


def _counted(conditions: pl.DataFrame) -> pl.DataFrame:
    """Return the bins that a cause's own figures add up: those of the attribute that is named most.

    Only bins that stand out over all classes count where there are such; others are named for single classes. Bins of
    one attribute do not overlap, so their shares add up; an unknown share makes the sum unknown.
    """
    if conditions.is_empty():
        return conditions
    by_attribute = conditions.group_by("attribute").agg(pl.col("named", "miss_count").sum())
    attribute = by_attribute.sort(["named", "miss_count", "attribute"]).row(-1)[0]
    bins = conditions.filter(pl.col("attribute") == attribute)
    elevated = bins.filter(pl.col("assessment").is_in(ELEVATED))
    return bins if elevated.is_empty() else elevated


def _sum(values: pl.Series) -> float | None:
    return None if values.is_null().any() or values.is_nan().any() else float(values.sum())


def _effective_sizes(source: Source) -> dict[str, float]:
    """Return the independent draws that each share is counted over; of reported misses only their own."""
    rows = {"miss_share": (source.misses.lazy(), source.split)}
    if source.question == "evaluate":
        train = source.scan("objects").filter(pl.col("split") == "train")
        trained = train.filter(pl.col("outcome").is_null() | (pl.col("outcome") != "ignored"))
        rows |= {"eval_share": (source.scored, "eval"), "train_share": (trained, "train")}
    images = source.scan("images")
    known = [name for name in ("image_id", "group") if name in images.collect_schema()]
    sizes = {}
    for name, (objects, split) in rows.items():
        counts = gathered(objects.group_by("image_id").len("objects"))
        photos = gathered(images.filter(pl.col("split") == split).select(known))
        sizes[name] = effective_size(counts["image_id"], photos, counts["objects"])
    return sizes


def _bounds(
    counted: pl.DataFrame, shares: Mapping[str, float | None], sizes: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return the intervals of the shares: the table's own where one bin is counted, else over photos as draws."""
    bounds: dict[str, tuple[float, float]] = {}
    for name, share in shares.items():
        columns = f"{name}_low", f"{name}_high"
        if counted.height == 1 and set(columns) <= set(counted.columns):
            low, high = counted.select(columns).row(0)
            if known(low) and known(high):
                bounds[name] = (low, high)
                continue
        if share is not None and sizes.get(name):
            bounds[name] = wilson(min(share, 1.0), sizes[name])
    return bounds


def _avoidable(counted: pl.DataFrame) -> Avoidable | None:
    """Add up the attributable misses of bins: misses × (1 − 1 / risk ratio) (Miettinen, Am J Epidemiol 1974).

    The adjusted ratio where there is one; a ratio under 1 avoids nothing, and an open upper bound allows all misses.
    """
    total = low = high = 0.0
    for row in counted.rows(named=True):
        adjusted = known(row["adjusted_risk_ratio"])
        ratio = row["adjusted_risk_ratio"] if adjusted else row["risk_ratio"]
        least, most = (row[name] for name in (("adjusted_low", "adjusted_high") if adjusted else _CRUDE))
        if not known(ratio):
            return None
        misses = row["miss_count"]
        total += misses * _attributable(ratio)
        low += misses * (_attributable(least) if known(least) else 0.0)
        high += misses * (_attributable(most) if known(most) else 1.0)
    return Avoidable(total, int(counted["miss_count"].sum()), low, high)


_CRUDE = ("risk_ratio_low", "risk_ratio_high")


def _attributable(ratio: float) -> float:
    return max(0.0, 1 - 1 / ratio) if ratio > 0 else 0.0

"""What the report's tables show: coverage, slices, recall by class, data problems, provenance; rows, not markup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from xai.report import format as fmt
from xai.report import words
from xai.report.source import Source
from xai.rules import due

Row = Mapping[str, Any]

TELLING = ("coverage_gap", "hard", "rare_harmless")
"""Assessments that are worth a row of their own in a single class."""

MAX_LABEL_ROWS = 200
"""Rows of single classes in the coverage table; the rest is in ``coverage.parquet``."""

MAX_SLICES = 60
EXAMPLES = 3
"""Examples of each data problem."""


@dataclass(frozen=True, slots=True)
class CoverageView:
    """The coverage table as shown.

    Attributes:
        overall: rows over all classes, what stands out first; conditions that no object shows are left out.
        absent: how many those are.
        by_label: telling rows of single classes.
        hidden: rows of single classes that are not shown.
    """

    overall: tuple[Row, ...]
    absent: int
    by_label: tuple[Row, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A condition whose share differs between training and evaluation set: a row of ``coverage.parquet``.

    Attributes:
        row: the row.
        difference: evaluation share − training share.
        told: the intervals of the two shares do not touch.
    """

    row: Row
    difference: float
    told: bool


@dataclass(frozen=True, slots=True)
class IssueGroup:
    """One kind of data problem in one split."""

    split: str
    code: str
    severity: str
    count: int
    photos: int
    examples: tuple[Row, ...]


def coverage(source: Source) -> CoverageView:
    """Return the bins over all classes, and the telling bins of single classes."""
    table = _with_due(source.table("coverage"))
    every = table.filter(pl.col("label").is_null())
    seen = [pl.col(name).fill_null(0) > 0 for name in ("eval_count", "train_count", "miss_count")]
    overall = every.filter(pl.any_horizontal(seen))
    ranks = {name: rank for rank, name in enumerate(words.ASSESSMENTS)}
    order = pl.col("assessment").replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64)
    single = table.filter(pl.col("label").is_not_null())
    telling = single.filter(pl.col("assessment").is_in(TELLING)).sort(
        "adjusted_risk_ratio", descending=True, nulls_last=True
    )
    shown = telling.head(MAX_LABEL_ROWS)
    return CoverageView(
        overall=tuple(
            overall.sort(order, "adjusted_risk_ratio", descending=[False, True], nulls_last=True).rows(named=True)
        ),
        absent=every.height - overall.height,
        by_label=tuple(shown.rows(named=True)),
        hidden=single.height - shown.height,
    )


def slices(source: Source) -> tuple[Row, ...]:
    """Return the slices, riskiest first."""
    table = _with_due(source.table("slices")).sort(
        ["adjusted_risk_ratio", "miss_count"], descending=True, nulls_last=True
    )
    return tuple(table.head(MAX_SLICES).rows(named=True))


def uncovered(source: Source) -> tuple[Row, ...]:
    """Return the patterns that training does not cover, those with misses first."""
    table = source.table("uncovered").sort(["miss_count", "eval_count"], descending=True, nulls_last=True)
    return tuple(table.head(MAX_SLICES).rows(named=True))


def differences(source: Source) -> tuple[Difference, ...]:
    """Return all conditions by how much their share differs between training and evaluation set, most first."""
    return by_difference(source.table("coverage").filter(pl.col("label").is_null()))


def by_difference(rows: pl.DataFrame) -> tuple[Difference, ...]:
    """Sort rows of ``coverage.parquet`` by how much their shares of the two sets differ; unknown ones are left out."""
    found = []
    for row in rows.rows(named=True):
        if not (fmt.known(row["eval_share"]) and fmt.known(row["train_share"])):
            continue
        names = ("eval_share_low", "eval_share_high", "train_share_low", "train_share_high")
        low, high, train_low, train_high = (
            float(row[name]) if fmt.known(row.get(name)) else math.nan for name in names
        )
        apart = low > train_high or train_low > high
        found.append(Difference(row, row["eval_share"] - row["train_share"], apart))
    return tuple(sorted(found, key=lambda item: -abs(item.difference)))


def to_collect(source: Source) -> tuple[Row, ...]:
    """Return the gaps that photos would fill, over all classes and in single ones, those with most misses first.

    ``collect`` is what ``xai collect`` looks for.
    """
    table = _with_due(source.table("coverage").filter(pl.col("assessment") == "coverage_gap"))
    table = table.filter(pl.col("collect") > 0)
    ordered = table.sort(pl.col("label").is_not_null(), "miss_count", descending=[False, True], nulls_last=True)
    return tuple(ordered.head(MAX_SLICES).rows(named=True))


def _with_due(table: pl.DataFrame) -> pl.DataFrame:
    """Put what to collect by both rules in place of ``collect``, where the table asks for something.

    Photos until the share is that of the evaluation set, and training has 50 such objects.
    """
    asked = [pl.col(name).is_not_null() for name in ("collect", "collect_reach") if name in table.columns]
    gap = (pl.col("assessment") == "coverage_gap") & pl.col("train_count").is_not_null()
    return table.with_columns(collect=pl.when(pl.any_horizontal(gap, *asked)).then(due(table)))


def issues(source: Source) -> tuple[IssueGroup, ...]:
    """Return the data problems by split and code, errors first, with a few examples each."""
    table = source.table("issues")
    if table.is_empty():
        return ()
    severity = pl.col("severity").replace_strict({"error": 0, "warning": 1}, default=2, return_dtype=pl.Int64)
    groups = (
        table.group_by("split", "code", "severity")
        .agg(count=pl.len(), photos=pl.col("image_id").n_unique())
        .sort([severity, "count", "code"], descending=[False, True, False])
    )
    examples: dict[tuple[str, str, str], list[Row]] = {}
    for row in table.group_by("split", "code", "severity", maintain_order=True).head(EXAMPLES).rows(named=True):
        examples.setdefault((row["split"], row["code"], row["severity"]), []).append(row)
    return tuple(
        IssueGroup(**row, examples=tuple(examples[row["split"], row["code"], row["severity"]]))
        for row in groups.rows(named=True)
    )


def provenance(source: Source) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what the run can be asked about later, in groups of name and value; "unknown" where nothing tells."""
    info, model = source.info, source.info.get("model") or {}
    groups = [
        (
            "Model",
            [
                *_pairs(model, file="File", sha256="SHA-256", kind="Adapter", architecture="Architecture"),
                *_pairs(model, trained_at="Trained"),
                *((str(key).replace("_", " "), _text(value)) for key, value in (model.get("details") or {}).items()),
            ],
        )
    ]
    names = {split: name.capitalize() for split, name in split_names(source).items()}
    for split, described in (info.get("data") or {}).items():
        if described:
            captured = described.get("captured_at")
            groups.append(
                (
                    names.get(split, str(split)),
                    [
                        *_pairs(described, path="Path", format="Format"),
                        *(_pairs(described, split="Split") if described.get("split") else ()),
                        *_pairs(described, sha256="Digest (SHA-256)"),
                        ("Photos taken", f"{captured[0]} to {captured[1]}" if captured else "unknown"),
                        ("Photos", fmt.count(described.get("photos"))),
                        ("Annotated objects", fmt.count(described.get("objects"))),
                    ],
                )
            )
    config = source.config
    detector, promised = config.get("detector") or {}, config.get("promise") or {}
    decisions = [
        *_pairs(detector, score_threshold="Score threshold", nms_iou="Suppression from overlap"),
        *_pairs(detector, max_detections="Detections at most", image_size="Image size", exif="EXIF orientation"),
        *_pairs(detector, precision="Precision"),
        *_pairs(config.get("match") or {}, iou="Found from overlap (IoU)"),
        ("Promise", ", ".join(f"{key} {promised[key]}" for key in _PROMISE if promised.get(key)) or "none"),
    ]
    run = [
        *_pairs(info, seed="Seed", started_at="Started", finished_at="Finished", version="Toolkit"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in (info.get("versions") or {}).items())),
    ]
    return [*groups, ("Thresholds", decisions), ("Run", run)]


_PROMISE = ("recall", "precision", "confidence")


def promise_parts(source: Source) -> list[Mapping[str, Any]]:
    """Return the promise's answers for classes and slices, broken ones first, then by figure; empty where not asked."""
    ranks = {"broken": 0, "not shown": 1, "inside": 2}
    parts = [part for part in source.info.get("promise_parts") or () if part.get("part") and part["denominator"]]
    return sorted(parts, key=lambda part: (ranks.get(part["answer"], 3), part["metric"], part["rate"], part["part"]))


def split_names(source: Source) -> dict[str, str]:
    """Return what the splits of a run are called."""
    return {
        "train": source.reference or "training set",
        "eval": "evaluation set",
        "production": "production photos",
        "audit": "labelled sample",
    }


def model_name(source: Source) -> str:
    """Return what the model is called in a line."""
    model = source.info.get("model") or {}
    parts: Sequence[str | None] = (Path(str(model.get("file") or "unknown model")).name, model.get("architecture"))
    return " · ".join(part for part in parts if part and part != "unknown") or "unknown model"


def _pairs(values: Mapping[str, Any], **names: str) -> list[tuple[str, str]]:
    return [(shown, _text(values.get(key))) for key, shown in names.items()]


def _text(value: Any) -> str:
    if value is None or value == "":
        return "unknown"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_text(item) for item in value)
    return str(value)

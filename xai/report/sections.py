"""What the report's tables show: coverage, slices, recall by class, data problems, provenance; rows, not markup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from xai.report import format as fmt
from xai.report import words
from xai.report.source import Source

Row = Mapping[str, Any]

TELLING = ("coverage_gap", "hard", "rare_harmless")
"""Assessments that are worth a row of their own in a single class."""

MAX_LABEL_ROWS = 200
"""Rows of single classes in the coverage table; the rest is in ``coverage.parquet``."""

MAX_SLICES = 60
EXAMPLES = 3
"""Examples of each data problem."""

MIN_EVENTS, MIN_PHOTOS = 5, 20
"""With fewer found or missed objects, or fewer photos, a class's own design effect is not trusted."""

_Z95 = 1.959963984540054
"""The 97.5% point of the normal distribution: two-sided 95%."""


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
class ClassRecall:
    """Recall of one class with its base and a 95% interval that respects photos."""

    label: str
    found: int
    objects: int
    photos: int
    recall: float
    low: float
    high: float


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
    table = source.table("coverage")
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
    table = source.table("slices").sort(["adjusted_risk_ratio", "miss_count"], descending=True, nulls_last=True)
    return tuple(table.head(MAX_SLICES).rows(named=True))


def uncovered(source: Source) -> tuple[Row, ...]:
    """Return the patterns that training does not cover, those with misses first."""
    table = source.table("uncovered").sort(["miss_count", "eval_count"], descending=True, nulls_last=True)
    return tuple(table.head(MAX_SLICES).rows(named=True))


def recall_by_class(source: Source) -> tuple[ClassRecall, ...]:
    """Return the recall of every annotated class, most objects first.

    The interval is Wilson's at the effective sample size ``objects / design effect``, the design effect being that of a
    ratio over photos as clusters (Korn and Graubard, Survey Methodology 1998). Where a class is too small to tell how
    alike the objects of a photo are, they count as one draw: the effective size is the number of photos.
    """
    per_photo = source.judged.group_by("label", "image_id").agg(
        objects=pl.len(), found=(pl.col("outcome") == "found").sum()
    )
    totals = per_photo.group_by("label").agg(
        pl.col("objects").sum(),
        pl.col("found").sum(),
        pl.len().alias("photos"),
        (pl.col("objects") ** 2).sum().alias("oo"),
        (pl.col("objects") * pl.col("found")).sum().alias("of"),
        (pl.col("found") ** 2).sum().alias("ff"),
    )
    rows = totals.sort(["objects", "label"], descending=[True, False]).rows(named=True)
    return tuple(_class_recall(row) for row in rows)


def _class_recall(row: Row) -> ClassRecall:
    objects, found, photos = row["objects"], row["found"], row["photos"]
    recall = found / objects
    if min(found, objects - found) >= MIN_EVENTS and photos >= MIN_PHOTOS:
        squares = row["ff"] - 2 * recall * row["of"] + recall**2 * row["oo"]
        variance = photos / (photos - 1) * squares / objects**2
        effective = objects / max(1.0, variance * objects / (recall * (1 - recall)))
    else:
        effective = float(photos)
    low, high = wilson(recall, effective)
    return ClassRecall(str(row["label"]), found, objects, photos, recall, low, high)


def wilson(proportion: float, size: float) -> tuple[float, float]:
    """Return Wilson's 95% score interval of a proportion (Wilson 1927); ``size`` need not be whole.

    >>> low, high = wilson(0.5, 10)
    >>> round(low, 4), round(high, 4)
    (0.2366, 0.7634)
    """
    middle = proportion + _Z95**2 / (2 * size)
    spread = _Z95 * math.sqrt(proportion * (1 - proportion) / size + _Z95**2 / (4 * size**2))
    scale = 1 + _Z95**2 / size
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


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
    run = [
        *_pairs(info, command="Command", seed="Seed", started_at="Started", finished_at="Finished", version="Toolkit"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in (info.get("versions") or {}).items())),
    ]
    return [*groups, ("Run", run)]


def split_names(source: Source) -> dict[str, str]:
    """Return what the splits of a run are called."""
    return {
        "train": source.reference or "training set",
        "eval": "evaluation set",
        "production": "production photos",
        "audit": "labelled sample",
    }


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

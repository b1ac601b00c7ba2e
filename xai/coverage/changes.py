"""Where two detectors differ: every condition with what was fixed and broken in it, tested where that is fair."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from xai import tables
from xai.causes import CAUSES
from xai.coverage.bins import UNKNOWN
from xai.coverage.intervals import Bools, false_discovery
from xai.coverage.onehot import Conditions
from xai.coverage.paired import paired
from xai.coverage.sample import Sample
from xai.coverage.slices import SAME

MIN_CHANGED = 6
"""Changed photos below which no condition is tested: with 5 even one-sided changes have p = 2 · 0.5⁵ > 0.05.

That number is the same whichever run is called A, so leaving such conditions out of the multiplicity is no choice by
the outcome (Tarone, Biometrics 1990)."""

USUAL = 0.5
"""A bin of more than this share of the objects whose attribute is known is the usual state: it repeats the comparison
over all and is shown without a test."""

_ROWS = 65536

CELLS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "kind": pl.String,
    "name": pl.String,
    "objects": pl.Int64,
    "draws": pl.Int64,
    "missed_a": pl.Int64,
    "missed_b": pl.Int64,
    "fixed": pl.Int64,
    "broken": pl.Int64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "named": pl.Int64,
    "named_fixed": pl.Int64,
    "same_as": pl.String,
}
"""Columns of ``Comparison.cells``."""


def members(
    grid: Conditions, columns: Bools, held: Sample, found: Mapping[str, pl.DataFrame]
) -> list[tuple[str, str, Bools]]:
    """Return kind, name and members (n,) of every condition."""
    found_in = [("all", "all", np.ones(len(held.photo), dtype=np.bool_))]
    found_in += [
        ("label" if attribute == "label" else "bin", name, columns[:, place])
        for place, (name, (attribute, _)) in enumerate(zip(grid.names, grid.pairs, strict=True))
    ]
    order = {pair: place for place, pair in enumerate(grid.pairs)}
    for cause, told in CAUSES.items():
        places = [order[attribute, name] for attribute, names in told.told_by.items() for name in names
                  if (attribute, name) in order]  # fmt: skip
        if places:
            found_in.append(("cause", cause, np.asarray(columns[:, places].any(axis=1))))
    named = {name: place for place, name in enumerate(grid.names)}
    for kind, table in found.items():
        for name, parts in table.select("slice", "conditions").iter_rows():
            if all(part in named for part in parts):
                inside = columns[:, [named[part] for part in parts]].all(axis=1)
                found_in.append((kind, name, np.asarray(inside)))
    return found_in


def cells(
    conditions: list[tuple[str, str, Bools]], a: Bools, b: Bools, held: Sample, objects: pl.DataFrame
) -> pl.DataFrame:
    """Count and test what changed in every condition, columns of ``CELLS``; see ``comparing.Comparison.cells``.

    Args:
        conditions: from ``members``.
        a: (n,) misses of A.
        b: (n,) misses of B.
        held: the objects.
        objects: the same rows with ``cause_a``, null where A does not miss, and ``outcome_b``.
    """
    inside = np.column_stack([part for _, _, part in conditions])
    found = paired(inside, a, b, held.clusters())
    kinds = np.array([kind for kind, _, _ in conditions])
    usual = np.array([kind == "bin" and _is_usual(name, part, held) for kind, name, part in conditions])
    shown_only = np.isin(kinds, ["all", "slice_a", "slice_b"])
    tested = ~shown_only & ~usual & (found.changed >= MIN_CHANGED)
    named = {
        str(cause): (len(rows), int(rows["outcome_b"].eq("found").sum()))
        for (cause,), rows in objects.drop_nulls("cause_a").partition_by("cause_a", as_dict=True).items()
    }
    counts = [named.get(name, (0, 0)) if kind == "cause" else (None, None) for kind, name, _ in conditions]
    frame = pl.DataFrame(
        {
            "kind": kinds.tolist(),
            "name": [name for _, name, _ in conditions],
            "objects": found.objects,
            "draws": found.draws,
            "missed_a": inside[a].sum(axis=0),
            "missed_b": inside[b].sum(axis=0),
            "fixed": found.fixed,
            "broken": found.broken,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "p_value": found.p_value,
            "q_value": false_discovery(np.where(tested, found.p_value, np.nan)),
            "named": [count for count, _ in counts],
            "named_fixed": [count for _, count in counts],
            "same_as": _alike([(kind, name) for kind, name, _ in conditions], inside),
        },
        schema_overrides={"named": pl.Int64, "named_fixed": pl.Int64, "same_as": pl.String},
    )
    return tables.conform(frame.with_columns(pl.col("difference", "low", "high", "q_value").fill_nan(None)), CELLS)


def _is_usual(name: str, inside: Bools, held: Sample) -> bool:
    """Tell whether a bin holds most of the objects whose attribute is known."""
    attribute = name.partition("=")[0]
    known = int((held.codes[attribute] != held.bins[attribute].index(UNKNOWN)).sum())
    return bool(inside.sum() > USUAL * known)


def _alike(names: list[tuple[str, str]], inside: Bools) -> list[str | None]:
    """Return for each condition one that holds almost the same objects and is the plainer: cause, label, bin, slice."""
    overlap = np.zeros((len(names), len(names)), dtype=np.float64)
    for start in range(0, len(inside), _ROWS):
        ones = inside[start : start + _ROWS].astype(np.float32)
        overlap += ones.T @ ones
    size = np.diagonal(overlap)
    alike = overlap >= SAME * np.maximum(size[:, None] + size[None] - overlap, 1)
    order = ["all", "cause", "label", "bin", "slice", "slice_a", "slice_b"]
    rank = np.array([order.index(kind) for kind, _ in names]) * len(names) + np.arange(len(names))
    earlier = alike & (rank[None] < rank[:, None]) & (np.array([kind for kind, _ in names]) != "all")
    first = np.where(earlier, rank[None], np.iinfo(np.int64).max).argmin(axis=1)
    return [names[place][1] if earlier[row, place] else None for row, place in enumerate(first)]

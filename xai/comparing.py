"""Two runs on the same evaluation set: which misses the second fixes, which it adds, and where that is no chance."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from xai import tables
from xai.causes import CAUSES
from xai.coverage.bins import UNKNOWN, catalog_or_default, fit_user_bins, inherit
from xai.coverage.intervals import Bools, Floats, false_discovery, indicator
from xai.coverage.onehot import Conditions, conditions
from xai.coverage.paired import paired, sign_flip
from xai.coverage.promise import WRONG_DETECTIONS
from xai.coverage.sample import Sample, sample
from xai.coverage.slices import SAME, slices
from xai.exceptions import RequestError, RunError
from xai.files import make_folder, replacing
from xai.report import comparison as rendering
from xai.rules import MISSES
from xai.run import Run

FOLDER = "compare"
"""Where what a comparison writes goes, in the directory of the second run."""

MIN_CHANGED = 6
"""Changed photos below which no condition is tested: with 5 even one-sided changes have p = 2 · 0.5⁵ > 0.05.

That number is the same whichever run is called A, so leaving such conditions out of the multiplicity is no choice by
the outcome (Tarone, Biometrics 1990)."""

USUAL = 0.5
"""A bin of more than this share of the objects whose attribute is known is the usual state: it repeats the comparison
over all and is shown without a test."""

_KEYS = ["image_id", "object_id"]

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


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Detections that count against precision, on the compared photos.

    Attributes:
        a: of the first run.
        b: of the second.
        photos: compared.
        difference: per photo, B minus A.
        low: 95%, over photos or groups.
        high: likewise.
        p_value: of A and B being alike.
    """

    a: int
    b: int
    photos: int
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What run B does differently from run A on the same objects.

    Attributes:
        a: directory of the first run.
        b: directory of the second run.
        cells: one row per condition, columns of ``CELLS``: ``kind`` is ``all``, ``label``, ``bin``, ``cause`` (objects
            in the cause's conditions), ``slice`` (of objects that either run misses too often) or ``slice_a`` and
            ``slice_b`` (of ``slices.parquet``). ``draws`` are photos or groups; ``difference`` is the miss rate of B
            minus that of A. ``q_value`` is Benjamini–Hochberg over all conditions that are tested; null for ``all``,
            for usual states, with fewer than 6 changed photos, and for the slices of one run, which were chosen because
            that run fails there, so that the other looks better by chance alone. ``named``: misses of A whose verdict
            is the cause, ``named_fixed`` how many of them B finds. ``same_as``: an earlier condition that holds almost
            the same objects (Jaccard index of 0.8 or more), null if there is none.
        changes: one row per object whose outcome changed: ``image_id object_id label change`` (``fixed`` or
            ``broken``), outcomes, and the causes that the run with the miss names.
        false_alarms: likewise of detections.
        photos: photos that both runs read.
        groups: independent draws among them where they are drawn in groups, else None.
        left_out: objects that only one of the runs scores.
        notes: what to know before the figures are believed.
        differs: config key → value in A and in B.
        promises: answers of both runs, A first.
        csv: the changed objects.
        markdown_file: the comparison to be passed on.
    """

    a: Path
    b: Path
    cells: pl.DataFrame
    changes: pl.DataFrame
    false_alarms: FalseAlarms
    photos: int
    groups: int | None
    left_out: int
    notes: tuple[str, ...]
    differs: Mapping[str, tuple[Any, Any]]
    promises: tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]
    csv: Path
    markdown_file: Path

    @cached_property
    def overall(self) -> dict[str, Any]:
        """The row over all objects."""
        return self.cells.row(0, named=True)

    def lines(self) -> list[str]:
        """Return the comparison for a terminal."""
        return rendering.lines(self)

    def markdown(self) -> str:
        """Return the comparison as Markdown, every tested condition in tables."""
        return rendering.markdown(self)

    def figures(self) -> dict[str, Any]:
        """Return the overall figures as plain values."""
        alarms = {name: getattr(self.false_alarms, name) for name in FalseAlarms.__slots__}
        return {
            "a": str(self.a),
            "b": str(self.b),
            "photos": self.photos,
            "groups": self.groups,
            "left_out": self.left_out,
            **{name: value for name, value in self.overall.items() if name in _OVERALL},
            "false_alarms": alarms,
            "differs": {key: list(values) for key, values in self.differs.items()},
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        """Show the lines in a notebook."""
        return "".join(f"<p>{html.escape(line)}</p>" for line in self.lines())


_OVERALL = ("objects", "missed_a", "missed_b", "fixed", "broken", "difference", "low", "high", "p_value")


def compare(
    run_a: str | Path, run_b: str | Path, *, common: bool = False, out: str | Path | None = None, seed: int = 0
) -> Comparison:
    """Compare two runs on the same evaluation set, object by object.

    Tests are exact sign-flip tests over photos (or groups), intervals photo-clustered (``coverage.paired``).

    Args:
        run_a: the run to compare with.
        run_b: the run that is judged.
        common: where the evaluation sets differ, compare the objects that both have: the same photo by content, the
            same box, the same label.
        out: folder for ``comparison.md`` and ``changes.csv``; ``RUN_B/compare/NAME_A`` if left out.
        seed: of the halves on which slices are found and confirmed.

    Raises:
        RequestError: the runs answer different questions, or are of different evaluation sets and ``common`` is not
            asked for, or have no object in common.
        RunError: there is no finished run.
    """
    first, second = Run(run_a), Run(run_b)
    _refuse_reported(first, second)
    joined, notes = _joined(first, second, common)
    images = _photos(second, first)
    catalog = catalog_or_default(None)
    user = fit_user_bins(inherit(joined, images, catalog))
    held = sample(images, joined, catalog, user)
    a, b = (joined[f"outcome_{side}"].is_in(list(MISSES)).to_numpy() for side in "ab")
    grid = conditions(held, catalog, user)
    columns = grid.columns_of(held, catalog, user)
    either = slices(None, replace(held, miss=a | b), catalog, user, seed=seed)
    members = _members(grid, columns, held, {"slice": either, "slice_a": first.slices, "slice_b": second.slices})
    causes = {side: _causes(run) for side, run in (("a", first), ("b", second))}
    changes = _changes(joined, causes)
    usual = [kind == "bin" and _is_usual(name, part, held) for kind, name, part in members]
    cells = _cells(
        members, np.array(usual), a, b, held, joined.join(causes["a"], on=_KEYS, how="left", maintain_order="left")
    )
    folder = Path(out) if out is not None else second.path / FOLDER / (first.path.resolve().name or "run")
    scored = [_scored(run) for run in (first, second)]
    found = Comparison(
        a=first.path,
        b=second.path,
        cells=cells,
        changes=changes,
        false_alarms=_false_alarms(first, second, images),
        photos=len(images),
        groups=int(tables.draws(images["image_id"], images).n_unique()) if "group" in images.columns else None,
        left_out=sum(len(frame) for frame in scored) - 2 * len(joined),
        notes=(*notes, *_doubts(first, second)),
        differs=_differs(first, second),
        promises=(first.info["promise"], second.info["promise"]),
        csv=folder / "changes.csv",
        markdown_file=folder / "comparison.md",
    )
    make_folder(folder)
    with replacing(found.csv) as temporary:
        changes.write_csv(temporary)
    with replacing(found.markdown_file) as temporary:
        temporary.write_text(found.markdown(), encoding="utf-8")
    return found


def _refuse_reported(*runs: Run) -> None:
    for run in runs:
        if run.info.get("question") == "reported":
            raise RequestError(
                f"expected runs on an annotated evaluation set; {run.path} explains reported misses, of which nobody "
                "knows what was found"
            )


def _scored(run: Run) -> pl.DataFrame:
    asked = pl.col("outcome").is_not_null() & (pl.col("outcome") != "ignored")
    return run.objects.filter((pl.col("split") == "eval") & asked)


def _joined(first: Run, second: Run, common: bool) -> tuple[pl.DataFrame, list[str]]:
    """Return the objects that both runs score: the columns of B, with ``outcome_a`` and ``outcome_b``."""
    digests = [run.info["data"]["eval"]["sha256"] for run in (first, second)]
    same = digests[0] == digests[1]
    left, right = _scored(first), _scored(second)
    outcome_a = left.select(*_KEYS, outcome_a="outcome")
    if same:
        joined = right.join(outcome_a, on=_KEYS, how="inner", maintain_order="left")
        notes = []
    else:
        key = ["sha256", "label", "place"]
        found_a, found_b = (_by_content(frame, run) for frame, run in ((left, first), (right, second)))
        joined = found_b.join(
            found_a.select(*key, outcome_a="outcome"), on=key, how="inner", maintain_order="left"
        ).drop("sha256", "place")
        if not common:
            raise RequestError(
                f"expected two runs on the same evaluation set; that of {first.path} has the digest "
                f"{str(digests[0])[:12]}, that of {second.path} {str(digests[1])[:12]}. {len(joined):,} objects are in "
                f"both ({len(left):,} and {len(right):,}): --common compares those"
            )
        notes = [
            f"The evaluation sets differ: compared are the {len(joined):,} objects that both hold, of {len(left):,} in "
            f"A and {len(right):,} in B"
        ]
    if joined.is_empty():
        raise RequestError(f"{first.path} and {second.path} have no scored object in common: nothing can be compared")
    return joined.with_columns(outcome_b="outcome"), notes


def _by_content(objects: pl.DataFrame, run: Run) -> pl.DataFrame:
    """Add what names an object in any evaluation set; repeated photos and objects are kept once."""
    photos = run.images.filter((pl.col("split") == "eval") & pl.col("sha256").is_not_null())
    photos = photos.select("image_id", "sha256").sort("image_id").unique("sha256", keep="first", maintain_order=True)
    sides = [pl.col(side).round(1).cast(pl.String) for side in ("x1", "y1", "x2", "y2")]
    placed = objects.join(photos, on="image_id", how="inner", maintain_order="left")
    placed = placed.with_columns(place=pl.concat_str(sides, separator=" "))
    return placed.unique(["sha256", "label", "place"], keep="first", maintain_order=True)


def _photos(second: Run, first: Run) -> pl.DataFrame:
    """Return the evaluation photos of B that A has read too, told by content."""
    known = first.images.filter((pl.col("split") == "eval") & (pl.col("status") == "ok"))
    photos = second.images.filter((pl.col("split") == "eval") & (pl.col("status") == "ok"))
    if "sha256" not in known.columns or "sha256" not in photos.columns:
        raise RunError(f"{first.path} or {second.path} lacks the photos' digests: triage again")
    return photos.filter(pl.col("sha256").is_in(known["sha256"].drop_nulls().unique().to_list()))


def _members(
    grid: Conditions, columns: Bools, held: Sample, found: Mapping[str, pl.DataFrame]
) -> list[tuple[str, str, Bools]]:
    """Return kind, name and members (n,) of every condition."""
    members = [("all", "all", np.ones(len(held.photo), dtype=np.bool_))]
    members += [
        ("label" if attribute == "label" else "bin", name, columns[:, place])
        for place, (name, (attribute, _)) in enumerate(zip(grid.names, grid.pairs, strict=True))
    ]
    order = {pair: place for place, pair in enumerate(grid.pairs)}
    for cause, told in CAUSES.items():
        places = [order[attribute, name] for attribute, names in told.told_by.items() for name in names
                  if (attribute, name) in order]  # fmt: skip
        if places:
            members.append(("cause", cause, np.asarray(columns[:, places].any(axis=1))))
    named = {name: place for place, name in enumerate(grid.names)}
    for kind, table in found.items():
        for name, parts in table.select("slice", "conditions").iter_rows():
            if all(part in named for part in parts):
                inside = columns[:, [named[part] for part in parts]].all(axis=1)
                members.append((kind, name, np.asarray(inside)))
    return members


def _cells(
    members: list[tuple[str, str, Bools]], usual: Bools, a: Bools, b: Bools, held: Sample, objects: pl.DataFrame
) -> pl.DataFrame:
    inside = np.column_stack([part for _, _, part in members])
    found = paired(inside, a, b, held.clusters())
    kinds = np.array([kind for kind, _, _ in members])
    shown_only = np.isin(kinds, ["all", "slice_a", "slice_b"])
    tested = ~shown_only & ~usual & (found.changed >= MIN_CHANGED)
    named = {
        str(cause): (len(rows), int(rows["outcome_b"].eq("found").sum()))
        for (cause,), rows in objects.drop_nulls("cause_a").partition_by("cause_a", as_dict=True).items()
    }
    counts = [named.get(name, (0, 0)) if kind == "cause" else (None, None) for kind, name, _ in members]
    frame = pl.DataFrame(
        {
            "kind": kinds.tolist(),
            "name": [name for _, name, _ in members],
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
            "same_as": _alike([(kind, name) for kind, name, _ in members], inside),
        },
        schema_overrides={"named": pl.Int64, "named_fixed": pl.Int64, "same_as": pl.String},
    )
    return tables.conform(frame.with_columns(pl.col("difference", "low", "high", "q_value").fill_nan(None)), CELLS)


def _is_usual(name: str, inside: Bools, held: Sample) -> bool:
    """Tell whether a bin holds most of the objects whose attribute is known."""
    known = int((held.objects[name.partition("=")[0]] != UNKNOWN).sum())
    return bool(inside.sum() > USUAL * known)


def _alike(names: list[tuple[str, str]], inside: Bools) -> list[str | None]:
    """Return for each condition one that holds almost the same objects and is the plainer: cause, label, bin, slice."""
    ones = inside.astype(np.float32)
    overlap = ones.T @ ones
    size = np.diagonal(overlap)
    alike = overlap >= SAME * np.maximum(size[:, None] + size[None] - overlap, 1)
    order = ["all", "cause", "label", "bin", "slice", "slice_a", "slice_b"]
    rank = np.array([order.index(kind) for kind, _ in names]) * len(names) + np.arange(len(names))
    earlier = alike & (rank[None] < rank[:, None]) & (np.array([kind for kind, _ in names]) != "all")
    first = np.where(earlier, rank[None], np.iinfo(np.int64).max).argmin(axis=1)
    return [names[place][1] if earlier[row, place] else None for row, place in enumerate(first)]


def _causes(run: Run) -> pl.DataFrame:
    """Return ``image_id object_id cause`` of the misses."""
    kinds = run.errors.filter(pl.col("kind").is_in(list(MISSES))).select("error_id", *_KEYS)
    side = run.verdicts.select("error_id", "cause")
    return kinds.join(side, on="error_id").select(*_KEYS, cause_a="cause").unique(_KEYS, keep="first")


def _changes(joined: pl.DataFrame, causes: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    found_a, found_b = (pl.col(f"outcome_{side}") == "found" for side in "ab")
    told = joined.filter(found_a != found_b).select(*_KEYS, "label", "outcome_a", "outcome_b")
    told = told.with_columns(change=pl.when(pl.col("outcome_b") == "found").then(pl.lit("fixed")).otherwise(
        pl.lit("broken")))  # fmt: skip
    told = told.join(causes["a"], on=_KEYS, how="left").join(
        causes["b"].rename({"cause_a": "cause_b"}), on=_KEYS, how="left"
    )
    cause = pl.when(pl.col("change") == "fixed").then("cause_a").otherwise("cause_b")
    told = told.with_columns(cause=cause)
    return told.select(*_KEYS, "label", "change", "outcome_a", "outcome_b", "cause").sort(
        ["change", *_KEYS], descending=[True, False, False]
    )


def _false_alarms(first: Run, second: Run, images: pl.DataFrame) -> FalseAlarms:
    """Compare the wrong detections per photo."""
    ids = images.select("image_id", "sha256")
    counts = []
    for run in (first, second):
        wrong = run.predictions.filter((pl.col("split") == "eval") & pl.col("outcome").is_in(list(WRONG_DETECTIONS)))
        of_run = run.images.filter(pl.col("split") == "eval").select("image_id", "sha256")
        by_content = of_run.join(wrong.group_by("image_id").len("wrong"), on="image_id", how="left")
        by_content = by_content.unique("sha256", keep="first").select("sha256", pl.col("wrong").fill_null(0))
        joined = ids.join(by_content, on="sha256", how="left", maintain_order="left")
        counts.append(joined["wrong"].fill_null(0).to_numpy().astype(np.float64))
    draw = tables.draws(images["image_id"], images).to_numpy()
    draws = indicator(draw, int(draw.max(initial=-1)) + 1)
    change = counts[1] - counts[0]
    mean, low, high = _mean(change, draws)
    p_value = float(sign_flip((draws @ change)[:, None])[0])
    return FalseAlarms(int(counts[0].sum()), int(counts[1].sum()), len(images), mean, low, high, p_value)


def _mean(values: Floats, draws: Any) -> tuple[float, float, float]:
    """Return a mean over photos with the linearised 95% interval over draws."""
    size, total = draws.sum(axis=1), draws @ values
    clusters = len(size)
    mean = float(values.mean()) if len(values) else float("nan")
    if clusters < 2:
        return mean, float("nan"), float("nan")
    error = np.sqrt(clusters / (clusters - 1) * ((total - size * mean) ** 2).sum()) / size.sum()
    reach = float(-special.stdtrit(clusters - 1, 0.025) * error)
    return mean, mean - reach, mean + reach


def _doubts(first: Run, second: Run) -> list[str]:
    """Say what makes the runs differ besides their detectors."""
    notes = []
    iou = [run.info["config"].get("match", {}).get("iou") for run in (first, second)]
    if iou[0] != iou[1]:
        notes.append(f"A counts an object as found from an overlap of {iou[0]}, B from {iou[1]}: rules differ")
    if first.info["version"] != second.info["version"]:
        notes.append(
            f"A was made by version {first.info['version']}, B by {second.info['version']}; conditions are as B tells "
            "them"
        )
    return notes


def _differs(first: Run, second: Run) -> dict[str, tuple[Any, Any]]:
    """Return what differs between the two detectors: weights by content, settings by value."""
    told: dict[str, tuple[Any, Any]] = {}
    models = [run.info["model"] for run in (first, second)]
    if models[0]["sha256"] != models[1]["sha256"]:
        told["weights"] = (Path(models[0]["file"]).name, Path(models[1]["file"]).name)
    left, right = (run.info["config"].get("detector", {}) for run in (first, second))
    skipped = {"weights", "trust_checkpoint"}
    for key in sorted((set(left) | set(right)) - skipped):
        if left.get(key) != right.get(key):
            told[key] = (left.get(key), right.get(key))
    return told

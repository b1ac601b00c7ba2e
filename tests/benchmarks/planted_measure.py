"""What is measured on planted worlds: right causes, wrong blame, calibration; and the confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import altair as alt
import numpy as np
import polars as pl
from harness import Ledger
from planted_world import ACCEPTED, PLUS
from scipy import stats

from xai.causes import CAUSES
from xai.coverage import bins
from xai.rules import MISSES

ABSENT = ("rotation", "noise", "exif_mismatch")
"""Causes that untouched everyday photos do not have: a natural miss blamed on one is blamed wrongly. Strong noise is
in 2% of them, which their own photos' attribute tells."""

LEAST = 3
"""Known misses of a condition from which its share is stated."""

KEYS = ["image_id", "object_id"]


def known_misses(run: Path, truth: pl.DataFrame) -> pl.DataFrame:
    """Join the misses of a run with what was planted.

    Returns:
        ``error_id image_id object_id mechanism condition kind strength known natural cause verdict strength_said
        runner_up``; ``known``: found before, missed after, and the condition lies on it; ``natural``: a miss of an
        untouched photo.
    """
    errors = pl.read_parquet(run / "errors.parquet").filter(pl.col("kind").is_in(MISSES))
    verdicts = pl.read_parquet(run / "verdicts.parquet").select(
        "error_id", "cause", "verdict", "runner_up", "sentence", said="strength"
    )
    joined = errors.select("error_id", *KEYS, "mechanism", "label").join(truth, on=KEYS).join(verdicts, on="error_id")
    return joined.with_columns(known=pl.col("hit") & pl.col("found_before"), natural=pl.col("condition").is_null())


def right(misses: pl.DataFrame, column: str = "cause") -> pl.Series:
    """Whether a cause names the planted condition."""
    pairs = misses.select("condition", column).iter_rows()
    return pl.Series([cause in ACCEPTED.get(condition, ()) for condition, cause in pairs], dtype=pl.Boolean)


def by_condition(known: pl.DataFrame, column: str = "cause") -> pl.DataFrame:
    """Share of right causes per condition: ``condition misses share``."""
    told = known.with_columns(right=right(known, column))
    return told.group_by("condition").agg(misses=pl.len(), share=pl.col("right").mean()).sort("condition")


def averaged(known: pl.DataFrame, column: str = "cause") -> float:
    """Mean over conditions of the share of right causes."""
    table = by_condition(known, column).filter(pl.col("misses") >= LEAST)
    return float(table["share"].mean() or 0.0)  # type: ignore[arg-type]


def prevalence(run: Path, truth: pl.DataFrame) -> pl.DataFrame:
    """How many scored objects of untouched photos show each cause's condition: ``cause objects showing``."""
    objects, images = (pl.read_parquet(run / f"{name}.parquet").filter(split="eval") for name in ("objects", "images"))
    untouched = truth.filter(pl.col("condition").is_null()).select(KEYS)
    scored = objects.filter(pl.col("outcome") != "ignored").join(untouched, on=KEYS, how="semi")
    told = bins.bin_columns(bins.inherit(scored, images.drop("split")))
    rows = []
    for cause, item in CAUSES.items():
        shows = [told[name].is_in(list(names)) for name, names in item.told_by.items() if name in told.columns]
        rows.append((cause, len(told), int(np.logical_or.reduce(shows).sum()) if shows else 0))
    return pl.DataFrame(rows, schema={"cause": pl.String, "objects": pl.Int64, "showing": pl.Int64}, orient="row")


def judge(ledger: Ledger, misses: pl.DataFrame, natural: pl.DataFrame, note: str) -> None:
    """Add the figures of the verdicts; ``natural`` holds rows of ``prevalence`` of all worlds."""
    known = misses.filter("known")
    table = by_condition(known)
    told = table.filter(pl.col("misses") >= LEAST)
    ledger.add("top-1, averaged over conditions", averaged(known), 0.85, "higher", f"{len(known)} known misses; {note}")
    for condition, count, share in table.iter_rows():
        target = 0.6 if count >= LEAST else None
        ledger.add(f"top-1: {condition}", share, target, "higher", f"{count} misses")
    ledger.add("top-1, worst condition", float(told["share"].min() or 0.0), 0.6, "higher", "")  # type: ignore[arg-type]
    _blame(ledger, misses, natural)
    error = calibration_error(known["said"].to_numpy(), right(known).to_numpy())
    ledger.add("expected calibration error", error, 0.08, "lower", "known misses, ten bins of equal counts")


def both_named(misses: pl.DataFrame) -> pl.Series:
    """Whether the cause named and its runner-up are the two planted conditions, in either order."""

    def told(condition: str, first: str | None, second: str | None) -> bool:
        one, other = (ACCEPTED[name] for name in condition.split(PLUS))
        return (first in one and second in other) or (first in other and second in one)

    rows = misses.select("condition", "cause", "runner_up").iter_rows()
    return pl.Series([told(*row) for row in rows], dtype=pl.Boolean)


def judge_pairs(ledger: Ledger, misses: pl.DataFrame, note: str) -> None:
    """Add how often two planted conditions are the two that are named, and how often the first is one of them."""
    known = misses.filter("known")
    known = known.with_columns(both=both_named(known), one=_one_named(known))
    for condition, count, both in (
        known.group_by("condition").agg(pl.len(), pl.col("both").mean()).sort("condition").iter_rows()
    ):
        ledger.add(f"both named: {condition}", both, None, "higher", f"{count} misses")
    photos = known["image_id"].n_unique()
    note = f"{len(known)} known misses in {photos} photos; {note}"
    ledger.add("two conditions: both are the top two", float(known["both"].mean() or 0.0), 0.6, "higher", note)  # type: ignore[arg-type]
    ledger.add("two conditions: the first is one of them", float(known["one"].mean() or 0.0), None, "higher")  # type: ignore[arg-type]


def _one_named(misses: pl.DataFrame) -> pl.Series:
    pairs = misses.select("condition", "cause").iter_rows()
    named = [any(cause in ACCEPTED[name] for name in condition.split(PLUS)) for condition, cause in pairs]
    return pl.Series(named, dtype=pl.Boolean)


def _blame(ledger: Ledger, misses: pl.DataFrame, showing: pl.DataFrame) -> None:
    natural = misses.filter(pl.col("natural"))
    wrong = natural["cause"].is_in(list(ABSENT)).sum()
    interval = stats.binomtest(wrong, len(natural)).proportion_ci(method="exact") if len(natural) else None
    note = f"{wrong} of {len(natural)}, exact 95% interval {interval.low:.3f}–{interval.high:.3f}" if interval else ""
    ledger.add("untouched photos: blamed on what they lack", wrong / max(len(natural), 1), 0.03, "lower", note)
    causes = sorted({cause for names in ACCEPTED.values() for cause in names})
    shares = {cause: float((natural["cause"] == cause).mean() or 0.0) for cause in causes}  # type: ignore[arg-type]
    many = ", ".join(f"{cause} {share:.2f}" for cause, share in shares.items() if share >= 0.02)
    totals = showing.group_by("cause").agg(pl.col("objects", "showing").sum())
    usual = {cause: there / max(count, 1) for cause, count, there in totals.iter_rows()}
    beyond = sum(max(0.0, share - usual.get(cause, 0.0)) for cause, share in shares.items())
    ledger.add("untouched photos: blamed on a planted condition, beyond its prevalence", beyond, 0.10, "lower", many)
    present = ("small_object", "crowding", "occlusion", "truncation")
    bare = sum(share for cause, share in shares.items() if cause not in present)
    ledger.add("untouched photos: blamed on light, turn or label, whatever its prevalence", bare, None, "lower")


def calibration_error(said: np.ndarray, true: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error with bins of equal counts (Nguyen & O'Connor, EMNLP 2015)."""
    if not len(said):
        return float("nan")
    parts = np.array_split(np.argsort(said, kind="stable"), min(bins, len(said)))
    return float(sum(len(part) * abs(said[part].mean() - true[part].mean()) for part in parts) / len(said))


def z_scores(run: Path) -> pl.DataFrame:
    """Blame the cause whose attribute lies farthest from that of found objects: ``error_id largest_z``.

    In standard deviations to the side of the cause's bins; attributes of words by how rare the value is.
    """
    objects = pl.read_parquet(run / "objects.parquet").filter(pl.col("split") == "eval")
    images = pl.read_parquet(run / "images.parquet").filter(pl.col("split") == "eval").drop("split")
    errors = pl.read_parquet(run / "errors.parquet").filter(pl.col("kind").is_in(MISSES))
    joined = objects.join(images, on="image_id")
    found = joined.filter(pl.col("outcome") == "found")
    lost = errors.select("error_id", *KEYS).join(joined, on=KEYS)
    best = np.full(len(lost), 2.0)
    named = np.full(len(lost), "unexplained", dtype=object)
    for cause, item in CAUSES.items():
        for attribute, names in item.told_by.items():
            if attribute not in joined.columns:
                continue
            values = lost[attribute].cast(pl.Float64).to_numpy()
            usual = found[attribute].cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
            if len(usual) < 10:
                continue
            if attribute == "rotation":
                values, usual = (values != 0) & np.isfinite(values), (usual != 0).astype(float)
            low = names[0] in ("dark", "low", "blurred", "tiny", "down", "left", "tall")
            both = len(names) > 1 and attribute not in ("object_size", "rotation")
            z = (values - usual.mean()) / max(usual.std(), 1e-3)
            z = np.nan_to_num(np.abs(z) if both else -z if low else z)
            named[z > best] = cause
            best = np.maximum(best, z)
    return lost.select("error_id").with_columns(largest_z=pl.Series(named.tolist(), dtype=pl.String))


def worst_bins(run: Path) -> pl.DataFrame:
    """Blame the shown condition whose bin has the highest miss rate: ``error_id worst_bin``."""
    evidence = pl.read_parquet(run / "evidence.parquet").filter(pl.col("kind") == "risk")
    ranked = evidence.sort(["error_id", "after"], descending=[False, True], nulls_last=True)
    return ranked.unique("error_id", keep="first").select("error_id", worst_bin="name")


def best_repairs(run: Path) -> pl.DataFrame:
    """Blame what was repaired where the score rose most, whatever a placebo does: ``error_id best_repair``."""
    evidence = pl.read_parquet(run / "evidence.parquet").filter(pl.col("kind") == "repair")
    gained = evidence.with_columns(gain=pl.col("after") - pl.col("before")).filter(pl.col("gain") > 0)
    ranked = gained.sort(["error_id", "gain"], descending=[False, True])
    return ranked.unique("error_id", keep="first").select("error_id", best_repair="name")


def top_slices(run: Path) -> pl.DataFrame:
    """Blame the first condition of the toolkit's own worst slice that a miss lies in: ``error_id own_top_slice``.

    Slices by falling adjusted risk among those of interval above 1; this is no sliceline (``planted_peers``).
    """
    slices = pl.read_parquet(run / "slices.parquet").filter(pl.col("adjusted_low") > 1)
    slices = slices.sort("adjusted_risk_ratio", descending=True, nulls_last=True)
    rules = [set(names) for names in slices["conditions"]]
    told_by = {
        f"{name}={bin}": cause for cause, item in CAUSES.items() for name, bins in item.told_by.items() for bin in bins
    }
    rows = []
    for error_id, conditions in pl.read_parquet(run / "errors.parquet").select("error_id", "conditions").iter_rows():
        rule = next((rule for rule in rules if conditions and rule <= set(conditions)), set())
        named = [told_by[name] for name in sorted(rule) if name in told_by]
        rows.append((error_id, named[0] if named else "unexplained"))
    return pl.DataFrame(rows, schema={"error_id": pl.String, "own_top_slice": pl.String}, orient="row")


BASELINES = {"largest_z": z_scores, "worst_bin": worst_bins, "best_repair": best_repairs, "own_top_slice": top_slices}
"""Column → what makes it of a run."""

PEERS = {"sliceline": "sliceline's top slice", "boosted": "gradient-boosted predictor, sampled Shapley values"}
"""Column of ``planted_peers.blame`` → what it is."""


def compare(ledger: Ledger, misses: pl.DataFrame) -> None:
    """Add what the verdicts gain over each baseline; what it does not name is unexplained, and wrong."""
    known = misses.filter("known")
    ours = averaged(known)
    for name in (*BASELINES, *PEERS):
        if name not in known.columns:
            continue
        theirs = averaged(known, name)
        title = PEERS.get(name, name.replace("_", " "))
        ledger.add(f"top-1 beyond: {title}", ours - theirs, 0.15, "higher", f"ours {ours:.3f}, theirs {theirs:.3f}")


def draw(known: pl.DataFrame, path: Path, title: str) -> None:
    """Write the confusion matrix of known misses as a PNG: share of each condition's misses by named cause."""
    counts = known.group_by("condition", "cause").len("count")
    totals = known.group_by("condition").len("total")
    frame = counts.join(totals, on="condition").with_columns(
        share=pl.col("count") / pl.col("total"), name=pl.format("{} ({})", "condition", "total")
    )
    frame = frame.with_columns(
        right=pl.struct("condition", "cause").map_elements(
            lambda row: row["cause"] in ACCEPTED[row["condition"]], return_dtype=pl.Boolean
        )
    )
    totals_by_name: Mapping[str, int] = dict(totals.iter_rows())
    rows = [f"{name} ({totals_by_name[name]})" for name in ACCEPTED if name in totals_by_name]
    columns = list(dict.fromkeys(cause for names in ACCEPTED.values() for cause in sorted(names)))
    columns += [*sorted(set(frame["cause"]) - set(columns) - {"unexplained"}), "unexplained"]
    base = alt.Chart(frame).encode(
        x=alt.X("cause:N", sort=columns, title="cause named", axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("name:N", sort=rows, title="planted condition (known misses)"),
    )
    cells = base.mark_rect(strokeWidth=2).encode(
        color=alt.Color("share:Q", scale=alt.Scale(range=["#ffffff", "#d9772b"], domain=[0, 1]), title="share"),
        stroke=alt.condition("datum.right", alt.value("#222222"), alt.value("#ffffff")),
    )
    text = base.mark_text(fontSize=10).encode(text=alt.Text("share:Q", format=".2f"))
    alt.layer(cells, text).properties(width=640, height=420, title=title).save(str(path), scale_factor=1.5)

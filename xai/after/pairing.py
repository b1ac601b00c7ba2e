"""Two runs side by side: the objects that both judge, and what made the runs differ besides their detectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from xai.exceptions import RequestError, RunError
from xai.rules import MISSES
from xai.run import Run

KEYS = ["image_id", "object_id"]
"""What names an object in one evaluation set."""


def refuse_reported(*runs: Run) -> None:
    """Refuse runs of reported misses, of which nobody knows what was found."""
    for run in runs:
        if run.info.get("question") == "reported":
            raise RequestError(
                f"expected runs on an annotated evaluation set; {run.path} explains reported misses, of which nobody "
                "knows what was found"
            )


def scored(run: Run) -> pl.DataFrame:
    """Return the evaluation objects that count."""
    asked = pl.col("outcome").is_not_null() & (pl.col("outcome") != "ignored")
    return run.objects.filter((pl.col("split") == "eval") & asked)


def joined(first: Run, second: Run, common: bool) -> tuple[pl.DataFrame, list[str]]:
    """Return the objects that both runs score: the columns of B, with ``outcome_a`` and ``outcome_b``."""
    digests = [run.info["data"]["eval"]["sha256"] for run in (first, second)]
    same = digests[0] == digests[1]
    left, right = scored(first), scored(second)
    outcome_a = left.select(*KEYS, outcome_a="outcome")
    if same:
        joined = right.join(outcome_a, on=KEYS, how="inner", maintain_order="left")
        notes = []
    else:
        key = ["sha256", "label", "place"]
        found_a, found_b = (_by_content(frame, run) for frame, run in ((left, first), (right, second)))
        joined = found_b.join(
            found_a.select(*key, outcome_a="outcome"), on=key, how="inner", maintain_order="left"
        ).drop("sha256", "place")
        if not common:
            both = (
                f"{len(joined):,} objects are in both ({len(left):,} and {len(right):,}): --common compares those"
                if len(joined)
                else "they have no object in common"
            )
            raise RequestError(
                f"expected two runs on the same evaluation set; that of {first.path} has the digest "
                f"{str(digests[0])[:12]}, that of {second.path} {str(digests[1])[:12]}; {both}"
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


def photos(second: Run, first: Run) -> pl.DataFrame:
    """Return the evaluation photos of B that A has read too, told by content."""
    known = first.images.filter((pl.col("split") == "eval") & (pl.col("status") == "ok"))
    photos = second.images.filter((pl.col("split") == "eval") & (pl.col("status") == "ok"))
    if "sha256" not in known.columns or "sha256" not in photos.columns:
        raise RunError(f"{first.path} or {second.path} lacks the photos' digests: triage again")
    return photos.filter(pl.col("sha256").is_in(known["sha256"].drop_nulls().unique().to_list()))


def causes(run: Run) -> pl.DataFrame:
    """Return ``image_id object_id cause`` of the misses."""
    kinds = run.errors.filter(pl.col("kind").is_in(list(MISSES))).select("error_id", *KEYS)
    side = run.verdicts.select("error_id", "cause")
    return kinds.join(side, on="error_id").select(*KEYS, cause_a="cause").unique(KEYS, keep="first")


def changes(joined: pl.DataFrame, causes: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """List the objects that were fixed or broken, with the cause that the run with the miss names."""
    found_a, found_b = (pl.col(f"outcome_{side}") == "found" for side in "ab")
    told = joined.filter(found_a != found_b).select(*KEYS, "label", "outcome_a", "outcome_b")
    told = told.with_columns(change=pl.when(pl.col("outcome_b") == "found").then(pl.lit("fixed")).otherwise(
        pl.lit("broken")))  # fmt: skip
    told = told.join(causes["a"], on=KEYS, how="left").join(
        causes["b"].rename({"cause_a": "cause_b"}), on=KEYS, how="left"
    )
    cause = pl.when(pl.col("change") == "fixed").then("cause_a").otherwise("cause_b")
    told = told.with_columns(cause=cause)
    return told.select(*KEYS, "label", "change", "outcome_a", "outcome_b", "cause").sort(
        ["change", *KEYS], descending=[True, False, False]
    )


def doubts(first: Run, second: Run) -> list[str]:
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


def differs(first: Run, second: Run) -> dict[str, tuple[Any, Any]]:
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

"""The verdict on every miss: which cause, how strong, which sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl

from xai import tables
from xai.causes import CAUSES
from xai.rules import ELEVATED, RARE_COUNT, RARE_SHARE
from xai.verdict.conditions import misses, show, untold
from xai.verdict.rank import cheap_weights
from xai.verdict.sentences import Promised, Scene, sentence
from xai.verdict.weights import WEIGHTS, mark_log_ratio, repair_log_ratio

UNEXPLAINED = "unexplained"

SPECIAL = ["exif_mismatch", "label_error", "score_threshold"]
"""Causes that lie in no condition of photo or object."""


class AnsweredPromise(Protocol):
    """What of ``coverage.Answer`` the verdict reads."""

    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def target(self) -> float: ...  # noqa: D102
    @property
    def answer(self) -> str: ...  # noqa: D102
    @property
    def numerator(self) -> int: ...  # noqa: D102
    @property
    def denominator(self) -> int: ...  # noqa: D102


def judge(
    errors: pl.DataFrame,
    objects: pl.DataFrame,
    images: pl.DataFrame,
    coverage: pl.DataFrame,
    evidence: pl.DataFrame,
    *,
    bins: pl.DataFrame,
    promises: Sequence[AnsweredPromise],
    score_threshold: float,
    is_training_set: bool,
    reported: bool = False,
) -> pl.DataFrame:
    """Return one verdict per miss, columns as in ``tables.TABLES["verdicts"]``.

    A cause is admissible if the object shows its condition, and the condition's risk is elevated in the coverage table
    or its repair found the object where neither the untouched photo nor a placebo did, and its weight
    (``verdict.weights``) is at least that of ``unexplained``, and the mechanism does not rule it out. The admissible
    cause of the greatest weight is the verdict's. Verdicts, the first that applies: ``label`` (the photo's labels fit
    the detections better in another frame, or mechanism ``annotation``), ``coverage_gap`` and ``hard`` (by the coverage
    table where it calls the condition elevated, else ``coverage_gap`` where the condition is rare in training),
    ``threshold`` (best score within 0.05 below the threshold, and no cause is admissible), ``chance`` (nothing stands
    out and the promised recall is shown to be kept), ``unexplained``. The cause of the last two is ``unexplained``.

    ``train_share``, ``eval_share``, ``miss_share`` and ``risk_ratio`` (adjusted) are those of the condition in the
    coverage table, of the label's own row where that decided. ``repair`` is the repair that brought the object back.
    ``runner_up`` is the next admissible cause, else ``unexplained``; null where that is the cause.

    Args:
        errors: all errors of the run.
        objects: evaluation objects with outcome and object attributes.
        images: evaluation photos with image attributes.
        coverage: the coverage table.
        evidence: lines of ``rank``, of ``label_frames`` and of the experiments (``repair``, ``repair_found``).
        bins: bins of the scored evaluation objects (``coverage.Analysis.bins``).
        promises: answers of ``coverage.promise``.
        score_threshold: the deployed threshold.
        is_training_set: False makes sentences speak of the reference set.
        reported: the misses are reported cases; sentences speak of reports and production photos, not of rates.
    """
    found = misses(errors)
    shown = show(errors, objects, images, bins, coverage)
    trials = _trials(evidence, score_threshold)
    causes = _rule_out(_weigh(shown, evidence, trials, found), found)
    context = {
        "has_training": bool(coverage["train_count"].is_not_null().any()),
        "is_training_set": is_training_set,
        "reported": reported,
        "score_threshold": score_threshold,
        "promise": _recall_promise(promises),
    }
    by_miss = {str(key[0]): part.to_dicts() for key, part in causes.partition_by("error_id", as_dict=True).items()}
    marks = evidence.filter((pl.col("kind") == "mechanism") & pl.col("name").is_in(SPECIAL))
    special = {(error_id, name): effect for error_id, name, effect in marks.select("error_id", "name", "effect").rows()}
    turned = marks.filter(pl.col("name") == "exif_mismatch").select("error_id", "before", "after")
    frames = {error_id: (drawn, fitting) for error_id, drawn, fitting in turned.iter_rows()}
    vain = dict(trials.filter(~pl.col("succeeded")).group_by("error_id").len().iter_rows())
    rescued = trials.filter("succeeded").group_by("error_id", maintain_order=True).agg("cause")
    restored = {key: [CAUSES[cause].repair for cause in names if cause in CAUSES] for key, names in rescued.iter_rows()}
    blind = untold(errors, bins, coverage)
    homeless = _without_box(objects)
    rows = []
    for miss in found.iter_rows(named=True):
        key = miss["error_id"]
        unplaced = (miss["image_id"], miss["object_id"]) in homeless
        seen = {
            **context,
            "placed": not unplaced,
            "tried": vain.get(key, 0),
            "restored": restored.get(key, []),
            "untold": blind.get(key, []),
            "frames": frames.get(key),
        }
        rows.append(_verdict(miss, by_miss.get(key, []), special, seen))
    schema = dict(tables.TABLES["verdicts"])
    return tables.conform(pl.DataFrame(rows, schema=schema, orient="row"), schema)


def _without_box(objects: pl.DataFrame) -> set[tuple[str, int]]:
    """Keys of objects that were reported without a box."""
    if "x1" not in objects.columns:
        return set()
    return set(objects.filter(pl.col("x1").is_null()).select("image_id", "object_id").iter_rows())


def _trials(evidence: pl.DataFrame, score_threshold: float) -> pl.DataFrame:
    """One row per tried repair: targets, whether it ``succeeded`` or ``failed`` (neither: a placebo did as well)."""
    target = evidence.filter(pl.col("kind") == "repair").select(
        "error_id", "before", "after", "placebo", "effect", cause="name"
    )
    hit = evidence.filter(pl.col("kind") == "repair_found").select(
        "error_id", cause="name", hit_before="before", hit_after="after", hit_placebo="placebo"
    )
    trials = target.join(hit, on=["error_id", "cause"], how="left", maintain_order="left")
    # Without the detector's own answer the target decides: it is at most the score, so a target above the threshold
    # belongs to a detection that passes it.
    for name in ("before", "after", "placebo"):
        passes = (pl.col(name) >= score_threshold).cast(pl.Float64)
        trials = trials.with_columns(pl.col(f"hit_{name}").fill_null(passes))
    alone = (pl.col("hit_before") < 0.5) & (pl.col("hit_placebo").fill_null(0.0) == 0)
    return trials.with_columns(
        succeeded=(pl.col("hit_after") > 0.5) & alone & (pl.col("effect") > 0), failed=pl.col("hit_after") < 0.5
    )


def _weigh(shown: pl.DataFrame, evidence: pl.DataFrame, trials: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """One row per miss × cause: the figures of its best told condition, its weight, and whether it is admissible."""
    best = shown.unique(["error_id", "cause"], keep="first", maintain_order=True)
    successes, failures = WEIGHTS["repair_successes"], WEIGHTS["repair_failures"]
    rates = trials.group_by("cause").agg(
        hit_rate=(pl.col("succeeded").sum() + successes) / (pl.len() + successes + failures)
    )
    by_luck = float(((1 - trials["hit_after"]) * trials["hit_placebo"].fill_null(0.0)).sum())
    luck, no_luck = WEIGHTS["placebo_successes"], WEIGHTS["placebo_failures"]
    chance = (by_luck + luck) / (len(trials) + luck + no_luck)
    told = trials.join(rates, on="cause", how="left", maintain_order="left")
    ratio = repair_log_ratio(
        told["succeeded"].to_numpy(), told["failed"].to_numpy(), told["hit_rate"].to_numpy(), chance
    )
    told = told.with_columns(repair_log_ratio=pl.Series(ratio, dtype=pl.Float64)).drop("hit_rate")
    keys = ["error_id", "cause"]
    joined = best.join(cheap_weights(evidence), on=keys, how="left").join(told, on=keys, how="left")
    joined = joined.join(_marks(best, found), on=keys, how="left")
    experiments = pl.col("repair_log_ratio").fill_null(0.0) + pl.col("mark_log_ratio").fill_null(0.0)
    joined = joined.with_columns(
        weight=(pl.col("log_weight").fill_null(-np.inf) + experiments).exp(),
        elevated=pl.col("assessment").is_in(list(ELEVATED)).fill_null(False),
    )
    stands = pl.col("elevated") | pl.col("succeeded").fill_null(False)
    return joined.with_columns(admissible=stands & (pl.col("weight") >= WEIGHTS["least"])).sort(
        ["error_id", "weight", "cause"], descending=[False, True, False]
    )


def _marks(shown: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return ``error_id cause mark_log_ratio`` of the causes that leave a mark in the detector."""
    known = found.filter(pl.col("mechanism") != "unknown")
    parts = [pl.DataFrame(schema={"error_id": pl.String, "cause": pl.String, "mark_log_ratio": pl.Float64})]
    for name, cause in CAUSES.items():
        if cause.leaves is not None and len(known):
            marked = (known["mechanism"] == cause.leaves).to_numpy()
            under = known["error_id"].is_in(shown.filter(pl.col("cause") == name)["error_id"].to_list()).to_numpy()
            ratio = pl.Series("mark_log_ratio", mark_log_ratio(marked, under))
            parts.append(known.select("error_id", cause=pl.lit(name)).with_columns(ratio))
    return pl.concat(parts)


def _rule_out(causes: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Make causes inadmissible that cannot have made the miss, by where in the detector it was lost."""
    pairs = [(name, mechanism) for name, cause in CAUSES.items() for mechanism in cause.ruled_out_by]
    ruled_out = pl.DataFrame(pairs, schema={"cause": pl.String, "mechanism": pl.String}, orient="row")
    struck = found.select("error_id", "mechanism").join(ruled_out, on="mechanism").select("error_id", "cause")
    marked = causes.join(struck.with_columns(struck=True), on=["error_id", "cause"], how="left", maintain_order="left")
    return marked.with_columns(admissible=pl.col("admissible") & pl.col("struck").is_null()).drop("struck")


def _verdict(
    miss: dict[str, Any],
    causes: list[dict[str, Any]],
    special: dict[tuple[str, str], float],
    context: dict[str, Any],
) -> dict[str, Any]:
    """Judge one miss; ``causes`` come by falling weight."""
    error_id = miss["error_id"]
    admissible = [cause for cause in causes if cause["admissible"]]
    odds = {cause["cause"]: cause["weight"] for cause in admissible}
    chosen: dict[str, Any] | None = None
    doubted = next((name for name in ("exif_mismatch", "label_error") if (error_id, name) in special), None)
    if doubted is not None:
        verdict, cause = "label", doubted
        odds[cause] = special[error_id, doubted] or 1.0
    elif admissible:
        chosen = admissible[0]
        verdict, cause = _gap_or_hard(chosen, context["has_training"]), chosen["cause"]
    elif (error_id, "score_threshold") in special:
        verdict, cause = "threshold", "score_threshold"
        # From 1 at the edge of "near" to 2 at the threshold itself.
        odds[cause] = 2 + special[error_id, "score_threshold"] / WEIGHTS["near_threshold"]
    else:
        promise = context["promise"]
        verdict, cause = ("chance" if promise and promise.inside else UNEXPLAINED), UNEXPLAINED
    odds[UNEXPLAINED] = 1.0
    total = sum(odds.values())
    rest = sorted((name for name in odds if name != cause), key=lambda name: (-odds[name], name))
    scene = Scene(
        label=miss["label"],
        score=miss["best_score"],
        iou=miss["best_iou"],
        mechanism=miss["mechanism"],
        seen=miss["best_label"],
        condition=chosen,
        others=[item for item in causes if item is not chosen],
        **context,
    )
    figures = chosen or {}
    repaired = chosen is not None and bool(chosen["succeeded"]) and chosen["cause"] in CAUSES
    return {
        "error_id": error_id,
        "cause": cause,
        "verdict": verdict,
        "strength": odds[cause] / total,
        "mechanism": miss["mechanism"],
        "attribute": figures.get("attribute"),
        "value": _value(figures),
        "bin": figures.get("bin"),
        **{name: figures.get(name) for name in ("train_share", "eval_share", "miss_share")},
        "risk_ratio": figures.get("adjusted_risk_ratio"),
        "repair": CAUSES[cause].repair if repaired else None,
        "sentence": sentence(verdict, scene),
        "runner_up": rest[0] if rest else None,
        "runner_up_strength": odds[rest[0]] / total if rest else None,
    }


def _gap_or_hard(condition: dict[str, Any], has_training: bool) -> str:
    """Take the coverage table's word where it calls the condition elevated; else ask whether training lacks it."""
    if condition["elevated"]:
        return str(condition["assessment"])
    if not has_training or condition["train_count"] is None:
        return "hard"
    rare = condition["train_count"] < RARE_COUNT
    share, usual = condition["train_share"], condition["eval_share"]
    return "coverage_gap" if rare or (usual is not None and share < RARE_SHARE * usual) else "hard"


def _value(condition: dict[str, Any]) -> str | None:
    """The measured value to four significant digits, or a user's word."""
    if not condition:
        return None
    return condition["bin"] if condition["value"] is None else f"{condition['value']:.4g}"


def _recall_promise(promises: Sequence[AnsweredPromise]) -> Promised | None:
    answers = [answer for answer in promises if answer.metric == "recall"]
    if not answers:
        return None
    answer = answers[0]
    return Promised(answer.answer == "inside", answer.target, answer.denominator - answer.numerator, answer.denominator)

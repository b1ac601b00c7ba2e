"""The verdict on every miss: which cause, how strong, which sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl

from xai import tables
from xai.catalog import OF_DETECTOR
from xai.causes import CAUSES, alike, same_change
from xai.rules import ELEVATED, RARE_COUNT, RARE_SHARE
from xai.verdict.changes import FOUND, idle_changes, repaired
from xai.verdict.conditions import misses, show, untold
from xai.verdict.features import SURE_CUT, features, trials
from xai.verdict.scene import Promised, Scene
from xai.verdict.seen import seen as seen_by_detector
from xai.verdict.sentences import sentence
from xai.verdict.weights import LEAST, LEAST_GUESS, LEAST_SECOND, LEAST_STRENGTH, NEAR_THRESHOLD, weigh

UNEXPLAINED = "unexplained"

DOUBTS = {
    "exif_mismatch": "exif_mismatch",
    "label_error": "label_error",
    "label_class": "label_error",
    "label_box": "label_error",
}
"""Line of evidence that doubts a label → cause, first come first."""

SPECIAL = [*DOUBTS, "score_threshold"]
"""Lines of causes that lie in no condition of photo or object."""


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
    predictions: pl.DataFrame | None = None,
    match_iou: float = 0.5,
) -> pl.DataFrame:
    """Return one verdict per miss, columns as in ``tables.TABLES["verdicts"]``.

    A cause is admissible if the object shows its condition, a line speaks for it (``weights.SPEAKS``), its weight is at
    least that of ``unexplained``, and neither the mechanism nor the joint risk rules it out; of a miss that was
    reported without a box the condition has to be elevated. The admissible cause of the greatest weight is the
    verdict's, where its strength is 0.33 (``weights.LEAST_STRENGTH``) or its risk elevated; else none is admissible.
    That its repair fails and that its objects are missed no more often rules out no cause, which would lose planted
    ones: many repairs take their condition away in part.
    The strength is that of all names of one physical change (``causes.ONE_CHANGE``).
    Verdicts, the first that applies: ``label`` (the photo's labels fit the detections better in another
    frame, or the detector contradicts the label), ``coverage_gap`` and ``hard`` (by the coverage table where it calls
    the condition elevated, else ``coverage_gap`` where the condition is rare in training), ``threshold`` (best score
    within 0.05 below the threshold, and no cause is admissible), ``chance`` (nothing stands out and the promised recall
    is shown to be kept), ``unexplained``. The cause of the last two is ``unexplained``.

    ``train_share``, ``eval_share``, ``miss_share`` and ``risk_ratio`` (adjusted) are those of the condition in the
    coverage table, of the label's own row where that decided. ``repair`` is the repair that brought the object back.
    ``runner_up`` is the next cause whose condition the object shows, where it is no other name of the same physical
    change (``causes.alike``) and not far less likely than no cause at all (``weights.LEAST_SECOND``); else
    ``unexplained``. Where ``unexplained`` is the cause it is the likeliest other one, null where there is none.

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
        predictions: evaluation detections; without them sentences do not say whose box it is that is seen.
        match_iou: IoU at which a detection finds an object.
    """
    found = misses(errors)
    shown = show(errors, objects, images, bins, coverage)
    tried = trials(evidence, score_threshold)
    parts = evidence.filter(pl.col("kind") == "part").select(
        "error_id", part_side="name", part_before="before", part_after="after"
    )
    cut = evidence.filter((pl.col("kind") == "cut") & (pl.col("effect") > SURE_CUT)).select(
        "error_id", cause="name", cut_usual="before", cut_here="after"
    )
    homeless = _without_box(objects)
    causes = _rule_out(_weigh(shown, tried, features(evidence, errors, score_threshold)), found)
    causes = _only_if_elevated(causes, found, homeless)
    causes = causes.join(parts, on="error_id", how="left", maintain_order="left")
    causes = causes.join(cut, on=["error_id", "cause"], how="left", maintain_order="left")
    asked = evidence.filter(pl.col("kind") == "upright").select(
        "error_id", cause=pl.col("name").replace("roll", "tilt"), asked=pl.lit(True)
    )
    causes = causes.join(asked, on=["error_id", "cause"], how="left", maintain_order="left")
    context = {
        "has_training": bool(coverage["train_count"].is_not_null().any()),
        "is_training_set": is_training_set,
        "reported": reported,
        "score_threshold": score_threshold,
        "match_iou": match_iou,
        "promise": _recall_promise(promises),
    }
    by_miss = {str(key[0]): part.to_dicts() for key, part in causes.partition_by("error_id", as_dict=True).items()}
    marks = evidence.filter((pl.col("kind") == "mechanism") & pl.col("name").is_in(SPECIAL))
    special = {(error_id, name): effect for error_id, name, effect in marks.select("error_id", "name", "effect").rows()}
    doubts = marks.filter(pl.col("name") != "score_threshold").select("error_id", "name", "before", "after")
    figures = {(error_id, name): (before, after) for error_id, name, before, after in doubts.iter_rows()}
    lucky = repaired(tried.filter(~pl.col("succeeded") & ~pl.col("failed")).sort("error_id", "cause"))
    restored = repaired(tried.filter("succeeded"))
    covered = set(tried.filter(pl.col("hit_before") > FOUND)["error_id"])
    idle = idle_changes(evidence)
    views = seen_by_detector(errors, objects, predictions, complete=not reported)
    blind = untold(errors, bins, coverage)
    rows = []
    for miss in found.iter_rows(named=True):
        key = miss["error_id"]
        unplaced = (miss["image_id"], miss["object_id"]) in homeless
        seen = {
            **context,
            "placed": not unplaced,
            **views.get(key, {}),
            "idle": idle.get(key),
            "covered": key in covered,
            "restored": restored.get(key, []),
            "lucky": lucky.get(key, []),
            "untold": blind.get(key, []),
        }
        name = next((name for name in DOUBTS if (key, name) in special), None)
        seen["doubt"] = None if name is None else (name, *figures[key, name])
        rows.append(_verdict(miss, by_miss.get(key, []), special, seen))
    schema = dict(tables.TABLES["verdicts"])
    return tables.conform(pl.DataFrame(rows, schema=schema, orient="row"), schema)


def _without_box(objects: pl.DataFrame) -> set[tuple[str, int]]:
    """Keys of objects that were reported without a box."""
    if "x1" not in objects.columns:
        return set()
    return set(objects.filter(pl.col("x1").is_null()).select("image_id", "object_id").iter_rows())


def _weigh(shown: pl.DataFrame, tried: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """One row per miss × cause: the figures of its best told condition, its weight, and whether it may be named."""
    best = shown.unique(["error_id", "cause"], keep="first", maintain_order=True)
    keys = ["error_id", "cause"]
    joined = best.join(weigh(told), on=keys, how="left").join(tried, on=keys, how="left")
    joined = joined.with_columns(
        weight=pl.col("log_weight").fill_null(-np.inf).exp(),
        elevated=pl.col("assessment").is_in(list(ELEVATED)).fill_null(False),
    )
    speaks = pl.col("speaks").fill_null(False)
    return joined.with_columns(admissible=(pl.col("weight") >= LEAST) & speaks).sort(
        ["error_id", "weight", "cause"], descending=[False, True, False]
    )


def _only_if_elevated(causes: pl.DataFrame, found: pl.DataFrame, homeless: set[tuple[str, int]]) -> pl.DataFrame:
    """Admit for misses without a box only elevated conditions: how a photo looks says little of an unknown place."""
    keys = ["image_id", "object_id"]
    unplaced = pl.DataFrame(sorted(homeless), schema={name: found.schema[name] for name in keys}, orient="row")
    ids = found.join(unplaced, on=keys, how="semi")["error_id"].to_list()
    return causes.with_columns(pl.col("admissible") & (pl.col("elevated") | ~pl.col("error_id").is_in(ids)))


def _rule_out(causes: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Make causes inadmissible that cannot have made the miss, by where in the detector it was lost."""
    pairs = [(name, mechanism) for name, cause in CAUSES.items() for mechanism in cause.ruled_out_by]
    ruled_out = pl.DataFrame(pairs, schema={"cause": pl.String, "mechanism": pl.String}, orient="row")
    struck = found.select("error_id", "mechanism").join(ruled_out, on="mechanism").select("error_id", "cause")
    marked = causes.join(struck.with_columns(struck=True), on=["error_id", "cause"], how="left", maintain_order="left")
    is_struck = pl.col("struck").is_not_null()
    return marked.with_columns(admissible=pl.col("admissible") & ~is_struck, struck=is_struck)


def _verdict(
    miss: dict[str, Any],
    causes: list[dict[str, Any]],
    special: dict[tuple[str, str], float],
    context: dict[str, Any],
) -> dict[str, Any]:
    """Judge one miss; ``causes`` come by falling weight."""
    error_id = miss["error_id"]
    odds = {cause["cause"]: cause["weight"] for cause in causes if not cause["struck"]}
    admissible = [cause for cause in causes if cause["admissible"]]
    if admissible and not admissible[0]["elevated"]:
        likely = _of_change(admissible[0]["cause"], odds) >= LEAST_STRENGTH * (1.0 + sum(odds.values()))
        admissible = admissible if likely else []
    chosen: dict[str, Any] | None = None
    doubted = context["doubt"]
    if doubted is not None and doubted[0] == "label_box" and admissible:
        # A box that is drawn around a tilted object is large too.
        doubted = doubted if (special[error_id, "label_box"] or 1.0) >= admissible[0]["weight"] else None
        context = {**context, "doubt": doubted}
    if doubted is not None:
        doubt = doubted[0]
        verdict, cause = "label", DOUBTS[doubt]
        odds[cause] = special[error_id, doubt] or 1.0
    elif admissible:
        chosen = admissible[0]
        verdict, cause = _gap_or_hard(chosen, context["has_training"]), chosen["cause"]
    elif (error_id, "score_threshold") in special:
        verdict, cause = "threshold", "score_threshold"
        # From 1 at the edge of "near" to 2 at the threshold itself.
        odds[cause] = 2 + special[error_id, "score_threshold"] / NEAR_THRESHOLD
    else:
        promise = context["promise"]
        verdict, cause = ("chance" if promise and promise.inside else UNEXPLAINED), UNEXPLAINED
    odds[UNEXPLAINED] = 1.0
    total = sum(odds.values())
    second = runner_up(cause, odds)
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
        "strength": _of_change(cause, odds) / total,
        "mechanism": miss["mechanism"],
        "attribute": figures.get("attribute"),
        "value": _value(figures),
        "bin": figures.get("bin"),
        **{name: figures.get(name) for name in ("train_share", "eval_share", "miss_share")},
        "risk_ratio": figures.get("adjusted_risk_ratio"),
        "repair": CAUSES[cause].repair if repaired else None,
        "sentence": sentence(verdict, scene),
        "runner_up": second,
        "runner_up_strength": None if second is None else odds[second] / total,
    }


def _of_change(cause: str, odds: dict[str, float]) -> float:
    """Weight of a cause by all its names: a veil that is half glare and half haze to the measures is no weaker."""
    return sum(weight for name, weight in odds.items() if same_change(name, cause))


def runner_up(cause: str, odds: dict[str, float]) -> str | None:
    """Return what is to blame if the cause is not, or beside it; ``odds`` of causes and of ``unexplained``."""
    others = [name for name in odds if name not in (cause, UNEXPLAINED) and not alike(name, cause)]
    likely = [name for name in others if odds[name] >= (LEAST_GUESS if cause == UNEXPLAINED else LEAST_SECOND)]
    if likely:
        return min(likely, key=lambda name: (-odds[name], name))
    return None if cause == UNEXPLAINED else UNEXPLAINED


def _gap_or_hard(condition: dict[str, Any], has_training: bool) -> str:
    """Take the coverage table's word where it calls the condition elevated; else ask whether training lacks it."""
    if condition["elevated"]:
        return str(condition["assessment"])
    if not has_training or condition["train_count"] is None:
        return "hard"
    rare = condition["train_count"] < RARE_COUNT and condition["attribute"] not in OF_DETECTOR
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

"""The cheap lines of evidence: what tables alone say about each cause of each miss, and which repairs to try first."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from scipy import sparse

from xai import tables
from xai.causes import CAUSES
from xai.rules import MISSES
from xai.verdict.conditions import known_conditions, misses, show
from xai.verdict.features import cheap_features
from xai.verdict.joint import fit
from xai.verdict.weights import NEAR_THRESHOLD, weigh

CONTROLS = 16
"""Misses at most on which repairs are tried although they do not show their conditions."""

_SCHEMA = tables.TABLES["evidence"]


def rank(
    errors: pl.DataFrame,
    objects: pl.DataFrame,
    images: pl.DataFrame,
    coverage: pl.DataFrame,
    *,
    bins: pl.DataFrame,
    measured: pl.DataFrame | None = None,
    score_threshold: float | None = None,
) -> pl.DataFrame:
    """Return the lines of evidence that need no experiment, columns as in ``tables.TABLES["evidence"]``.

    For every miss and every cause whose condition the object shows (``name`` is the cause, ``COLUMN:VALUE`` for a
    user's column), of the condition that tells it best:

    - ``unusualness``: ``before`` the value (null for words), ``after`` the share of found objects with a value at least
      as extreme, ``effect`` = −log10 of that share, in decades of rarity;
    - ``severity``: ``before`` the edge of the attribute's normal bins, ``after`` the value, ``effect`` how far beyond
      the edge it lies, in distances of the edge from the median of found objects;
    - ``risk``: ``before`` the miss rate of objects in the attribute's other bins, ``after`` with the condition,
      ``effect`` the risk ratio adjusted for size and label;
    - ``joint_risk``: ``before`` the upper bound and ``after`` the mean of the risk ratio of all conditions that tell
      the cause, adjusted for all other conditions and drawn towards 1 where data are few; ``effect`` its expected
      excess over 1;
    - ``coverage``: ``before`` the evaluation share, ``after`` the training share, ``effect`` the evaluation share over
      the training share with half an object added.

    And ``mechanism`` lines: ``label_error`` where the mechanism is ``annotation`` (``before`` IoU, ``after`` score of
    the detection that contradicts the label, ``effect`` the odds of that score, between 1/19 and 19);
    ``score_threshold`` where the best score is at most 0.05 below the threshold (``before`` threshold, ``after`` score,
    ``effect`` after − before).

    Args:
        errors: all errors of the run; those that are misses are explained.
        objects: evaluation objects with outcome and object attributes.
        images: evaluation photos with image attributes, and ``group`` where photos are drawn in groups.
        coverage: the coverage table.
        bins: bins of the scored evaluation objects (``coverage.Analysis.bins``).
        measured: those that were told alike of found and missed objects, which the joint risks are fitted on, where
            ``bins`` hold more (``upright.with_upright``).
        score_threshold: the deployed threshold; None leaves the ``score_threshold`` lines out.
    """
    mechanism = _mechanism_lines(misses(errors), score_threshold)
    shown = show(errors, objects, images, bins, coverage)
    if not len(shown):
        return mechanism
    best = shown.unique(["error_id", "cause"], keep="first", maintain_order=True)
    smoothed = (pl.col("train_count") + 0.5) / (pl.col("train_count") / pl.col("train_share") + 1)
    # With no training object in the bin count / share is 0 / 0; then half an object of what the set holds is meant.
    smoothed = pl.when(pl.col("train_count") > 0).then(smoothed).otherwise(0.5 / (_training_objects(coverage) + 1))
    lines = [
        _lines(
            best.filter(pl.col("tail_share").is_not_null()),
            "unusualness",
            pl.col("value"),
            pl.col("tail_share"),
            -pl.col("tail_share").log10(),
        ),
        _lines(
            best.filter(pl.col("severity").is_finite()), "severity", pl.col("edge"), pl.col("value"), pl.col("severity")
        ),
        _lines(best, "risk", pl.col("other_rate"), pl.col("miss_rate"), pl.col("adjusted_risk_ratio")),
        _joint_lines(shown, objects, images, bins if measured is None else measured),
        _lines(
            best.filter(pl.col("train_count").is_not_null()),
            "coverage",
            pl.col("eval_share"),
            pl.col("train_share"),
            pl.col("eval_share") / smoothed,
        ),
        mechanism,
    ]
    return pl.concat(lines).sort("error_id", "name", "kind")


def plan(evidence: pl.DataFrame, errors: pl.DataFrame, budget: int) -> pl.DataFrame:
    """Return which repairs to try for which miss, best first: ``error_id cause repair priority``.

    The priority is the strength that the cheap lines give the cause, divided by its rank among the causes of its miss,
    so that every miss has its best candidate tried before another has its second.

    Args:
        evidence: lines of ``rank``.
        errors: all errors of the run.
        budget: detector forwards per miss, on average. A repair costs at least one, so that no more rows are returned;
            the experiments count what is really spent and leave out the last rows.
    """
    scored = weigh(cheap_features(evidence)).with_columns(
        repair=pl.col("cause").replace_strict(
            {name: cause.repair for name, cause in CAUSES.items()}, default=None, return_dtype=pl.String
        )
    )
    weight = pl.col("log_weight").exp()
    strength = weight / (1 + weight.sum().over("error_id"))
    place = pl.col("log_weight").rank("ordinal", descending=True).over("error_id")
    planned = scored.with_columns(strength=strength).filter(pl.col("repair").is_not_null())
    planned = planned.with_columns(priority=pl.col("strength") / place)
    return (
        planned.sort(["priority", "error_id", "cause"], descending=[True, False, False])
        .head(budget * len(misses(errors)))
        .select("error_id", "cause", "repair", "priority")
    )


def controls(evidence: pl.DataFrame, plan: pl.DataFrame, errors: pl.DataFrame, budget: int) -> pl.DataFrame:
    """Return repairs to try on misses that do not show their condition, columns as in ``plan``.

    A repair that rescues those as well is no evidence of its cause. Some misses, drawn by their ids, get every planned
    repair whose condition they do not show.

    Args:
        evidence: lines of ``rank``.
        plan: of ``plan``.
        errors: all errors of the run.
        budget: detector forwards per miss, on average; an eighth is spent here at most.
    """
    repairs = plan.select("cause", "repair").unique().sort("cause")
    found = misses(errors).select("error_id").sort("error_id")
    count = min(CONTROLS, budget * len(found) // 8 // (4 + max(len(repairs), 1)))
    pairs = found.head(count).join(repairs, how="cross")
    shown = evidence.filter(pl.col("kind") == "joint_risk").select("error_id", cause="name")
    return pairs.join(shown, on=["error_id", "cause"], how="anti").with_columns(priority=pl.lit(0.0))


def _lines(frame: pl.DataFrame, kind: str, before: pl.Expr, after: pl.Expr, effect: pl.Expr) -> pl.DataFrame:
    chosen = frame.select(
        "error_id", kind=pl.lit(kind), name=pl.col("cause"), before=before, after=after, effect=effect
    )
    return tables.conform(chosen, _SCHEMA)


def _joint_lines(shown: pl.DataFrame, objects: pl.DataFrame, images: pl.DataFrame, bins: pl.DataFrame) -> pl.DataFrame:
    """Fit all conditions at once and say what each cause's conditions do together."""
    conditions = known_conditions(bins)
    keys = ["image_id", "object_id"]
    outcome = bins.select(keys).join(objects.select(*keys, "outcome"), on=keys, how="left", maintain_order="left")
    missed = outcome["outcome"].is_in(MISSES)
    risk = fit(_comparable(bins, missed), missed.to_numpy(), conditions, images)
    positions = pl.DataFrame(
        [(attribute, name, index) for index, (attribute, name) in enumerate(conditions)],
        schema={"attribute": pl.String, "bin": pl.String, "position": pl.Int64},
        orient="row",
    )
    pairs = shown.join(positions, on=["attribute", "bin"], how="left")
    sets = pairs.group_by("error_id", "cause", maintain_order=True).agg(pl.col("position").drop_nulls().unique().sort())
    different = sets.select("position").unique(maintain_order=True).with_row_index("set")
    rows = different.explode("position").drop_nulls()
    members = sparse.csr_array(
        (np.ones(len(rows)), (rows["set"].to_numpy(), rows["position"].to_numpy())),
        shape=(len(different), max(len(conditions), 1)),
    )
    one = np.ones(len(different))
    ratio, excess, upper = risk.excess(members) if conditions else (one, np.zeros(len(different)), one)
    # A set without conditions in the model (the most frequent value of a user's column) is the reference itself.
    empty = np.diff(members.indptr) == 0
    different = different.with_columns(
        ratio=pl.Series(np.where(empty, 1.0, ratio)),
        excess=pl.Series(np.where(empty, 0.0, excess)),
        upper=pl.Series(np.where(empty, 1.0, upper)),
    )
    told = sets.join(different, on="position", how="left", maintain_order="left")
    return _lines(told, "joint_risk", pl.col("upper"), pl.col("ratio"), pl.col("excess"))


def _comparable(bins: pl.DataFrame, missed: pl.Series) -> pl.DataFrame:
    """Blank attributes that no found object has a value of: they tell nothing of risk, which then keeps its prior."""
    found = bins.filter(~missed)
    names = [name for name in bins.columns if name not in ("image_id", "object_id", "label")]
    untold = [name for name in names if not (found[name] != "unknown").any()]
    return bins.with_columns(pl.lit("unknown").alias(name) for name in untold)


def _mechanism_lines(found: pl.DataFrame, score_threshold: float | None) -> pl.DataFrame:
    score = pl.col("best_score").clip(0.05, 0.95)
    contradicted = found.filter((pl.col("mechanism") == "annotation").fill_null(False))
    contradicted = contradicted.with_columns(cause=pl.lit("label_error"))
    lines = [
        _lines(contradicted, "mechanism", pl.col("best_iou"), pl.col("best_score"), score / (1 - score)),
    ]
    if score_threshold is not None:
        gap = score_threshold - pl.col("best_score")
        near = (pl.col("mechanism") == "low_score") & (gap <= NEAR_THRESHOLD) & (gap >= 0)
        close = found.filter(near.fill_null(False)).with_columns(cause=pl.lit("score_threshold"))
        lines.append(_lines(close, "mechanism", pl.lit(score_threshold), pl.col("best_score"), -gap))
    return pl.concat(lines)


def _training_objects(coverage: pl.DataFrame) -> float:
    """Scored training objects, which the counts of any attribute's bins add up to; NaN without a training set."""
    overall = coverage.filter(pl.col("label").is_null() & pl.col("train_count").is_not_null())
    totals = overall.group_by("attribute").agg(pl.col("train_count").sum())["train_count"]
    return float(totals.max()) if len(totals) else math.nan  # type: ignore[arg-type]

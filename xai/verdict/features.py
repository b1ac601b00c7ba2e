"""What the lines of evidence say of each cause of each miss, as numbers that add up: one row, one column a line.

Zero is no evidence. Every column is bounded, so that no single line decides alone.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from xai.causes import CAUSES
from xai.verdict.conditions import misses
from xai.verdict.weights import PRIORS, mark_log_ratio, repair_log_ratio

CHEAP = ("joint_risk", "unusualness", "severity", "coverage", "upright", "level", "cut")
EXPERIMENTS = ("repair", "gain", "mark", "part")
FEATURES = (*CHEAP, *EXPERIMENTS)

SURE_CUT = 1.0
"""Spreads by which an object that the edge cuts is shorter than whole ones of its class, which say no more than that it
touches the edge: of the found ones a fifth is as short."""

SURE_TURN, SURE_LEVEL, _LEAST_SURETY = 2.0, 0.7, 0.5
"""Log odds of a turn, and log of how many times surer levelled than tilted further, that say as much as the attributes
do; what is added to surety."""

THEIRS = "neighbours_part"
"""Kind of a line about a part that a found neighbour's box explains."""

HIDING = ("occlusion", "crowding")
"""Causes that leave a part of the object to be seen."""

_KEYS = ["error_id", "cause"]


def cheap_features(evidence: pl.DataFrame) -> pl.DataFrame:
    """Return ``error_id cause`` and the columns of ``CHEAP`` for every cause whose condition a miss shows.

    Left out are conditions whose joint risk ratio is shown to lie below 1: they do no harm in this run.

    - ``joint_risk``: log of the expected excess relative risk, −2 to 2. Among missed objects with a condition of
      relative risk RR, the share (RR − 1) / RR would not have been missed without it, so its odds are RR − 1 (the
      attributable fraction: Greenland & Robins, Am. J. Epidemiol. 1988).
    - ``unusualness``: decades by which the value is rarer than 1 in 10 among found objects, −1 to 2.
    - ``severity``: how far beyond the edge of the normal bins it lies, 0 to 3.
    - ``coverage``: doublings by which training holds less of the condition than the evaluation set, 0 to 3.
    - ``cut``: of objects at the photo's edge, spreads by which they are shorter than whole ones, less ``SURE_CUT``; −1
      to 2.
    - ``upright``, ``level``: where the detector was asked about the photo's turn or tilt: log odds of the turn over
      ``SURE_TURN``, and log of how many times surer it is of the photo levelled than of it tilted further over
      ``SURE_LEVEL``; −2 to 3.
    """

    def effects(kind: str) -> pl.DataFrame:
        lines = evidence.filter(pl.col("kind") == kind)
        return lines.select("error_id", cause="name", **{kind: pl.col("effect").fill_nan(None)})

    harmless = (pl.col("kind") == "joint_risk") & (pl.col("before") < 1).fill_null(False)
    shown_harmless = evidence.filter(harmless).select("error_id", cause="name")
    # That objects at the edge do no worse says nothing of those that are cut in half.
    far = evidence.filter((pl.col("kind") == "cut") & (pl.col("effect") > SURE_CUT))
    shown_harmless = shown_harmless.join(far.select("error_id", cause="name"), on=_KEYS, how="anti")
    wide = effects("joint_risk").join(shown_harmless, on=_KEYS, how="anti", maintain_order="left")
    for kind in ("unusualness", "severity", "coverage", "cut"):
        wide = wide.join(effects(kind), on=_KEYS, how="left", maintain_order="left")
    asked = evidence.filter(pl.col("kind") == "upright")
    odds = (pl.col("after").clip(0.05, 0.999) / (1 - pl.col("after").clip(0.05, 0.999))).log() - SURE_TURN
    gain = ((pl.col("after") + _LEAST_SURETY) / (pl.col("before") + _LEAST_SURETY)).log() - SURE_LEVEL
    for name, (cause, value) in {"upright": ("rotation", odds), "level": ("tilt", gain)}.items():
        told = asked.filter(pl.col("name") == ("rotation" if name == "upright" else "roll"))
        told = told.select("error_id", value.alias(name), cause=pl.lit(cause))
        wide = wide.join(told, on=_KEYS, how="left", maintain_order="left")
    # What the detector told was asked of misses only, and is not as rare or as severe as a measured value would be.
    measured = pl.col("upright").is_null() & pl.col("level").is_null()
    wide = wide.with_columns(pl.when(measured).then(name).alias(name) for name in ("unusualness", "severity"))
    return wide.select(
        *_KEYS,
        *(pl.col(name).clip(-2, 3).fill_null(0.0) for name in ("upright", "level")),
        joint_risk=pl.col("joint_risk").clip(lower_bound=1e-2).log().clip(-2, 2).fill_null(-2.0),
        unusualness=(pl.col("unusualness") - 1).clip(-1, 2).fill_null(0.0),
        severity=pl.col("severity").clip(0, 3).fill_null(0.0),
        cut=(pl.col("cut") - SURE_CUT).clip(-1, 2).fill_null(0.0),
        coverage=pl.col("coverage").log(2).clip(0, 3).fill_null(0.0),
    )


def features(evidence: pl.DataFrame, errors: pl.DataFrame, score_threshold: float) -> pl.DataFrame:
    """Return ``error_id cause`` and the columns of ``FEATURES``.

    - ``repair``: log-likelihood ratio of the tried repair's outcome, against what it does on misses that do not show
      the condition, −3 to 3 (``weights.repair_log_ratio``).
    - ``gain``: log of how many times closer to being found the object comes by the repair than by the best placebo,
      beyond what the same repair does on misses that do not show the condition; −2 to 2.
    - ``part``: for hidden and crowded objects of which the detector sees a part: 1 and log of how many times closer
      that part is to being found than the whole, 1 to 3; else 0. A part that is a found neighbour's (``parts``) counts
      for crowding alone.
    - ``mark``: log-likelihood ratio of the mechanism, for a cause that leaves a mark in the detector, −3 to 3.

    Args:
        evidence: all lines of the run.
        errors: all errors of the run.
        score_threshold: the deployed threshold.
    """
    wide = cheap_features(evidence)
    tried = _outcomes(trials(evidence, score_threshold), trials(evidence, score_threshold, "control"))
    marks = _marks(wide, misses(errors))
    joined = wide.join(tried, on=_KEYS, how="left", maintain_order="left")
    joined = joined.join(marks, on=_KEYS, how="left", maintain_order="left")
    ratio = (pl.col("after") + _LEAST_TARGET) / (pl.col("before") + _LEAST_TARGET)
    seen = evidence.filter(pl.col("kind").is_in(["part", THEIRS]))
    seen = seen.select("error_id", part=1 + ratio.log().clip(0, 2), theirs=pl.col("kind") == THEIRS)
    joined = joined.join(seen, on="error_id", how="left", maintain_order="left")
    hiding = pl.col("cause").is_in(HIDING) & ~(pl.col("theirs").fill_null(False) & (pl.col("cause") == "occlusion"))
    joined = joined.with_columns(part=pl.when(hiding).then("part").otherwise(0.0).fill_null(0.0)).drop("theirs")
    # Of what boxes in front of objects do, which the joint risk is of, a part that is seen says nothing.
    unlike = (pl.col("cause") == "occlusion") & (pl.col("part") > 0)
    return joined.with_columns(
        pl.when(unlike).then(pl.max_horizontal("joint_risk", 0.0)).otherwise("joint_risk").alias("joint_risk"),
        pl.col("repair").clip(-3, 3).fill_null(0.0),
        pl.col("gain").clip(-2, 2).fill_null(0.0),
        pl.col("mark").clip(-3, 3).fill_null(0.0),
    )


def trials(evidence: pl.DataFrame, score_threshold: float, kind: str = "repair") -> pl.DataFrame:
    """One row per tried repair: targets, whether it ``succeeded`` or ``failed`` (neither: a placebo did as well).

    Args:
        evidence: all lines of the run.
        score_threshold: the deployed threshold.
        kind: ``repair``, or ``control`` for misses that do not show the repair's condition.
    """
    target = evidence.filter(pl.col("kind") == kind).select(
        "error_id", "before", "after", "placebo", "effect", cause="name"
    )
    hit = evidence.filter(pl.col("kind") == f"{kind}_found").select(
        "error_id", cause="name", hit_before="before", hit_after="after", hit_placebo="placebo"
    )
    tried = target.join(hit, on=_KEYS, how="left", maintain_order="left")
    # Without the detector's own answer the target decides: it is at most the score, so a target above the threshold
    # belongs to a detection that passes it.
    for name in ("before", "after", "placebo"):
        passes = (pl.col(name) >= score_threshold).cast(pl.Float64)
        tried = tried.with_columns(pl.col(f"hit_{name}").fill_null(passes))
    alone = (pl.col("hit_before") < 0.5) & (pl.col("hit_placebo").fill_null(0.0) == 0)
    return tried.with_columns(
        succeeded=(pl.col("hit_after") > 0.5) & alone & (pl.col("effect") > 0), failed=pl.col("hit_after") < 0.5
    )


def _outcomes(tried: pl.DataFrame, controls: pl.DataFrame) -> pl.DataFrame:
    """Return ``error_id cause repair gain`` of the tried repairs."""
    successes, failures = PRIORS["repair"]
    rates = tried.group_by("cause").agg(
        hit_rate=(pl.col("succeeded").sum() + successes) / (pl.len() + successes + failures)
    )
    by_luck = float(((1 - tried["hit_after"]) * tried["hit_placebo"].fill_null(0.0)).sum())
    luck, no_luck = PRIORS["placebo"]
    chance = (by_luck + luck) / (len(tried) + luck + no_luck)
    # How often the repair succeeds without its condition, drawn towards how often a placebo does.
    without = (
        controls.with_columns(gain=_gain())
        .group_by("cause")
        .agg(
            unfit_rate=(pl.col("succeeded").sum() + chance * CONTROL_WEIGHT) / (pl.len() + CONTROL_WEIGHT),
            unfit_gain=pl.col("gain").sum() / (pl.len() + CONTROL_WEIGHT),
        )
    )
    told = tried.join(rates, on="cause", how="left", maintain_order="left")
    told = told.join(without, on="cause", how="left", maintain_order="left")
    told = told.with_columns(pl.col("unfit_rate").fill_null(chance), pl.col("unfit_gain").fill_null(0.0))
    ratio = repair_log_ratio(
        told["succeeded"].to_numpy(),
        told["failed"].to_numpy(),
        told["hit_rate"].to_numpy(),
        told["unfit_rate"].to_numpy(),
    )
    return told.select(*_KEYS, repair=pl.Series(ratio, dtype=pl.Float64), gain=_gain() - pl.col("unfit_gain"))


CONTROL_WEIGHT = 4.0
"""Trials that the rate of placebos is worth beside those of controls."""


def _gain() -> pl.Expr:
    reached = pl.max_horizontal("before", pl.col("placebo").fill_null(0.0)) + _LEAST_TARGET
    return ((pl.col("after") + _LEAST_TARGET) / reached).log()


_LEAST_TARGET = 0.02
"""Score × overlap below which differences are noise."""


def _marks(shown: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return ``error_id cause mark`` of the causes that leave a mark in the detector."""
    known = found.filter(pl.col("mechanism") != "unknown")
    parts = [pl.DataFrame(schema={"error_id": pl.String, "cause": pl.String, "mark": pl.Float64})]
    for name, cause in CAUSES.items():
        if cause.leaves is not None and len(known):
            marked = (known["mechanism"] == cause.leaves).to_numpy()
            under = known["error_id"].is_in(shown.filter(pl.col("cause") == name)["error_id"].to_list()).to_numpy()
            ratio = pl.Series("mark", np.asarray(mark_log_ratio(marked, under)))
            parts.append(known.select("error_id", cause=pl.lit(name)).with_columns(ratio))
    return pl.concat(parts)

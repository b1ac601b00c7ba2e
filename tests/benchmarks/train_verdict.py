"""Fits the weights of the verdict's score (``xai/verdict/weights.py``) on planted causes, and prints its dicts.

The runs are those that ``planted_causes.py --half tune --keep`` leaves; the half ``report`` is never looked at. Fitted
is the probability that the cause named is one that the planted condition allows; a natural miss of an untouched photo
allows ``unexplained`` and what such photos do have (small, crowded, hidden, cut objects and the like). Where the object
does not show the condition, only ``unexplained`` is allowed. A normal prior keeps weights near those that stood before.

    planted_causes.py --half tune --keep --worlds 3 --out runs/tune; train_verdict.py runs/tune/tune-*

The weights that stand there are of seven worlds of VOC photos with YOLO11n (seeds 21 to 23 at 320 px, 26 to 29 at 480)
and one of tilted photos alone (seed 71, ``--conditions tilt --planted 0.7``). How tilt is asked of the detector had
changed between them, so that what the seven told of it was left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import planted_measure as measure
import polars as pl
from planted_world import ACCEPTED
from scipy.optimize import minimize

from xai.causes import CAUSES
from xai.verdict.features import FEATURES, features
from xai.verdict.weights import log_weight

NATURAL = frozenset(
    {
        "small_object",
        "large_object",
        "truncation",
        "crowding",
        "occlusion",
        "unusual_shape",
        "unusual_view",
        "camera_angle",
    }
)
"""Causes that natural misses of everyday photos have."""

MEAN = {"joint_risk": 1.0, "repair": 1.0, "mark": 1.0, "part": 1.5, "upright": 1.0, "level": 1.0, "cut": 1.5}
"""Prior means of weights: the features that are log odds by themselves; 0 for the others."""

DEVIATION, OWN_DEVIATION, SHARED_DEVIATION = 0.5, 1.0, 3.0
"""Prior standard deviations of weights, of each cause's own intercept and of the one that they share."""

FIRM = {"joint_risk": 0.07}
"""Prior standard deviations of weights that these worlds cannot tell: a miss is known here only where the object was
found before, so that conditions look less harmful than they are; their risk would count next to nothing."""

OWN_FEATURES, OWN_WEIGHT_DEVIATION = ("unusualness", "severity", "repair", "gain"), 0.3
"""Features that may weigh more or less for a cause than for others, and the prior standard deviation of how much."""

LEAST_OWN = 0.05
"""Below this a cause's own part of a weight is left out of the table."""

BLANK = 0.05
"""Part of a natural miss that counts as truly unexplained; the rest may be small, crowded, hidden or the like as well.
With 0 every natural miss would be blamed on whatever it shows."""

SPECIAL = frozenset({"exif_mismatch", "label_error", "score_threshold"})


def choices(folder: Path, score_threshold: float) -> pl.DataFrame:
    """One row per known or natural miss × cause that it shows, and ``unexplained``: features, ``allowed``."""
    run = folder / "run"
    truth = pl.read_parquet(folder / "truth.parquet")
    errors, evidence = (pl.read_parquet(run / f"{name}.parquet") for name in ("errors", "evidence"))
    rows = features(evidence, errors, score_threshold)
    found = measure.known_misses(run, truth).filter(pl.col("known") | pl.col("natural"))
    found = found.filter(~pl.col("cause").is_in(list(SPECIAL)))
    ruled_out = [(name, mechanism) for name, cause in CAUSES.items() for mechanism in cause.ruled_out_by]
    pairs = found.select("error_id", "condition", "natural", "mechanism").join(rows, on="error_id")
    pairs = pairs.filter(
        ~pl.struct("cause", "mechanism").map_elements(
            lambda row: (row["cause"], row["mechanism"]) in ruled_out, return_dtype=pl.Boolean
        )
    )
    nothing = found.select("error_id", "condition", "natural", "mechanism", cause=pl.lit("unexplained"))
    pairs = pl.concat([pairs, nothing], how="diagonal").with_columns(pl.col(name).fill_null(0.0) for name in FEATURES)
    pairs = pairs.with_columns(
        right=pl.struct("condition", "cause", "natural").map_elements(
            lambda row: row["cause"] in ((NATURAL | {"unexplained"}) if row["natural"] else ACCEPTED[row["condition"]]),
            return_dtype=pl.Boolean,
        )
    )
    none = ~pl.col("right").any().over("error_id")
    return pairs.with_columns(
        allowed=pl.col("right") | (none & (pl.col("cause") == "unexplained")),
        error_id=pl.format("{}/{}", pl.lit(str(folder)), "error_id"),
    )


def fit(rows: pl.DataFrame) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, float]]:
    """Return weights of features, what causes add to them, and intercepts: maximum a posteriori of the logit."""
    rows = rows.sort("error_id")
    group = rows["error_id"].rank("dense").to_numpy().astype(int) - 1
    causes = list(CAUSES)
    x = rows.select(FEATURES).to_numpy()
    own = np.array([[row == cause for cause in causes] for row in rows["cause"]], dtype=float)
    shared = (rows["cause"] != "unexplained").to_numpy().astype(float)[:, None]
    pairs = [(cause, name) for cause in causes for name in OWN_FEATURES]
    each = np.stack([x[:, FEATURES.index(name)] * own[:, causes.index(cause)] for cause, name in pairs], axis=1)
    design = np.concatenate([x, shared, own, each], axis=1)
    means = [MEAN.get(name, 0.0) for name in FEATURES]
    mean = np.array([*means, 0.0, *np.zeros(len(causes) + len(pairs))])
    spreads = [FIRM.get(name, DEVIATION) for name in FEATURES]
    own_spreads = [OWN_DEVIATION] * len(causes) + [OWN_WEIGHT_DEVIATION] * len(pairs)
    spread = [*spreads, SHARED_DEVIATION, *own_spreads]
    allowed = rows["allowed"].to_numpy()
    blank = (rows["cause"] == "unexplained").to_numpy().astype(float)
    count = group.max() + 1
    # Each condition weighs alike, however many of its misses are known; natural misses weigh as their number.
    per = rows.group_by("error_id", maintain_order=True).agg(pl.col("condition").first())["condition"]
    sizes = dict(per.value_counts().iter_rows())
    usual = np.median([size for name, size in sizes.items() if name is not None])
    weight = np.array([1.0 if name is None else min(3.0, usual / sizes[name]) for name in per])
    part = np.array([BLANK if name is None else 0.0 for name in per])

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        score = np.exp(np.clip(design @ beta, -30, 30))
        total = np.bincount(group, score, count)
        good, none = np.bincount(group, score * allowed, count), np.bincount(group, score * blank, count)
        pull = ((1 - part) / good)[group] * allowed + (part / none)[group] * blank - (1 / total)[group]
        gradient = -((weight[group] * pull * score)[:, None] * design).sum(0)
        prior = (beta - mean) / np.square(spread)
        value = (1 - part) * np.log(good) + part * np.log(none) - np.log(total)
        return float(-(weight * value).sum() + (prior * (beta - mean)).sum() / 2), gradient + prior

    beta = minimize(loss, mean, jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x
    n, m = len(FEATURES), len(causes)
    weights = dict(zip(FEATURES, beta[:n].round(2).tolist(), strict=True))
    own_values = (beta[n + 1 : n + 1 + m] + beta[n]).round(2).tolist()
    more: dict[str, dict[str, float]] = {}
    for (cause, name), value in zip(pairs, beta[n + 1 + m :].round(2).tolist(), strict=True):
        if abs(value) >= LEAST_OWN:
            more.setdefault(cause, {})[name] = value
    return weights, more, {"": round(float(beta[n]), 2), **dict(zip(causes, own_values, strict=True))}


def _fit_quality(
    rows: pl.DataFrame, weights: dict[str, float], own: dict[str, dict[str, float]], intercepts: dict[str, float]
) -> None:
    """Print what the weights do on the misses that they were fitted on."""
    score = log_weight(rows.columns, weights, own, {**intercepts, "unexplained": 0.0})
    told = rows.with_columns(score=score.exp()).with_columns(
        share=pl.col("score") / pl.col("score").sum().over("error_id")
    )
    best = told.sort("share", descending=True).unique("error_id", keep="first")
    planted = best.filter(~pl.col("natural"))
    print(
        planted.group_by("condition")
        .agg(misses=pl.len(), right=pl.col("right").mean().round(2))
        .sort("condition")
        .rows()
    )
    error = measure.calibration_error(planted["share"].to_numpy(), planted["right"].to_numpy())
    print(
        "fitted misses: top-1",
        planted.group_by("condition").agg(pl.col("right").mean())["right"].mean(),
        "calibration error",
        error,
    )
    print("natural misses:", best.filter("natural").group_by("cause").len().sort("len").rows())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--score-threshold", type=float, default=0.25)
    asked = parser.parse_args()
    rows = pl.concat([choices(folder, asked.score_threshold) for folder in asked.folders], how="diagonal")
    told = rows.group_by("error_id").agg(pl.col("right", "natural").any(), pl.col("condition").first())
    print(told.group_by("condition").agg(misses=pl.len(), shown=pl.col("right").mean()).sort("condition").to_dicts())
    weights, own, intercepts = fit(rows)
    print("WEIGHTS =", weights)
    print("OWN =", own)
    _fit_quality(rows, weights, own, intercepts)
    print("INTERCEPTS =", intercepts)
    for name, part in (("planted", told.filter(~pl.col("natural"))), ("natural", told.filter("natural"))):
        print(name, len(part))


if __name__ == "__main__":
    main()

"""Data sets whose misses have known causes, and simulated repairs, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from xai import coverage, tables, verdict
from xai.catalog import CATALOG
from xai.causes import CAUSES
from xai.config import Promise

NO_PREDICTIONS = pl.DataFrame(schema={"image_id": pl.String, "outcome": pl.String})


@dataclass(frozen=True)
class World:
    images: pl.DataFrame
    objects: pl.DataFrame
    errors: pl.DataFrame
    """As in the contract, and ``truth``: the cause, or ``unexplained``."""


def within(attribute: str, name: str, rng: np.random.Generator, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Values inside a bin of the catalog."""
    (item,) = (item for item in CATALOG[attribute].bins if item.name == name)
    low = item.low if item.low is not None else 0.0 if (item.high or 0) > 0 else (item.high or 0) - 10
    high = item.high if item.high is not None else low * 1.5 + 0.01
    return rng.uniform(low, high, count)


def normal_bin(attribute: str) -> str:
    """The widest bin that no cause is told by."""
    unwanted = {name for cause in CAUSES.values() for name in cause.told_by.get(attribute, ())}
    names = [item.name for item in CATALOG[attribute].bins if item.name not in unwanted]
    return names[len(names) // 2]


def world(seed: int, photos: int, planted: Mapping[tuple[str, str], tuple[float, float]], base: float = 0.05) -> World:
    """Photos of three objects on average; ``planted``: (attribute, bin) → share of photos or objects, added risk."""
    rng = np.random.default_rng(seed)
    counts = 1 + rng.poisson(2, photos)
    photo = np.repeat(np.arange(photos), counts)
    values, has = {}, {}
    for attribute, item in CATALOG.items():
        # A generator for each attribute, so that a new attribute leaves the others' values alone.
        own = np.random.default_rng([seed, *attribute.encode()])
        size = photos if item.level == "image" else len(photo)
        values[attribute] = within(attribute, normal_bin(attribute), own, size)
        for (name, wanted), (share, _) in planted.items():
            if name == attribute:
                chosen = own.random(size) < share
                values[attribute][chosen] = within(name, wanted, own, int(chosen.sum()))
                has[name, wanted] = chosen[photo] if item.level == "image" else chosen
    told = {(a, b): name for name, cause in CAUSES.items() for a, bins in cause.told_by.items() for b in bins}
    truth = np.full(len(photo), "", dtype=object)
    truth[rng.random(len(photo)) < base] = "unexplained"
    for condition in rng.permutation(np.array(list(planted), dtype=object).reshape(-1, 2)):
        key = (condition[0], condition[1])
        hit = has[key] & (rng.random(len(photo)) < planted[key][1]) & (truth == "")
        truth[hit] = told[key]
    ids = pl.Series([f"photo {index:05d}.jpg" for index in range(photos)])
    by_level = {
        level: {name: values[name] for name, item in CATALOG.items() if item.level == level}
        for level in ("image", "object")
    }
    images = pl.DataFrame({"image_id": ids, "status": ["ok"] * photos, **by_level["image"]})
    missed = truth != ""
    objects = pl.DataFrame(
        {
            "image_id": ids.gather(photo),
            "object_id": np.concatenate([np.arange(count) for count in counts]),
            "label": rng.choice(["car", "person", "bus"], len(photo), p=[0.6, 0.3, 0.1]),
            "outcome": np.where(missed, "missed", "found"),
            "label_pose": rng.choice(["Left", "Right", "Frontal"], len(photo)),
            **by_level["object"],
            "truth": truth.tolist(),
        }
    )
    lost = objects.filter(pl.col("truth") != "")
    errors = lost.select(
        pl.Series("error_id", [f"{index:012x}" for index in range(len(lost))], dtype=pl.String),
        pl.col("outcome").alias("kind"), "image_id", "object_id",
        pl.lit(None, pl.Int64).alias("prediction_id"), "label",
        pl.lit("no_candidate").alias("mechanism"),
        pl.lit(0.01).alias("best_score"), pl.lit(0.6).alias("best_iou"),
        pl.col("label").alias("best_label"), "truth",
    )  # fmt: skip
    return World(images, objects.drop("truth"), errors)


def experiments(
    plan: pl.DataFrame, errors: pl.DataFrame, *, hits: float = 0.5, luck: float = 0.12, seed: int = 0
) -> pl.DataFrame:
    """Repairs that succeed with ``hits`` where the cause is right and with ``luck`` where not, like two placebos."""
    rng = np.random.default_rng(seed)
    truth = dict(errors.select("error_id", "truth").iter_rows())
    rows = []
    for error_id, cause in plan.select("error_id", "cause").iter_rows():
        placebo = float((rng.random(2) < luck).mean())
        found = float(rng.random() < (hits if truth[error_id] == cause else luck))
        before = rng.uniform(0, 0.1)
        after, other = (rng.uniform(0.4, 0.8) if hit else rng.uniform(0, 0.15) for hit in (found, placebo))
        rows += [
            (error_id, "repair", cause, before, after, other, after - max(before, other)),
            (error_id, "repair_found", cause, 0.0, found, placebo, found - placebo),
        ]
    return pl.DataFrame(rows, schema=dict(tables.TABLES["evidence"]), orient="row")


@dataclass(frozen=True)
class Judged:
    world: World
    analysis: coverage.Analysis
    evidence: pl.DataFrame
    verdicts: pl.DataFrame


def judge(
    train: World | None,
    evaluation: World,
    *,
    recall: float | None = None,
    tried: bool = False,
    is_training_set: bool = True,
    seed: int = 0,
) -> Judged:
    """Run coverage, rank, (simulated) experiments and judge."""
    analysis = coverage.analyse(train, evaluation, train_detected=True)
    tables_ = (evaluation.objects, evaluation.images, analysis.coverage)
    errors = evaluation.errors.drop("truth")
    evidence = verdict.rank(errors, *tables_, bins=analysis.bins, score_threshold=0.25)
    if tried:
        plan = verdict.plan(evidence, errors, 5)
        evidence = tables.stack([evidence, experiments(plan, evaluation.errors, seed=seed)], tables.TABLES["evidence"])
    verdicts = verdict.judge(
        errors,
        *tables_,
        evidence,
        bins=analysis.bins,
        promises=coverage.promise(evaluation.objects, NO_PREDICTIONS, Promise(recall=recall)),
        score_threshold=0.25,
        is_training_set=is_training_set,
    )
    return Judged(evaluation, analysis, evidence, verdicts)

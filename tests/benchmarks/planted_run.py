"""A finished run of any size on disk, without photos: tables with known risks, written a part at a time.

30 attributes: the 24 of the catalog, and three columns each of labels and of photos. Each attribute has its bins in
shares that are drawn once, 3% unknown; small and truncated objects and those in glare are missed more often, and misses
gather in photos. Training lacks what is truncated and seen from the rear.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from xai import run_json, tables
from xai.catalog import CATALOG

PER_PHOTO = 8
PART = 125_000
"""Photos that are drawn at a time."""

LABELS = {"car": 0.5, "person": 0.25, "bus": 0.1, "bicycle": 0.08, "dog": 0.07}
WORDS = {
    "meta_weather": ("dry", "rain", "fog"),
    "meta_site": tuple(f"site {place}" for place in range(12)),
    "meta_daytime": ("day", "dusk", "night"),
    "label_pose": ("left", "right", "front", "rear"),
    "label_truncated": ("no", "yes"),
    "label_source": ("team a", "team b"),
}
ATTRIBUTES = len(CATALOG) + len(WORDS)
RISKS = {"object_size": (0, 3.0), "glare": (-1, 2.5), "label_truncated": (1, 1.8)}
"""Attribute → place of a bin and how many times as often its objects are missed."""

MECHANISMS = ("no_candidate", "low_score", "wrong_class", "suppressed", "poor_box")


def write_run(folder: Path, objects: int, *, seed: int = 0, train: bool = True) -> None:
    """Write the tables of a run before coverage: ``objects`` annotated ones a side, ``PER_PHOTO`` on a photo."""
    folder.mkdir(parents=True)
    writers: dict[str, pq.ParquetWriter] = {}
    lost = 0
    for split in ("train", "eval") if train else ("eval",):
        for part in _parts(split, objects // PER_PHOTO, seed):
            told = {"images": part[0], "objects": part[1]}
            if split == "eval":
                told |= _judged(part[1], lost)
                lost += len(told["verdicts"])
            for name, frame in told.items():
                arrow = tables.conform(frame, tables.TABLES[name]).to_arrow()
                if name not in writers:
                    writers[name] = pq.ParquetWriter(folder / f"{name}.parquet", arrow.schema)
                writers[name].write_table(arrow)
    for writer in writers.values():
        writer.close()
    for name, schema in (tables.TABLES | tables.BESIDE).items():
        if name not in writers:
            tables.write(tables.empty(schema), folder / f"{name}.parquet")
    counts = {"photos": objects // PER_PHOTO, "objects": objects // PER_PHOTO * PER_PHOTO}
    steps = [("found", "photos"), ("read", "photos"), ("found", "objects"), ("valid", "objects"), ("used", "objects")]
    funnel = [{"step": step, "unit": unit, "count": counts[unit], "lost": {}} for step, unit in steps]
    told = {split: {"is_training_set": True, **counts} for split in (("train", "eval") if train else ("eval",))}
    info = {"command": "", "config": {}, "model": {}, "promise": [], "timings": {}, "version": "", "versions": {}}
    info |= {"data": told, "funnel": dict.fromkeys(told, funnel)}
    run_json.write(info, folder)


def _parts(split: str, photos: int, seed: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Draw photos and objects, ``PART`` photos at a time."""
    shares = {name: np.random.default_rng(7).dirichlet(np.full(count, 2.0)) for name, count in _bins().items()}
    for start in range(0, photos, PART):
        count = min(PART, photos - start)
        rng = np.random.default_rng([seed, split == "train", start])
        ids = pl.select(
            pl.format("{}/photo_{}.jpg", pl.lit(split), pl.int_range(start, start + count).cast(pl.String).str.zfill(8))
        ).to_series()
        photo = np.repeat(np.arange(count), PER_PHOTO)
        risk = rng.beta(0.8, 9.2, count)[photo]
        columns: dict[str, dict[str, pl.Series]] = {"images": {}, "objects": {}}
        for name in shares:
            of_photos = CATALOG[name].level == "image" if name in CATALOG else name.startswith("meta_")
            code = rng.choice(len(shares[name]), count if of_photos else len(photo), p=shares[name])
            if split == "train" and name == "label_truncated":  # after the pose: what training lacks
                rear = (columns["objects"]["label_pose"] == "rear").to_numpy()
                code = np.where(rear, 0, code)
            columns["images" if of_photos else "objects"][name] = _values(name, code, rng)
            if name in RISKS:
                place, ratio = RISKS[name]
                inside = code == place % len(shares[name])
                risk = np.where(inside[photo] if of_photos else inside, np.minimum(risk * ratio, 1.0), risk)
        missed = rng.random(len(photo)) < risk
        corner, size = rng.integers(0, 400, (2, len(photo))), rng.integers(20, 240, (2, len(photo)))
        images = pl.DataFrame({"image_id": ids, **columns["images"]}).with_columns(
            split=pl.lit(split), status=pl.lit("ok"), width=640, height=640, exif_orientation=1
        )
        objects = pl.DataFrame(
            {
                "image_id": ids.gather(photo),
                "object_id": np.tile(np.arange(PER_PHOTO), count),
                "label": _words(rng.choice(len(LABELS), len(photo), p=list(LABELS.values())), tuple(LABELS)),
                "outcome": _words(missed.astype(np.int64), ("found", "missed")),
                "x1": corner[0], "y1": corner[1], "x2": corner[0] + size[0], "y2": corner[1] + size[1],
                "score": np.where(missed, np.nan, rng.uniform(0.25, 1.0, len(photo))),
                **columns["objects"],
            }
        )  # fmt: skip
        yield images, objects.with_columns(pl.col("score").fill_nan(None), split=pl.lit(split))


def _bins() -> dict[str, int]:
    return {name: len(item.bins) for name, item in CATALOG.items()} | {name: len(item) for name, item in WORDS.items()}


def _words(codes: np.ndarray, words: tuple[str, ...]) -> pl.Series:
    return pl.Series(words, dtype=pl.String).gather(codes)


def _values(name: str, codes: np.ndarray, rng: np.random.Generator) -> pl.Series:
    """Values inside the bins of ``codes``; of words the words."""
    if name in WORDS:
        return _words(codes, WORDS[name])
    bins = CATALOG[name].bins
    high = np.array([item.high if item.high is not None else (item.low or 0) + 1 for item in bins], dtype=np.float64)
    low = np.array([item.low if item.low is not None else item.high - 1 for item in bins], dtype=np.float64)
    values = low[codes] + (high - low)[codes] * rng.random(len(codes))
    return pl.Series(np.where(rng.random(len(codes)) < 0.03, np.nan, values)).fill_nan(None)


def _judged(objects: pl.DataFrame, first: int) -> dict[str, pl.DataFrame]:
    """Detections of what was found, and errors, evidence and verdicts of what was missed."""
    found = objects.filter(pl.col("outcome") == "found").with_columns(
        outcome=pl.lit("matched"), prediction_id="object_id"
    )
    boxes = ["x1", "y1", "x2", "y2"]
    predictions = found.select("split", "image_id", "prediction_id", "label", "score", *boxes, "outcome", "object_id")
    number = pl.int_range(first, pl.len() + first)
    missed = objects.filter(pl.col("outcome") == "missed").with_columns(
        error_id=number.cast(pl.String).str.zfill(12),
        kind=pl.lit("missed"),
        mechanism=pl.Series(MECHANISMS).gather(np.arange(objects["outcome"].eq("missed").sum()) % len(MECHANISMS)),
    )
    named = [f"label_pose={word}" for word in WORDS["label_pose"]]
    errors = missed.select(
        "error_id", "kind", "image_id", "object_id", "label", "mechanism",
        conditions=pl.concat_list(pl.format("label_pose={}", "label_pose"), pl.lit(named[0])),
    )  # fmt: skip
    small = pl.col("object_size") < CATALOG["object_size"].bins[0].high
    told = missed.with_columns(cause=pl.when(small).then(pl.lit("small_object")).otherwise(pl.lit("unexplained")))
    verdicts = told.select(
        "error_id", "cause", "mechanism",
        verdict=pl.when(small).then(pl.lit("hard")).otherwise(pl.lit("unexplained")),
        strength=pl.when(small).then(0.8).otherwise(0.1),
        attribute=pl.when(small).then(pl.lit("object_size")),
        bin=pl.when(small).then(pl.lit(CATALOG["object_size"].bins[0].name)),
        sentence=pl.format("This {} is small: small objects are missed 3.0 times as often as the others.", "label"),
    )  # fmt: skip
    evidence = told.select("error_id", kind=pl.lit("joint_risk"), name="cause", before=1.0, after=3.0, effect=2.0)
    return {"predictions": predictions, "errors": errors, "verdicts": verdicts, "evidence": evidence}

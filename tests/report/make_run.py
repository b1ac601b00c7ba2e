"""Fabricates a finished run directory: every table of the contract, run.json and gallery pictures, without a detector.

Objects get random attributes, and are missed more often when small, crowded or in glare, so the figures hang together:
shares, rates and ratios in the coverage table are counted from the objects table.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

from attributes import ATTRIBUTES
from xai import tables

LABELS = ("car", "person", "bicycle", "dog", "chair", "potted plant")
CONDITIONS = ("glare", "brightness", "object_size", "truncation", "crowding", "object_glare", "sharpness")
CAUSE_OF = {
    ("object_size", "tiny"): "small_object",
    ("object_size", "small"): "small_object",
    ("object_glare", "strong"): "glare",
    ("crowding", "crowded"): "crowding",
    ("brightness", "dark"): "darkness",
}
MECHANISMS = ("no_candidate", "low_score", "wrong_class", "suppressed", "poor_box")


def make_run(
    folder: Path,
    *,
    photos: int = 60,
    seed: int = 0,
    labels: Sequence[str] = LABELS,
    train: bool | None = True,
    promise: str | None = "broken",
    missing: bool = True,
    judged: bool = True,
    gallery: int | None = 40,
    mapped: int = 10,
    photo_files: Sequence[Path] = (),
    image_name: str = "street/photo_{:04d}.jpg",
) -> Path:
    """Write a run.

    Args:
        folder: where.
        photos: evaluation photos, and as many training photos.
        seed: of everything random.
        labels: class names.
        train: whether the training split is the training set (True), a reference set (False) or absent (None).
        promise: answer of the promise, or None for no promise.
        missing: whether anything is missed.
        judged: whether misses have verdicts and evidence.
        gallery: misses that get a picture; None for all.
        mapped: of these, those that get a heat map and a repaired photo.
        photo_files: real photos to use; random scenes if empty.
        image_name: pattern of the photos' names.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    images, objects = _scene(rng, "eval", photos, labels, missing, photo_files, image_name)
    frames = {"images": images, "objects": objects}
    if train is not None:
        frames = {
            name: pl.concat([frame, other])
            for (name, frame), other in zip(
                frames.items(), _scene(rng, "train", photos, labels, missing, photo_files, image_name), strict=True
            )
        }
    misses = objects.filter(pl.col("outcome").is_in(["missed", "confused", "mislocated"]))
    errors = _errors(rng, misses).with_columns(_conditions(misses))
    coverage = _coverage(frames["objects"], train is not None)
    frames |= {"errors": errors, "coverage": coverage, "predictions": _predictions(rng, objects, labels)}
    frames |= _judgements(rng, errors, misses, coverage) if judged else {}
    frames |= _patterns(coverage) | {"issues": _issues(image_name)}
    for name, schema in tables.TABLES.items():
        tables.write(tables.conform(frames.get(name, tables.empty(schema)), schema), folder / f"{name}.parquet")
    (folder / "run.json").write_text(json.dumps(_info(frames, train, promise)), encoding="utf-8")
    _pictures(
        rng, folder, errors.head(len(errors) if gallery is None else gallery), images, misses, photo_files, mapped
    )
    return folder


def _bin(attribute: str, values: np.ndarray) -> list[str]:
    bins = ATTRIBUTES[attribute].bins
    cuts = [item.low for item in bins[1:]]
    return [bins[place].name for place in np.searchsorted(np.array(cuts, dtype=float), values, side="right")]


def _scene(
    rng: np.random.Generator,
    split: str,
    photos: int,
    labels: Sequence[str],
    missing: bool,
    files: Sequence[Path],
    image_name: str,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    sizes = [Image.open(files[i % len(files)]).size if files else (640, 480) for i in range(photos)]
    names = [image_name.format(i) for i in range(photos)]
    images = pl.DataFrame({"split": split, "image_id": names, "status": "ok", "width": [w for w, _ in sizes]})
    images = images.with_columns(
        height=pl.Series([h for _, h in sizes]),
        glare=rng.beta(1, 5, photos),
        brightness=rng.beta(4, 5, photos),
        sharpness=rng.uniform(0.4, 1, photos),
    )
    counts = rng.integers(0, 7, photos)
    which = np.repeat(np.arange(photos), counts)
    n = len(which)
    side = np.clip(rng.lognormal(-1.6, 0.8, n), 0.02, 0.9)
    wide, high = np.array(sizes, dtype=float)[which].T
    w, h = side * wide * rng.uniform(0.7, 1, n), side * high * rng.uniform(0.7, 1, n)
    x, y = rng.uniform(0, wide - w), rng.uniform(0, high - h)
    crowding = rng.beta(0.6, 2, n)
    object_glare = rng.beta(0.7, 5 if split == "eval" else 30, n)
    rate = 0.06 + 0.45 * (side < 0.1) + 0.35 * (object_glare > 0.3) + 0.2 * (crowding > 0.5)
    missed = (rng.random(n) < rate) & missing
    kinds = rng.choice(["missed", "confused", "mislocated"], n, p=[0.75, 0.15, 0.1])
    ids = np.concatenate([np.arange(c) for c in counts]).astype(int) if n else np.zeros(0, int)
    objects = pl.DataFrame(
        {
            "split": [split] * n,
            "image_id": [names[i] for i in which],
            "object_id": ids,
            "label": rng.choice(np.array(labels), n).tolist(),
            "x1": x,
            "y1": y,
            "x2": x + w,
            "y2": y + h,
            "outcome": np.where(missed, kinds, np.where(rng.random(n) < 0.05, "ignored", "found")).tolist(),
            "object_size": side,
            "truncation": rng.beta(0.3, 6, n),
            "crowding": crowding,
            "object_glare": object_glare,
        }
    )
    return images, objects


def _errors(rng: np.random.Generator, misses: pl.DataFrame) -> pl.DataFrame:
    def key(row: dict[str, Any]) -> str:
        return hashlib.sha256(f"{row['outcome']}/{row['image_id']}/{row['object_id']}/".encode()).hexdigest()[:12]

    n = misses.height
    return misses.select("image_id", "object_id", "label", kind="outcome").with_columns(
        error_id=pl.Series([key(row) for row in misses.rows(named=True)], dtype=pl.String),
        mechanism=pl.Series(rng.choice(MECHANISMS, n, p=[0.35, 0.3, 0.15, 0.12, 0.08]).tolist(), dtype=pl.String),
        best_score=pl.Series(np.where(rng.random(n) < 0.3, np.nan, rng.uniform(0, 0.25, n))).fill_nan(None),
        best_iou=rng.uniform(0.1, 0.9, n),
        best_label=pl.col("label"),
    )


def _conditions(misses: pl.DataFrame) -> pl.Series:
    """Return the bins of each miss, as the pipeline adds them to its errors."""
    names = [name for name in CONDITIONS if name in misses.columns]
    bins = {name: _bin(name, misses[name].to_numpy()) for name in names}
    told = [[f"{name}={bins[name][place]}" for name in names] for place in range(misses.height)]
    return pl.Series("conditions", told, dtype=pl.List(pl.String))


def _coverage(objects: pl.DataFrame, has_train: bool) -> pl.DataFrame:
    scored = objects.filter(pl.col("outcome") != "ignored")
    rows = []
    for attribute in (name for name in CONDITIONS if name in scored.columns):
        tagged = scored.with_columns(bin=pl.Series(_bin(attribute, scored[attribute].to_numpy())))
        for item in ATTRIBUTES[attribute].bins:
            for label in (None, *scored["label"].unique().sort()):
                cell = tagged if label is None else tagged.filter(pl.col("label") == label)
                rows.append(_figures(attribute, item.name, label, cell, has_train))
    return pl.DataFrame(rows, schema=dict(tables.TABLES["coverage"]), orient="row")


def _figures(attribute: str, bin_name: str, label: str | None, cell: pl.DataFrame, has_train: bool) -> dict[str, Any]:
    train, evaluation = (cell.filter(pl.col("split") == split) for split in ("train", "eval"))
    inside, trained = evaluation.filter(pl.col("bin") == bin_name), train.filter(pl.col("bin") == bin_name)
    n, k = inside.height, inside.filter(pl.col("outcome") != "found").height
    total = evaluation.filter(pl.col("outcome") != "found").height
    rest_n, rest_k = evaluation.height - n, total - k
    ratio = (k / n) / (rest_k / rest_n) if n and rest_k else None
    spread = math.exp(1.96 * math.sqrt(1 / k - 1 / n + 1 / rest_k - 1 / rest_n)) if ratio else None
    elevated = ratio is not None and spread is not None and ratio / spread > 1 and ratio >= 1.5
    rare = trained.height < 0.5 * n * max(1, train.height) / max(1, evaluation.height) or trained.height < 15
    return {
        "attribute": attribute,
        "bin": bin_name,
        "label": label,
        "level": ATTRIBUTES[attribute].level,
        "train_count": trained.height if has_train else None,
        "train_photos": trained["image_id"].n_unique() if has_train else None,
        "train_share": trained.height / train.height if has_train and train.height else None,
        "train_miss_rate": (trained["outcome"] != "found").mean() if has_train else None,
        "eval_count": n,
        "eval_photos": inside["image_id"].n_unique(),
        "eval_share": n / evaluation.height if evaluation.height else None,
        "miss_count": k,
        "miss_share": k / total if total else None,
        "miss_rate": k / n if n else None,
        "miss_rate_low": max(0.0, k / n - 0.1) if n else None,
        "miss_rate_high": min(1.0, k / n + 0.12) if n else None,
        "risk_ratio": ratio,
        "risk_ratio_low": ratio / spread if ratio and spread else None,
        "risk_ratio_high": ratio * spread if ratio and spread else None,
        "adjusted_risk_ratio": ratio,
        "adjusted_low": ratio / spread if ratio and spread else None,
        "adjusted_high": math.inf if ratio and k < 3 else ratio * spread if ratio and spread else None,
        "q_value": 0.01 if elevated else 0.6,
        "assessment": ("coverage_gap" if rare else "hard")
        if elevated
        else ("too_few" if n < 10 else "rare_harmless" if rare else "fine"),
        "collect": 40 + n if elevated and rare and has_train else None,
    }


def _judgements(
    rng: np.random.Generator, errors: pl.DataFrame, misses: pl.DataFrame, coverage: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    overall = {
        (row["attribute"], row["bin"]): row for row in coverage.filter(pl.col("label").is_null()).rows(named=True)
    }
    attributes = [name for name in ("object_size", "object_glare", "crowding") if name in misses.columns]
    bins = {name: _bin(name, misses[name].to_numpy()) for name in attributes}
    verdicts, evidence = [], []
    for place, error in enumerate(errors.rows(named=True)):
        told = [(name, bins[name][place]) for name in attributes if (name, bins[name][place]) in CAUSE_OF]
        strength = float(rng.uniform(0.3, 0.98)) if told else 0.1
        row: dict[str, Any] = {"error_id": error["error_id"], "mechanism": error["mechanism"], "strength": strength}
        if told:
            figures = overall[told[0]]
            verdict = figures["assessment"] if figures["assessment"] in ("coverage_gap", "hard") else "hard"
            row |= {"cause": CAUSE_OF[told[0]], "verdict": verdict, "attribute": told[0][0], "bin": told[0][1]}
            row |= {name: figures[name] for name in ("train_share", "eval_share", "miss_share", "risk_ratio")}
            row["sentence"] = (
                f"This {error['label']} is in the condition {told[0][0]} = {told[0][1]}, which is missed "
                f"{figures['risk_ratio'] or 1:.1f} times as often as the rest."
            )
        else:
            row |= {"cause": "unexplained", "verdict": "chance" if rng.random() < 0.3 else "unexplained"}
            row["sentence"] = f"Nothing that was measured sets this {error['label']} apart."
        verdicts.append(row)
        evidence += _evidence(rng, error["error_id"], row["cause"] if told else "tilt")
    schemas = tables.TABLES
    return {
        "verdicts": pl.DataFrame(verdicts, schema=dict(schemas["verdicts"])),
        "evidence": pl.DataFrame(evidence, schema=dict(schemas["evidence"])),
    }


def _evidence(rng: np.random.Generator, error_id: str, cause: str) -> list[dict[str, Any]]:
    """Return lines of all kinds that the ranking and the experiments write."""
    before, after, found = (float(value) for value in (*rng.uniform(0, 0.6, 2), rng.random() < 0.4))
    lines: list[tuple[str, str, float | None, float, float | None, float]] = [
        ("unusualness", cause, None, 0.02, None, 1.7),
        ("risk", cause, 0.1, 0.4, None, 3.1),
        ("joint_risk", cause, None, 2.2, None, 1.2),
        ("coverage", cause, 0.12, 0.03, None, 4.0),
        ("repair", cause, before, after, before + 0.01, after - before - 0.01),
        ("repair_found", cause, 0.0, found, 1 / 3, found - 1 / 3),
        ("saliency", "inside_box", None, 0.6, 0.1, 0.5),
        ("saliency", "suppressing_context", None, math.nan, 0.7, math.nan),
        ("suppressor", "hidden", 0.1, 0.3, 0.12, 0.2),
        ("faithfulness", "no_better_than_random", 0.1, 0.2, 0.15, 0.1),
        ("placebo", "flip", before, before + 0.01, None, 0.01),
        ("placebo_found", "flip", 0.0, 0.0, None, 0.0),
        ("severity", cause, 0.15, 0.13, None, 0.1),
        ("part", "bottom", before, before + 0.2, None, 0.2),
        ("upright", "roll", 2.0, 2.5, None, 0.5),
        ("control", "blur", before, before, before + 0.01, -0.01),
        ("control_found", "blur", 0.0, 0.0, 1 / 3, -1 / 3),
        ("coverage", "low_contrast", 0.2, 0.21, None, 0.95),
    ]
    names = ("kind", "name", "before", "after", "placebo", "effect")
    return [{"error_id": error_id, **dict(zip(names, line, strict=True))} for line in lines]


def _patterns(coverage: pl.DataFrame) -> dict[str, pl.DataFrame]:
    top = coverage.filter(pl.col("label").is_null() & pl.col("assessment").is_in(["coverage_gap", "hard"]))
    named = top.with_columns(conditions=pl.concat_list(pl.format("{}={}", "attribute", "bin"), pl.lit("crowding=some")))
    slices = named.with_columns(slice=pl.col("conditions").list.join(" & "))
    return {
        "slices": slices.select(name for name in tables.TABLES["slices"]),
        "uncovered": named.select(
            pattern="conditions", train_count=0, eval_count="eval_count", miss_count="miss_count"
        ),
    }


def _issues(image_name: str) -> pl.DataFrame:
    rows: list[tuple[str, str, str, str, int | None]]
    rows = [("eval", "photo_truncated", "error", "the file ends before the photo does", None)]
    rows += [("eval", "box_outside", "warning", f"box reaches {i} px past the photo", 3 + i) for i in range(5)]
    rows += [("train", "box_empty", "error", "expected x2 > x1, got 10 and 10", 7)]
    return pl.DataFrame(
        [
            {"split": split, "image_id": image_name.format(i), "code": code, "severity": severity, "message": message,
             "file": f"labels/{image_name.format(i)}.txt", "line": line}
            for i, (split, code, severity, message, line) in enumerate(rows)
        ]
    )  # fmt: skip


def _predictions(rng: np.random.Generator, objects: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    shift = rng.normal(0, 8, objects.height)
    return objects.select(
        "split", "image_id", "label", *(pl.col(side) + pl.Series(shift) for side in ("x1", "y1", "x2", "y2")),
        prediction_id="object_id",
        score=pl.Series(rng.uniform(0.25, 0.98, objects.height)),
        outcome=pl.lit("matched"),
    ).filter(pl.Series(rng.random(objects.height) < 0.8))  # fmt: skip


def _info(frames: dict[str, pl.DataFrame], train: bool | None, promise: str | None) -> dict[str, Any]:
    counts = {
        split: (
            frames["images"].filter(pl.col("split") == split).height,
            frames["objects"].filter(pl.col("split") == split).height,
        )
        for split in ("train", "eval")
    }
    scored = frames["objects"].filter((pl.col("split") == "eval") & (pl.col("outcome") != "ignored"))
    found = scored.filter(pl.col("outcome") == "found").height
    splits = ["eval"] if train is None else ["train", "eval"]
    answer = {"metric": "recall", "target": 0.9, "confidence": 0.95, "answer": promise, "photos_needed": None} | {
        "numerator": found,
        "denominator": scored.height,
        "sentence": f"{found} of {scored.height} objects were found; the promised 90% is {promise}.",
    }
    return {
        "schema": 1,
        "version": "0.1.0",
        "versions": {"python": "3.11.2", "torch": "2.14.0", "polars": "2.1.0"},
        "seed": 0,
        "command": "xai triage configs/street.yaml",
        "config": {"report": {"title": "Street detector, spring evaluation"}, "match": {"iou": 0.5}},
        "started_at": "2024-05-02T08:00:00+00:00",
        "finished_at": "2024-05-02T08:04:31+00:00",
        "model": {"kind": "ultralytics", "file": "weights/street_v3.pt", "sha256": "ab" * 32, "architecture": "YOLO11n",
                  "trained_at": "unknown", "details": {"epochs": 100, "data": "street.yaml"}},
        "data": {
            split: {"path": f"data/{split}", "format": "voc", "split": split, "sha256": "cd" * 32,
                    "is_training_set": bool(train), "captured_at": None, "photos": counts[split][0],
                    "objects": counts[split][1]}
            for split in splits
        },
        "funnel": {
            split: [
                {"step": "found", "count": counts[split][0] + 1, "unit": "photos", "lost": {}},
                {"step": "read", "count": counts[split][0], "unit": "photos", "lost": {"photo_truncated": 1}},
                {"step": "found", "count": counts[split][1] + 3, "unit": "objects", "lost": {}},
                {"step": "valid", "count": counts[split][1], "unit": "objects", "lost": {"box_empty": 3}},
                {"step": "used", "count": scored.height, "unit": "objects", "lost": {"difficult": 9}},
            ]
            for split in splits
        },
        "promise": [answer] if promise else [],
        "promise_parts": [
            answer | {"part": part, "answer": told, "rate": rate, "low": rate - 0.1, "high": 1.0, "photos": 7}
            for part, told, rate in (
                ("label=car", "inside", 0.95), ("object_size=tiny & crowding=some", "not shown", 0.7),
                ("label=dog", "broken", 0.6), ("label=nobody", "not shown", 0.8),
            )
        ] if promise else [],
        "plan": [{"like": "street/photo_0001.jpg", "photos": 12, "objects": 30,
                  "patterns": ["object_size=tiny & crowding=some", "label=car", "glare=strong", "glare=mild"]}],
        "timings": {"scan eval": 12.3, "explain": 81.0},
    }  # fmt: skip


def _pictures(
    rng: np.random.Generator,
    folder: Path,
    errors: pl.DataFrame,
    images: pl.DataFrame,
    misses: pl.DataFrame,
    files: Sequence[Path],
    mapped: int,
) -> None:
    (folder / "gallery").mkdir(exist_ok=True)
    for name in ("maps", "repairs"):
        (folder / name).mkdir(exist_ok=True)
    places = {name: place for place, name in enumerate(images["image_id"])}
    boxes = {(row["image_id"], row["object_id"]): row for row in misses.rows(named=True)}
    kept: dict[str, tuple[tuple[int, int], tuple[int, int], bytes, bytes]] = {}
    for number, row in enumerate(errors.rows(named=True)):
        name, box = row["image_id"], boxes[row["image_id"], row["object_id"]]
        if name not in kept:
            if files:
                with Image.open(files[places[name] % len(files)]) as opened:
                    photo = opened.convert("RGB")
            else:
                photo = _paint(np.random.default_rng(places[name]), misses.filter(pl.col("image_id") == name))
            size = photo.size
            photo.thumbnail((640, 640))
            kept[name] = (size, photo.size, _jpeg(photo), _jpeg(photo.rotate(90, expand=True)))
        size, shown, jpeg, turned = kept[name]
        (folder / "gallery" / f"{row['error_id']}.jpg").write_bytes(jpeg)
        if number < mapped:
            (folder / "repairs" / f"{row['error_id']}.small_object.jpg").write_bytes(turned)
            heat = _heat(box, size, (shown[0] // 2, shown[1] // 2))
            heat.save(folder / "maps" / f"{row['error_id']}.png", compress_level=1)


def _jpeg(photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _paint(rng: np.random.Generator, objects: pl.DataFrame) -> Image.Image:
    sky, ground = rng.integers(150, 230, 3), rng.integers(60, 120, 3)
    ramp = np.linspace(0, 1, 480)[:, None, None]
    noise = rng.normal(0, 6, (480, 640, 3))
    photo = Image.fromarray(np.clip(sky * (1 - ramp) + ground * ramp + noise, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(photo)
    for row in objects.rows(named=True):
        draw.rounded_rectangle([row["x1"], row["y1"], row["x2"], row["y2"]], 6, tuple(rng.integers(0, 255, 3).tolist()))
    return photo


def _heat(box: dict[str, Any], size: tuple[int, int], shown: tuple[int, int]) -> Image.Image:
    scale = shown[0] / size[0]
    ys, xs = np.mgrid[: shown[1], : shown[0]]
    cx, cy = scale * (box["x1"] + box["x2"]) / 2, scale * (box["y1"] + box["y2"]) / 2
    radius = max(12.0, scale * (box["x2"] - box["x1"]))
    heat = np.exp(-((xs - cx) ** 2 + (ys - cy) ** 2) / (2 * radius**2))
    rgba = np.stack([np.full_like(heat, 230), 90 * (1 - heat), np.full_like(heat, 20), 200 * heat], axis=-1)
    return Image.fromarray(rgba.astype(np.uint8), "RGBA")

"""Evaluation sets whose misses have a known cause: photos of a data set with conditions planted into some of them.

The clean photos are put through the detector first. An object that was found on the clean photo and is missed on the
changed one is missed because of the change; nothing else is counted as known.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
import numpy as np
import polars as pl
from planted_light import LIGHT, Rng
from planted_scene import PLACE, Scene, stored_pixels

from attributes.decode import read
from xai import config as configs
from xai import pipeline
from xai.types import Pixels

ACCEPTED: Mapping[str, frozenset[str]] = {
    "glare on the object": frozenset({"glare"}),
    "glare over the photo": frozenset({"glare", "haze", "low_contrast"}),
    "veil": frozenset({"glare", "haze", "low_contrast"}),
    "haze": frozenset({"glare", "haze", "low_contrast"}),
    "low contrast": frozenset({"glare", "haze", "low_contrast"}),
    "darkness": frozenset({"darkness"}),
    "overexposure": frozenset({"overexposure"}),
    "blur": frozenset({"blur"}),
    "noise": frozenset({"noise"}),
    "compression": frozenset({"compression"}),
    "sideways": frozenset({"rotation"}),
    "upside down": frozenset({"rotation"}),
    "tilt": frozenset({"tilt"}),
    "shrunken object": frozenset({"small_object"}),
    "truncation": frozenset({"truncation"}),
    "pasted occluder": frozenset({"occlusion"}),
    "crowding": frozenset({"crowding"}),
    "EXIF mismatch": frozenset({"exif_mismatch"}),
    "damaged label": frozenset({"label_error"}),
}
"""Condition → causes that name it. What veils a whole photo is one thing to a camera: those four share a set."""

PAIRS = (
    ("sideways", "darkness"),
    ("sideways", "veil"),
    ("upside down", "blur"),
    ("tilt", "darkness"),
    ("shrunken object", "haze"),
    ("shrunken object", "noise"),
    ("darkness", "noise"),
    ("haze", "blur"),
)
"""Conditions that are planted together, in this order; ``A + B`` names such a pair where a condition is asked for."""

PLUS = " + "

ON_OBJECTS = frozenset({"glare on the object", "pasted occluder", "crowding", "truncation", "damaged label"})
"""Conditions that lie on chosen objects; the others lie on the whole photo."""

QUALITY = 95
"""JPEG quality of all photos, changed or not."""

SMALLEST = 24
"""px: side from which an object is chosen to carry a condition."""


@dataclass(frozen=True, eq=False)
class Clean:
    """The photos as they are: their folder, and their objects with outcomes and the detector's class names."""

    root: Path
    objects: pl.DataFrame


@dataclass(frozen=True, eq=False)
class World:
    """A planted data set: a config to triage it, and what was planted (``truth``, a row per evaluation object)."""

    config: configs.Config
    truth: pl.DataFrame


def half(image_id: str) -> str:
    """Half that a photo belongs to, by its name, so that it stays there when photos are added."""
    return "report" if zlib.crc32(Path(image_id).stem.encode()) & 1 else "tune"


def save(world: World, folder: Path) -> None:
    """Keep a built world, so that a benchmark that was stopped need not build it again."""
    (folder / "config.json").write_text(world.config.model_dump_json())
    world.truth.write_parquet(folder / "truth.parquet")


def kept(folder: Path) -> World | None:
    """Return the world that was kept in a folder, None where none is."""
    if not (folder / "truth.parquet").is_file():
        return None
    config = configs.from_dict(json.loads((folder / "config.json").read_text()))
    return World(config, pl.read_parquet(folder / "truth.parquet"))


def clean(path: Path, form: str, detector: Mapping[str, Any], classes: Mapping[str, str], cache: Path) -> Clean:
    """Find what the detector finds in the photos as they are; kept in ``cache``."""
    folder = cache / f"clean-{zlib.crc32(json.dumps([str(path), form, detector], sort_keys=True).encode()):08x}"
    raw = {
        "data": {"train": {"path": str(path), "format": form}, "eval": {"path": str(path), "format": form}},
        "detector": dict(detector),
    }
    raw["data"]["classes"] = dict(classes)
    if not (folder / "objects.parquet").is_file():
        split = "train" if form == "yolo" else None
        pipeline.profile(path, out=folder, format=form, split=split, config=configs.from_dict(raw))
    info = json.loads((folder / "run.json").read_text())
    return Clean(Path(info["data"]["train"]["path"]), pl.read_parquet(folder / "objects.parquet"))


def build(
    sources: Sequence[Clean],
    out: Path,
    *,
    part: str,
    seed: int,
    conditions: Sequence[str],
    planted: float,
    explain: Mapping[str, Any],
    detector: Mapping[str, Any],
    most: int | None = None,
    design: str = "mixed",
) -> World:
    """Write a reference set and an evaluation set with planted conditions.

    Args:
        sources: clean photos.
        out: a new folder.
        part: half of the photos, ``tune`` or ``report``.
        seed: of everything drawn.
        conditions: names in ``ACCEPTED``, or pairs.
        planted: share of the evaluation photos with a condition; each as often as another.
        explain: section ``explain`` of the config.
        detector: section ``detector`` of the config.
        most: photos at most.
        design: ``rare`` leaves all conditions out of the reference set, ``held`` plants them there as often as in the
            evaluation set, ``mixed`` holds every second one.
    """
    rng = np.random.default_rng([seed, zlib.crc32(part.encode())])
    photos = [(source, name) for source in sources for name in sorted(set(source.objects["image_id"]))]
    photos = [photos[int(index)] for index in rng.permutation(len(photos))]
    photos = [(source, name) for source, name in photos if half(name) == part][:most]
    n_reference = len(photos) // 3
    order = [str(name) for name in rng.permutation(list(conditions))]
    held = {"rare": [], "held": order, "mixed": order[::2]}[design]
    rows: list[pl.DataFrame] = []
    for split, chosen in (("train", photos[:n_reference]), ("eval", photos[n_reference:])):
        for folder in ("JPEGImages", "Annotations"):
            (out / split / folder).mkdir(parents=True, exist_ok=True)
        n_planted = round(planted * len(chosen))
        for index, (source, name) in enumerate(chosen):
            condition = order[index % len(order)] if index < n_planted else None
            if split == "train" and condition not in held:
                condition = None
            others = [read(source.root / other).pixels for source, other in _some(chosen, index, 1)]
            file = f"{Path(name).stem}.jpg"
            truth = _photo(source, name, condition, out / split, file, rng, others)
            if split == "eval":
                rows.append(truth)
    raw = {
        "data": {
            "train": {"path": str(out / "train"), "format": "voc", "is_training_set": False, "detect": n_reference},
            "eval": {"path": str(out / "eval"), "format": "voc"},
        },
        "detector": dict(detector),
        "explain": dict(explain),
        "promise": {"recall": 0.95},
        "seed": seed,
    }
    return World(configs.from_dict(raw), pl.concat(rows))


def _some(photos: Sequence[tuple[Clean, str]], index: int, count: int) -> list[tuple[Clean, str]]:
    return [photos[(index + step) % len(photos)] for step in range(1, count + 1)]


def _photo(
    source: Clean, name: str, condition: str | None, folder: Path, file: str, rng: Rng, others: Sequence[Pixels]
) -> pl.DataFrame:
    """Write one photo and its labels; return the truth of its objects."""
    objects = source.objects.filter((pl.col("image_id") == name) & pl.col("x1").is_not_null()).sort("object_id")
    found = (objects["outcome"] == "found").to_numpy()
    boxes = objects.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float64).reshape(-1, 4)
    large = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= SMALLEST
    chosen = np.flatnonzero(found & large)
    hit = np.zeros(len(boxes), dtype=bool)
    hit[rng.permutation(chosen)[:2]] = True
    ignored = (objects["outcome"] == "ignored").to_numpy()
    scene = Scene(read(source.root / name).pixels, tuple(objects["label"]), boxes, ignored, hit)
    strength, kind = float(rng.random()), None
    changed = None
    if condition is not None and (hit.any() or condition not in ON_OBJECTS) and len(boxes):
        changed, kind = _plant(scene, condition, strength, rng, others)
    if changed is None:
        condition, kind, changed = None, None, Scene(scene.pixels, scene.labels, boxes, ignored, np.zeros_like(hit))
    _write(changed, folder, file)
    count = len(changed.labels)
    before = np.concatenate([found, np.zeros(count - len(found), bool)])
    return pl.DataFrame(
        {
            "image_id": [f"JPEGImages/{file}"] * count,
            "object_id": list(range(count)),
            "condition": [condition] * count,
            "kind": [kind] * count,
            "strength": [strength] * count,
            "hit": changed.hit.tolist(),
            "found_before": before.tolist(),
        },
        schema={
            "image_id": pl.String, "object_id": pl.Int64, "condition": pl.String, "kind": pl.String,
            "strength": pl.Float64, "hit": pl.Boolean, "found_before": pl.Boolean,
        },
    )  # fmt: skip


def _plant(
    scene: Scene, condition: str, strength: float, rng: Rng, others: Sequence[Pixels]
) -> tuple[Scene | None, str | None]:
    """Plant a condition, or those of a pair one after the other; both lie on what the pair is said to lie on."""
    changed: Scene | None = scene
    done: list[str] = []
    for name in condition.split(PLUS):
        if changed is None:
            return None, None
        kinds = LIGHT.get(name) or PLACE[name]
        kind = str(rng.choice(sorted(kinds)))
        done.append(kind)
        if name in PLACE:
            changed = PLACE[name][kind](changed, strength, rng, others)
            continue
        targets = changed.boxes[changed.hit] if name in ON_OBJECTS else changed.boxes
        pixels = LIGHT[name][kind](changed.pixels, targets, strength, rng)
        hit = changed.hit if name in ON_OBJECTS or len(done) > 1 else np.ones_like(changed.hit)
        changed = replace(changed, pixels=pixels, hit=hit)
    return changed, PLUS.join(done)


def _write(scene: Scene, folder: Path, file: str) -> None:
    pixels = stored_pixels(scene)
    data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    (folder / "JPEGImages" / file).write_bytes(_with_orientation(data.tobytes(), scene.orientation))
    height, width = pixels.shape[:2]
    # VOC counts pixels from 1, and both corners belong to the box.
    parts = [
        f"<object><name>{escape(label)}</name><difficult>{int(hard)}</difficult><bndbox>"
        f"<xmin>{box[0] + 1:.3f}</xmin><ymin>{box[1] + 1:.3f}</ymin><xmax>{box[2]:.3f}</xmax><ymax>{box[3]:.3f}</ymax>"
        "</bndbox></object>"
        for label, box, hard in zip(scene.labels, scene.boxes, scene.difficult, strict=True)
    ]
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    text = f"<annotation><filename>{escape(file)}</filename>{size}{''.join(parts)}</annotation>"
    (folder / "Annotations" / f"{Path(file).stem}.xml").write_text(text, encoding="utf-8")


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Put an EXIF segment with nothing but the orientation behind the start of a JPEG file."""
    if orientation == 1:
        return jpeg
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0])
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00" + entry + b"\x00\x00\x00\x00"
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]

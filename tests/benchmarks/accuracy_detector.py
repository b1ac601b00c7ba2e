"""What a detector and the reader of labels add: a second witness for quarter turns, and labels drawn on stored photos.

The only part that needs `xai`, a checkpoint and ultralytics.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import accuracy_data as data
import numpy as np
import polars as pl
import torch
from accuracy_objects import Annotated, annotated
from harness import Ledger

from attributes import upright
from attributes.arrays import Boxes, Pixels
from attributes.frames import stored_boxes
from attributes.reduced import fit
from xai import detect, tables
from xai.config import DetectorConfig
from xai.dataset.validate import resolve
from xai.evidence.upright import LEAST, together
from xai.label_frames import mismatches
from xai.types import Detections, Detector, PredictedOnly

PHOTOS = 60
IMAGE_SIZE = 320
"""px: what stands upright is told by what is large, and a quarter of the pixels takes a quarter of the time."""

LEAST_SCORE = 0.05
DEPLOYED = 0.25
"""Score from which a run's detections count."""

DIFFERENT_SHAPE = (5, 6, 7, 8)
SAME_SHAPE = (2, 3, 4)


def load(folder: Path) -> Detector:
    """The detector of the data folder at a reduced size."""
    weights = folder / "weights/yolo11n_coco.pt"
    found = detect.load(
        DetectorConfig(kind="ultralytics", weights=weights, image_size=IMAGE_SIZE, score_threshold=LEAST_SCORE), "cpu"
    )
    if isinstance(found, PredictedOnly):
        raise TypeError(f"expected a detector that can be asked, got the detections of {found.card}")
    return found


@torch.no_grad()
def detections(detector: Detector, photos: Sequence[Pixels]) -> list[Detections]:
    """What the detector finds in each photo."""
    found: dict[int, Detections] = {}
    for index, photo in enumerate(photos):
        for prepared in detector.prepare([photo]):
            found[index] = detector.select(detector.forward(prepared.inputs), prepared)[0]
    return [found[index] for index in range(len(photos))]


def rotation(ledger: Ledger, folder: Path, detector: Detector) -> None:
    """Quarter turns by the head and by the detector's summed confidence over the four turns, together.

    Confidence is weighted with itself (a sum of squares): many weak detections are what clutter gives, any way up.
    """
    rng = np.random.default_rng(3)
    head, witness, truth = [], [], []
    for path in data.paths(folder / "voc/eval/JPEGImages", most=PHOTOS):
        turn = int(rng.integers(0, 4))
        square = fit(data.recoded(data.clockwise(data.middle_square(data.pixels(path)), turn), 85), IMAGE_SIZE)
        head.append(upright.confidence(upright.describe(square)))
        found = detections(detector, [data.clockwise(square, turns) for turns in range(4)])
        witness.append([(item.scores**2).sum() for item in found])
        truth.append((4 - turn) % 4)
    alone, both = np.array(witness), together(np.array(head), np.array(witness))
    right = both.argmax(axis=1) == truth
    most_sure = np.argsort(-both.max(axis=1))[: round(0.9 * len(right))]
    note = f"the surest 90% of {len(right)} VOC squares, detector at {IMAGE_SIZE} px"
    ledger.add(
        "rotation with a detector: right on the surest 90%", float(right[most_sure].mean()), 0.95, "higher", note
    )
    ledger.add("rotation with a detector: forced choice", float(right.mean()), None, "higher", note)
    told = both.max(axis=1) >= LEAST
    note = f"told on {told.mean():.2f}, as for the photos of misses whose rotation the attribute does not tell"
    ledger.add("rotation with a detector: right where told", float(right[told].mean()), 0.95, "higher", note)
    note = "weighted confidence by itself"
    ledger.add("rotation by the detector alone", float((alone.argmax(axis=1) == truth).mean()), None, "higher", note)


def label_frames(ledger: Ledger, folder: Path, detector: Detector) -> None:
    """VOC labels drawn on the displayed and on the stored frame of photos of every EXIF orientation."""
    files = data.paths(folder / "voc/eval/JPEGImages", most=PHOTOS)
    parts = {path: annotated(folder / f"voc/eval/Annotations/{path.stem}.xml") for path in files}
    parts = {path: item for path, item in parts.items() if item.width != item.height}
    for stated, target in ((True, 0.95), (False, None)):
        moved, kept = [], []
        for item in parts.values():
            for orientation in DIFFERENT_SHAPE:
                drawn = stored_boxes(item.boxes, orientation, item.width, item.height)
                size = (item.height, item.width) if stated else None
                moved.append(_resolved_to(item, drawn, orientation, size))
                kept.append(_resolved_to(item, item.boxes, orientation, (item.width, item.height) if stated else None))
        how = "sizes stated" if stated else "pixels, no size stated"
        note = f"{len(parts)} VOC photos, orientations 5 to 8, {how}"
        ledger.add(f"EXIF mismatch, {how}: stored labels found", float(np.mean(moved)), target, "higher", note)
        ledger.add(f"EXIF mismatch, {how}: displayed labels kept", float(np.mean(kept)), target, "higher", note)
    found = dict(zip(parts, detections(detector, [data.pixels(path) for path in parts]), strict=True))
    for how, orientations in (("frames of one shape", SAME_SHAPE), ("boxes as fractions", DIFFERENT_SHAPE)):
        fractions = orientations == DIFFERENT_SHAPE
        readings = [
            _read(item, boxes, orientation, f"{path.stem} {orientation} {stored}", fractions)
            for path, item in parts.items()
            for orientation in orientations
            for stored, boxes in enumerate((item.boxes, stored_boxes(item.boxes, orientation, item.width, item.height)))
            if len(boxes)
        ]
        predictions = pl.concat(
            [
                _boxes(found[path].boxes[found[path].scores >= DEPLOYED], f"{path.stem} {orientation} {stored}")
                for path in parts
                for orientation in orientations
                for stored in (0, 1)
            ]
        )
        objects, images, labels = (pl.concat(tables_) for tables_ in zip(*readings, strict=True))
        told = mismatches(objects, predictions, images, labels)["image_id"].to_list()
        right = sum(name.endswith("1") for name in told)
        note = (
            f"{len(readings)} readings of {len(parts)} VOC photos; {len(told) - right} of those drawn as displayed told"
        )
        ledger.add(f"EXIF mismatch, {how}: right where the detector tells", right / len(told), 0.95, "higher", note)
        note = "by the overlap with detections, in every run with label_frame: auto"
        ledger.add(f"EXIF mismatch, {how}: told by the detector", right / (len(readings) / 2), None, "higher", note)


def _read(
    item: Annotated, drawn: Boxes, orientation: int, name: str, fractions: bool
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Objects, photo and labels as a run holds them after it has read boxes as those of the displayed photo."""
    is_stored = name.endswith("1")
    if fractions and is_stored:
        drawn = drawn * np.tile([item.width / item.height, item.height / item.width], 2)
    images = {"image_id": name, "status": "ok", "width": item.width, "height": item.height}
    labels = {"image_id": name, "normalised": fractions}
    return (
        _boxes(drawn, name).with_columns(outcome=pl.lit("found")),
        pl.DataFrame([{**images, "exif_orientation": orientation}]),
        pl.DataFrame([labels]),
    )


def _boxes(boxes: Boxes, name: str) -> pl.DataFrame:
    corners = {corner: boxes[:, place] for place, corner in enumerate(("x1", "y1", "x2", "y2"))}
    return pl.DataFrame(corners).select(pl.lit(name).alias("image_id"), pl.all())


def _resolved_to(item: Annotated, drawn: Boxes, orientation: int, stated: tuple[int, int] | None) -> bool:
    """Whether labels drawn so are resolved to the true boxes on the displayed photo."""
    if not len(drawn):
        return True
    labels = pl.DataFrame(
        {
            "image_id": ["a"] * len(drawn),
            "object_id": np.arange(len(drawn)),
            "label": ["thing"] * len(drawn),
            **{corner: drawn[:, column] for column, corner in enumerate(("x1", "y1", "x2", "y2"))},
            "normalised": [False] * len(drawn),
            "ignore": [None] * len(drawn),
            "file": ["a.xml"] * len(drawn),
            "line": [None] * len(drawn),
        },
        schema_overrides=dict(tables.LABELS),
    )
    if stated is not None:
        labels = labels.with_columns(file_width=pl.lit(stated[0]), file_height=pl.lit(stated[1]))
    images = pl.DataFrame(
        {"image_id": ["a"], "width": [item.width], "height": [item.height], "exif_orientation": [orientation]}
    )
    objects, _ = resolve(labels, images)
    if len(objects) != len(drawn):
        return False
    return bool(np.allclose(objects.select("x1", "y1", "x2", "y2").to_numpy(), item.boxes, atol=1.0))

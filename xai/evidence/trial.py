"""Asks the detector about changed photos: the target and whether the object is found, batched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from xai.evidence.targets import Target, iou, iou_times_score, to_input
from xai.room import each_part
from xai.types import Boxes, Detections, Detector, Pixels, Prepared

BATCH_SIZE = 4
"""Photos a forward. Fixed, so that results do not depend on how many changes a miss gets."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the detector says about v photos and k objects.

    Attributes:
        target: (v, k) how close each object is to being found, in 0–1.
        found: (v, k) whether a deployed detection of the object's class reaches the IoU.
    """

    target: NDArray[np.float64]
    found: NDArray[np.bool_]


def ask(
    detector: Detector,
    photos: Sequence[Pixels],
    boxes: NDArray[np.float64],
    labels: NDArray[np.int64],
    *,
    match_iou: float,
    target: Target = iou_times_score,
) -> Answers:
    """Run the detector on photos and score objects in each.

    Costs one forward a photo. No gradient is kept; the detector's state is its own affair (``types.Detector``).

    Args:
        detector: the detector.
        photos: v photos.
        boxes: (v, k, 4) where the k objects lie in each photo, in its pixels.
        labels: (k,) indices into ``detector.names``.
        match_iou: IoU at which a detection finds an object.
        target: scalar of the candidates.
    """
    values = np.zeros((len(photos), len(labels)))
    found = np.zeros((len(photos), len(labels)), dtype=bool)
    columns = torch.as_tensor(labels)

    def see(part: Prepared) -> None:
        candidates = detector.forward(part.inputs)
        placed = torch.stack([to_input(boxes[index], part, row) for row, index in enumerate(part.indices)])
        values[list(part.indices)] = target(candidates, placed, columns).double().cpu().numpy()
        for index, detections in zip(part.indices, detector.select(candidates, part), strict=True):
            found[index] = is_found(detections, boxes[index], labels, match_iou)

    with torch.no_grad():
        each_part(detector, detector.prepare(photos), BATCH_SIZE, see)
    return Answers(values, found)


def surety(detector: Detector, photos: Sequence[Pixels]) -> NDArray[np.float64]:
    """(v,) how sure the detector is of what it finds in each photo: the sum of its detections' squared scores.

    Squares, since many weak detections are what clutter gives. Costs one forward a photo.
    """
    sums = np.zeros(len(photos))

    def see(part: Prepared) -> None:
        for index, found in zip(part.indices, detector.select(detector.forward(part.inputs), part), strict=True):
            sums[index] = (found.scores**2).sum()

    with torch.no_grad():
        each_part(detector, detector.prepare(photos), BATCH_SIZE, see)
    return sums


def is_found(detections: Detections, boxes: Boxes, labels: NDArray[np.int64], match_iou: float) -> NDArray[np.bool_]:
    """Tell for each object (k,) whether a detection of its class overlaps it by ``match_iou``."""
    if not len(detections):
        return np.zeros(len(labels), dtype=bool)
    overlap = iou(torch.tensor(boxes)[:, None], torch.tensor(detections.boxes)[None]).numpy()
    same = labels[:, None] == detections.labels[None]
    hits: NDArray[np.bool_] = (same & (overlap >= match_iou)).any(1)
    return hits


def by_photo(misses: pl.DataFrame) -> list[pl.DataFrame]:
    """Split a table of misses by photo, photos and rows in order of first appearance."""
    return misses.partition_by("image_id", maintain_order=True)


def boxes_of(objects: pl.DataFrame) -> Boxes:
    """Return the boxes (n, 4) of a table."""
    return objects.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float64).reshape(-1, 4)


def labels_of(objects: pl.DataFrame, detector: Detector) -> NDArray[np.int64]:
    """Return the classes of a table's objects as indices into the detector's names.

    Raises:
        ValueError: the detector lacks a class; such objects are not scored and cannot be misses.
    """
    codes = {name: code for code, name in enumerate(detector.names)}
    unknown = sorted(set(objects["label"].to_list()) - set(codes))
    if unknown:
        raise ValueError(f"expected labels among the detector's {len(codes)} classes, got also {', '.join(unknown)}")
    return np.array([codes[label] for label in objects["label"]], dtype=np.int64)

"""Whether the detector sees a missed object in part: then something hides the rest, annotated or not.

The target (IoU × score of the best candidate) is asked for the whole box and for the parts of it beside each of its
four sides (each ``rules.PART_SHARE`` of it; with 0.6 and 0.3 fewer covered objects are told). A candidate that fits one
part clearly better than the whole is of what can be seen. The photo is shown as it is, once for all its misses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xai import tables
from xai.evidence.geometric import Repaired, identity, move
from xai.evidence.kept import Kept, not_kept
from xai.evidence.repair import PLACEBOS, RepairContext
from xai.evidence.trial import ask, boxes_of, by_photo, labels_of
from xai.rules import PART_SHARE
from xai.types import Boxes, Detector, Pixels, Progress, no_progress

SIDES = ("top", "bottom", "left", "right")

FORWARDS = 1 + len(PLACEBOS)
"""Photos that are put through the detector to ask about the misses of one."""

PARTS = 1 + len(SIDES)
"""Boxes that are asked about for one miss: the whole, and a part beside each side."""

CLEARER, FLOOR = 1.1, 0.02
"""How many times closer to being found than the whole a part has to be, with the target below which differences are
noise added to both. On VOC photos (tuning half, YOLO11n at 320 px) 4 of 5 objects half covered by planted patches are
told so, of 44 natural misses 2."""

LEAST_PART = 0.04
"""How close to being found a part has to be to be seen at all. Of 19 covered objects that were told so without a floor,
2 lie below, of 35 natural misses 12; at half a threshold of 0.25 it would be 7 of the former."""

SCHEMA: dict[str, type[pl.String] | type[pl.Float64]] = {
    "error_id": pl.String,
    "side": pl.String,
    "whole": pl.Float64,
    "part": pl.Float64,
}


def parts_seen(
    misses: pl.DataFrame,
    *,
    load_pixels: Callable[[str], Pixels],
    detector: Detector,
    match_iou: float,
    progress: Progress = no_progress,
    kept: Kept = not_kept,
) -> pl.DataFrame:
    """Ask the detector which part of each missed object it sees.

    Costs ``FORWARDS`` a photo.

    Args:
        misses: ``error_id image_id label x1 y1 x2 y2`` with boxes in the frame of ``load_pixels``.
        load_pixels: ``image_id`` → photo.
        detector: the detector.
        match_iou: IoU at which a detection finds an object.
        progress: told after each photo.
        kept: keeps the answer about each photo.

    Returns:
        A row for each miss of which a part is seen: the ``side`` at which it lies, and how close the ``whole`` and that
        ``part`` are to being found, 0–1.
    """
    rows: list[tuple[str, str, float, float]] = []
    photos = by_photo(misses)
    for index, photo in enumerate(photos):
        told = kept("parts", str(photo["image_id"][0]), partial(_photo, photo, load_pixels, detector, match_iou))
        rows += told or []
        progress("parts", index + 1, len(photos))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _photo(
    misses: pl.DataFrame, load_pixels: Callable[[str], Pixels], detector: Detector, match_iou: float
) -> list[tuple[str, str, float, float]]:
    """Ask about the misses of one photo."""
    pixels, boxes = load_pixels(str(misses["image_id"][0])), boxes_of(misses)
    shown = [Repaired(pixels, identity(), boxes[0])]
    shown += [make(pixels, boxes[0], RepairContext()) for make in PLACEBOS.values()]
    asked = np.stack([with_parts(move(boxes, item.matrix)) for item in shown])
    labels = np.repeat(labels_of(misses, detector), PARTS)
    answers = ask(detector, [item.pixels for item in shown], asked, labels, match_iou=match_iou)
    return seen(misses["error_id"].to_list(), answers.target)


def with_parts(boxes: Boxes) -> Boxes:
    """(5k, 4) each of the boxes (k, 4), followed by its parts."""
    return np.concatenate([np.stack([box, *parts(box)]) for box in boxes])


def seen(error_ids: Sequence[str], target: NDArray[np.float64]) -> list[tuple[str, str, float, float]]:
    """Return rows of ``SCHEMA`` for those misses of which a part is seen.

    Args:
        error_ids: k misses.
        target: (v, 5k) of v photos that differ by nothing of meaning, boxes as in ``with_parts``; their mean counts.
    """
    rows = []
    for error_id, values in zip(error_ids, target.mean(axis=0).reshape(-1, PARTS), strict=True):
        best = int(values[1:].argmax())
        whole, part = float(values[0]), float(values[1 + best])
        if part >= LEAST_PART and part + FLOOR >= CLEARER * (whole + FLOOR):
            rows.append((error_id, SIDES[best], whole, part))
    return rows


def part_lines(told: pl.DataFrame) -> pl.DataFrame:
    """Return a line of evidence for each row of ``SCHEMA``.

    ``kind`` is ``part``, ``name`` the side at which it lies, ``before`` how close the whole object is to being found,
    ``after`` the part, ``effect`` their difference.
    """
    lines = told.select(
        "error_id",
        kind=pl.lit("part"),
        name="side",
        before="whole",
        after="part",
        effect=pl.col("part") - pl.col("whole"),
    )
    return tables.conform(lines, tables.TABLES["evidence"])


def parts(box: Boxes) -> NDArray[np.float64]:
    """(4, 4) the parts of a box (4,) beside its four sides, in the order of ``SIDES``.

    >>> parts(np.array([0.0, 0.0, 100.0, 200.0]))[:2].tolist()
    [[0.0, 0.0, 100.0, 90.0], [0.0, 110.0, 100.0, 200.0]]
    """
    x1, y1, x2, y2 = (float(corner) for corner in box)
    width, height = PART_SHARE * (x2 - x1), PART_SHARE * (y2 - y1)
    return np.array(
        [[x1, y1, x2, y1 + height], [x1, y2 - height, x2, y2], [x1, y1, x1 + width, y2], [x2 - width, y1, x2, y2]]
    )

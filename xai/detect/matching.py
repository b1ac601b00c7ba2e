"""Which detection found which object, and what became of the rest.

The matching is COCO's at one IoU threshold, with ignored objects in the role of its ``iscrowd``: see ``match``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xai.types import Boxes

NEAR_IOU = 0.1
"""IoU from which a box that doesn't match is still about the same object (the background threshold of TIDE, Bolya et
al., ECCV 2020)."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Outcomes of G objects and D detections; the words are those of the design.

    Attributes:
        object_outcome: (G,) ``found``, ``confused``, ``mislocated``, ``missed`` or ``ignored``.
        object_detection: (G,) row of the detection that found, was confused with or is mislocated; −1 for none.
        object_iou: (G,) IoU with that detection; NaN for none.
        detection_outcome: (D,) ``matched``, ``duplicate``, ``confused``, ``mislocated``, ``background`` or ``ignored``.
        detection_object: (D,) row of the object that the outcome refers to; −1 for none.
    """

    object_outcome: NDArray[np.str_]
    object_detection: Ints
    object_iou: Floats
    detection_outcome: NDArray[np.str_]
    detection_object: Ints


def match(
    *,
    object_photo: Ints,
    object_boxes: Boxes,
    object_labels: Ints,
    object_ignored: NDArray[np.bool_],
    detection_photo: Ints,
    detection_boxes: Boxes,
    detection_labels: Ints,
    detection_scores: Floats,
    iou_threshold: float,
    annotated_labels: Collection[int],
) -> Matches:
    """Match detections with objects, photo by photo and class by class, greedily by falling score, one to one.

    A detection takes the free object that it overlaps most. One that takes none but lies on an ignored object of its
    class (intersection over the detection's own area reaches the threshold) is ignored, however many others do so too.
    Counts of found objects and of matched, ignored and false detections equal those of ``pycocotools`` where ignored
    objects are ``iscrowd`` and detections of classes that are never annotated are left out.

    An object that isn't found is ``confused`` or ``mislocated`` by the unmatched detection that overlaps it most; that
    detection may be of a class that is never annotated, or a duplicate. The other way round, a detection is
    ``confused`` or ``mislocated`` only by an object that isn't found, so that each false detection is one error.

    Args:
        object_photo: (G,) photo of each object.
        object_boxes: (G, 4).
        object_labels: (G,) class, as a code in one vocabulary with the detections'.
        object_ignored: (G,) whether the object isn't scored.
        detection_photo: (D,).
        detection_boxes: (D, 4).
        detection_labels: (D,).
        detection_scores: (D,) detections of equal score are taken in the order given.
        iou_threshold: in (0.1, 1].
        annotated_labels: classes that the data set annotates; detections of others are ignored.

    Raises:
        ValueError: arrays of one side differ in length, or boxes aren't (n, 4).
    """
    _check("object", object_boxes, object_photo, object_labels, object_ignored)
    _check("detection", detection_boxes, detection_photo, detection_labels, detection_scores)
    rows, columns = _pairs(object_photo, detection_photo)
    iou, inside = _overlap(object_boxes[rows], detection_boxes[columns])
    same = object_labels[rows] == detection_labels[columns]
    ignored = object_ignored[rows]
    count, total = len(object_boxes), len(detection_boxes)

    hit = same & ~ignored & (iou >= iou_threshold)
    rank = _rank(detection_photo, detection_labels, detection_scores)
    matched = _greedy(rows[hit], columns[hit], iou[hit], rank, count, total)
    found = np.full(count, -1, dtype=np.int64)
    found[matched[matched >= 0]] = np.flatnonzero(matched >= 0)

    on_ignored = same & ignored & (inside >= iou_threshold) & (matched[columns] < 0)
    absorbed = _most(columns[on_ignored], inside[on_ignored], rows[on_ignored], total)
    free = ((matched < 0) & (absorbed < 0))[columns]
    lost = ~ignored & (found[rows] < 0)
    partners = {
        "duplicate": hit & free,
        "confused": lost & free & ~same & (iou >= iou_threshold),
        "mislocated": lost & free & same & (iou >= NEAR_IOU) & (iou < iou_threshold),
    }
    known = np.isin(detection_labels, np.array(sorted(annotated_labels), dtype=np.int64))
    of_objects = {
        name: _most(rows[pairs], iou[pairs], columns[pairs], count)
        for name, pairs in partners.items()
        if name != "duplicate"
    }
    of_detections = {name: _most(columns[pairs], iou[pairs], rows[pairs], total) for name, pairs in partners.items()}
    object_outcome, object_detection = _decide(
        {"ignored": np.where(object_ignored, -2, -1), "found": found, **of_objects}, "missed"
    )
    detection_outcome, detection_object = _decide(
        {"ignored": np.where(~known & (absorbed < 0), -2, absorbed), "matched": matched, **of_detections},
        "background",
    )
    object_iou = np.full(count, np.nan)
    chosen = object_detection[rows] == columns
    object_iou[rows[chosen]] = iou[chosen]
    return Matches(object_outcome, object_detection, object_iou, detection_outcome, detection_object)


def _check(side: str, boxes: Boxes, *columns: NDArray[np.generic]) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or any(len(column) != len(boxes) for column in columns):
        got = [boxes.shape, *[column.shape for column in columns]]
        raise ValueError(f"{side}s: expected boxes (n, 4) and n values in every other array, got shapes {got}")


def _pairs(object_photo: Ints, detection_photo: Ints) -> tuple[Ints, Ints]:
    """All pairs of an object and a detection of one photo, as rows of each."""
    order = np.argsort(object_photo, kind="stable")
    start = np.searchsorted(object_photo[order], detection_photo, side="left")
    counts = np.searchsorted(object_photo[order], detection_photo, side="right") - start
    columns = np.repeat(np.arange(len(detection_photo)), counts)
    within = np.arange(len(columns)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[np.repeat(start, counts) + within], columns


def _overlap(objects: Boxes, detections: Boxes) -> tuple[Floats, Floats]:
    """IoU of paired boxes, and the intersection as a share of the detection; 0 where an area is empty."""
    top_left = np.maximum(objects[:, :2], detections[:, :2])
    bottom_right = np.minimum(objects[:, 2:], detections[:, 2:])
    intersection = np.prod(np.maximum(bottom_right - top_left, 0), axis=1)
    area = np.prod(detections[:, 2:] - detections[:, :2], axis=1)
    union = np.prod(objects[:, 2:] - objects[:, :2], axis=1) + area - intersection
    zero = np.zeros(len(objects))
    iou = np.divide(intersection, union, out=zero.copy(), where=union > 0)
    return iou, np.divide(intersection, area, out=zero, where=area > 0)


def _rank(photo: Ints, labels: Ints, scores: Floats) -> Ints:
    """Position of each detection by falling score among those of its photo and class."""
    order = np.lexsort((-scores, labels, photo))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(photo[order]) != 0) | (np.diff(labels[order]) != 0)
    starts = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - starts
    return rank


def _greedy(rows: Ints, columns: Ints, iou: Floats, rank: Ints, count: int, total: int) -> Ints:
    """Object taken by each detection, −1 for none; detections of one rank choose at once, for they never compete."""
    order = np.lexsort((rows, iou, columns, rank[columns]))
    rows, columns = rows[order], columns[order]
    _, starts = np.unique(rank[columns], return_index=True)
    taken = np.zeros(count, dtype=bool)
    matched = np.full(total, -1, dtype=np.int64)
    for part_rows, part_columns in zip(np.split(rows, starts[1:]), np.split(columns, starts[1:]), strict=True):
        available = ~taken[part_rows]
        # Pairs of a detection stand in rising IoU, and the last assignment to a repeated index stays.
        matched[part_columns[available]] = part_rows[available]
        taken[matched[part_columns[available]]] = True
    return matched


def _most(keys: Ints, values: Floats, items: Ints, size: int) -> Ints:
    """For each key the item of the greatest value, −1 where a key has none."""
    order = np.lexsort((-items, values))
    best = np.full(size, -1, dtype=np.int64)
    best[keys[order]] = items[order]
    return best


def _decide(rules: Mapping[str, Ints], otherwise: str) -> tuple[NDArray[np.str_], Ints]:
    """Take the first rule that applies; a rule gives the partner's row, −2 (applies, no partner) or −1 (doesn't)."""
    partners = list(rules.values())
    applies = [partner != -1 for partner in partners]
    outcome = np.select(applies, [np.full(len(partners[0]), name) for name in rules], default=otherwise)
    return outcome, np.maximum(np.select(applies, partners, default=-1), -1)

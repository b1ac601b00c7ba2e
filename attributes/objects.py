"""Attributes of annotated objects: all boxes of a photo at once, by summed-area tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.arrays import UNTHREADED, Boxes, Floats, Gray, Pixels
from attributes.boxes import Image, box_area, box_sums, divide, integral
from attributes.glare import glare_maps
from attributes.views import Views, alike

EDGE_TOLERANCE = (2.0, 0.004)
"""Gap to the photo's edge up to which a box touches it: 2 px, or this part of the side, where annotators stop short."""

# The ring reaches this many box sides beyond the box.
_RING = 0.5

# OpenCV stretches the 100 units of L* over 255 levels; a* and b* have a level each.
_LAB_UNITS = np.array([100 / 255, 1.0, 1.0] * 2)
_FEW_BOXES, _MANY_BOXES = 32, 500
# Steps along each side to which the corners of more boxes than that are moved, outwards.
_STEPS = 1024

# Bottom edges this part of the lower box's height apart are level, and the boxes' order is unknown.
_LEVEL = 0.02
# Points along each side of a box at which it is looked at, and boxes looked at together, which bounds memory.
_POINTS = 32
_BOXES_AT_ONCE = 64
# Boxes in front of one that are looked at together, so that no product is large enough for threads.
_FRONTS_AT_ONCE = UNTHREADED // _POINTS**2


def object_size(views: Views) -> Floats:
    """Square root of the share of the photo that each box covers.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) in 0–1.
    """
    areas = np.prod(views.sizes, axis=1)[views.photo_of]
    return np.asarray(np.sqrt(box_area(views.all_boxes) / areas))


def truncation(views: Views) -> Floats:
    """Share of each box's outline that lies on the photo's edge.

    A box that ends where the photo ends most likely holds an object that goes on beyond it.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) in 0–1; 0 where the box touches no edge; NaN for boxes without area, as those outside of the photo.

    Example:
        >>> photo = np.zeros((100, 200, 3), dtype=np.uint8)
        >>> truncation(Views([photo], [np.array([[0.0, 20, 60, 80], [50, 20, 90, 60]])])).tolist()
        [0.25, 0.0]
    """
    # A box stored as fractions comes back a hair off the whole pixel that it was drawn at, which must decide nothing.
    boxes, size = views.all_boxes.round(3), views.sizes[views.photo_of]
    gap = np.maximum(EDGE_TOLERANCE[0], EDGE_TOLERANCE[1] * size)
    touches = np.concatenate([boxes[:, :2] <= gap, boxes[:, 2:] >= size - gap], axis=1)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    on_edge = (touches * np.stack([height, width, height, width], axis=1)).sum(axis=1)
    return divide(np.where(box_area(boxes) > 0, on_edge, np.nan), 2 * (width + height))


def crowding(views: Views) -> Floats:
    """Share of each box that other annotated boxes cover, their overlaps counted once.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) in 0–1; NaN for boxes without area.

    Example:
        >>> photo = np.zeros((100, 100, 3), dtype=np.uint8)
        >>> crowding(Views([photo], [np.array([[0.0, 0, 40, 40], [20, 0, 60, 40]])])).tolist()
        [0.5, 0.5]
    """
    return _by_number_of_boxes(views.boxes, _covered)


def occlusion(views: Views) -> Floats:
    """Share of each box that boxes of objects in front of it cover, told to 1/32 of the box's sides.

    Of two objects on the ground the nearer one reaches further down in the photo: in PASCAL VOC 2007, where two boxes
    overlap and one object is flagged as not wholly seen, the other one's bottom edge is lower in 86% of 247 pairs.
    Boxes are fuller than objects, and things without annotation hide objects too, so that this is a sign of occlusion
    rather than its amount; things that fly, hang or lie on tables may be told wrongly.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) in 0–1; NaN for boxes without area.

    Example:
        >>> photo = np.zeros((100, 100, 3), dtype=np.uint8)
        >>> occlusion(Views([photo], [np.array([[0.0, 0, 40, 40], [20, 0, 60, 60]])])).tolist()
        [0.5, 0.0]
    """
    return _by_number_of_boxes(views.boxes, _hidden)


def object_aspect(views: Views) -> Floats:
    """Binary logarithm of each box's width over its height.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) −1 where twice as tall as wide, 1 where twice as wide as tall; NaN for boxes without area.

    Example:
        >>> photo = np.zeros((100, 100, 3), dtype=np.uint8)
        >>> object_aspect(Views([photo], [np.array([[0.0, 0, 40, 10], [20, 20, 20, 30]])])).tolist()
        [2.0, nan]
    """
    width, height = (views.all_boxes[:, 2:] - views.all_boxes[:, :2]).T
    shaped = (width > 0) & (height > 0)
    ratio = np.divide(width, height, out=np.full(len(width), np.nan), where=shaped)
    return np.asarray(np.log2(ratio))


def object_position(views: Views) -> Floats:
    """Distance of each box's centre from the photo's centre, as a share of the way to the corner.

    Both directions count alike, whatever the photo's shape: the middle of any edge lies at 1/√2.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) in 0–1: 0 in the centre, 1 in a corner.

    Example:
        >>> photo = np.zeros((100, 200, 3), dtype=np.uint8)
        >>> object_position(Views([photo], [np.array([[90.0, 40, 110, 60], [0, 0, 0, 0]])])).tolist()
        [0.0, 1.0]
    """
    centres = (views.all_boxes[:, :2] + views.all_boxes[:, 2:]) / 2
    away = 2 * centres / views.sizes[views.photo_of] - 1
    return np.asarray(np.sqrt((away**2).mean(axis=1)))


def object_brightness(views: Views) -> Floats:
    """Mean luma in each box.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) in 0–1; NaN for boxes without area.
    """
    table: NDArray[np.int32] | None = None

    def integrate(gray: Gray) -> Sequence[NDArray[np.int32]]:
        nonlocal table
        table = np.asarray(cv2.integral(gray, table, sdepth=cv2.CV_32S), np.int32)
        return [table]

    return _box_means(views, views.gray, integrate) / 255.0


def object_glare(views: Views) -> Floats:
    """Mean of the glare map in each box.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) in 0–1; NaN for boxes without area.
    """
    return np.clip(_box_means(views, glare_maps(views), lambda values: [integral(values)]), 0.0, 1.0)


def object_contrast(views: Views) -> Floats:
    """How far the colours of each box are from those of the ring around it.

    Fréchet distance between the two as normal distributions with independent channels in CIELAB (Dowson & Landau 1982):
    √(|difference of means|² + |difference of standard deviations|²). The ring reaches half a side beyond the box to
    each side, as far as the photo goes.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) ΔE (CIE76) from 0; NaN for boxes without area or without a ring.
    """
    photos = views.small  # at half the size, boxes under 8 px of 640 would lose their contrast
    inner = [views.boxes_at(index, photo.shape) for index, photo in enumerate(photos)]
    whole = [_with_ring(boxes, photo.shape) for boxes, photo in zip(inner, photos, strict=True)]
    both = [np.concatenate([one, other]) for one, other in zip(inner, whole, strict=True)]
    values = box_sums(photos, both, _lab_tables())
    if not values:
        return np.empty(0)
    # Of each photo first the boxes, then the boxes with their rings.
    is_inner = np.concatenate([np.arange(len(item)) < len(item) // 2 for item in both])
    (sums, squares), (whole_sums, whole_squares) = (
        [item[chosen] for item in values] for chosen in (is_inner, ~is_inner)
    )
    area, whole_area = box_area(np.concatenate(inner)), box_area(np.concatenate(whole))
    ring_area = np.where(whole_area - area >= 1.0, whole_area - area, 0.0)
    mean, deviation = _moments(sums, squares, area)
    ring_mean, ring_deviation = _moments(whole_sums - sums, whole_squares - squares, ring_area)
    difference = np.concatenate([mean - ring_mean, deviation - ring_deviation], axis=1) * _LAB_UNITS
    return np.asarray(np.sqrt(np.square(difference).sum(axis=1)))


def _box_means(
    views: Views, images: Sequence[Image], tables: Callable[[Image], Sequence[NDArray[np.generic]]]
) -> Floats:
    """(N,) means over the boxes of images that are reduced versions of the photos."""
    boxes = [views.boxes_at(index, image.shape) for index, image in enumerate(images)]
    sums = box_sums(images, boxes, tables)
    return divide(sums[0][:, 0], box_area(np.concatenate(boxes))) if sums else np.empty(0)


def _with_ring(boxes: Boxes, shape: tuple[int, ...]) -> Boxes:
    """Boxes enlarged by the ring around them, as far as the photo goes."""
    margin = _RING * (boxes[:, 2:] - boxes[:, :2])
    around = np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)
    return np.asarray(np.clip(around, 0.0, [shape[1], shape[0]] * 2))


def _lab_tables() -> Callable[[Pixels], Sequence[NDArray[np.generic]]]:
    """Photo → summed-area tables of CIELAB and its squares, which 8 bits give well enough for means and spreads.

    The tables are those of the photo before, written over: to ask for fresh memory takes longer than to fill it.
    """
    lab: Pixels | None = None
    sums: NDArray[np.int32] | None = None
    squares: Floats | None = None

    def integrate(photo: Pixels) -> Sequence[NDArray[np.generic]]:
        nonlocal lab, sums, squares
        lab = np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2LAB, lab), np.uint8)
        found = cv2.integral2(lab, sums, squares, sdepth=cv2.CV_32S, sqdepth=cv2.CV_64F)
        sums, squares = np.asarray(found[0], np.int32), np.asarray(found[1], np.float64)
        return sums, squares

    return integrate


def _by_number_of_boxes(boxes: Sequence[Boxes], measure: Callable[[Boxes], Floats]) -> Floats:
    """(N,) values of the boxes of all photos; photos with n boxes are measured together, (k, n, 4) → (k, n)."""
    values = [np.empty(0)] * len(boxes)
    for members in alike([item.shape for item in boxes]):
        if not len(boxes[members[0]]):
            continue
        size = max(1, _BOXES_AT_ONCE // len(boxes[members[0]]))
        for start in range(0, len(members), size):
            part = members[start : start + size]
            for index, found in zip(part, measure(np.stack([boxes[index] for index in part])), strict=True):
                values[index] = found
    return np.concatenate([np.empty(0), *values])


def _covered(boxes: Boxes) -> Floats:
    """Exact union of the others of (k, n, 4) boxes: the corners cut cells that each box covers whole or not at all."""
    if boxes.shape[1] > _FEW_BOXES:
        return np.stack([_covered_many(item) for item in boxes])
    # A grid of all corners is small, and boxes can be compared with all of its cells.
    xs, ys = (np.sort(boxes[..., [axis, axis + 2]].reshape(len(boxes), 1, -1), axis=2) for axis in (0, 1))
    x1, y1, x2, y2 = boxes.transpose(2, 0, 1)[..., None]
    across = ((xs[..., :-1] >= x1) & (xs[..., 1:] <= x2)).astype(np.float64)
    down = ((ys[..., :-1] >= y1) & (ys[..., 1:] <= y2)).astype(np.float64)
    shared = (down.transpose(0, 2, 1) @ across >= 2) * (np.diff(ys).transpose(0, 2, 1) * np.diff(xs))
    inside = np.einsum("knx,knx->kn", down @ shared, across)
    return np.clip(divide(inside, _areas(boxes)), 0.0, 1.0)


def _covered_many(boxes: Boxes) -> Floats:
    """(n,) the same by coordinate compression; of more than ``_MANY_BOXES`` to a step of ``_STEPS``."""
    area = box_area(boxes)
    if len(boxes) > _MANY_BOXES:  # the grid of all corners would grow with the square of the boxes
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        step_size = np.where(high > low, high - low, 1.0) / _STEPS
        coarse = (boxes - np.tile(low, 2)) / np.tile(step_size, 2)
        boxes = np.concatenate([np.floor(coarse[:, :2] + 0.01), np.ceil(coarse[:, 2:] - 0.01)], axis=1)
    xs, column = np.unique(boxes[:, [0, 2]], return_inverse=True)
    ys, row = np.unique(boxes[:, [1, 3]], return_inverse=True)
    (left, right), (top, bottom) = column.reshape(-1, 2).T, row.reshape(-1, 2).T
    steps = np.zeros((len(ys), len(xs)))
    for y, x, step in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
        np.add.at(steps, (y, x), step)
    covering = steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
    shared = np.zeros((len(ys), len(xs)))
    shared[1:, 1:] = ((covering >= 2) * np.outer(np.diff(ys), np.diff(xs))).cumsum(axis=0).cumsum(axis=1)
    inside = shared[bottom, right] - shared[top, right] - shared[bottom, left] + shared[top, left]
    return np.clip(divide(inside, np.where(area > 0, box_area(boxes), 0.0)), 0.0, 1.0)


def _areas(boxes: Boxes) -> Floats:
    """(k, n) areas of (k, n, 4) boxes; 0 for boxes without extent."""
    return box_area(boxes.reshape(-1, 4)).reshape(boxes.shape[:2])


def _hidden(boxes: Boxes) -> Floats:
    """(k, n) share of (k, n, 4) boxes that the others in front of them cover, at a grid of points."""
    values = np.where(_areas(boxes) > 0, 0.0, np.nan)
    slack = _LEVEL * (boxes[..., 3] - boxes[..., 1])
    lowest = boxes[..., 3] - slack
    photo, behind = np.nonzero(np.isfinite(values))
    for start in range(0, len(photo), _BOXES_AT_ONCE):
        chosen = photo[start : start + _BOXES_AT_ONCE], behind[start : start + _BOXES_AT_ONCE]
        own, others = boxes[chosen][:, None], boxes[chosen[0]]
        shared = np.minimum(own[..., 2:], others[..., 2:]) - np.maximum(own[..., :2], others[..., :2])
        in_front = (shared > 0).all(axis=2) & (lowest[chosen[0]] > own[..., 3])
        values[chosen] = _covered_at_points(own, others, in_front)
    return values


def _covered_at_points(boxes: Boxes, others: Boxes, in_front: NDArray[np.bool_]) -> Floats:
    """(r,) share of (r, 1, 4) boxes that those of (r, m, 4) others cover that are in front (r, m)."""
    shares = np.zeros(len(boxes))
    some = np.flatnonzero(in_front.any(axis=1))
    if not len(some):
        return shares
    boxes, others, in_front = boxes[some], others[some], in_front[some]
    # Each box meets few others, so these are gathered; boxes of no extent fill the gaps.
    met = np.argsort(~in_front, axis=1, kind="stable")[:, : in_front.sum(axis=1).max(), None]
    fronts = np.take_along_axis(np.where(in_front[..., None], others, 0.0), met, axis=1)[:, :, None]
    points = boxes[..., :2] + (np.arange(_POINTS)[:, None] + 0.5) / _POINTS * (boxes[..., 2:] - boxes[..., :2])
    within = (points[:, None] >= fronts[..., :2]) & (points[:, None] < fronts[..., 2:])
    across, down = (within[..., axis].astype(np.float32) for axis in (0, 1))
    covering = np.zeros((len(some), _POINTS, _POINTS), dtype=np.float32)
    for start in range(0, across.shape[1], _FRONTS_AT_ONCE):
        part = slice(start, start + _FRONTS_AT_ONCE)
        covering += down[:, part].transpose(0, 2, 1) @ across[:, part]
    covered = np.minimum(covering, 1.0, out=covering).reshape(len(some), -1)
    shares[some] = covered.sum(axis=1) / _POINTS**2
    return shares


def _moments(sums: Floats, squares: Floats, area: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation by channel, each (n, C)."""
    mean, square = (divide(item, np.broadcast_to(area[:, None], item.shape)) for item in (sums, squares))
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

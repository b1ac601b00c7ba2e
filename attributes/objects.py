"""Attributes of annotated objects: all boxes of a photo at once, by summed-area tables."""

from __future__ import annotations

import cv2
import numpy as np

from attributes.glare import glare_maps
from attributes.views import Boxes, Floats, Pixels, Views, box_area, box_sum, divide, integral

EDGE_TOLERANCE = (2.0, 0.004)
"""Gap to the photo's edge up to which a box touches it: 2 px, or this part of the side, where annotators stop short."""

# The ring reaches this many box sides beyond the box.
_RING = 0.5

# OpenCV stretches the 100 units of L* over 255 levels; a* and b* have a level each.
_LAB_UNITS = np.array([100 / 255, 1.0, 1.0] * 2)
_MANY_BOXES = 300


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
        (N,) in 0–1; 0 where the box touches no edge.

    Example:
        >>> photo = np.zeros((100, 200, 3), dtype=np.uint8)
        >>> truncation(Views([photo], [np.array([[0.0, 20, 60, 80], [50, 20, 90, 60]])])).tolist()
        [0.25, 0.0]
    """
    boxes, size = views.all_boxes, views.sizes[views.photo_of]
    gap = np.maximum(EDGE_TOLERANCE[0], EDGE_TOLERANCE[1] * size)
    touches = np.concatenate([boxes[:, :2] <= gap, boxes[:, 2:] >= size - gap], axis=1)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    on_edge = (touches * np.stack([height, width, height, width], axis=1)).sum(axis=1)
    return divide(on_edge, 2 * (width + height))


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
    return np.concatenate([np.empty(0), *(_covered(boxes) for boxes in views.boxes)])


def object_brightness(views: Views) -> Floats:
    """Mean luma in each box.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) in 0–1; NaN for boxes without area.
    """
    parts = [
        _box_mean(integral(gray), views.boxes_at(index, gray.shape)) / 255.0
        for index, gray in enumerate(views.gray)
        if len(views.boxes[index])
    ]
    return np.concatenate([np.empty(0), *parts])


def object_glare(views: Views) -> Floats:
    """Mean of the glare map in each box.

    Args:
        views: B photos with N boxes.

    Returns:
        (N,) in 0–1; NaN for boxes without area.
    """
    parts = [
        np.clip(_box_mean(integral(values), views.boxes_at(index, values.shape)), 0.0, 1.0)
        for index, values in enumerate(glare_maps(views))
        if len(views.boxes[index])
    ]
    return np.concatenate([np.empty(0), *parts])


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
    parts = [
        _ring_distance(photo, views.boxes_at(index, photo.shape))
        for index, photo in enumerate(views.small)
        if len(views.boxes[index])
    ]
    return np.concatenate([np.empty(0), *parts])


def _box_mean(table: Floats, boxes: Boxes) -> Floats:
    return divide(box_sum(table, boxes), box_area(boxes))


def _covered(boxes: Boxes) -> Floats:
    """Exact union by coordinate compression: the corners cut cells that each box covers whole or not at all."""
    if len(boxes) > _MANY_BOXES:  # the grid grows with the square of the boxes; whole pixels bound it by the photo
        boxes = np.round(boxes)
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
    return np.clip(divide(inside, box_area(boxes)), 0.0, 1.0)


def _ring_distance(photo: Pixels, boxes: Boxes) -> Floats:
    """Fréchet distance in ΔE; 8-bit CIELAB is exact enough for means and spreads over boxes."""
    height, width = photo.shape[:2]
    values, squares = cv2.integral2(cv2.cvtColor(photo, cv2.COLOR_RGB2LAB), sdepth=cv2.CV_32S, sqdepth=cv2.CV_64F)
    margin = _RING * (boxes[:, 2:] - boxes[:, :2])
    outer = np.clip(
        np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1), 0.0, [width, height, width, height]
    )
    both = np.concatenate([boxes, outer])
    (inner, outer_sum), (inner_squares, outer_squares) = (
        np.split(box_sum(table, both), 2) for table in (values, squares)
    )
    area, outer_area = np.split(box_area(both), 2)
    ring_area = np.where(outer_area - area >= 1.0, outer_area - area, 0.0)
    inner_mean, inner_deviation = _moments(inner, inner_squares, area)
    ring_mean, ring_deviation = _moments(outer_sum - inner, outer_squares - inner_squares, ring_area)
    difference = np.concatenate([inner_mean - ring_mean, inner_deviation - ring_deviation], axis=1) * _LAB_UNITS
    return np.asarray(np.sqrt((difference**2).sum(axis=1)))


def _moments(sums: Floats, squares: Floats, area: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation by channel, each (n, C)."""
    mean, square = (divide(item, np.broadcast_to(area[:, None], item.shape)) for item in (sums, squares))
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

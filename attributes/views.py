"""What several measures look at, computed once per photo and only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.arrays import Boxes, Floats, Gray, Number, Pixels
from attributes.reduced import Reduced

Shared = TypeVar("Shared")

TOGETHER = 8
"""Photos of one size that are worked on as one array, which bounds memory."""


class Views:
    """A batch of photos with their boxes, and the reduced versions of them that measures share.

    Attributes:
        boxes: per photo (n, 4), clipped to the photo; empty where no boxes were given.
        focal_px: per photo the focal length in pixels of the photo, None where unknown.
    """

    def __init__(
        self,
        photos: Sequence[Pixels | Reduced],
        boxes: Sequence[Boxes] | None = None,
        focal_px: Sequence[float | None] | None = None,
    ) -> None:
        """Check shapes once, here.

        Args:
            photos: H×W×3 uint8 RGB, or reduced, whose pixels may have been released.
            boxes: per photo (n, 4); None for none.
            focal_px: per photo the focal length in pixels of the photo, None where unknown.

        Raises:
            ValueError: a photo is not H×W×3 uint8 or is empty, boxes are not (n, 4) or NaN, a focal length is not
                positive, or their numbers differ.
        """
        for index, photo in enumerate(photos):
            if isinstance(photo, Reduced):
                continue
            if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or photo.size == 0:
                raise ValueError(
                    f"expected photo {index} as a non-empty HxWx3 uint8 array, got {photo.dtype} {photo.shape}"
                )
        unboxed = boxes is None
        if boxes is None:
            boxes = [np.empty((0, 4))] * len(photos)
        if len(boxes) != len(photos):
            raise ValueError(f"expected boxes for {len(photos)} photos, got {len(boxes)}")
        for index, item in enumerate(() if unboxed else boxes):
            if item.ndim != 2 or item.shape[1] != 4:
                raise ValueError(f"expected the boxes of photo {index} as (n, 4) x1 y1 x2 y2, got {item.shape}")
            if np.isnan(item).any():
                raise ValueError(f"expected the boxes of photo {index} as numbers, got NaN")
        focal_px = [None] * len(photos) if focal_px is None else focal_px
        if len(focal_px) != len(photos):
            raise ValueError(f"expected focal lengths for {len(photos)} photos, got {len(focal_px)}")
        for index, length in enumerate(focal_px):
            if length is not None and not 0 < length < float("inf"):
                raise ValueError(
                    f"expected the focal length of photo {index} in pixels, above 0, or None, got {length}"
                )
        self._shared: dict[str, object] = {}
        self.focal_px: tuple[float | None, ...] = tuple(focal_px)
        self.reduced: tuple[Reduced, ...] = tuple(
            photo if isinstance(photo, Reduced) else Reduced(photo, detailed=len(item) > 0)
            for photo, item in zip(photos, boxes, strict=True)
        )
        self.boxes: tuple[Boxes, ...] = tuple(boxes)
        if not unboxed:
            self.boxes = tuple(
                np.clip(item, 0.0, [photo.shape[1], photo.shape[0]] * 2)
                for photo, item in zip(photos, boxes, strict=True)
            )

    def __len__(self) -> int:
        return len(self.reduced)

    @property
    def photos(self) -> tuple[Pixels, ...]:
        """H×W×3 uint8 RGB.

        Raises:
            ValueError: they were released, as `tag` does after reducing each photo; image attributes cannot use them.
        """
        return tuple(item.pixels for item in self.reduced)

    @property
    def detail(self) -> tuple[Gray, ...]:
        """Luma of at most ``DETAIL`` px; released as ``photos``."""
        return tuple(item.detail for item in self.reduced)

    @property
    def bands(self) -> tuple[Gray, ...]:
        """(bands, rows, w) luma of bands of rows of each photo at ``DETAIL``; of all rows where they are few."""
        return tuple(item.bands for item in self.reduced)

    @property
    def middles(self) -> tuple[Gray, ...]:
        """Luma of the middle ``MIDDLE`` px of each photo as stored."""
        return tuple(item.middle for item in self.reduced)

    @property
    def small(self) -> tuple[Pixels, ...]:
        """RGB of at most ``SMALL`` px."""
        return tuple(item.small for item in self.reduced)

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Places of photos of one size, at most ``TOGETHER`` in a group: arrays of them can be worked on as one."""
        return tuple(
            tuple(members[start : start + TOGETHER])
            for members in alike([item.shape for item in self.reduced])
            for start in range(0, len(members), TOGETHER)
        )

    @cached_property
    def grays(self) -> tuple[Gray, ...]:
        """(n, h, w) luma of at most ``SMALL`` px of the photos of each group."""
        return tuple(_grays([self.reduced[index].small for index in members]) for members in self.groups)

    @property
    def gray(self) -> tuple[Gray, ...]:
        """Luma of at most ``SMALL`` px."""
        return self.apart(self.grays)

    def apart(self, stacks: Sequence[NDArray[Number]]) -> tuple[NDArray[Number], ...]:
        """Per photo its part of (n, ...) arrays of the groups."""
        parts: dict[int, NDArray[Number]] = {}
        for members, stack in zip(self.groups, stacks, strict=True):
            parts.update(zip(members, stack, strict=True))
        return tuple(parts[index] for index in range(len(self)))

    def together(self, values: Sequence[Floats]) -> Floats:
        """(B, ...) values in the order of the photos, from (n, ...) of the groups."""
        if not values:
            return np.empty(0)
        joined = np.concatenate(values)
        ordered = np.empty_like(joined)
        ordered[[index for members in self.groups for index in members]] = joined
        return ordered

    @cached_property
    def sizes(self) -> Floats:
        """(B, 2) width and height of the photos."""
        return np.array([item.shape[1::-1] for item in self.reduced], dtype=np.float64).reshape(-1, 2)

    @cached_property
    def photo_of(self) -> NDArray[np.int64]:
        """(N,) the photo that each of all boxes belongs to."""
        return np.repeat(np.arange(len(self)), [len(item) for item in self.boxes])

    @cached_property
    def all_boxes(self) -> Boxes:
        """(N, 4) the boxes of all photos, photo after photo."""
        return np.concatenate([np.empty((0, 4)), *self.boxes])

    def shared(self, key: str, compute: Callable[[], Shared]) -> Shared:
        """Return what an earlier measure left under ``key``, or compute and leave it there."""
        if key not in self._shared:
            self._shared[key] = compute()
        return cast(Shared, self._shared[key])

    def boxes_at(self, index: int, shape: tuple[int, ...]) -> Boxes:
        """Boxes of photo ``index`` in the pixels of a reduced version with this shape (height, width, ...)."""
        width, height = self.sizes[index]
        return np.multiply(self.boxes[index], [shape[1] / width, shape[0] / height] * 2)


def alike(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Indices of equal shapes, together: what is of one shape can be worked on as one array.

    >>> alike([(3, 4), (5, 4), (3, 4)])
    [[0, 2], [1]]
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(index)
    return [*groups.values()]


def _grays(photos: Sequence[Pixels]) -> Gray:
    """(n, h, w) luma of photos of one size."""
    grays = np.empty((len(photos), *photos[0].shape[:2]), dtype=np.uint8)
    for photo, gray in zip(photos, grays, strict=True):
        cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY, dst=gray)
    return grays

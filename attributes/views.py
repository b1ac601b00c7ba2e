"""What several measures look at, computed once per photo and only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Shared = TypeVar("Shared")
Image = TypeVar("Image", NDArray[np.uint8], NDArray[np.float32])
Number = TypeVar("Number", bound=np.generic)

Pixels = NDArray[np.uint8]
"""A photo: H×W×3 RGB, 0–255, in the displayed frame."""

Gray = NDArray[np.uint8]
"""Rec. 601 luma, H×W, 0–255."""

Floats = NDArray[np.float64]

Boxes = NDArray[np.float64]
"""(n, 4) boxes ``x1 y1 x2 y2`` in pixels of the displayed frame."""

SMALL = 320
"""Longest side at which tones, colours and structure are measured: they do not depend on finer detail."""

COARSE = 160
"""Longest side at which colours and the light of whole regions are looked at.

The values are those at 320 px: on 650 photos of PASCAL VOC 2007 the share that is clipped moves by at most 0.013 and
colourfulness by at most 2.4."""

DETAIL = 640
"""Longest side at which sharpness and noise are measured, the usual input size of a detector.

At 320 px averaging halves noise and hides blur. Above 640 px both would be measured in detail that the detector's own
resizing throws away, and the cost would grow with the camera.
"""

MIDDLE = 256
"""Side in px, as stored, of the middle part in which traces of compression are looked for: resizing destroys them."""

BANDS, BAND_ROWS = 4, 48
"""Bands of rows, evenly spread over a photo at ``DETAIL``, on which its sharpness and noise are measured.

Together 192 rows of 480: on all rows the sharpness of 96 photos differs by 4% (standard deviation) and costs two and a
half times as much.
"""

TOGETHER = 8
"""Photos of one size that are worked on as one array, which bounds memory."""

UNTHREADED = 2**18
"""Multiplications in a matrix product up to which OpenBLAS starts no threads. Photos are measured side by side, so that
its threads would wait for each other: with both cores of a machine busy a product took 12 ms instead of 0.05."""

# Of the corners of a summed-area table: bottom right, bottom left, top right, top left.
_SIGNS = np.array([1.0, -1.0, -1.0, 1.0])


class Reduced:
    """A photo and the reduced versions of it that measures look at, each computed when it is first asked for.

    Attributes:
        shape: height, width and 3 channels of the photo.
    """

    def __init__(self, pixels: Pixels, *, detailed: bool = False) -> None:
        """Keep the pixels.

        Args:
            pixels: H×W×3 uint8 RGB.
            detailed: the whole ``detail`` will be asked for, so that its parts are best taken from there.
        """
        self.shape = pixels.shape
        self._detailed = detailed
        self._pixels: Pixels | None = pixels

    @property
    def pixels(self) -> Pixels:
        """H×W×3 uint8 RGB.

        Raises:
            ValueError: they were released.
        """
        if self._pixels is None:
            raise ValueError("expected a photo with its pixels, they were released")
        return self._pixels

    @cached_property
    def detail(self) -> Gray:
        """Luma of at most ``DETAIL`` px."""
        return np.asarray(cv2.cvtColor(self.at_detail, cv2.COLOR_RGB2GRAY), dtype=np.uint8)

    @cached_property
    def bands(self) -> Gray:
        """(bands, rows, w) luma of bands of rows at ``DETAIL``; of all rows where they are few."""
        starts = starts_of_bands(self.at_detail.shape[0])
        rows = BAND_ROWS if len(starts) > 1 else self.at_detail.shape[0]
        bands = np.empty((len(starts), rows, self.at_detail.shape[1]), dtype=np.uint8)
        for band, start in zip(bands, starts, strict=True):
            if self._detailed:
                band[:] = self.detail[start : start + rows]
            else:
                cv2.cvtColor(self.at_detail[start : start + rows], cv2.COLOR_RGB2GRAY, dst=band)
        return bands

    @cached_property
    def middle(self) -> Gray:
        """Luma of the middle ``MIDDLE`` px as stored.

        Whole levels are what an encoder is given and what a decoder begins with, so that rounding to them loses little.
        """
        rows, columns = middle_of(*self.shape[:2])
        if self._detailed and self.at_detail.shape == self.shape:
            return self.detail[rows, columns]
        return np.asarray(cv2.cvtColor(self.pixels[rows, columns], cv2.COLOR_RGB2GRAY), dtype=np.uint8)

    @cached_property
    def small(self) -> Pixels:
        """RGB of at most ``SMALL`` px."""
        return fit(self.at_detail, SMALL)

    @cached_property
    def coarse(self) -> Pixels:
        """RGB of at most ``COARSE`` px."""
        return fit(self.small, COARSE)

    def release(self) -> None:
        """Let go of the pixels, once all that image attributes look at is reduced: while they are in the cache."""
        _ = self.small, self.bands, self.middle
        self._pixels = None
        self.__dict__.pop("at_detail", None)

    @cached_property
    def at_detail(self) -> Pixels:
        """RGB of at most ``DETAIL`` px."""
        return fit(self.pixels, DETAIL)


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


def fit(photo: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Reduce a photo so that its longest side is at most ``longest`` px; never enlarge it.

    Args:
        photo: H×W[×C].
        longest: in px.
    """
    height, width = photo.shape[:2]
    whole, size = reductions(height, width, longest)
    if whole > 1:
        reduced = (width // whole, height // whole)
        cut = photo[: reduced[1] * whole, : reduced[0] * whole]
        photo = np.asarray(cv2.resize(cut, reduced, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if photo.shape[:2] == size:
        return photo
    return np.asarray(cv2.resize(photo, size[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def reductions(height: int, width: int, longest: int) -> tuple[int, tuple[int, int]]:
    """How a photo is reduced to at most ``longest`` px: by a whole factor first, which is exact and cheap.

    Returns:
        The whole factor, 1 for none, by which areas are averaged; height and width in px to which what is left, less
        than a factor of 2, is interpolated.
    """
    factor = max(height, width) / longest
    if factor <= 1:
        return 1, (height, width)
    # A side shorter than the factor has no area to average.
    whole = int(factor) if min(height, width) >= int(factor) else 1
    return whole, (max(1, round(height / factor)), max(1, round(width / factor)))


def middle_of(height: int, width: int) -> tuple[slice, slice]:
    """The middle ``MIDDLE`` px, beginning where blocks of 8 px begin that were laid from the photo's corner."""
    top, left = (max(0, side - MIDDLE) // 16 * 8 for side in (height, width))
    return slice(top, top + MIDDLE), slice(left, left + MIDDLE)


def starts_of_bands(height: int) -> tuple[int, ...]:
    """First rows of the bands of a photo at ``DETAIL``; one alone means all rows."""
    if height <= BANDS * BAND_ROWS:
        return (0,)
    return tuple((height - BAND_ROWS) * band // (BANDS - 1) for band in range(BANDS))


def _grays(photos: Sequence[Pixels]) -> Gray:
    """(n, h, w) luma of photos of one size."""
    grays = np.empty((len(photos), *photos[0].shape[:2]), dtype=np.uint8)
    for photo, gray in zip(photos, grays, strict=True):
        cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY, dst=gray)
    return grays


def fit_all(photos: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Reduce (n, H, W[, C]) photos as ``fit`` does."""
    return np.stack([fit(photo, longest) for photo in photos])


def integral(values: NDArray[np.uint8] | NDArray[np.float32]) -> Floats:
    """Summed-area table, (H+1)×(W+1)[×C] float64, with a zero first row and column (Crow 1984)."""
    return np.asarray(cv2.integral(values, sdepth=cv2.CV_64F), dtype=np.float64)


def box_sums(
    images: Sequence[Image], boxes: Sequence[Boxes], tables: Callable[[Image], Sequence[NDArray[np.generic]]]
) -> tuple[Floats, ...]:
    """Sums over boxes with fractional corners, exact for images that are constant within each pixel.

    All boxes of a batch are worked on together; each image's tables are made, read and dropped in turn.

    Args:
        images: B images, H×W[×C].
        boxes: per image (n, 4) in its pixels, within it.
        tables: image → its summed-area tables, (H+1)×(W+1)[×C], of one channel or of C each.

    Returns:
        For each table (N, channels), the boxes of all images, image after image.
    """
    counts = [len(item) for item in boxes]
    if not sum(counts):
        return ()
    every = np.concatenate([*boxes])
    height, width = np.repeat([image.shape[:2] for image in images], counts, axis=0)[:, :, None].transpose(1, 0, 2)
    x, y = every[:, [2, 0, 2, 0]], every[:, [3, 3, 1, 1]]
    column, row = np.minimum(x.astype(np.int64), width - 1), np.minimum(y.astype(np.int64), height - 1)
    right, down = x - column, y - row
    # Bilinear weights of the four table entries around each corner, with the corner's sign in the sum.
    weights = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down]) * _SIGNS
    corner = row * (width + 1) + column
    places = np.stack([corner, corner + 1, corner + width + 1, corner + width + 2]).transpose(0, 2, 1)
    entries: list[list[NDArray[np.generic]]] = []
    for image, of_image in zip(images, np.split(places, np.cumsum(counts)[:-1], axis=2), strict=True):
        if of_image.shape[2]:
            flat = (table.reshape((image.shape[0] + 1) * (image.shape[1] + 1), -1) for table in tables(image))
            entries.append([table.take(of_image, axis=0) for table in flat])
    shares = weights.transpose(0, 2, 1).reshape(16, -1, 1)
    return tuple(_weighted(shares, np.concatenate(parts, axis=2)) for parts in zip(*entries, strict=True))


def _weighted(weights: Floats, entries: NDArray[np.generic]) -> Floats:
    """Sum over the first axis, always in the same order: a box's sum must not depend on how many others there are."""
    total = np.zeros(entries.shape[2:])
    for weight, entry in zip(weights, entries.reshape(16, *total.shape), strict=True):
        total += weight * entry
    return total


def box_area(boxes: Boxes) -> Floats:
    """(n,) areas; 0 for boxes without extent."""
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1))


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient; NaN where the denominator is not positive."""
    quotient: Floats = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient

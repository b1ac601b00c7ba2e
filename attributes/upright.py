"""How upright a photo looks, told from the layout of its colours, textures and gradient directions.

The cues are those of Vailaya et al., "Automatic image orientation detection", IEEE Transactions on Image Processing
2002; a small convolutional head weighs them. One head scores a layout in all four turns, so what it learns in one it
knows in all (Cohen & Welling, "Group equivariant convolutional networks", ICML 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray

from attributes.arrays import Floats, Pixels

Floats32 = NDArray[np.float32]

CELLS = 16
"""Cells along the shorter side of a layout, and along both sides of what the head sees."""

LONGEST = 3
"""Sides beyond this many times the shorter one are cut off: panoramas tell enough in their middle."""

SMALLEST = 16
"""Shorter side, in px, below which there is no layout to tell from."""

LEAST_CONFIDENCE = (0.6, 0.75)
"""From where on a photo is told as upright, and as turned.

Chosen on 129 VOC photos that the head never saw, cut to squares and turned all four ways: 54% are told, 96% of them
rightly, and none of the photos as taken is called turned. At 0.7 for turned ones 3% more are told, and 2 of the 129
photos as taken are called turned: few photos lie on their side, and a false turn explains a miss that it did not cause.
Of 121 photos that nothing was chosen on, 1 is.
"""

_CELL = 8  # px
_CHANNELS = 13
_COS_45 = np.float32(np.sqrt(0.5))
# Squared gradients, luma 0–1: below a step of 1 % per px directions are noise.
_FLAT = 1e-4


def confidence(cells: Floats32) -> Floats:
    """Probabilities that clockwise turns of 0, 90, 180 and 270 degrees bring a photo upright.

    Args:
        cells: (13, h, w) from ``describe``. A longer side is seen through several square windows.

    Returns:
        (4,), sum 1.
    """
    height, width = cells.shape[1:]
    n_windows = -(-max(height, width) // CELLS)
    starts = np.rint(np.linspace(0, max(height, width) - CELLS, n_windows)).astype(int)
    windows = [
        cells[:, start : start + CELLS, :CELLS] if height > width else cells[:, :CELLS, start : start + CELLS]
        for start in starts
    ]
    scores = _scores(np.stack(windows)).mean(axis=0) / head()["temperature"]
    exponentials = np.exp(scores - scores.max())
    return np.asarray(exponentials / exponentials.sum(), dtype=np.float64)


def describe(photo: Pixels) -> Floats32:
    """Colour, contrast and gradient directions of a photo on a coarse grid; turning the photo turns the grid.

    Args:
        photo: H×W×3 uint8 RGB.

    Returns:
        float32 (13, h, w) with 16 cells along the shorter side: CIE L*, a*, b*; standard deviation of L*; log of the
        gradient energy; its shares in eight directions, from rightwards brighter clockwise. Scaled to about -1 to 1.
    """
    height, width = photo.shape[:2]
    most = LONGEST * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    photo = photo[top : top + most, left : left + most]
    height, width = photo.shape[:2]
    scale = CELLS / min(height, width)
    rows, columns = max(CELLS, round(height * scale)), max(CELLS, round(width * scale))
    small = cv2.resize(photo, (columns * _CELL, rows * _CELL), interpolation=cv2.INTER_AREA)
    planes = _planes(cv2.cvtColor(small, cv2.COLOR_RGB2LAB))
    # Rows of pixels of a cell are added up, then columns: by products, since many short sums take longer, of few rows,
    # which start no threads.
    strips = planes.reshape(12, rows, _CELL, -1).sum(axis=2)
    means = (strips.reshape(3 * rows, 4, -1) @ _columns_of(columns)).reshape(12, rows, columns)
    cells = np.empty((_CHANNELS, rows, columns), np.float32)
    lightness, energy = means[0], means[4:].sum(axis=0)
    cells[0] = 2 * lightness - 1
    cells[1:3] = (means[1:3] - 128 / 255) * 7.65
    cells[3] = 4 * np.sqrt(np.maximum(means[3] - lightness**2, 0))
    cells[4] = 0.25 * np.log(energy + _FLAT) + 1.2
    cells[5:] = 4 * means[4:] / (energy + _FLAT) - 0.5
    return cells


def turned(cells: Floats32, turns: int) -> Floats32:
    """Layout (..., 13, h, w) of the photo turned clockwise by a number of quarter turns."""
    result = np.rot90(cells, -turns, (-2, -1)).copy()
    result[..., 5:, :, :] = np.roll(result[..., 5:, :, :], 2 * turns, axis=-3)
    return result


@lru_cache(maxsize=64)
def _columns_of(cells: int) -> Floats32:
    """(px, cells) what columns of pixels count in the mean of each cell of a row."""
    return np.kron(np.eye(cells), np.ones((_CELL, 1))).astype(np.float32) / np.float32(_CELL**2)


def _planes(lab: Pixels) -> Floats32:
    """(12, H, W) 8-bit Lab / 255, squared L*, and the squared positive parts of the gradient in eight directions."""
    planes = np.empty((12, *lab.shape[:2]), np.float32)
    for channel, plane in zip(cv2.split(lab), planes, strict=False):
        np.multiply(channel, np.float32(1 / 255), out=plane)
    np.multiply(planes[0], planes[0], out=planes[3])
    right, down = (cv2.Sobel(planes[0], cv2.CV_32F, dx, 1 - dx, scale=0.25) for dx in (1, 0))
    for index, slope in enumerate((right, (right + down) * _COS_45, down, (down - right) * _COS_45)):
        signed = slope * np.abs(slope)
        np.maximum(signed, 0, out=planes[4 + index])
        np.subtract(planes[4 + index], signed, out=planes[8 + index])
    return planes


@cache
def head() -> Mapping[str, Floats32]:
    """Weights and temperature, trained by `tests/benchmarks/train_rotation.py`; read when first needed."""
    with resources.files("attributes").joinpath("rotation_head.npz").open("rb") as file, np.load(file) as arrays:
        return {name: arrays[name].astype(np.float32) for name in arrays.files}


@cache
def _turned_head() -> tuple[Floats32, Floats32, Floats32]:
    """Weights that score a layout as if it were turned clockwise by 0 to 3 quarter turns.

    Turning the kernels instead of the layout lets the turns share the patches that the kernels see.

    Returns:
        (9·13, 4·c) first convolution; (4, 9·c, d) second; (4, 16·d, h) hidden layer.
    """
    weights = head()
    first = weights["first_weight"].reshape(3, 3, _CHANNELS, -1)
    second = weights["second_weight"].reshape(3, 3, first.shape[-1], -1)
    hidden = weights["hidden_weight"].reshape(4, 4, second.shape[-1], -1)
    firsts = []
    for turns in range(4):
        kernel = np.rot90(first, turns).copy()
        kernel[:, :, 5:] = np.roll(kernel[:, :, 5:], -2 * turns, axis=2)
        firsts.append(kernel.reshape(9 * _CHANNELS, -1))
    seconds = [np.rot90(second, turns).reshape(-1, second.shape[-1]) for turns in range(4)]
    hiddens = [np.rot90(hidden, turns).reshape(-1, hidden.shape[-1]) for turns in range(4)]
    return np.concatenate(firsts, axis=1), np.stack(seconds), np.stack(hiddens)


def _scores(windows: Floats32) -> Floats32:
    """How upright layouts look in four turns: two 3×3 convolutions with ReLU and 2×2 mean pooling, two dense layers.

    Args:
        windows: (n, 13, 16, 16).

    Returns:
        (n, 4) logits, for clockwise turns of 0, 90, 180 and 270 degrees.
    """
    weights = head()
    first, second, hidden = _turned_head()
    count, half = len(windows), CELLS // 2
    # Products of few cells: larger ones would start threads (``arrays.UNTHREADED``).
    seen = _patches(windows.transpose(0, 2, 3, 1)).reshape(count * CELLS, CELLS, -1)
    maps = seen @ first + np.tile(weights["first_bias"], 4)
    maps = _pooled(np.maximum(maps, 0).reshape(count, CELLS, CELLS, 4, -1))
    # One batch item for each turn, as each has its own maps from here on.
    maps = np.ascontiguousarray(maps.transpose(3, 0, 1, 2, 4)).reshape(4 * count, half, half, -1)
    around = _patches(maps).reshape(4, count * half * half // 32, 32, -1)
    maps = np.matmul(around, second[:, None]) + weights["second_bias"]
    maps = _pooled(np.maximum(maps, 0).reshape(4 * count, half, half, -1))
    units = np.maximum(np.matmul(maps.reshape(4, count, -1), hidden) + weights["hidden_bias"], 0)
    return np.asarray(units @ weights["score_weight"] + weights["score_bias"])[..., 0].T


def _patches(maps: Floats32) -> Floats32:
    """(n·h·w, 9·c) 3×3 neighbourhoods, zero beyond the border, of (n, h, w, c)."""
    count, height, width, channels = maps.shape
    padded = np.zeros((count, height + 2, width + 2, channels), np.float32)
    padded[:, 1:-1, 1:-1] = maps
    shifts = [padded[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    return np.concatenate(shifts, axis=-1).reshape(-1, 9 * channels)


def _pooled(maps: Floats32) -> Floats32:
    """(n, h / 2, w / 2, ...) means of 2×2 positions of (n, h, w, ...)."""
    return (maps[:, ::2, ::2] + maps[:, 1::2, ::2] + maps[:, ::2, 1::2] + maps[:, 1::2, 1::2]) / np.float32(4)

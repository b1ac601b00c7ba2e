"""Types of arrays, and how large a product of them may be."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

Pixels = NDArray[np.uint8]
"""A photo: H×W×3 RGB, 0–255, in the displayed frame."""

Gray = NDArray[np.uint8]
"""Rec. 601 luma, H×W, 0–255."""

Floats = NDArray[np.float64]

Boxes = NDArray[np.float64]
"""(n, 4) boxes ``x1 y1 x2 y2`` in pixels of the displayed frame."""

UNTHREADED = 2**18
"""Multiplications in a matrix product up to which OpenBLAS starts no threads. Photos are measured side by side, so that
its threads would wait for each other: with both cores of a machine busy a product took 12 ms instead of 0.05."""

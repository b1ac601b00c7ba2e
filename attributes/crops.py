"""Crops laid side by side in one image, so that one operation runs over all of them and over nothing else.

A few boxes cover little of a photo, and many small images cost more in calls than in work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]


class Sheet(NamedTuple):
    """Where crops lie.

    Attributes:
        top: (n,) first row of each crop.
        left: (n,) its first column.
        height: of the sheet.
    """

    top: Whole
    left: Whole
    height: int


def lay_out(heights: Whole, widths: Whole, across: int) -> Sheet:
    """Lay crops on shelves, the tallest first.

    Args:
        heights: (n,) in px.
        widths: (n,) in px, at most ``across``.
        across: width of the sheet.

    >>> lay_out(np.array([2, 5, 4]), np.array([6, 5, 4]), 10)
    Sheet(top=array([5, 0, 0]), left=array([0, 0, 5]), height=7)
    """
    tall, wide = heights.tolist(), widths.tolist()
    top, left = [0] * len(tall), [0] * len(tall)
    row = column = shelf = 0
    for index in sorted(range(len(tall)), key=lambda index: -tall[index]):
        if column + wide[index] > across:
            row, column, shelf = row + shelf, 0, 0
        top[index], left[index] = row, column
        column += wide[index]
        shelf = max(shelf, tall[index])
    return Sheet(np.array(top), np.array(left), row + shelf)

"""Crops on a sheet: none overlaps another, and all lie on it."""

import numpy as np
import pytest

from attributes.crops import lay_out


@pytest.mark.parametrize("across", [40, 70, 300])
def test_crops_lie_side_by_side(across: int) -> None:
    generator = np.random.default_rng(across)
    heights, widths = generator.integers(1, 90, 60), generator.integers(1, 41, 60)
    sheet = lay_out(heights, widths, across)
    covered = np.zeros((sheet.height, across), dtype=int)
    for top, left, height, width in zip(sheet.top, sheet.left, heights, widths, strict=True):
        covered[top : top + height, left : left + width] += 1
    assert covered.max() == 1
    assert covered.sum() == (heights * widths).sum()


def test_one_crop_fills_its_sheet() -> None:
    sheet = lay_out(np.array([7]), np.array([12]), 12)
    assert (sheet.top.tolist(), sheet.left.tolist(), sheet.height) == ([0], [0], 7)

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xai.detect import fitting


def test_photos_of_one_shape_are_stacked_and_know_their_scale() -> None:
    photos = [np.zeros(shape, dtype=np.uint8) for shape in [(10, 20, 3), (30, 10, 3), (20, 40, 3)]]
    resized = [torch.full((3, *shape), index / 4) for index, shape in enumerate([(5, 10), (15, 5), (5, 10)])]
    first, second = fitting.group(resized, photos)
    assert (first.indices, second.indices) == ((0, 2), (1,))
    assert first.inputs[:, 0, 0, 0].tolist() == [0.0, 0.5]
    assert first.scale.tolist() == [[0.5, 0.5], [0.25, 0.25]]
    assert first.sizes.tolist() == [[20, 10], [40, 20]]
    assert not first.offset.any()
    assert second.scale.tolist() == [[0.5, 0.5]]
    assert fitting.group([], []) == []


def test_padding_lies_right_and_below_and_is_cut_from_maps() -> None:
    images = torch.ones(2, 3, 20, 33)
    padded = fitting.pad(images, 32, 64)
    assert padded.shape == (2, 3, 32, 64)
    assert torch.equal(padded[..., :20, :33], images)
    assert padded.sum() == images.sum()
    fine, coarse = fitting.crop([torch.rand(2, 5, 8, 16), torch.rand(2, 5, 1, 2)], padded, images)
    assert fine.shape == (2, 5, 5, 9)  # 20 / 4 and 33 / 4, cells covered in part kept
    assert coarse.shape == (2, 5, 1, 2)


def test_maps_of_unpadded_images_are_whole() -> None:
    images = torch.ones(1, 3, 50, 70)
    level = torch.rand(1, 4, 7, 9).half()
    (kept,) = fitting.crop([level], images, images)
    assert torch.equal(kept, level.float())


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000), longest=st.integers(1, 1333))
def test_thickened_photos_leave_a_pixel_when_they_are_resized(height: int, width: int, longest: int) -> None:
    photo = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(3, height, width)
    thick = fitting.thicken(photo, longest)
    shorter, longer = sorted(thick.shape[-2:])
    assert longer == max(height, width)
    assert shorter * longest >= longer or shorter == longer
    if min(height, width) * longest >= max(height, width):
        assert thick is photo


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_line_is_thickened_by_repeating_it(dtype: torch.dtype) -> None:
    line = torch.arange(9).reshape(1, 1, 9).expand(3, 1, 9).to(dtype)
    thick = fitting.thicken(line, 3)
    assert thick.dtype == dtype
    assert torch.equal(thick, line.expand(3, 3, 9))

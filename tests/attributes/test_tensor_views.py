"""Reduced versions on tensors: the very pixels that OpenCV gives."""

import cv2
import numpy as np
import pytest
import torch

from attributes.reduced import fit as fit_array
from attributes.tensors.views import TensorViews, average, fit, luma
from attributes.views import Views

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")],
    ),
]

SIZES = [
    (480, 640),
    (375, 500),
    (500, 333),
    (31, 17),
    (1, 1),
    (1, 900),
    (1300, 3),
    (641, 479),
    (1279, 1281),
    (2001, 70),
]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def to_tensor(photos: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(photos).movedim(-1, 1).to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", SIZES)
def test_all_versions_equal_those_of_arrays(size: tuple[int, int], device: str) -> None:
    photos = noise(2, *size, 3)
    arrays, tensors = Views(photos), TensorViews(to_tensor(photos, device))
    assert len(tensors) == 2
    np.testing.assert_array_equal(tensors.detail.cpu(), np.stack(arrays.detail))
    np.testing.assert_array_equal(tensors.bands.cpu(), np.stack(arrays.bands))
    np.testing.assert_array_equal(tensors.small.movedim(1, -1).cpu(), np.stack(arrays.small))
    np.testing.assert_array_equal(tensors.gray.cpu(), np.stack(arrays.gray))
    np.testing.assert_array_equal(tensors.sizes.cpu(), arrays.sizes)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("longest", [7, 64, 99, 100, 150, 199, 200, 320])
def test_fit_equals_opencv_to_any_size(longest: int, device: str) -> None:
    gray = noise(3, 151, 200)
    expected = [fit_array(image, longest) for image in gray]
    np.testing.assert_array_equal(fit(torch.from_numpy(gray).to(device), longest).cpu(), np.stack(expected))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8, 16])
def test_averages_round_as_opencv(factor: int, device: str) -> None:
    gray = noise(2, 12 * factor, 9 * factor)
    expected = [cv2.resize(image, (9, 12), interpolation=cv2.INTER_AREA) for image in gray]
    np.testing.assert_array_equal(average(torch.from_numpy(gray).to(device), factor).cpu(), np.stack(expected))


@pytest.mark.parametrize("device", DEVICES)
def test_luma_of_all_levels(device: str) -> None:
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, len(levels), -1, 3)
    expected = cv2.cvtColor(cube[0], cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(luma(to_tensor(cube, device))[0].cpu(), expected)


def test_photos_in_any_memory_layout_are_alike() -> None:
    photos = torch.from_numpy(noise(2, 375, 500, 3)).movedim(-1, 1)
    assert torch.equal(TensorViews(photos).gray, TensorViews(photos.contiguous()).gray)


def test_no_photos() -> None:
    views = TensorViews(torch.empty(0, 3, 480, 640, dtype=torch.uint8))
    assert len(views) == 0
    assert views.gray.shape == (0, 240, 320)


@pytest.mark.parametrize(
    ("photos", "words"),
    [
        (torch.zeros(3, 4, 4, dtype=torch.uint8), r"got torch.uint8 \(3, 4, 4\)"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), r"\(1, 4, 4, 3\)"),
        (torch.zeros(1, 3, 4, 4), r"got torch.float32"),
        (torch.zeros(1, 3, 0, 4, dtype=torch.uint8), r"at least one pixel"),
    ],
)
def test_wrong_shapes_are_refused(photos: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TensorViews(photos)

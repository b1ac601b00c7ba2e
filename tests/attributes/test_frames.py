"""Boxes and pixels go to the displayed frame and back, as PIL's ``exif_transpose`` says."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from attributes.frames import displayed_boxes, displayed_pixels, stored_boxes, stored_pixels

ORIENTATIONS = range(1, 9)


def _exif_transpose(pixels: np.ndarray, orientation: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pixels_equal_pil(orientation: int) -> None:
    pixels = np.random.default_rng(orientation).integers(0, 256, (13, 29, 3), dtype=np.uint8)
    shown = displayed_pixels(pixels, orientation)
    np.testing.assert_array_equal(shown, _exif_transpose(pixels, orientation))
    np.testing.assert_array_equal(stored_pixels(shown, orientation), pixels)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_box_follows_its_pixels(orientation: int) -> None:
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[5:12, 20:33] = 255
    shown = displayed_pixels(pixels, orientation)
    height, width = shown.shape[:2]
    box = np.array([[20.0, 5, 33, 12]])
    arguments = np.array([orientation]), np.array([width]), np.array([height])
    moved = displayed_boxes(box, *arguments)
    rows, columns = np.nonzero(shown[..., 0])
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert moved.tolist() == [expected]
    np.testing.assert_array_equal(stored_boxes(moved, *arguments), box)


def test_many_boxes_of_photos_with_different_orientations() -> None:
    generator = np.random.default_rng(0)
    boxes = np.sort(generator.uniform(0, 50, (64, 2, 2)), axis=1).reshape(64, 4)
    orientation = generator.integers(1, 9, 64)
    width, height = generator.integers(50, 90, 64), generator.integers(50, 90, 64)
    there = displayed_boxes(boxes, orientation, width, height)
    np.testing.assert_allclose(stored_boxes(there, orientation, width, height), boxes)
    one_by_one = [
        displayed_boxes(boxes[i : i + 1], orientation[i : i + 1], width[i : i + 1], height[i : i + 1])[0]
        for i in range(64)
    ]
    np.testing.assert_array_equal(there, one_by_one)


def test_nothing_and_unknown_orientations() -> None:
    empty = np.empty((0, 4))
    none = np.empty(0, dtype=np.int64)
    assert displayed_boxes(empty, none, none, none).shape == (0, 4)
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    for orientation in (None, 0, 9):
        np.testing.assert_array_equal(stored_pixels(pixels, orientation), pixels)
    box = np.array([[1.0, 2, 3, 4]])
    assert displayed_boxes(box, np.array([0]), np.array([9]), np.array([9])).tolist() == box.tolist()

"""Object attributes against brute force on pixel grids."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attributes import objects
from attributes.arrays import UNTHREADED
from attributes.objects import (
    crowding,
    object_aspect,
    object_brightness,
    object_contrast,
    object_glare,
    object_position,
    object_size,
    occlusion,
    truncation,
)
from attributes.views import Views

WIDTH, HEIGHT = 200, 120
MEASURES = [
    crowding,
    object_aspect,
    object_brightness,
    object_contrast,
    object_glare,
    object_position,
    object_size,
    occlusion,
    truncation,
]


def blank(width: int = WIDTH, height: int = HEIGHT, tone: int = 0) -> np.ndarray:
    return np.full((height, width, 3), tone, dtype=np.uint8)


def random_boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    x = np.sort(generator.choice(WIDTH + 1, (count, 2)), axis=1)
    y = np.sort(generator.choice(HEIGHT + 1, (count, 2)), axis=1)
    boxes = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1).astype(float)
    return boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_crowding_equals_counting_pixels(seed: int, count: int) -> None:
    boxes = random_boxes(np.random.default_rng(seed), count)
    values = crowding(Views([blank()], [boxes]))
    counts = np.zeros((HEIGHT, WIDTH), dtype=int)
    for x1, y1, x2, y2 in boxes.astype(int):
        counts[y1:y2, x1:x2] += 1
    expected = [np.mean(counts[y1:y2, x1:x2] >= 2) for x1, y1, x2, y2 in boxes.astype(int)]
    np.testing.assert_allclose(values, expected, atol=1e-9)


def test_crowding_of_fractions_of_pixels_and_of_many_boxes() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [9.5, 0, 20, 10], [2, 2, 2, 8]])
    values = crowding(Views([blank()], [boxes]))
    np.testing.assert_allclose(values[:2], [0.05, 0.5 / 10.5])
    assert np.isnan(values[2])
    many = random_boxes(np.random.default_rng(0), 3000)
    np.testing.assert_allclose(crowding(Views([blank()], [many])), 1.0, atol=0.05)


def test_crowding_of_many_small_boxes_hardly_depends_on_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 1, (objects._MANY_BOXES + 1, 2)) * [WIDTH - 6, HEIGHT - 6]
    boxes = np.concatenate([corners, corners + generator.uniform(0.4, 6, corners.shape)], axis=1)
    coarse = crowding(Views([blank()], [boxes]))
    monkeypatch.setattr(objects, "_MANY_BOXES", len(boxes))
    exact = crowding(Views([blank()], [boxes]))
    assert 0.1 < exact.mean() < 0.6
    assert np.abs(coarse - exact).max() < 0.25  # a box of 0.4 px has two steps
    assert np.abs(coarse - exact).mean() < 0.03


def test_object_size() -> None:
    boxes = np.array([[0.0, 0, WIDTH, HEIGHT], [0, 0, WIDTH / 2, HEIGHT / 2], [-50, -50, 0, 0]])
    np.testing.assert_allclose(object_size(Views([blank()], [boxes])), [1.0, 0.5, 0.0])


def test_truncation_is_the_share_of_the_outline_on_the_edge() -> None:
    boxes = np.array([[0.0, 30, 40, 70], [160, 80, 200, 120], [0, 0, 200, 120], [3, 3, 197, 117], [1.5, 50, 60, 90]])
    values = truncation(Views([blank()], [boxes]))
    np.testing.assert_allclose(values, [0.25, 0.5, 1.0, 0.0, 40 / (2 * (58.5 + 40))])


def test_a_box_outside_of_the_photo_is_not_cut() -> None:
    boxes = np.array([[-50.0, 20, -10, 80], [-50, -50, -10, -10], [-50, 20, 10, 80]])
    np.testing.assert_allclose(truncation(Views([blank()], [boxes])), [np.nan, np.nan, 60 / 140])


def test_brightness_of_each_box() -> None:
    photo = blank(640, 480, 40)
    photo[100:200, 100:300] = 200
    boxes = np.array([[100.0, 100, 300, 200], [400, 300, 500, 400], [200, 150, 400, 250], [5, 5, 5, 9]])
    values = object_brightness(Views([photo], [boxes]))
    np.testing.assert_allclose(values[:3], np.array([200, 40, 40 + 160 / 4]) / 255, atol=0.01)
    assert np.isnan(values[3])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_occlusion_equals_counting_pixels_of_lower_boxes(seed: int, count: int) -> None:
    boxes = random_boxes(np.random.default_rng(seed), count)
    expected = []
    for box in boxes:
        hidden = np.zeros((HEIGHT, WIDTH), dtype=bool)
        for x1, y1, x2, y2 in boxes:
            if y2 > box[3] + 0.02 * (y2 - y1):
                hidden[int(y1) : int(y2), int(x1) : int(x2)] = True
        expected.append(hidden[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])].mean())
    # Points every 1/32 of a side: each edge of a box in front may move the share by 1/64.
    np.testing.assert_allclose(occlusion(Views([blank()], [boxes])), expected, atol=0.08)
    assert np.all(occlusion(Views([blank()], [boxes])) <= crowding(Views([blank()], [boxes])) + 0.08)


def test_occlusion_has_a_front_and_a_back() -> None:
    behind, front, level = [0.0, 0, 60, 60], [30, 20, 90, 100], [0, 10, 40, 60.5]
    views = Views([blank()], [np.array([behind, front, level])])
    np.testing.assert_allclose(occlusion(views), [30 * 40 / 3600, 0.0, 10 * 40.5 / (40 * 50.5)], atol=0.02)
    twins = np.array([[10.0, 10, 50, 50]] * 3)
    np.testing.assert_array_equal(occlusion(Views([blank()], [twins])), 0.0)


def test_occlusion_of_many_boxes_and_of_boxes_without_area() -> None:
    many = np.concatenate([random_boxes(np.random.default_rng(0), 400), [[5.0, 5, 5, 9], [300, 300, 400, 400]]])
    values = occlusion(Views([blank()], [many]))
    assert np.isnan(values[-2:]).all()
    lowest = many[:-2, 3] == HEIGHT
    np.testing.assert_array_equal(values[:-2][lowest], 0.0)
    assert values[:-2][many[:-2, 3] < HEIGHT / 2].mean() > 0.95
    assert np.all((values[:-2] >= 0) & (values[:-2] <= 1))


def test_occlusion_by_more_boxes_than_a_product_takes() -> None:
    count = 2 * objects._FRONTS_AT_ONCE + 10
    assert objects._FRONTS_AT_ONCE * objects._POINTS**2 <= UNTHREADED
    across = np.linspace(0, 80, count)
    strips = np.stack([across, np.full(count, 20.0), across + 0.2, np.full(count, 90.0)], axis=1)
    values = occlusion(Views([blank()], [np.concatenate([[[0.0, 0, 80, 40]], strips])]))
    np.testing.assert_allclose(values[0], 0.5, atol=0.02)  # strips that overlap cover the lower half, counted once


def test_aspect_in_octaves() -> None:
    boxes = np.array([[0.0, 0, 80, 10], [0, 0, 10, 80], [5, 5, 9, 9], [5, 5, 5, 9], [5, 5, 9, 5], [-90, 0, 20, 20]])
    expected = [3, -3, 0, np.nan, np.nan, 0]  # the last one is clipped to the photo
    np.testing.assert_allclose(object_aspect(Views([blank()], [boxes])), expected)


def test_position_from_centre_to_corner() -> None:
    boxes = np.array([[90.0, 50, 110, 70], [0, 50, 0, 70], [90, 0, 110, 0], [200, 120, 200, 120], [0, 0, 200, 120]])
    expected = [0, np.sqrt(0.5), np.sqrt(0.5), 1, 0]
    np.testing.assert_allclose(object_position(Views([blank()], [boxes])), expected)


@pytest.mark.parametrize(("side", "of_luma", "of_contrast"), [(8, 0.25, 0.3), (16, 0.13, 0.16), (32, 0.07, 0.09)])
def test_small_boxes_of_large_photos_take_in_little_of_what_is_around(
    side: int, of_luma: float, of_contrast: float
) -> None:
    photo = blank(640, 480, 40)
    photo[101 : 101 + side, 201 : 201 + side] = 220  # not on the grid of the reduced photo
    views = Views([photo], [np.array([[201.0, 101, 201 + side, 101 + side]])])
    full = cv2.cvtColor(np.array([[[40] * 3, [220] * 3]], dtype=np.uint8), cv2.COLOR_RGB2LAB)[0, :, 0] * (100 / 255)
    assert object_brightness(views)[0] == pytest.approx(220 / 255, rel=of_luma)
    assert object_contrast(views)[0] == pytest.approx(full[1] - full[0], rel=of_contrast)


def test_tiny_boxes_are_measured_without_bias_where_nothing_is_reduced() -> None:
    generator = np.random.default_rng(0)
    photo = generator.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    corners = generator.integers(0, 230, (500, 2)).astype(float)
    boxes = np.concatenate([corners, corners + 4], axis=1)
    luma = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    expected = [luma[int(y) : int(y) + 4, int(x) : int(x) + 4].mean() / 255 for x, y in corners]
    np.testing.assert_allclose(object_brightness(Views([photo], [boxes])), expected, atol=1e-9)


def test_contrast_against_the_ring() -> None:
    photo = blank(320, 240, 100)
    photo[100:140, 100:140] = 160
    photo[100:140, 220:260] = np.array([40, 220])[np.indices((40, 40)).sum(axis=0) // 4 % 2][..., None]
    boxes = np.array([[100.0, 100, 140, 140], [20, 20, 60, 60], [220, 100, 260, 140], [0, 0, 320, 240]])
    step, none, pattern, everything = object_contrast(Views([photo], [boxes]))
    lab = cv2.cvtColor(np.array([[[100] * 3, [160] * 3]], dtype=np.uint8), cv2.COLOR_RGB2LAB)[0, :, 0] * (100 / 255)
    assert step == pytest.approx(lab[1] - lab[0], abs=0.6)
    assert none == pytest.approx(0, abs=0.1)
    assert pattern > 25
    assert np.isnan(everything)


def test_contrast_scales_with_the_photo() -> None:
    photo = blank(320, 240, 128).astype(float)
    photo[80:160, 100:200] = 200
    levels = [(128 + (photo - 128) * gain).astype(np.uint8) for gain in (0.1, 0.3, 0.6, 1.0)]
    box = np.array([[100.0, 80, 200, 160]])
    values = object_contrast(Views(levels, [box] * 4))
    assert np.all(np.diff(values) > 0)


def test_glare_belongs_to_the_box_at_the_source() -> None:
    rows, columns = np.mgrid[:360, :480]
    distance = np.hypot(columns - 360, rows - 120)
    light = 400 * np.exp(-((distance / 25) ** 2)) + 200 * np.exp(-distance / 70)
    photo = (60 + light[..., None].repeat(3, axis=2)).clip(0, 255).astype(np.uint8)
    boxes = np.array([[330.0, 90, 390, 150], [20, 220, 120, 340]])
    near, far = object_glare(Views([photo], [boxes]))
    assert near > 0.3
    assert far < 0.05


@pytest.mark.parametrize("measure", MEASURES, ids=lambda item: item.__name__)
def test_order_and_number_of_values(measure: object) -> None:
    generator = np.random.default_rng(2)
    photos = [generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(4)]
    boxes = [random_boxes(generator, count) for count in (3, 0, 7, 1)]
    together = measure(Views(photos, boxes))
    alone = [measure(Views([photo], [item])) for photo, item in zip(photos, boxes, strict=True)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert measure(Views(photos)).shape == (0,)
    assert measure(Views([])).shape == (0,)

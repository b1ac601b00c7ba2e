"""Reduction and summed-area tables against brute force."""

import numpy as np
import pytest

from attributes.boxes import box_area, box_sums, integral
from attributes.reduced import Reduced, fit, starts_of_bands
from attributes.views import TOGETHER, Views


@pytest.mark.parametrize(
    ("shape", "longest", "expected"),
    [
        ((375, 500), 320, (240, 320)),
        ((4000, 3000), 640, (640, 480)),
        ((100, 80), 320, (100, 80)),
        ((1000, 10), 100, (100, 1)),
        ((1000, 3), 10, (10, 1)),
        ((640, 640), 320, (320, 320)),
    ],
)
def test_fit_keeps_the_shape_and_never_enlarges(
    shape: tuple[int, int], longest: int, expected: tuple[int, int]
) -> None:
    photo = np.full((*shape, 3), 77, dtype=np.uint8)
    reduced = fit(photo, longest)
    assert reduced.shape == (*expected, 3)
    assert np.all(reduced == 77)


def test_fit_by_a_whole_factor_is_the_mean() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (12, 18, 3), dtype=np.uint8)
    means = photo.reshape(4, 3, 6, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(fit(photo, 6).astype(float), means, atol=0.51)


@pytest.mark.parametrize("channels", [None, 3])
def test_box_sum_equals_brute_force(channels: int | None) -> None:
    generator = np.random.default_rng(1)
    shape = (13, 17) if channels is None else (13, 17, channels)
    image = generator.integers(0, 256, shape).astype(np.uint8)
    corners = np.sort(generator.uniform(0, 1, (40, 2, 2)), axis=1) * [17, 13]
    boxes = np.concatenate([corners.reshape(40, 4), [[0, 0, 17, 13], [3, 3, 3, 9], [16, 12, 17, 13]]])
    other = generator.integers(0, 256, (20, 5, *shape[2:])).astype(np.uint8)
    images, of_each = [other, image, other], [np.array([[1.0, 2, 3, 4.5]]), boxes, np.empty((0, 4))]
    (together,) = box_sums(images, of_each, lambda item: [integral(item)])
    (alone,) = box_sums([image], [boxes], lambda item: [integral(item)])
    np.testing.assert_array_equal(together[1:], alone)
    assert box_sums(images, [np.empty((0, 4))] * 3, lambda item: [integral(item)]) == ()
    sums = alone.squeeze()
    for (x1, y1, x2, y2), found in zip(boxes, sums, strict=True):
        across = [max(0.0, min(x2, x + 1) - max(x1, x)) for x in range(17)]
        down = [max(0.0, min(y2, y + 1) - max(y1, y)) for y in range(13)]
        expected = np.tensordot(np.outer(down, across), image.astype(float), axes=2)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(sums[40], image.reshape(13 * 17, -1).sum(axis=0).squeeze(), rtol=1e-12)
    np.testing.assert_allclose(sums[41], 0, atol=1e-6)
    np.testing.assert_allclose(sums[42], image[12, 16], rtol=1e-9)


def test_bands_are_rows_of_the_detail() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (480, 30, 3), dtype=np.uint8)
    views = Views([photo, photo[:192], photo[:1]])
    detail = views.detail[0]
    assert starts_of_bands(480) == (0, 144, 288, 432)
    np.testing.assert_array_equal(
        views.bands[0], np.stack([detail[start : start + 48] for start in (0, 144, 288, 432)])
    )
    np.testing.assert_array_equal(views.bands[1], detail[None, :192])
    np.testing.assert_array_equal(views.bands[2], detail[None, :1])


def test_photos_of_a_size_are_worked_on_together_and_come_out_in_their_order() -> None:
    sizes = [(40, 60), (50, 30), *[(40, 60)] * TOGETHER, (50, 30)]
    photos = [np.full((*size, 3), index, dtype=np.uint8) for index, size in enumerate(sizes)]
    views = Views(photos)
    assert views.groups == ((0, *range(2, TOGETHER + 1)), (TOGETHER + 1,), (1, TOGETHER + 2))
    means = [gray.mean(axis=(1, 2)) for gray in views.grays]
    np.testing.assert_array_equal(views.together(means), np.arange(len(photos)))
    assert [(gray.shape, gray[0, 0]) for gray in views.gray] == [(size, index) for index, size in enumerate(sizes)]
    assert Views([]).together([]).shape == (0,)


def test_released_photos_keep_what_image_attributes_look_at() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    whole, released = Views([photo]), Views([Reduced(photo)])
    released.reduced[0].release()
    for name in ("small", "bands", "middles", "gray", "sizes"):
        np.testing.assert_array_equal(getattr(released, name)[0], getattr(whole, name)[0])
    with pytest.raises(ValueError, match="they were released"):
        _ = released.detail


@pytest.mark.parametrize("size", [(480, 640), (900, 1300), (60, 700), (30, 20)])
def test_boxes_do_not_change_what_image_attributes_look_at(size: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    without, boxed = Views([photo]), Views([photo], [np.array([[1.0, 2, 15, 18]])])
    _ = boxed.detail  # as attributes of objects ask first
    for name in ("small", "bands", "middles", "gray"):
        np.testing.assert_array_equal(getattr(boxed, name)[0], getattr(without, name)[0])


def test_box_area_of_reversed_boxes_is_zero() -> None:
    np.testing.assert_array_equal(box_area(np.array([[5.0, 5, 2, 9], [0, 0, 2, 3]])), [0.0, 6.0])


def test_boxes_are_clipped_to_the_photo_and_scaled_to_its_versions() -> None:
    photo = np.zeros((100, 200, 3), dtype=np.uint8)
    views = Views([photo], [np.array([[-10.0, 20, 250, 60]])])
    np.testing.assert_array_equal(views.all_boxes, [[0, 20, 200, 60]])
    np.testing.assert_array_equal(views.boxes_at(0, (50, 100)), [[0, 10, 100, 30]])


@pytest.mark.parametrize(
    ("photo", "boxes", "words"),
    [
        (np.zeros((4, 4), dtype=np.uint8), None, "photo 0"),
        (np.zeros((4, 4, 3)), None, "uint8"),
        (np.zeros((0, 4, 3), dtype=np.uint8), None, "non-empty"),
        (np.zeros((4, 4, 3), dtype=np.uint8), [np.zeros((2, 5))], "boxes of photo 0"),
        (np.zeros((4, 4, 3), dtype=np.uint8), [], "boxes for 1 photos"),
        (np.zeros((4, 4, 3), dtype=np.uint8), [np.array([[0, 0, 2, np.nan]])], "boxes of photo 0 as numbers, got NaN"),
    ],
)
def test_wrong_shapes_are_refused(photo: np.ndarray, boxes: list[np.ndarray] | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Views([photo], boxes)


@pytest.mark.parametrize(
    ("lengths", "words"), [([], "for 1 photos"), ([0.0], "photo 0"), ([float("nan")], "photo 0"), ([-3.0], "above 0")]
)
def test_impossible_focal_lengths_are_refused(lengths: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Views([np.zeros((4, 4, 3), dtype=np.uint8)], focal_px=lengths)

"""Sharpness against its closed form on blurred steps, and under planted blur and noise."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from attributes.decode import read
from attributes.reduced import starts_of_bands
from attributes.sharpness import EDGE_GRADIENT, _sum_in_boxes, _sum_in_photo, find_edges, object_sharpness, sharpness
from attributes.views import Views

VOC = Path(__file__).resolve().parents[2] / "../shared/data/voc/eval/JPEGImages"


def disc(blur: float, noise: float = 0.0, low: float = 60, high: float = 180) -> np.ndarray:
    y, x = np.mgrid[:240, :320]
    sharp = np.where((x - 160) ** 2 + (y - 120) ** 2 < 70**2, high, low).astype(np.float32)
    soft = cv2.GaussianBlur(sharp, (0, 0), blur) if blur else sharp
    grain = np.random.default_rng(0).normal(0, noise, soft.shape)
    return (soft + grain).clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


@pytest.mark.parametrize("blur", [1.0, 1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize(("low", "high"), [(60, 180), (90, 140)])
def test_a_blurred_step_gives_the_closed_form(blur: float, low: float, high: float) -> None:
    value = sharpness(Views([disc(blur, low=low, high=high)]))[0]
    assert value == pytest.approx(1 / np.sqrt(1 + blur**2), rel=0.04)


def test_noise_hardly_moves_it() -> None:
    for blur in (0.0, 1.0, 2.0):
        clean, noisy = sharpness(Views([disc(blur), disc(blur, noise=10)]))
        assert noisy == pytest.approx(clean, abs=0.04)


def test_a_photo_larger_than_the_working_size_is_judged_at_that_size() -> None:
    large = cv2.resize(disc(2.0), (1280, 960), interpolation=cv2.INTER_CUBIC)
    assert sharpness(Views([large]))[0] == pytest.approx(1 / np.sqrt(1 + 4**2), rel=0.1)


def test_flat_and_tiny_photos_cannot_be_told() -> None:
    photos = [np.full((60, 80, 3), 99, dtype=np.uint8), np.zeros((1, 1, 3), dtype=np.uint8), disc(0.0)[:4, :4]]
    assert np.isnan(sharpness(Views(photos))).all()


def test_each_box_is_judged_by_its_own_edges() -> None:
    photo = np.concatenate([disc(0.0), disc(3.0)], axis=1)
    boxes = np.array([[80.0, 40, 240, 200], [400, 40, 560, 200], [0, 0, 40, 40], [155, 45, 161, 200]])
    values = object_sharpness(Views([photo], [boxes]))
    whole = sharpness(Views([disc(0.0), disc(3.0)]))
    np.testing.assert_allclose(values[:2], whole, rtol=0.03)
    assert np.isnan(values[2:]).all()


def test_a_box_around_everything_equals_a_photo_of_which_all_rows_are_looked_at() -> None:
    photo = disc(1.0)[30:210]
    views = Views([photo], [np.array([[0.0, 0, 320, 180]])])
    np.testing.assert_allclose(object_sharpness(views), sharpness(views), rtol=0.01)


def test_bands_tell_what_all_rows_tell() -> None:
    views = Views([disc(1.5)], [np.array([[0.0, 0, 320, 240]])])
    assert starts_of_bands(240) == (0, 64, 128, 192)
    np.testing.assert_allclose(object_sharpness(views), sharpness(views), rtol=0.03)


def test_edge_pixels_and_gradients_equal_brute_force() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (30, 37), dtype=np.uint8)
    edges = find_edges(gray[None], fifths=1)

    def box(y: int, x: int, reach: int) -> int:
        return int(gray[y - reach : y + reach + 1, x - reach : x + reach + 1].astype(int).sum())

    def fine(y: int, x: int) -> int:
        return box(y, x, 1)

    def coarse(y: int, x: int) -> int:
        return sum(fine(y + dy, x + dx) for dy in range(-2, 3) for dx in range(-2, 3))

    expected = {}
    for y, x in itertools.product(range(5, 25), range(5, 32)):
        across = [abs(coarse(y, x + step + 1) - coarse(y, x + step - 1)) for step in (-1, 0, 1)]
        down = [abs(coarse(y + step + 1, x) - coarse(y + step - 1, x)) for step in (-1, 0, 1)]
        before, here, after = down if down[1] > across[1] else across
        if before <= here > after and here >= 2 * EDGE_GRADIENT * 225 and y % 2 == 0 and (x + y) % 5 < 2:
            expected[y * 37 + x] = [
                *(fine(y, x + 1) - fine(y, x - 1), fine(y + 1, x) - fine(y - 1, x)),
                *((coarse(y, x + 1) - coarse(y, x - 1)) / 25, (coarse(y + 1, x) - coarse(y - 1, x)) / 25),
            ]
    assert len(expected) > 10
    assert edges.position.tolist() == list(expected)
    np.testing.assert_allclose(edges.gradient.T, list(expected.values()), rtol=1e-6)


def test_bands_have_the_edges_of_each() -> None:
    bands = disc(1.0)[:120, :, 0].reshape(2, 60, 320)
    apart, together = [find_edges(band[None], 2) for band in bands], find_edges(bands, 2)
    np.testing.assert_array_equal(together.position, np.concatenate([apart[0].position, apart[1].position + 60 * 320]))
    np.testing.assert_array_equal(together.gradient, np.concatenate([part.gradient for part in apart], axis=1))


def test_no_boxes() -> None:
    assert object_sharpness(Views([disc(0.0)])).shape == (0,)
    assert sharpness(Views([])).shape == (0,)


@pytest.mark.skipif(not VOC.is_dir(), reason="real photos are kept outside the repository")
def test_falls_with_planted_blur_on_real_photos() -> None:
    for path in sorted(VOC.glob("*.jpg"))[:12]:
        photo = read(path).pixels
        blurred = [cv2.GaussianBlur(photo, (0, 0), blur) for blur in (0.8, 1.5, 2.5, 4.0)]
        values = sharpness(Views([photo, *blurred]))
        assert np.all(np.diff(values) < 0), path
        assert values[3] < 0.5, path


@pytest.mark.skipif(not VOC.is_dir(), reason="real photos are kept outside the repository")
@pytest.mark.parametrize("turned", [False, True])
def test_motion_blur_in_one_direction_is_seen(turned: bool) -> None:
    kernel = np.full((1, 9), 1 / 9, dtype=np.float32)
    kernel = kernel.T if turned else kernel
    photos = [read(path).pixels for path in sorted(VOC.glob("*.jpg"))[:20]]
    values = sharpness(Views([cv2.filter2D(photo, -1, kernel) for photo in photos]))
    assert np.quantile(values, 0.9) < 0.64
    assert values.max() < 0.75
    assert sharpness(Views(photos)).min() > 0.6


def test_edges_in_one_direction_only_are_judged_by_themselves() -> None:
    columns = np.where((np.arange(320) // 40) % 2, 180, 60).astype(np.float32)[None].repeat(240, axis=0)
    stripes = cv2.GaussianBlur(columns, (0, 0), 1.5).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert sharpness(Views([stripes]))[0] == pytest.approx(1 / np.sqrt(1 + 1.5**2), rel=0.08)


def test_boxes_are_judged_by_the_edge_pixels_of_the_whole_photo() -> None:
    photo = disc(0.8, noise=4.0)
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    edges = find_edges(gray[None], fifths=2)
    y, x = np.divmod(edges.position, edges.width)
    generator = np.random.default_rng(0)
    corners = np.sort(generator.uniform(-3, 1.02, (40, 2, 2)).clip(0) * [gray.shape[1], gray.shape[0]], axis=1)
    boxes = np.concatenate([corners.reshape(-1, 4), [[0.0, 0, gray.shape[1], gray.shape[0]], [100, 100, 160, 160]]])
    sums = _sum_in_boxes(gray, boxes)
    for (x1, y1, x2, y2), found in zip(boxes, sums, strict=True):
        inside = (x + 0.5 >= x1) & (x + 0.5 < x2) & (y + 0.5 >= y1) & (y + 0.5 < y2)
        fine_x, fine_y, coarse_x, coarse_y = edges.gradient[:, inside].astype(float)
        expected = [part.sum() for part in (fine_x**2, fine_x * fine_y, fine_y**2)]
        expected += [part.sum() for part in (coarse_x**2, coarse_x * coarse_y, coarse_y**2)]
        np.testing.assert_allclose(found[:6], expected, rtol=1e-5, atol=1e-3)
        assert found[6] == inside.sum()
    assert sums[-2, 6] > 100


def test_boxes_that_overlap_are_told_as_when_cut_out() -> None:
    rng = np.random.default_rng(3)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (240, 320), dtype=np.uint8), (0, 0), 2).astype(np.float64)
    gray = np.clip(noise * 3 - 250, 0, 255).astype(np.uint8)
    corner = rng.uniform(0, [240, 160], (20, 2))
    boxes = np.column_stack([corner, np.minimum(corner + rng.uniform(10, 150, (20, 2)), [320, 240])])
    in_photo = _sum_in_photo(find_edges(gray[None], 2), boxes)
    np.testing.assert_allclose(in_photo, _sum_in_boxes(gray, boxes), rtol=1e-9, atol=1e-6)
    whole = np.tile([[0.0, 0.0, 320.0, 240.0]], (3, 1))
    told = object_sharpness(Views([np.dstack([gray] * 3)], [np.concatenate([whole, boxes])]))
    alone = [object_sharpness(Views([np.dstack([gray] * 3)], [box[None]]))[0] for box in boxes]
    np.testing.assert_allclose(told[3:], alone, rtol=1e-6)

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from attributes import orientation, upright
from attributes.arrays import UNTHREADED

VOC = Path(__file__).resolve().parents[2] / "../shared/data/voc/eval/JPEGImages"
needs_voc = pytest.mark.skipif(not VOC.exists(), reason="VOC photos are not beside the project")


def landscape(seed=0, height=240, width=320):
    """Sky that brightens towards the horizon, textured ground below it and a few upright boards."""
    rng = np.random.default_rng(seed)
    horizon = int(height * rng.uniform(0.35, 0.55))
    photo = np.empty((height, width, 3), np.float64)
    up = np.linspace(0, 1, horizon)[:, None, None]
    photo[:horizon] = [110, 160, 225] + up * ([225, 235, 245] - np.array([110, 160, 225]))
    texture = cv2.GaussianBlur(rng.normal(0, 60, (height - horizon, width)), (0, 0), 1.5)
    photo[horizon:] = np.array([95, 100, 75]) * rng.uniform(0.8, 1.1) + texture[..., None]
    for x in rng.integers(20, width - 60, 4):
        top = horizon - rng.integers(10, 60)
        photo[top : horizon + 8, x : x + rng.integers(15, 40)] = rng.uniform(40, 140, 3)
    return np.clip(photo + rng.normal(0, 3, photo.shape), 0, 255).astype(np.uint8)


def clockwise(photo, turns):
    return np.ascontiguousarray(np.rot90(photo, -turns))


def reference_scores(windows):
    """The network once more, in another framework."""
    weights = {name: torch.from_numpy(values.copy()) for name, values in upright.head().items()}
    maps = torch.from_numpy(windows)
    for name in ("first", "second"):
        kernel = weights[f"{name}_weight"]
        kernel = kernel.reshape(3, 3, -1, kernel.shape[1]).permute(3, 2, 0, 1)
        maps = torch.nn.functional.conv2d(maps, kernel, weights[f"{name}_bias"], padding=1).relu()
        maps = torch.nn.functional.avg_pool2d(maps, 2)
    flat = maps.permute(0, 2, 3, 1).flatten(1)
    hidden = (flat @ weights["hidden_weight"] + weights["hidden_bias"]).relu()
    return (hidden @ weights["score_weight"] + weights["score_bias"])[:, 0].numpy()


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("shape", [(256, 256), (240, 320), (333, 250)])
def test_turning_a_photo_turns_its_layout(turns, shape):
    photo = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8), (0, 0), 2)
    expected = upright.describe(clockwise(photo, turns))
    np.testing.assert_allclose(upright.turned(upright.describe(photo), turns), expected, atol=0.02)


def test_layout_against_a_cell_computed_by_hand():
    photo = np.zeros((128, 128, 3), np.uint8)
    photo[:, 64:] = 255  # a step to the right, between columns of cells 7 and 8
    cells = upright.describe(photo)
    np.testing.assert_allclose(cells[0, :, :7], -1, atol=1e-6)
    np.testing.assert_allclose(cells[0, :, 8:], 1, atol=1e-6)
    np.testing.assert_allclose(cells[1:3], 0, atol=0.07)
    # Sobel / 4 turns a step of 1 into a gradient of 1 on both sides of it: one of eight columns of the cell.
    rightwards, diagonal = 1 / 8, 1 / 16
    energy = rightwards + 2 * diagonal
    np.testing.assert_allclose(cells[4, :, 7], 0.25 * np.log(energy + 1e-4) + 1.2, rtol=1e-3)
    shares = np.array([rightwards, diagonal, 0, 0, 0, 0, 0, diagonal]) / (energy + 1e-4)
    np.testing.assert_allclose(cells[5:, 5, 7], 4 * shares - 0.5, atol=2e-3)
    np.testing.assert_allclose(cells[5:, 5, 3], -0.5)


def test_network_against_another_framework():
    windows = np.random.default_rng(0).normal(0, 0.5, (7, 13, 16, 16)).astype(np.float32)
    expected = np.stack([reference_scores(upright.turned(windows, turns)) for turns in range(4)], axis=1)
    np.testing.assert_allclose(upright._scores(windows), expected, rtol=1e-3, atol=1e-4)


def test_confidence_of_a_square_is_the_softmax_of_its_four_turns():
    cells = upright.describe(landscape()[:, :240])
    scores = reference_scores(np.stack([upright.turned(cells, turns) for turns in range(4)]))
    powers = np.exp(scores / upright.head()["temperature"])
    np.testing.assert_allclose(upright.confidence(cells), powers / powers.sum(), rtol=1e-3)


def test_confidence_of_a_long_photo_is_that_of_its_windows():
    cells = np.random.default_rng(0).normal(0, 0.5, (13, 16, 21)).astype(np.float32)
    scores = [
        reference_scores(np.stack([upright.turned(cells[:, :, start : start + 16], turns) for turns in range(4)]))
        for start in (0, 5)
    ]
    powers = np.exp(np.mean(scores, axis=0) / upright.head()["temperature"])
    np.testing.assert_allclose(upright.confidence(cells), powers / powers.sum(), rtol=1e-3)


@pytest.mark.parametrize("shape", [(240, 320), (320, 240), (200, 200), (120, 900)])
def test_confidence_turns_with_the_photo(shape):
    photo = landscape(3, *shape)
    confidences = [upright.confidence(upright.describe(clockwise(photo, turns))) for turns in range(4)]
    for turns in range(4):
        np.testing.assert_allclose(np.roll(confidences[turns], turns), confidences[0], atol=0.02)
    assert sum(confidences[0]) == pytest.approx(1)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_landscapes_are_brought_upright(turns):
    photos = [clockwise(landscape(seed), turns) for seed in range(12)]
    answers = orientation.rotation(photos)
    known = answers[np.isfinite(answers)]
    assert len(known) >= 6
    np.testing.assert_array_equal(known, (360 - 90 * turns) % 360)


def test_rotation_is_withheld_where_nothing_tells():
    flat = np.full((240, 320, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (320, 320, 3)).astype(np.uint8)
    tiny = [np.zeros(shape, np.uint8) for shape in ((1, 1, 3), (15, 400, 3), (400, 2, 3))]
    assert np.isnan(orientation.rotation([flat, noise, *tiny])).all()


def test_rotation_of_no_photos_and_of_a_panorama():
    assert orientation.rotation([]).shape == (0,)
    panorama = landscape(1, 100, 4000)
    middle = panorama[:, 1850:2150]
    np.testing.assert_allclose(
        upright.confidence(upright.describe(panorama)), upright.confidence(upright.describe(middle))
    )


def test_rotation_of_a_photo_does_not_depend_on_its_batch_or_thread():
    photos = [clockwise(landscape(seed), seed % 4) for seed in range(8)]
    alone = np.concatenate([orientation.rotation([photo]) for photo in photos])
    np.testing.assert_array_equal(orientation.rotation(photos), alone)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(orientation.rotation, [photos] * 8):
            np.testing.assert_array_equal(result, alone)


@needs_voc
def test_rotation_of_photos_that_the_head_never_saw():
    rng = np.random.default_rng(0)
    right, sure, false_turns = [], [], 0
    paths = sorted(VOC.glob("*.jpg"))[::2]
    for path in paths:
        photo = cv2.imread(str(path))[..., ::-1]
        side = min(photo.shape[:2])
        top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
        turns = int(rng.integers(4))
        square = clockwise(photo[top : top + side, left : left + side], turns)
        coded = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        answers = orientation.rotation([cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1], photo])
        sure.append(np.isfinite(answers[0]))
        right.append(answers[0] == (360 - 90 * turns) % 360)
        false_turns += bool(answers[1] > 0)
    assert np.sum(right) >= 0.9 * np.sum(sure)
    assert np.mean(sure) >= 0.45
    assert false_turns <= 0.02 * len(paths)


def test_products_are_too_small_for_threads() -> None:
    first, second, hidden = upright._turned_head()
    # Of a row of cells, of half of the cells of half the size, of the windows of the longest photo.
    products = (upright.CELLS * first.size, 32 * second[0].size, upright.LONGEST * hidden[0].size)
    assert max(products) <= UNTHREADED

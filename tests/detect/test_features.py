from pathlib import Path

import numpy as np
import pytest
import torch
import untrained
from hypothesis import given, settings
from hypothesis import strategies as st

from xai.config import DetectorConfig
from xai.detect.detector import load
from xai.detect.features import WIDTH, object_features
from xai.types import Candidates, Prepared


def prepared(count: int, size: tuple[int, int] = (64, 64), scale: float = 1.0, offset: float = 0.0) -> Prepared:
    width, height = size
    return Prepared(
        indices=tuple(range(count)),
        inputs=torch.zeros(count, 3, height, width),
        scale=np.full((count, 2), scale),
        offset=np.full((count, 2), offset),
        sizes=np.tile(((np.array(size) - offset) / scale).astype(int), (count, 1)),
    )


def candidates(*features: torch.Tensor) -> Candidates:
    return Candidates(torch.zeros(len(features[0]), 0, 4), torch.zeros(len(features[0]), 0, 1), features)


def test_features_are_means_of_the_cells_under_the_box() -> None:
    fine, coarse = torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4)
    boxes = [np.array([[16.0, 8, 32, 40], [0, 0, 64, 64]]), np.array([[32.0, 32, 48, 64]])]
    first, second = object_features(candidates(fine, coarse), prepared(2), boxes)
    expected = fine[0, :, 1:5, 2:4].mean(dim=(1, 2))
    np.testing.assert_allclose(first[0, :3], expected, atol=1e-6)
    np.testing.assert_allclose(first[1], torch.cat([fine[0].mean(dim=(1, 2)), coarse[0].mean(dim=(1, 2))]), atol=1e-6)
    np.testing.assert_allclose(
        second[0], torch.cat([fine[1, :, 4:, 4:6].mean(dim=(1, 2)), coarse[1, :, 2:, 2:3].mean(dim=(1, 2))]), atol=1e-6
    )
    assert first.dtype == np.float32


def test_boxes_are_photo_pixels_and_end_at_the_photo() -> None:
    level = torch.rand(1, 4, 8, 8)
    scaled = prepared(1, scale=2.0, offset=16.0)  # a photo of 24 × 24 pixels in the middle of the input
    (found,) = object_features(candidates(level), scaled, [np.array([[0.0, 0, 24, 24], [-50, -9, 90, 12]])])
    np.testing.assert_allclose(found[0], level[0, :, 2:8, 2:8].mean(dim=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(found[1], level[0, :, 2:5, 2:8].mean(dim=(1, 2)), atol=1e-6)


def test_sides_of_a_level_may_divide_differently() -> None:
    level = torch.rand(1, 2, 4, 10)
    (found,) = object_features(candidates(level), prepared(1, size=(50, 30)), [np.array([[0.0, 0, 25, 15]])])
    np.testing.assert_allclose(found[0], level[0, :, :2, :5].mean(dim=(1, 2)), atol=1e-6)


def test_boxes_without_area_are_sampled_at_their_place() -> None:
    level = torch.arange(64.0).reshape(1, 1, 8, 8)
    (found,) = object_features(candidates(level), prepared(1), [np.array([[20.0, 12, 20, 12], [80, 80, 90, 90]])])
    np.testing.assert_allclose(found[:, 0], [10, 63], atol=0.02)


def test_no_boxes_no_features() -> None:
    none = np.empty((0, 4))
    found = object_features(candidates(torch.rand(3, 6, 4, 4)), prepared(3), [none, np.array([[0.0, 0, 9, 9]]), none])
    assert [item.shape for item in found] == [(0, 6), (1, 6), (0, 6)]
    bare = Candidates(torch.zeros(1, 0, 4), torch.zeros(1, 0, 1))
    assert object_features(bare, prepared(1), [np.array([[0.0, 0, 9, 9]])])[0].shape == (1, 0)


def test_wide_maps_are_reduced_with_their_distances() -> None:
    torch.manual_seed(0)
    levels = [torch.randn(1, width, 8, 8) for width in (320, 640, 640)]
    grid = np.array([[x, y, x + 16, y + 16] for x in range(0, 64, 16) for y in range(0, 64, 16)], dtype=float)
    cells = torch.cat(levels, dim=1).reshape(1, 1600, 4, 2, 4, 2).mean(dim=(3, 5)).flatten(2)[0]
    whole = cells.reshape(1600, 4, 4).permute(2, 1, 0).reshape(16, 1600).numpy()
    (reduced,) = object_features(candidates(*levels), prepared(1), [grid])
    (again,) = object_features(candidates(*levels), prepared(1), [grid])
    assert reduced.shape == (16, WIDTH)
    assert reduced.dtype == np.float32
    np.testing.assert_array_equal(reduced, again)
    apart = [np.linalg.norm(item[:, None] - item[None], axis=2)[np.triu_indices(16, 1)] for item in (whole, reduced)]
    ratio = apart[1] / apart[0]
    assert np.abs(ratio - 1).mean() < 0.04
    assert np.abs(ratio - 1).max() < 0.15


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-10, 70), st.floats(-10, 70), st.floats(0, 60), st.floats(0, 60)), min_size=1, max_size=5
    )
)
def test_features_lie_between_the_least_and_greatest_value(corners: list[tuple[float, ...]]) -> None:
    level = torch.from_numpy(np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32))
    boxes = np.array([[x, y, x + width, y + height] for x, y, width, height in corners])
    (found,) = object_features(candidates(level), prepared(1), [boxes])
    assert (found >= level.amin(dim=(2, 3)).numpy() - 1e-5).all()
    assert (found <= level.amax(dim=(2, 3)).numpy() + 1e-5).all()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.yolo("yolov8n.yaml", tmp_path_factory.mktemp("features") / "model.pt")


def features_of(weights: Path, photos: list[np.ndarray], boxes: list[np.ndarray]) -> list[np.ndarray]:
    detector = load(DetectorConfig(kind="ultralytics", weights=weights), "cpu")
    found: dict[int, np.ndarray] = {}
    for group in detector.prepare(photos):
        results = object_features(detector.forward(group.inputs), group, [boxes[index] for index in group.indices])
        found.update(zip(group.indices, results, strict=True))
    return [found[index] for index in range(len(photos))]


def test_features_do_not_depend_on_the_batch_but_on_the_contents(weights: Path) -> None:
    photos = untrained.photos((96, 128), (128, 96), (96, 128))
    boxes = [
        np.array([[10.0, 20, 60, 70], [0, 0, 128, 96]]),
        np.array([[5.0, 5, 90, 120]]),
        np.array([[30.0, 30, 90, 90]]),
    ]
    together = features_of(weights, photos, boxes)
    for photo, photo_boxes, found in zip(photos, boxes, together, strict=True):
        (alone,) = features_of(weights, [photo], [photo_boxes])
        np.testing.assert_allclose(found, alone, atol=1e-4)
    (one,) = features_of(weights, [photos[0]], [boxes[0][:1]])
    np.testing.assert_allclose(one, together[0][:1], atol=1e-4)
    flipped = photos[0].copy()
    flipped[20:70, 10:60] = flipped[20:70, 10:60][:, ::-1]
    (other,) = features_of(weights, [flipped], [boxes[0]])
    assert np.linalg.norm(other[0] - together[0][0]) > 0.05 * np.linalg.norm(together[0][0])

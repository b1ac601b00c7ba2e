import cv2
import numpy as np
import pytest

from xai.demo.actors import CLASSES
from xai.demo.camera import HEIGHT, SUPERSAMPLING, WIDTH, make_camera
from xai.demo.scenes import Scene, render, tight_boxes

SCENES = [render(seed, variant) for seed in range(4) for variant in ("plain", "far", "crowd")]


def test_same_seed_same_scene() -> None:
    first, second = render(11, "crowd", roll=9.0), render(11, "crowd", roll=9.0)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert first.labels == second.labels
    assert (first.pixels != render(12, "crowd", roll=9.0).pixels).any()


@pytest.mark.parametrize("scene", SCENES)
def test_boxes_are_tight_around_the_masks(scene: Scene) -> None:
    assert scene.pixels.shape == (HEIGHT, WIDTH, 3)
    assert scene.pixels.dtype == np.uint8
    assert set(np.unique(scene.owners)) - {0} == set(range(1, len(scene.labels) + 1))
    for index, box in enumerate(scene.boxes):
        rows, columns = np.nonzero(scene.owners == index + 1)
        expected = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / SUPERSAMPLING
        np.testing.assert_array_equal(box, expected)


@pytest.mark.parametrize("scene", SCENES)
def test_what_is_told_of_objects_is_in_range(scene: Scene) -> None:
    assert set(scene.labels) <= set(CLASSES)
    assert len(scene.labels) == len(scene.boxes) == len(scene.visible) == len(scene.cut)
    assert ((scene.visible > 0) & (scene.visible <= 1)).all()
    at_edge = (scene.boxes <= 0) | (scene.boxes >= [WIDTH, HEIGHT, WIDTH, HEIGHT])
    assert at_edge.any(axis=1)[scene.cut].all()


def test_variants_do_what_they_say() -> None:
    plain, far, crowd = ([render(seed, variant) for seed in range(6)] for variant in ("plain", "far", "crowd"))

    def median_size(scenes: list[Scene]) -> float:
        boxes = np.concatenate([scene.boxes for scene in scenes])
        return float(np.median(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))))

    assert median_size(far) < 14 < 25 < median_size(plain)
    seen = [np.concatenate([scene.visible for scene in scenes]).mean() for scenes in (plain, crowd)]
    assert seen[1] < 0.85 < seen[0]


def test_all_classes_occur() -> None:
    assert {label for seed in range(12) for label in render(seed).labels} == set(CLASSES)


def test_nearer_objects_hide_farther_ones() -> None:
    """Objects are listed far ones first, and the last one is never hidden."""
    for scene in SCENES:
        assert scene.visible[-1] == 1.0


def test_object_without_neighbours_is_visible_as_a_whole() -> None:
    owners = np.zeros((6, 9), dtype=np.uint8)
    owners[1:3, 2:7] = 1
    owners[4, 8] = 2
    np.testing.assert_array_equal(tight_boxes(owners), [[2, 1, 7, 3], [8, 4, 9, 5]])
    assert tight_boxes(np.zeros((3, 3), dtype=np.uint8)).shape == (0, 4)


def test_camera_angles_have_the_signs_that_they_state() -> None:
    ahead = np.array([[0.0, 2.0, 20.0]])
    centre = np.array([WIDTH, HEIGHT]) * SUPERSAMPLING / 2

    def seen(**angles: float) -> np.ndarray:
        turned = {"pitch": 0.0, "yaw": 0.0, "roll": 0.0, **angles}
        return make_camera(focal=260, height=2.0, **turned).project(ahead)[0] - centre

    np.testing.assert_allclose(seen(), 0, atol=1e-9)
    assert seen(pitch=5)[1] > 0  # looking up moves the scene down
    assert seen(yaw=5)[0] < 0  # looking right moves the scene to the left
    above = np.array([[0.0, 6.0, 20.0]])
    rolled = make_camera(focal=260, height=2.0, pitch=0, yaw=0, roll=10).project(above)[0] - centre
    # A camera turned clockwise sees what is above it turned counter-clockwise, to the left.
    np.testing.assert_allclose(np.rad2deg(np.arctan2(rolled[0], -rolled[1])), -10, atol=1e-9)


def test_projection_matches_opencv() -> None:
    camera = make_camera(focal=270, height=3.1, pitch=-9, yaw=12, roll=7)
    points = np.random.default_rng(0).uniform([-5, 0, 6], [5, 4, 30], (50, 3))
    down = np.diag([1.0, -1.0, 1.0])  # OpenCV wants right-handed axes
    rotation = cv2.Rodrigues(camera.rotation @ down)[0]
    translation = -camera.rotation @ np.array([0, camera.height, 0])
    matrix = np.array([[270.0, 0, WIDTH / 2], [0, 270.0, HEIGHT / 2], [0, 0, 1]])
    expected = cv2.projectPoints(points @ down, rotation, translation, matrix, None)[0][:, 0]
    np.testing.assert_allclose(camera.project(points) / SUPERSAMPLING, expected, atol=1e-6)

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from boards import scene

from attributes import orientation
from attributes.views import Views

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
needs_york = pytest.mark.skipif(not (DATA / "york").exists(), reason="York Urban photos are not beside the project")


def turn(photo, degrees):
    """Turn counter-clockwise about the middle and crop inside, so that no border shows."""
    height, width = photo.shape[:2]
    sine, cosine = np.sin(np.radians(abs(degrees))), np.cos(np.radians(degrees))
    part = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    size = int(width * part) - 2, int(height * part) - 2
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    matrix[:, 2] -= [(width - size[0]) / 2, (height - size[1]) / 2]
    return cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_CUBIC)


@pytest.mark.parametrize("angle", [-40.0, -20.0, -3.0, 0.0, 7.5, 33.0])
def test_directions_of_drawn_lines(angle):
    photo = np.zeros((200, 300), np.uint8)
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    ends = [np.rint(16 * (np.array([170.0, 90.0]) + side * np.array([sine, cosine]))) for side in (-70, 70)]
    cv2.line(photo, *(tuple(int(v) for v in end) for end in ends), 255, 6, cv2.LINE_AA, 4)
    directions, offsets, lengths = orientation._segments(photo)
    longest = lengths.argsort()[-2:]
    np.testing.assert_allclose(directions[longest], angle, atol=1.0)
    # The line passes (170.5, 90.5); the middle is (150, 100). Its two edges lie 3 px to either side.
    expected = (sine * -9.5 - cosine * 20.5) / 300
    assert offsets[longest].mean() == pytest.approx(expected, abs=0.3 / 300)
    np.testing.assert_allclose(np.abs(np.diff(offsets[longest])), 7.3 / 300, atol=0.3 / 300)


@pytest.mark.parametrize("pitch", [-20.0, 0.0, 15.0])
@pytest.mark.parametrize("roll", [-30.0, -12.0, 0.0, 5.0, 20.0])
def test_roll_of_a_pinhole_camera(roll, pitch):
    angles = [orientation.roll_evidence(scene(roll, pitch, seed=seed)[..., 0])[0] for seed in range(5)]
    assert np.median(np.abs(np.array(angles) - roll)) < 0.5


def test_roll_sign_is_the_turn_of_the_camera():
    photo = scene(0.0, 0.0)
    before, after = orientation.roll_evidence(photo[..., 0])[0], orientation.roll_evidence(turn(photo, 10)[..., 0])[0]
    assert after - before == pytest.approx(10, abs=0.7)  # content turned counter-clockwise


def test_roll_is_withheld_where_no_lines_agree():
    rng = np.random.default_rng(0)
    photos = [
        np.full((240, 320, 3), 90, np.uint8),
        rng.integers(0, 255, (240, 320, 3)).astype(np.uint8),
        cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3)).astype(np.uint8), (0, 0), 8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((3, 320, 3), np.uint8),
        np.zeros((320, 2, 3), np.uint8),
    ]
    assert np.isnan(orientation.roll(photos)).all()


def test_roll_of_no_photos():
    assert orientation.roll([]).shape == (0,)


def test_roll_of_a_photo_does_not_depend_on_its_batch_or_thread():
    photos = [scene(roll, 5.0, seed=7 + index) for index, roll in enumerate((-10.0, 0.0, 3.0, 18.0))]
    alone = np.concatenate([orientation.roll([photo]) for photo in photos])
    np.testing.assert_array_equal(orientation.roll(photos), alone)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(orientation.roll, [photos] * 12):
            np.testing.assert_array_equal(result, alone)


def test_roll_of_a_huge_photo_is_that_of_its_reduction():
    photo = scene(8.0, 0.0)
    huge = cv2.resize(photo, None, fx=10, fy=10, interpolation=cv2.INTER_CUBIC)
    assert orientation.roll([huge])[0] == pytest.approx(orientation.roll([photo])[0], abs=0.5)


@needs_york
def test_roll_of_york_photos_turned_by_known_angles():
    rng = np.random.default_rng(1)
    errors = []
    with (DATA / "york/ground_truth.csv").open() as table:
        for row in csv.DictReader(table):
            photo = cv2.imread(str(DATA / "york" / f"{row['image']}.jpg"))[..., ::-1]
            angle = rng.uniform(-20, 20)
            # The table counts the turn of the content clockwise, the opposite of ours.
            errors.append(orientation.roll([turn(photo, angle)])[0] - (angle - float(row["roll_deg"])))
    found = np.abs(np.array(errors)[np.isfinite(errors)])
    assert len(found) >= 0.85 * len(errors)
    assert np.median(found) <= 0.3
    assert (found <= 2.0).mean() >= 0.95


def test_layout_is_width_over_height():
    shapes = [(40, 60, 3), (60, 40, 3), (1, 1, 3), (10, 4000, 3)]
    views = Views([np.zeros(shape, np.uint8) for shape in shapes])
    assert orientation.layout(views).tolist() == [1.5, 40 / 60, 1.0, 400.0]
    assert orientation.layout(Views([])).shape == (0,)


def test_a_frame_around_a_photo_is_no_vertical() -> None:
    photo = scene(9, 0)
    for thickness in (2, 5):
        framed = cv2.copyMakeBorder(photo, *[thickness] * 4, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        assert orientation.roll([framed])[0] == pytest.approx(9, abs=1)
    empty = cv2.copyMakeBorder(np.full((240, 320, 3), 128, np.uint8), 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    assert np.isnan(orientation.roll([empty])).all()

"""Pitch against drawn scenes of known cameras and against surveyed street photos."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from boards import scene

from attributes import measure
from attributes.angle import DEFAULT_FOCAL, pitch
from attributes.views import Views

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
needs_york = pytest.mark.skipif(not (DATA / "york").exists(), reason="York Urban photos are not beside the project")
SEEDS = range(8)


@pytest.mark.parametrize("roll", [0.0, -12.0])
@pytest.mark.parametrize("angle", [-30.0, -16.0, -5.0, 0.0, 8.0, 20.0])
def test_pitch_of_a_pinhole_camera(angle: float, roll: float) -> None:
    lower = 10 * np.tan(np.radians(-angle))  # boards stay in view
    photos = [scene(roll, angle, lower=lower, seed=seed) for seed in SEEDS]
    values = pitch(Views(photos, focal_px=[300.0] * len(photos)))
    assert np.isfinite(values).sum() >= 4
    assert np.nanmedian(np.abs(values - angle)) < 1.5


def test_a_level_camera_is_told_and_not_withheld() -> None:
    photo = np.full((240, 320, 3), 120, dtype=np.uint8)
    for left in range(20, 300, 40):
        cv2.rectangle(photo, (left, 40), (left + 18, 200), (left % 255, 30, 200), -1)
    assert pitch(Views([photo]))[0] == pytest.approx(0.0, abs=0.3)


def test_the_focal_length_scales_the_tangent() -> None:
    photo = next(item for seed in SEEDS if np.isfinite(pitch(Views([item := scene(0.0, 12.0, seed=seed)]))[0]))
    tangent = [np.tan(np.radians(pitch(Views([photo], focal_px=[focal]))[0])) for focal in (300.0, 240.0, None)]
    assert tangent[1] / tangent[0] == pytest.approx(0.8)
    assert tangent[2] / tangent[0] == pytest.approx(DEFAULT_FOCAL * 320 / 300)
    # The focal length is in pixels of the photo as given, not of the reduced one.
    larger = np.repeat(np.repeat(photo, 2, axis=0), 2, axis=1)
    assert pitch(Views([larger], focal_px=[600.0])) == pytest.approx(pitch(Views([photo], focal_px=[300.0])), abs=0.5)
    assert measure([photo], focal_px=[240.0]).images["pitch"] == pytest.approx(np.degrees(np.arctan(tangent[1])))


def test_turned_photos_are_turned_upright_first(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [scene(0.0, 12.0, seed=seed) for seed in SEEDS]
    upright = pitch(Views(photos))
    # Drawn boards do not show which way is up.
    for turn in (90, 180, 270):
        monkeypatch.setattr("attributes.angle.rotations_of", lambda views, turn=turn: np.full(len(views), float(turn)))
        turned = [np.ascontiguousarray(np.rot90(photo, turn // 90)) for photo in photos]
        np.testing.assert_allclose(pitch(Views(turned)), upright, atol=1e-6)


def test_withheld_where_nothing_tells() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 255, (240, 320, 3)).astype(np.uint8)
    one_line = np.full((240, 320, 3), 90, dtype=np.uint8)
    cv2.line(one_line, (150, 10), (160, 230), (255, 255, 255), 3)
    photos = [np.full((240, 320, 3), 90, np.uint8), noise, one_line, np.zeros((1, 1, 3), np.uint8), noise[:3]]
    assert np.isnan(pitch(Views(photos))).all()
    assert pitch(Views([])).shape == (0,)


@needs_york
def test_pitch_of_york_photos() -> None:
    with (DATA / "york/ground_truth.csv").open() as table:
        rows = list(csv.DictReader(table))
    photos = [cv2.imread(str(DATA / "york" / f"{row['image']}.jpg"))[..., ::-1] for row in rows]
    truth = np.array([float(row["pitch_up_deg"]) for row in rows])
    known = np.abs(pitch(Views(photos, focal_px=[float(row["focal_px"]) for row in rows])) - truth)
    assumed = np.abs(pitch(Views(photos)) - truth)
    assert np.isfinite(known).mean() >= 0.85
    assert np.nanmedian(known) <= 1.0
    assert np.nanmedian(assumed) <= 1.0
    assert np.nanpercentile(known, 90) <= 3.0

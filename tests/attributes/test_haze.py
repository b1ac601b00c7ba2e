"""Haze against veils of known strength, on drawn and on real photos."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from attributes.decode import read
from attributes.haze import haze
from attributes.views import Views

VOC = Path(__file__).resolve().parents[2] / "../shared/data/voc/eval/JPEGImages"
AIR = np.array([218.0, 222.0, 230.0])


def veiled(photo: np.ndarray, transmission: float | np.ndarray) -> np.ndarray:
    """The haze model of the literature: t·I + (1 − t)·A."""
    part = np.asarray(transmission)[..., None]
    return np.rint(photo * part + AIR * (1 - part)).astype(np.uint8)


def bricks(seed: int = 0) -> np.ndarray:
    """Tiles of all colours, some of them black, and a white one."""
    tones = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    tones[::3, ::3], tones[1::6, 1::6] = 0, 255
    return np.kron(tones, np.ones((10, 10, 1), dtype=np.uint8))


@pytest.mark.parametrize("transmission", [1.0, 0.8, 0.6, 0.4, 0.2])
def test_a_veil_is_told_by_its_share_of_the_light(transmission: float) -> None:
    # Black becomes (1 − t)·A, white 255·t + (1 − t)·A in the darkest channel, which is red.
    expected = (1 - transmission) * AIR[0] / (255 * transmission + (1 - transmission) * AIR[0])
    assert haze(Views([veiled(bricks(), transmission)]))[0] == pytest.approx(expected, abs=0.01)


def test_bright_photos_without_haze() -> None:
    snow = np.clip(np.random.default_rng(0).normal(235, 4, (240, 320, 3)), 0, 255).astype(np.uint8)
    for left in range(10, 320, 50):  # skiers
        snow[100:140, left : left + 12] = (20, 30, 60)
    white_wall = np.full((240, 320, 3), 245, dtype=np.uint8)
    white_wall[150:, 60:260] = bricks()[:90, :200]
    sky = bricks()
    sky[:150] = 240
    assert np.all(haze(Views([snow, white_wall, sky])) < 0.1)


def test_flat_and_tiny_photos_cannot_be_told() -> None:
    flat = [np.full((240, 320, 3), tone, dtype=np.uint8) for tone in (0, 128, 255)]
    tiny = [np.zeros((1, 1, 3), dtype=np.uint8), bricks()[:47], bricks()[:, :10]]
    assert np.isnan(haze(Views([*flat, *tiny]))).all()
    assert haze(Views([])).shape == (0,)


def test_one_dark_spot_does_not_tell() -> None:
    spot = np.full((240, 320, 3), 230, dtype=np.uint8)
    cv2.circle(spot, (100, 100), 6, (0, 0, 0), -1)
    assert np.isnan(haze(Views([spot]))[0])


def test_a_photo_does_not_depend_on_its_batch() -> None:
    photos = [veiled(bricks(seed), share) for seed, share in enumerate((1.0, 0.5, 0.3))]
    alone = [haze(Views([photo]))[0] for photo in photos]
    np.testing.assert_array_equal(haze(Views(photos)), alone)


@pytest.mark.skipif(not VOC.is_dir(), reason="real photos are kept outside the repository")
def test_rises_with_veils_over_real_photos() -> None:
    photos = [read(path).pixels for path in sorted(VOC.glob("*.jpg"))[:24]]
    values = np.stack([haze(Views([veiled(photo, t) for photo in photos])) for t in (1.0, 0.8, 0.6, 0.4, 0.2)])
    assert np.all(np.diff(values, axis=0) > 0)
    assert np.mean(values[0] >= 0.32) <= 0.03
    assert np.all(values[2:] >= 0.32)


@pytest.mark.skipif(not VOC.is_dir(), reason="real photos are kept outside the repository")
def test_fog_that_grows_with_distance_is_told() -> None:
    photos = [read(path).pixels for path in sorted(VOC.glob("*.jpg"))[:24]]
    foggy = []
    for photo in photos:
        down = (np.arange(photo.shape[0]) + 0.5) / photo.shape[0]
        depth = np.where(down < 0.4, 6.0, np.minimum(0.3 / np.maximum(down - 0.35, 0.05), 6.0))  # level ground
        foggy.append(veiled(photo, np.repeat(np.exp(-depth)[:, None], photo.shape[1], axis=1)))
    assert np.mean(haze(Views(foggy)) >= 0.32) >= 0.95

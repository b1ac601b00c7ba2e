"""Noise against what was planted, on flat and on real photos."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from attributes.decode import read
from attributes.noise import noise
from attributes.views import Views

VOC = Path(__file__).resolve().parents[2] / "../shared/data/voc/eval/JPEGImages"


def grainy(photo: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0, sigma, photo.shape[:2])[..., None]
    return (photo + grain).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0, 15.0])
@pytest.mark.parametrize("tone", [70, 128, 190])
def test_white_noise_on_a_flat_photo(sigma: float, tone: int) -> None:
    photo = np.full((375, 500, 3), tone, dtype=np.uint8)
    assert noise(Views([grainy(photo, sigma)]))[0] == pytest.approx(sigma, rel=0.06)


def test_a_slope_is_no_noise() -> None:
    ramp = np.linspace(30, 220, 500).round().astype(np.uint8)[None, :, None].repeat(375, axis=0).repeat(3, axis=2)
    assert noise(Views([ramp]))[0] < 0.5
    assert noise(Views([grainy(ramp, 6.0)]))[0] == pytest.approx(6.0, rel=0.1)


def test_texture_without_a_flat_spot_cannot_be_told() -> None:
    generator = np.random.default_rng(0)
    octaves = [
        cv2.resize(generator.normal(0, 12, (384 // step, 512 // step)), (512, 384), interpolation=cv2.INTER_CUBIC)
        for step in (2, 3, 4, 8, 16)
    ]
    photo = (128 + np.sum(octaves, axis=0)).clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    value = noise(Views([photo]))[0]
    assert np.isnan(value) or value < 4


def test_what_differs_from_block_to_block_is_texture() -> None:
    """Specks, of which some blocks hold none and others many: their residual alone is that of noise of 7 levels."""
    specks = np.random.default_rng(2).choice([0, 100], (384, 512), p=[0.95, 0.05])
    speckled = np.repeat((100 + specks).astype(np.uint8)[..., None], 3, axis=2)
    assert np.isnan(noise(Views([speckled]))[0])
    assert noise(Views([grainy(np.full_like(speckled, 105), 7.0)]))[0] == pytest.approx(7.0, rel=0.06)


def test_black_white_and_tiny_photos_cannot_be_told() -> None:
    photos = [np.full((375, 500, 3), tone, dtype=np.uint8) for tone in (0, 255)]
    assert np.isnan(noise(Views([*photos, np.full((20, 20, 3), 128, dtype=np.uint8)]))).all()
    assert noise(Views([])).shape == (0,)


@pytest.mark.skipif(not VOC.is_dir(), reason="real photos are kept outside the repository")
def test_rises_with_planted_noise_on_real_photos() -> None:
    photos = [read(path).pixels for path in sorted(VOC.glob("*.jpg"))[:16]]
    levels = (4.0, 8.0, 12.0, 20.0)
    values = np.stack([noise(Views([grainy(photo, sigma) for photo in photos])) for sigma in levels])
    told = ~np.isnan(values)
    assert told.mean() > 0.85
    rises = np.diff(values, axis=0)
    assert np.all(rises[~np.isnan(rises)] > 0)
    np.testing.assert_allclose(np.nanmedian(values, axis=1), levels, rtol=0.15)

"""Tones against NumPy and under planted exposure."""

import numpy as np
import pytest

from attributes.exposure import brightness, clipped, contrast
from attributes.views import Views


def scene(seed: int, height: int = 90, width: int = 120) -> np.ndarray:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(30, 200, (6, 8, 3)).repeat(height // 6, axis=0).repeat(width // 8, axis=1)
    return (coarse + generator.integers(-10, 11, coarse.shape)).clip(0, 255).astype(np.uint8)


def test_against_numpy() -> None:
    photos = [scene(seed) for seed in range(5)]
    luma = [photo.astype(float) @ [0.299, 0.587, 0.114] / 255 for photo in photos]
    views = Views(photos)
    np.testing.assert_allclose(brightness(views), [item.mean() for item in luma], atol=2e-3)
    np.testing.assert_allclose(contrast(views), [item.std() for item in luma], atol=2e-3)


def test_brightness_rises_with_exposure_and_contrast_with_stretch() -> None:
    photo = scene(1).astype(float)
    exposed = Views([(photo * gain).clip(0, 255).astype(np.uint8) for gain in (0.2, 0.5, 0.8, 1.0, 1.3, 2.0)])
    assert np.all(np.diff(brightness(exposed)) > 0)
    stretched = Views([(128 + (photo - 128) * gain).clip(0, 255).astype(np.uint8) for gain in (0.1, 0.4, 0.8, 1.2)])
    assert np.all(np.diff(contrast(stretched)) > 0)


def test_clipped_is_the_share_of_burned_out_pixels() -> None:
    photo = scene(2)
    photo[:30, :60] = 255
    assert clipped(Views([photo]))[0] == pytest.approx(30 * 60 / (90 * 120))
    photo[:30, :60, 2] = 200  # saturated colour is not burned out
    assert clipped(Views([photo]))[0] == 0
    over = [(scene(2) * gain).clip(0, 255).astype(np.uint8) for gain in (1.0, 1.5, 2.0, 4.0)]
    assert np.all(np.diff(clipped(Views(over))) >= 0)


def test_no_photos_and_one_pixel() -> None:
    assert brightness(Views([])).shape == contrast(Views([])).shape == clipped(Views([])).shape == (0,)
    views = Views([np.full((1, 1, 3), 255, dtype=np.uint8)])
    assert (brightness(views)[0], contrast(views)[0], clipped(views)[0]) == (1.0, 0.0, 1.0)

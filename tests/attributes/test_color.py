"""Colourfulness against the formula as published, and against what observers would say."""

import cv2
import numpy as np
import pytest

from attributes.color import colorfulness
from attributes.views import Views


def as_published(photo: np.ndarray) -> float:
    red, green, blue = (photo[..., channel].astype(np.float64) for channel in range(3))
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.sqrt(red_green.var() + yellow_blue.var())
    return float(spread + 0.3 * np.sqrt(red_green.mean() ** 2 + yellow_blue.mean() ** 2))


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 150, 3), (120, 160, 3)])
def test_equals_the_published_formula(shape: tuple[int, int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert colorfulness(Views([photo]))[0] == pytest.approx(as_published(photo), abs=1e-4)


def test_grey_is_zero_and_extremes_do_not_overflow() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None].repeat(40, axis=0), 3, axis=2)
    halves = np.zeros((40, 60, 3), dtype=np.uint8)
    halves[:, :30], halves[:, 30:] = (255, 0, 255), (0, 255, 0)
    values = colorfulness(Views([grey, halves]))
    assert values[0] == 0
    assert values[1] == pytest.approx(as_published(halves))


def test_rises_with_saturation() -> None:
    photo = np.random.default_rng(1).integers(60, 200, (30, 40, 3)).astype(np.uint8)
    large = cv2.resize(photo, (320, 240), interpolation=cv2.INTER_NEAREST).astype(np.float64)
    grey = large.mean(axis=2, keepdims=True)
    photos = [np.rint(grey + share * (large - grey)).clip(0, 255).astype(np.uint8) for share in (0, 0.3, 0.6, 1)]
    assert np.all(np.diff(colorfulness(Views(photos))) > 0)


def test_no_photos() -> None:
    assert colorfulness(Views([])).shape == (0,)

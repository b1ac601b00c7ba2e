"""The table keeps its own promises: names, bins, ranges, functions."""

import numpy as np
import pytest

from attributes import ATTRIBUTES
from attributes.views import Views

EXPECTED_BINS = {
    "brightness": "dark normal bright",
    "contrast": "low normal high",
    "clipped": "little some much",
    "haze": "none light heavy",
    "glare": "none mild strong",
    "sharpness": "blurred soft sharp",
    "noise": "low moderate strong",
    "jpeg_quality": "low medium high",
    "colorfulness": "grey normal vivid",
    "layout": "portrait square landscape panorama",
    "rotation": "0 90 180 270",
    "roll": "left level right",
    "pitch": "down level up",
    "object_size": "tiny small medium large huge",
    "object_aspect": "tall normal wide",
    "object_position": "centre off-centre edge",
    "truncation": "whole cut",
    "crowding": "alone some crowded",
    "occlusion": "none some much",
    "object_glare": "none mild strong",
    "object_brightness": "dark normal bright",
    "object_contrast": "low normal high",
    "object_sharpness": "blurred soft sharp",
}


def test_every_attribute_has_its_bins() -> None:
    found = {name: " ".join(part.name for part in attribute.bins) for name, attribute in ATTRIBUTES.items()}
    assert found == EXPECTED_BINS


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_entries_are_whole(name: str) -> None:
    attribute = ATTRIBUTES[name]
    assert attribute.name == name
    assert attribute.level in {"image", "object"}
    assert attribute.definition
    assert attribute.why
    assert attribute.source
    assert attribute.bin_error is None or (0 <= attribute.bin_error < 0.5 and attribute.accuracy)
    low, high = attribute.range
    cuts = [part.low for part in attribute.bins[1:]]
    assert cuts == [part.high for part in attribute.bins[:-1]]
    assert cuts == sorted(set(cuts))
    assert attribute.bins[0].low is None
    assert attribute.bins[-1].high is None
    assert all((low is None or cut > low) and (high is None or cut < high) for cut in cuts)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_functions_give_one_value_each_within_range(name: str) -> None:
    attribute = ATTRIBUTES[name]
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(2)]
    flat = [np.full((60, 80, 3), tone, dtype=np.uint8) for tone in (0, 128, 255)]
    boxes = [np.array([[0.0, 0, 40, 40], [10, 10, 60, 50]])] * 5
    values = attribute.function(Views([*noise, *flat], boxes))
    assert values.shape == ((5,) if attribute.level == "image" else (10,))
    assert values.dtype == np.float64
    known = values[~np.isnan(values)]
    low, high = attribute.range
    assert low is None or np.all(known >= low)
    assert high is None or np.all(known <= high)

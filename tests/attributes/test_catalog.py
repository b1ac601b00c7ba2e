"""The table keeps its own promises: names, bins, ranges, functions."""

import numpy as np
import pytest

from attributes import ATTRIBUTES
from attributes.attribute import bins
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
    shares = [share for part in attribute.bins for share in (part.error, part.missed, part.stray)]
    assert all(share is None or 0 <= share < 0.5 for share in shares)
    # An attribute with a bin that was judged has an error as a whole.
    assert attribute.bin_error is not None or shares == [None] * len(shares)
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


def test_shares_of_wrong_bins_by_hand() -> None:
    low, middle, high = bins("low", 1, "middle", 2, "high", judged=[(18, 2, 0), (0, 9, 1), (1, 3, 4)])
    assert (low.error, low.missed, low.stray) == (round(1 / 19, 4), 0.1, round(1 / 18, 4))
    assert (middle.error, middle.missed, middle.stray) == (round(5 / 14, 4), 0.1, round(5 / 28, 4))
    # Eight values lie in the last: too few to say how it is told.
    assert (high.error, high.missed, high.stray) == (None, None, None)
    assert [part.error for part in bins("low", 1, "high")] == [None, None]


def test_no_more_can_stray_than_everyday_photos_are_told_so() -> None:
    judged = [(80, 20), (0, 50)]
    assert bins("low", 1, "high", judged=judged)[1].stray == 0.2
    assert bins("low", 1, "high", judged=judged, everyday=(99, 0))[1].stray == 0.01
    assert bins("low", 1, "high", judged=judged, everyday=(9, 90))[1].stray == 0.2


def test_counts_of_another_number_of_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 rows of 2 counts, one a bin, got \\[2\\]"):
        bins("low", 1, "high", judged=[(3, 4)])
    with pytest.raises(ValueError, match="expected 2 counts of everyday photos, one a bin, got 1"):
        bins("low", 1, "high", judged=[(3, 4), (5, 6)], everyday=[3])

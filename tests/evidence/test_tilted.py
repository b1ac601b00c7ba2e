import numpy as np
import pytest
from toy_detector import ToyDetector, photo_with

from xai.evidence.geometric import rotate
from xai.evidence.tilted import ANGLES, FORWARDS, how_level, tilt
from xai.evidence.trial import surety
from xai.types import Pixels

WHOLE = np.array([0.0, 0.0, 128.0, 96.0])


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("angle", ANGLES)
def test_confidence_around_one_angle_tells_it(angle: float, side: int) -> None:
    turns = np.array([0.0, *ANGLES, *(-item for item in ANGLES)])
    roll = tilt(3 * np.exp(-0.5 * ((turns - side * angle) / 13) ** 2) + 0.1)
    if angle == ANGLES[0]:
        assert roll is None or roll * side > 0
    else:
        assert roll is not None
        assert roll == pytest.approx(side * angle, abs=8)


def test_what_is_surest_as_it_is_or_on_both_sides_or_nowhere_is_not_tilted() -> None:
    assert tilt(np.array([3.0, 2.5, 2.0, 1.0, 2.5, 2.0, 1.0])) is None
    assert tilt(np.array([0.1, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])) is None
    assert tilt(np.array([0.0, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0])) is None


def test_photos_are_asked_about_one_by_one() -> None:
    """The toy detector sees an object of one size upright only: turned by 39 degrees it is lost."""
    upright = photo_with((32, 24, 64, 56))
    photos: dict[str, Pixels] = {
        "upright": upright,
        "tilted": rotate(upright, WHOLE, -26.0).pixels,
        "empty": np.full((96, 128, 3), 90, dtype=np.uint8),
    }
    detector = ToyDetector()
    as_is = {name: float(surety(ToyDetector(), [photo])[0]) for name, photo in photos.items()}
    told, forwards = how_level(list(photos), load_pixels=photos.__getitem__, detector=detector, as_is=as_is)
    assert detector.forwards == forwards == 3 * FORWARDS
    assert told["image_id"].to_list() == ["tilted"]
    assert (told["levelled"] > told["further"]).all()


def test_a_photo_that_becomes_less_sure_on_one_side_alone_is_tilted() -> None:
    """Whether it is surer than as it is does not matter: a tilt of half the first angle does no better levelled."""
    assert tilt(np.array([3.1, 0.7, 0.0, 0.0, 3.2, 3.1, 2.4])) == pytest.approx(-25, abs=4)
    assert tilt(np.array([3.1, 2.4, 1.0, 0.2, 2.7, 1.3, 0.4])) is None, "a little less on either side"
    assert tilt(np.array([9.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])) is None, "nearly level"

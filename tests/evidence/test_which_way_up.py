"""Which way up a photo is, by what a detector that knows only upright objects finds in its four turns."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from PIL import Image
from toy_detector import ToyDetector, photo_with

from attributes import upright
from attributes.reduced import SMALL, fit
from xai import tables
from xai.evidence.trial import surety
from xai.evidence.upright import FORWARDS, LEAST, SCHEMA, together, which_way_up
from xai.experiments import ask_upright
from xai.scan import Split
from xai.types import Pixels, no_progress

UPRIGHT = photo_with((32, 32, 64, 64))


def ask(photos: dict[str, Pixels], detector: ToyDetector) -> dict[str, float]:
    as_is = {name: float(surety(ToyDetector(), [photo])[0]) for name, photo in photos.items()}
    found = which_way_up(list(photos), load_pixels=photos.__getitem__, detector=detector, as_is=as_is)
    assert found.schema == SCHEMA
    assert (found["together"] >= LEAST).all()
    return dict(found.select("image_id", "rotation").iter_rows())


@pytest.mark.parametrize("turns", range(4))
def test_what_is_found_in_one_turn_only_tells_the_turn(turns: int) -> None:
    detector = ToyDetector()
    photo = np.ascontiguousarray(np.rot90(UPRIGHT, turns))  # counter-clockwise, so that clockwise turns mend it
    assert ask({"a": photo}, detector) == {"a": 90.0 * turns}
    assert detector.forwards == FORWARDS


def test_without_detections_the_photo_alone_decides() -> None:
    grey = np.full((64, 96, 3), 128, dtype=np.uint8)
    alone = upright.confidence(upright.describe(fit(grey, SMALL)))
    assert (ask({"a": grey}, ToyDetector()) != {}) == (alone.max() >= LEAST)


def test_a_photo_without_a_layout_is_not_asked_about() -> None:
    detector = ToyDetector()
    assert ask({"a": UPRIGHT[: upright.SMALLEST - 1]}, detector) == {}
    assert detector.forwards == 0
    assert ask({}, detector) == {}


def test_both_witnesses_by_hand() -> None:
    alone, confidence = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.0, 0.9, 0.0, 0.0])
    expected = np.array([0.4 * 0.1**3, 0.3 * 1.0, 0.2 * 0.1**3, 0.1 * 0.1**3])
    np.testing.assert_allclose(together(alone, confidence), expected / expected.sum())
    np.testing.assert_allclose(together(alone, np.zeros(4)), alone)
    np.testing.assert_allclose(together(np.stack([alone] * 2), np.zeros((2, 4))).sum(axis=1), 1)


@pytest.mark.parametrize(("budget", "asked"), [(40, 3), (15, 2), (5, 0), (0, 0)])
def test_photos_with_most_misses_are_asked_about_within_a_tenth_of_the_budget(
    tmp_path: Path, budget: int, asked: int
) -> None:
    names = ["a.png", "b.png", "c.png", "upright.png", "broken.png"]
    for name in names[:4]:
        Image.fromarray(np.ascontiguousarray(np.rot90(UPRIGHT))).save(tmp_path / name)
    empty = tables.empty(tables.TABLES["objects"])
    predictions = tables.empty(tables.TABLES["predictions"])
    images = pl.DataFrame(
        {
            "image_id": names,
            "status": ["ok"] * 4 + ["photo_truncated"],
            "rotation": pl.Series([None, None, None, 0.0, None], dtype=pl.Float64),
        }
    )
    errors = pl.DataFrame(
        {"image_id": ["b.png", "b.png", "c.png", "a.png", "upright.png"], "kind": ["missed"] * 4 + ["confused"]}
    )
    detector = ToyDetector()
    evaluation = Split(images, empty, predictions, empty)
    settings = SimpleNamespace(
        explain=SimpleNamespace(repairs=True, budget=budget), detector=SimpleNamespace(exif="apply")
    )
    found = ask_upright(settings, detector, evaluation, tmp_path, errors, no_progress)  # type: ignore[arg-type]
    assert found.forwards == detector.forwards == FORWARDS * asked
    assert found.told["image_id"].to_list() == ["b.png", "a.png", "c.png"][:asked]
    assert set(found.told["rotation"]) <= {90.0}
    off = SimpleNamespace(explain=SimpleNamespace(repairs=False, budget=40))
    assert ask_upright(off, detector, evaluation, tmp_path, errors, no_progress).forwards == 0  # type: ignore[arg-type]

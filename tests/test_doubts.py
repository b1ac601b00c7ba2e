"""A run whose detections are doubtful as a whole says so first."""

from collections.abc import Sequence

import polars as pl
import pytest

from xai import tables
from xai.dataset import CODES
from xai.doubts import FEWEST_OBJECTS, FEWEST_PHOTOS, doubts
from xai.rules import DOUBTS


def images(count: int = FEWEST_PHOTOS, width: int = 640, height: int = 480) -> pl.DataFrame:
    rows = {
        "split": "eval",
        "image_id": [f"{index}.jpg" for index in range(count)],
        "status": "ok",
        "width": width,
        "height": height,
    }
    return tables.conform(pl.DataFrame(rows), tables.TABLES["images"])


def found(boxes: Sequence[Sequence[float]], label: str = "car") -> pl.DataFrame:
    rows = [
        {"split": "eval", "image_id": "0.jpg", "label": label, **dict(zip("abcd", box, strict=True))} for box in boxes
    ]
    named = pl.DataFrame(
        rows,
        schema={"split": pl.String, "image_id": pl.String, "label": pl.String, **dict.fromkeys("abcd", pl.Float64)},
    )
    return tables.conform(named.rename({"a": "x1", "b": "y1", "c": "x2", "d": "y2"}), tables.TABLES["predictions"])


def objects(count: int, label: str = "car", outcome: str = "missed") -> pl.DataFrame:
    rows = {
        "split": ["eval"] * count,
        "image_id": ["0.jpg"] * count,
        "label": [label] * count,
        "outcome": [outcome] * count,
    }
    return tables.conform(pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.String)), tables.TABLES["objects"])


def codes(*arguments: pl.DataFrame) -> list[str]:
    return doubts(*arguments)["code"].to_list()


SOUND = [[10.0, 10, 60, 50], [600, 400, 650, 485]]


def test_sound_detections_are_not_doubted() -> None:
    assert codes(objects(100), found(SOUND), images()) == []


def test_a_silent_detector() -> None:
    assert codes(objects(3), found([]), images()) == ["detector_silent"]
    assert codes(objects(3), found([]), images(FEWEST_PHOTOS - 1)) == []
    unread = images().with_columns(status=pl.lit("photo_missing"))
    assert codes(objects(0), found([]), unread) == []
    message = doubts(objects(3), found([]), images())["message"][0]
    assert message == (
        "the detector found nothing in any of 10 photos: check the weights, how photos are prepared for it, and the "
        "score threshold"
    )


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([[0.1, 0.1, 0.9, 1.0], [0.5, 0.5, 1.02, 0.8]], ["boxes_as_fractions"]),
        # x1 y1 x2 y2 that were read as x y width height
        ([[300, 200, 700, 450], [400, 300, 850, 640], [10, 10, 40, 40]], ["boxes_off_photo"]),
        ([[300, 200, 700, 450], [10, 10, 40, 40]], []),
    ],
)
def test_boxes_in_another_unit(boxes: list[list[float]], expected: list[str]) -> None:
    assert codes(objects(3), found(boxes), images()) == expected


def test_tiny_photos_have_tiny_boxes() -> None:
    assert codes(objects(3), found([[0, 0, 1.5, 2]]), images(width=2, height=2)) == []


def test_a_class_that_is_never_said() -> None:
    every = pl.concat(
        [objects(FEWEST_OBJECTS, "bus"), objects(FEWEST_OBJECTS - 1, "van"), objects(99, "cart", "ignored")]
    )
    rows = doubts(every, found(SOUND), images())
    assert rows["code"].to_list() == ["class_never_detected"]
    assert "never says 'bus', of which 20 objects in 1 photos are annotated" in rows["message"][0]


def test_every_doubt_has_a_severity_and_advice() -> None:
    assert {CODES[code].severity for code in DOUBTS} == {"warning"}

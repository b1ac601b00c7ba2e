"""Labels drawn on the photo as stored, where only the detector can tell."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from attributes.frames import stored_boxes
from xai import label_frames, tables

WIDTH, HEIGHT = 100, 60
OBJECTS = np.array([[5.0, 5, 35, 25], [60, 8, 80, 20]])
"""Where two objects lie in the displayed photo, off its middle in both directions."""

CORNERS = ("x1", "y1", "x2", "y2")


def boxed(boxes: np.ndarray, image_id: str = "a", **columns: Any) -> pl.DataFrame:
    corners = {name: boxes[:, place] for place, name in enumerate(CORNERS)}
    return pl.DataFrame(
        {"image_id": [image_id] * len(boxes), **corners}, schema_overrides={"image_id": pl.String}
    ).with_columns(pl.lit(value).alias(name) for name, value in columns.items())


def photo(orientation: int | None, width: int = WIDTH, height: int = HEIGHT, image_id: str = "a") -> pl.DataFrame:
    rows = {
        "image_id": [image_id], "status": ["ok"], "width": [width], "height": [height],
        "exif_orientation": [orientation],
    }  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"exif_orientation": pl.Int64})


def labels(normalised: bool = False, stated: bool = False, image_id: str = "a") -> pl.DataFrame:
    side = 10 if stated else None
    return pl.DataFrame(
        {"image_id": [image_id], "normalised": [normalised], "file_width": [side], "file_height": [side]},
        schema_overrides={"file_width": pl.Int64, "file_height": pl.Int64},
    )


def judge(
    read: np.ndarray, images: pl.DataFrame, said: pl.DataFrame, detected: np.ndarray = OBJECTS
) -> list[tuple[float, float]]:
    found = label_frames.mismatches(boxed(read, outcome="missed"), boxed(detected), images, said)
    return found.select("drawn", "turned").rows()


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_labels_of_a_mirrored_or_upside_down_photo(orientation: int) -> None:
    drawn = stored_boxes(OBJECTS, orientation, WIDTH, HEIGHT)
    ((before, after),) = judge(drawn, photo(orientation), labels(stated=True))
    assert after == pytest.approx(1.0)
    assert before < 0.5
    assert judge(OBJECTS, photo(orientation), labels(stated=True)) == []


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_square_photos_and_fractions_and_silent_pixels(orientation: int) -> None:
    square = stored_boxes(OBJECTS, orientation, WIDTH, WIDTH)
    assert judge(square, photo(orientation, WIDTH, WIDTH), labels(stated=True)) == [(pytest.approx(0, abs=0.5), 1.0)]
    drawn = stored_boxes(OBJECTS, orientation, WIDTH, HEIGHT)
    # Fractions of the stored photo, read as fractions of the displayed one.
    read = drawn / [HEIGHT, WIDTH, HEIGHT, WIDTH] * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    assert judge(read, photo(orientation), labels(normalised=True)) == [(pytest.approx(0, abs=0.5), pytest.approx(1.0))]
    assert judge(drawn, photo(orientation), labels()) == [(pytest.approx(0, abs=0.5), pytest.approx(1.0))]
    # A stated size has told the frame already.
    assert judge(drawn, photo(orientation), labels(stated=True)) == []


@pytest.mark.parametrize("orientation", [None, 1])
def test_upright_photos_have_one_frame(orientation: int | None) -> None:
    assert judge(OBJECTS[:, [2, 1, 0, 3]], photo(orientation), labels()) == []


def test_what_is_detected_nowhere_or_everywhere_tells_nothing() -> None:
    drawn = stored_boxes(OBJECTS, 3, WIDTH, HEIGHT)
    assert judge(drawn, photo(3), labels(), np.empty((0, 4))) == []
    everywhere = np.concatenate([OBJECTS, drawn])
    assert judge(drawn, photo(3), labels(), everywhere) == []
    assert judge(np.empty((0, 4)), photo(3), labels()) == []
    middle = np.array([[30.0, 20, 70, 40]])
    assert judge(middle, photo(3), labels(), middle) == []


def test_ignored_objects_and_unread_photos_are_not_judged() -> None:
    drawn = stored_boxes(OBJECTS, 3, WIDTH, HEIGHT)
    ignored = boxed(drawn, outcome="ignored")
    assert label_frames.mismatches(ignored, boxed(OBJECTS), photo(3), labels()).is_empty()
    broken = photo(3).with_columns(status=pl.lit("photo_truncated"))
    assert label_frames.mismatches(boxed(drawn, outcome="found"), boxed(OBJECTS), broken, labels()).is_empty()


def test_many_photos_are_judged_one_by_one() -> None:
    names = [f"{index:04d}" for index in range(600)]
    drawn = stored_boxes(OBJECTS, 3, WIDTH, HEIGHT)
    wrong = names[::7]
    objects = pl.concat([boxed(drawn if name in wrong else OBJECTS, name, outcome="missed") for name in names])
    images = pl.concat([photo(3, image_id=name) for name in names])
    found = label_frames.mismatches(
        objects,
        pl.concat([boxed(OBJECTS, name) for name in names]),
        images,
        pl.concat([labels(image_id=name) for name in names]),
    )
    assert found["image_id"].to_list() == wrong


def test_issues_and_evidence_say_what_was_found() -> None:
    found = pl.DataFrame({"image_id": ["a"], "drawn": [0.1], "turned": [0.8]})
    (row,) = label_frames.issues(found, "eval").rows(named=True)
    assert (row["code"], row["severity"], row["image_id"]) == ("exif_mismatch", "warning", "a")
    assert "by 10% as they are, by 80% turned" in row["message"]
    errors = pl.DataFrame({"error_id": ["1", "2", "3"], "kind": ["missed", "background", "confused"]}).with_columns(
        image_id=pl.Series(["a", "a", "b"])
    )
    lines = label_frames.evidence(found, errors)
    assert lines.schema == pl.Schema(tables.TABLES["evidence"])
    assert lines.select("error_id", "kind", "name", "before", "after", "effect").rows() == [
        ("1", "mechanism", "exif_mismatch", 0.1, 0.8, pytest.approx(8.0))
    ]
    nowhere = label_frames.evidence(found.with_columns(drawn=pl.lit(0.0)), errors)
    assert nowhere["effect"].to_list() == [19.0]

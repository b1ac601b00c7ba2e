"""The frame of labels: boxes drawn on pixels, turned by Pillow, must be where the resolved boxes say."""

import numpy as np
import polars as pl
import pytest
from builders import labels
from PIL import Image, ImageOps

from xai.dataset.validate import resolve
from xai.exceptions import ConfigError

STORED = (60, 40)  # width, height
BOX = (30, 5, 58, 17)
"""Fits both frames only where they are the same: x2 = 58 leaves a photo that is 40 wide."""

CODE = "label_frame_stored"


def drawn(orientation: int) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Draw the box on stored pixels; return where Pillow displays it, and the displayed size."""
    pixels = np.zeros((STORED[1], STORED[0]), np.uint8)
    x1, y1, x2, y2 = BOX
    pixels[y1:y2, x1:x2] = 255
    photo = Image.fromarray(pixels)
    photo.getexif()[0x0112] = orientation
    shown = ImageOps.exif_transpose(photo)
    box = shown.getbbox()
    assert box is not None
    return box, shown.size


def photos(orientation: int | None, size: tuple[int, int], image_id: str = "a") -> pl.DataFrame:
    return pl.DataFrame(
        {"image_id": [image_id], "width": [size[0]], "height": [size[1]], "exif_orientation": [orientation]},
        schema_overrides={"exif_orientation": pl.Int64},
    )


def boxes(objects: pl.DataFrame) -> list[tuple[float, ...]]:
    return objects.select("x1", "y1", "x2", "y2").rows()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_the_stored_frame_are_moved_as_pillow_moves_pixels(orientation: int) -> None:
    expected, size = drawn(orientation)
    objects, issues = resolve(labels(BOX), photos(orientation, size), "stored")
    assert boxes(objects) == [pytest.approx(expected)]
    assert issues.is_empty()
    fractions = labels([value / side for value, side in zip(BOX, STORED * 2, strict=True)], normalised=True)
    assert boxes(resolve(fractions, photos(orientation, size), "stored")[0]) == [pytest.approx(expected)]


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_boxes_of_the_displayed_frame_stay(orientation: int | None) -> None:
    box, size = drawn(orientation or 1)
    objects, issues = resolve(labels(box), photos(orientation, size), "displayed")
    assert boxes(objects) == [pytest.approx(box)]
    assert issues.is_empty()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("stated", [True, False])
def test_auto_tells_the_stored_frame_by_size_or_by_fit(orientation: int, stated: bool) -> None:
    expected, size = drawn(orientation)
    columns = {"file_width": STORED[0], "file_height": STORED[1]} if stated else {}
    objects, issues = resolve(labels(BOX, (1, 1, 9, 9), **columns), photos(orientation, size))
    if orientation >= 5:
        assert boxes(objects)[0] == pytest.approx(expected)
        assert issues.select("code", "severity", "image_id", "object_id").rows() == [(CODE, "warning", "a", None)]
        assert (
            f"60 x 40, the photo before it was turned to 40 x 60 (EXIF orientation {orientation})"
            in (issues["message"][0])
        )
    else:
        assert boxes(objects)[0] == BOX
        assert issues.is_empty()


def test_auto_keeps_what_the_displayed_size_explains() -> None:
    photo = photos(6, (40, 60))
    stated = labels((1, 1, 30, 55), file_width=40, file_height=60)
    assert boxes(resolve(stated, photo)[0]) == [(1, 1, 30, 55)]
    stored_size = labels((1, 1, 30, 55), file_width=60, file_height=40)
    objects, issues = resolve(stored_size, photo)
    assert (boxes(objects), issues["code"].to_list()) == ([(1, 1, 30, 55)], ["size_mismatch"])
    both = labels((1, 1, 30, 30))
    assert boxes(resolve(both, photo)[0]) == [(1, 1, 30, 30)]
    assert resolve(both, photo)[1].is_empty()
    neither = labels((1, 1, 55, 10), (1, 1, 10, 55))
    objects, issues = resolve(neither, photo)
    assert boxes(objects) == [(1, 1, 40, 10), (1, 1, 10, 55)]
    assert issues["code"].to_list() == ["box_outside_photo"]
    square = labels((1, 1, 30, 10), file_width=40, file_height=40)
    assert resolve(square, photos(6, (40, 40)))[1].is_empty()


def test_auto_is_decided_photo_by_photo() -> None:
    table = pl.concat([labels(BOX), labels(BOX, image_id="b"), labels((1, 1, 30, 10), image_id="c")])
    images = pl.concat([photos(6, (40, 60)), photos(None, STORED, "b"), photos(6, (40, 60), "c")])
    objects, issues = resolve(table, images)
    assert boxes(objects) == [pytest.approx(drawn(6)[0]), BOX, (1, 1, 30, 10)]
    assert issues.select("image_id", "code").rows() == [("a", CODE)]


def test_fractions_and_broken_boxes_tell_no_frame() -> None:
    photo = photos(6, (40, 60))
    objects, issues = resolve(labels((0.5, 0.1, 1.4, 0.4), normalised=True), photo)
    assert issues["code"].to_list() == ["box_outside_photo"]
    assert boxes(objects) == [(20, 6, 40, 24)]
    _, issues = resolve(labels((None, 1, 58, 10), (float("inf"), 1, 2, 3)), photo)
    assert issues["code"].to_list() == ["not_finite"] * 2


def test_turned_boxes_are_judged_where_they_come_to_lie() -> None:
    objects, issues = resolve(labels(BOX, (58, 5, 30, 17), (30, 5, 30, 17)), photos(6, (40, 60)))
    assert objects["object_id"].to_list() == [0]
    assert issues.select("code", "object_id").rows() == [(CODE, None), ("negative_area", 1), ("zero_area", 2)]


def test_a_stated_size_is_compared_with_the_frame_of_the_boxes() -> None:
    photo = photos(6, (40, 60))
    drawn_stored = labels(BOX, file_width=60, file_height=40)
    assert resolve(drawn_stored, photo, "stored")[1].is_empty()
    assert resolve(drawn_stored, photo, "displayed")[1]["code"].to_list() == ["size_mismatch", "box_outside_photo"]
    issues = resolve(labels((1, 1, 9, 9), file_width=40, file_height=60), photo, "stored")[1]
    assert issues["message"].to_list() == [
        "the label file says 40 x 60, which is its size as displayed, the photo as stored is 60 x 40"
    ]
    half = labels((1, 1, 9, 9), file_width=None, file_height=50).cast({"file_width": pl.Int64})
    assert "says ? x 50" in resolve(half, photo)[1]["message"][0]


def test_unknown_frames_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected label_frame to be one of auto, displayed, stored, got 'sensor'"):
        resolve(labels(BOX), photos(1, STORED), "sensor")

import numpy as np
import polars as pl
import pytest
from toy_detector import ToyDetector, photo_with

from xai.evidence.hidden import FORWARDS, SIDES, parts, parts_seen, seen, with_parts


def misses(*boxes: tuple[float, float, float, float]) -> pl.DataFrame:
    rows = [(f"e{index}", "a.jpg", "red", *box) for index, box in enumerate(boxes)]
    return pl.DataFrame(rows, schema=["error_id", "image_id", "label", "x1", "y1", "x2", "y2"], orient="row")


def test_parts_lie_beside_their_sides() -> None:
    box = np.array([10.0, 20.0, 110.0, 220.0])
    for side, part in zip(SIDES, parts(box), strict=True):
        edge = {"left": 0, "top": 1, "right": 2, "bottom": 3}[side]
        assert part[edge] == box[edge]
        assert np.prod(part[2:] - part[:2]) == pytest.approx(0.45 * 100 * 200)


def test_an_object_that_is_seen_as_its_upper_part_is_told_and_one_seen_whole_is_not() -> None:
    """The toy detector knows objects of 32 px in this photo: of a box twice as tall it finds the upper half."""
    photo = photo_with((32, 16, 64, 48))
    detector = ToyDetector()
    told = parts_seen(
        misses((32, 16, 64, 87), (32, 16, 64, 48)), load_pixels=lambda _: photo, detector=detector, match_iou=0.5
    )
    assert detector.forwards == FORWARDS
    assert told.select("error_id", "side").rows() == [("e0", "top")]
    whole, part = told.select("whole", "part").row(0)
    assert part == pytest.approx(0.9, abs=0.08)  # the mean with the shifted and resampled photo
    assert whole == pytest.approx(0.9 * 32 / 71, abs=0.04)


def test_the_mean_over_photos_decides_and_boxes_keep_their_order() -> None:
    target = np.array([[0.3, 0.9, 0, 0, 0, 0.3, 0, 0, 0, 0.2], [0.3, 0.1, 0, 0, 0, 0.3, 0, 0, 0, 0.5]])
    assert seen(["a", "b"], target) == [("a", "top", 0.3, 0.5), ("b", "right", 0.3, 0.35)]
    assert seen(["a", "b"], target / 16) == []  # 0.031 and 0.022 are next to nothing, however many times the whole
    assert seen(["a", "b"], target[:, [0, 1, 2, 3, 4] * 2][1:]) == []
    box = np.array([[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 9.0, 9.0]])
    assert with_parts(box)[[0, 5]].tolist() == box.tolist()


def test_no_misses_no_rows() -> None:
    told = parts_seen(
        misses().cast({"x1": pl.Float64}), load_pixels=dict().__getitem__, detector=ToyDetector(), match_iou=0.5
    )
    assert told.is_empty()

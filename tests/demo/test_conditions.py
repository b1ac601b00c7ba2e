import itertools

import cv2
import numpy as np
import pytest

from attributes import glare_map
from xai.causes import CAUSES
from xai.demo.conditions import CONDITIONS, CROWDED, EXPECTED, HARMLESS, NONE, make, turn
from xai.demo.scenes import render

SEEDS = range(3)


def luma(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_same_seed_same_photo_and_boxes_inside(condition: str) -> None:
    first, second = make(5, condition), make(5, condition)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    height, width = first.pixels.shape[:2]
    assert (first.boxes >= 0).all()
    assert (first.boxes <= [width, height, width, height]).all()
    assert (first.boxes[:, 2:] > first.boxes[:, :2]).all()
    assert len(first.planted) == len(first.labels) == len(first.boxes) == len(first.difficult) == len(first.truncated)
    assert set(first.planted) <= {condition, NONE}


def test_every_condition_has_a_cause_or_is_harmless() -> None:
    assert set(CONDITIONS) == {NONE, HARMLESS, *EXPECTED}
    assert set(EXPECTED.values()) <= {*CAUSES, "label_error"}
    assert HARMLESS in CAUSES


def test_unknown_condition_is_refused() -> None:
    with pytest.raises(KeyError, match="fog"):
        make(0, "fog")


@pytest.mark.parametrize("quarters", range(5))
def test_turning_moves_labels_with_the_pixels(quarters: int) -> None:
    photo = make(3)
    turned = turn(photo, quarters)
    np.testing.assert_array_equal(turned.pixels, np.rot90(photo.pixels, quarters))
    for before, after in zip(photo.boxes, turned.boxes, strict=True):
        mask = np.zeros(tuple(2 * side for side in photo.pixels.shape[:2]))
        x1, y1, x2, y2 = (2 * before).astype(int)
        mask[y1:y2, x1:x2] = 1
        rows, columns = np.nonzero(np.rot90(mask, quarters))
        expected = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 2
        np.testing.assert_array_equal(after, expected)


def test_sideways_photos_are_portraits_of_the_same_scene() -> None:
    for seed in SEEDS:
        scene, photo = render(seed), make(seed, "sideways")
        assert photo.pixels.shape == (320, 240, 3)
        assert any((np.rot90(scene.pixels, quarters) == photo.pixels).all() for quarters in (1, 3))


def test_glare_burns_out_what_it_covers() -> None:
    planted = 0
    for seed in SEEDS:
        photo = make(seed, "glare")
        severity = glare_map(photo.pixels)
        for box, condition in zip(photo.boxes.round().astype(int), photo.planted, strict=True):
            x1, y1, x2, y2 = box
            if condition == "glare":
                planted += 1
                assert np.quantile(luma(photo.pixels)[y1:y2, x1:x2], 0.8) > 235
                assert severity[y1:y2, x1:x2].mean() > 0.1
    assert planted >= len(SEEDS) - 1


def test_darkness_keeps_under_a_third_of_the_light() -> None:
    for seed in SEEDS:
        assert luma(make(seed, "darkness").pixels).mean() < 0.4 * luma(render(seed).pixels).mean()


def test_noise_is_added_and_nothing_else() -> None:
    for seed in SEEDS:
        added = make(seed, HARMLESS).pixels.astype(float) - render(seed).pixels
        assert abs(added.mean()) < 3
        assert 10 < added.std() < 22


def test_crowded_objects_are_covered_by_others() -> None:
    """The share is compared with a count of pixels."""
    for seed in SEEDS:
        photo = make(seed, "crowding")
        boxes = np.round(4 * photo.boxes).astype(int)
        masks = np.zeros((len(boxes), 960, 1280), dtype=bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = True
        count = masks.sum(axis=0)
        for mask, condition in zip(masks, photo.planted, strict=True):
            share = (count[mask] > 1).mean()
            if abs(share - CROWDED) > 0.05:
                assert (share > CROWDED) == (condition == "crowding")


def test_only_one_label_is_shifted_and_no_longer_fits() -> None:
    for seed in SEEDS:
        scene, photo = render(seed), make(seed, "shifted_label")
        moved = np.flatnonzero((scene.boxes != photo.boxes).any(axis=1))
        assert [index for index, condition in enumerate(photo.planted) if condition != NONE] == moved.tolist()
        for index in moved:
            (a1, b1, a2, b2), (c1, d1, c2, d2) = scene.boxes[index], photo.boxes[index]
            shared = max(min(a2, c2) - max(a1, c1), 0) * max(min(b2, d2) - max(b1, d1), 0)
            union = (a2 - a1) * (b2 - b1) + (c2 - c1) * (d2 - d1) - shared
            assert shared / union < 0.45


def test_scenes_of_the_stream_differ() -> None:
    photos = [make(seed).pixels for seed in SEEDS]
    assert all((a != b).any() for a, b in itertools.combinations(photos, 2))

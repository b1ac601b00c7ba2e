"""A device without room for what follows a forward: half as many photos, and a sentence where none fits."""

import logging

import numpy as np
import pytest
import torch

from attributes import extract
from attributes.tensors import measure
from xai import pipeline
from xai.exceptions import DetectorError
from xai.room import Room, each_part
from xai.types import Prepared

FULL = "CUDA out of memory. Tried to allocate 20.00 MiB"


def prepared(first: int, count: int) -> Prepared:
    empty = np.zeros((count, 2))
    return Prepared(tuple(range(first, first + count)), torch.zeros(count, 3, 4, 4), empty, empty, empty.astype(int))


def test_parts_are_halved_and_stay_so(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[int, ...]] = []

    def short(part: Prepared) -> None:
        if len(part.indices) > 3:
            raise torch.OutOfMemoryError(FULL)
        seen.append(part.indices)

    room = Room()
    with caplog.at_level(logging.WARNING, "xai"):
        each_part(room, [prepared(0, 7), prepared(7, 2)], 6, short)
        each_part(room, [prepared(9, 5)], 6, short)
    assert seen == [(0, 1, 2), (3, 4, 5), (6,), (7, 8), (9, 10, 11), (12, 13)]
    assert [record.getMessage() for record in caplog.records] == [
        "the GPU is out of memory: 3 photos at once from here on"
    ]
    seen.clear()
    each_part(object(), [prepared(0, 2)], 6, short)
    assert seen == [(0, 1)], "a detector that remembers nothing"


def test_what_the_forward_had_room_for_is_no_less_than_what_follows_it_has() -> None:
    room, sizes = Room(), []

    def work(part: Prepared) -> None:
        sizes.append(len(part.indices))
        if len(part.indices) == 8:
            room.most = 2  # as the forward that halved its batch again and again
            raise torch.OutOfMemoryError(FULL)

    each_part(room, [prepared(0, 8)], 8, work)
    assert sizes == [8, 2, 2, 2, 2]


def test_no_room_for_one_photo_or_in_a_stage_is_a_sentence() -> None:
    def never(part: Prepared) -> None:
        raise torch.OutOfMemoryError(FULL)

    with pytest.raises(DetectorError, match=r"expected room for one photo on the GPU, it is out of memory: lower"):
        each_part(Room(), [prepared(0, 3)], 2, never)
    with pytest.raises(DetectorError, match=r"room for the stage 'stress' on the GPU"), pipeline._Clock()("stress"):
        raise torch.OutOfMemoryError(FULL)


def test_tags_on_a_device_are_those_of_all_photos_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [np.random.default_rng(index).integers(0, 256, (40 + index, 60, 3)).astype(np.uint8) for index in range(5)]
    whole = extract.measure(photos, device="cpu").images
    together = measure.photometric_of_arrays
    sizes: list[int] = []

    def short(some: list[np.ndarray], device: str, *, names: list[str]) -> object:
        sizes.append(len(some))
        if len(some) > 2:
            raise torch.OutOfMemoryError(FULL)
        return together(some, device, names=names)

    monkeypatch.setattr(measure, "photometric_of_arrays", short)
    for name, values in extract.measure(photos, device="cpu").images.items():
        np.testing.assert_array_equal(values, whole[name])
    assert sizes == [5, 2, 3, 1, 2]

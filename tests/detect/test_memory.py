"""A GPU that is out of memory: batches are halved, said so, and nothing else changes."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from xai.config import DetectorConfig
from xai.demo import dataset
from xai.demo.run import CHECKPOINT
from xai.detect import load
from xai.detect.memory import Sparing, _together
from xai.exceptions import DetectorError
from xai.types import Candidates


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Sparing:
    """Return a detector on a device that has room for three photos."""
    opened = load(DetectorConfig(kind="torchvision", weights=CHECKPOINT, image_size=320), "cpu")
    assert isinstance(opened, Sparing)
    inner = opened._detector
    forward = type(inner).forward

    def short(self: object, inputs: torch.Tensor) -> Candidates:
        if len(inputs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return forward(self, inputs)

    monkeypatch.setattr(type(inner), "forward", short)
    return opened


def test_a_batch_that_does_not_fit_is_halved_and_said_so(detector: Sparing, caplog: pytest.LogCaptureFixture) -> None:
    photos = [dataset.evaluation_scene(index).pixels for index in range(5)]
    (prepared,) = detector.prepare(photos)
    with torch.no_grad(), caplog.at_level(logging.WARNING, "xai"):
        found = detector.forward(prepared.inputs)
        alone = [detector._detector.forward(prepared.inputs[index : index + 1]) for index in range(5)]
        detector.forward(prepared.inputs)
    assert [record.getMessage() for record in caplog.records] == [
        "the GPU is out of memory: 2 photos at once from here on"
    ]
    assert detector.most == 2
    for index, one in enumerate(alone):
        count = one.scores.shape[1]
        torch.testing.assert_close(found.scores[index, :count], one.scores[0], atol=1e-4, rtol=1e-4)
        assert not found.scores[index, count:].any()
        for whole, level in zip(found.features, one.features, strict=True):
            torch.testing.assert_close(whole[index], level[0], atol=1e-3, rtol=1e-3)
    selected = detector.select(found, prepared)
    for index, one in enumerate(alone):
        part = prepared.parts(1)[index]
        (expected,) = detector.select(one, part)
        np.testing.assert_allclose(selected[index].boxes, expected.boxes, atol=1e-2)


def test_no_room_for_one_photo_is_a_sentence(detector: Sparing, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: object, inputs: torch.Tensor) -> Candidates:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(detector._detector), "forward", never)
    with pytest.raises(DetectorError, match=r"expected room for one photo on the GPU.*image_size"):
        detector.forward(torch.zeros(4, 3, 64, 64))


def test_preparing_in_halves_keeps_the_order(detector: Sparing, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [np.full((60 + index, 80, 3), 9 * index, dtype=np.uint8) for index in range(5)]
    whole = detector.prepare(photos)
    inner = detector._detector
    prepare = type(inner).prepare

    def short(self: object, some: list[np.ndarray]) -> object:
        if len(some) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return prepare(self, some)

    monkeypatch.setattr(type(inner), "prepare", short)
    parts = detector.prepare(photos)
    by_photo = {index: part.inputs[row] for part in parts for row, index in enumerate(part.indices)}
    assert sorted(by_photo) == [0, 1, 2, 3, 4]
    for part in whole:
        for row, index in enumerate(part.indices):
            torch.testing.assert_close(by_photo[index], part.inputs[row])


def test_candidates_of_several_shapes_are_padded() -> None:
    one = Candidates(torch.ones(1, 2, 4), torch.ones(1, 2, 3))
    two = replace(one, boxes=torch.ones(2, 5, 4), scores=torch.ones(2, 5, 3))
    both = _together([one, two])
    assert both.boxes.shape == (3, 5, 4)
    assert both.scores.shape == (3, 5, 3)
    assert both.scores[0, 2:].sum() == 0 == both.boxes[0, 2:].sum()
    by_class = Candidates(torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3))
    assert (
        _together([by_class, replace(by_class, boxes=torch.ones(1, 2, 3, 4), scores=torch.ones(1, 2, 3))])
        .boxes[0, 1]
        .sum()
        == 0
    )

from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from toy_detector import SIDE, ToyDetector, full_weights, photo_with

from xai.evidence import targets
from xai.types import Candidates

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Give each test its own draws, whichever tests the worker ran before."""
    rng.bit_generator.state = np.random.default_rng(0).bit_generator.state


def random_boxes(*shape: int) -> torch.Tensor:
    corners = torch.from_numpy(rng.uniform(0, 60, (*shape, 2, 2)).astype(np.float32)).sort(-2).values
    return corners.flatten(-2)


def brute_force(candidates: Candidates, boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    n, c, _ = candidates.scores.shape
    result = torch.zeros(n, len(labels))
    for i in range(n):
        for k, label in enumerate(labels):
            for j in range(c):
                box = candidates.boxes[i, j] if candidates.boxes.ndim == 3 else candidates.boxes[i, j, label]
                own = boxes[k] if boxes.ndim == 2 else boxes[i, k]
                overlap = torchvision.ops.box_iou(box[None], own[None]).nan_to_num()[0, 0]
                result[i, k] = max(result[i, k], overlap * candidates.scores[i, j, label])
    return result


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("per_input", [False, True])
def test_equals_brute_force(per_class: bool, per_input: bool) -> None:
    boxes = random_boxes(3, 7, 5) if per_class else random_boxes(3, 7)
    candidates = Candidates(boxes, torch.rand(3, 7, 5))
    objects = random_boxes(3, 4) if per_input else random_boxes(4)
    labels = torch.tensor([4, 0, 2, 2])
    found = targets.iou_times_score(candidates, objects, labels)
    torch.testing.assert_close(found, brute_force(candidates, objects, labels))


def test_iou_equals_torchvision() -> None:
    first, second = random_boxes(20), random_boxes(30)
    torch.testing.assert_close(targets.iou(first[:, None], second[None]), torchvision.ops.box_iou(first, second))


def test_components() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 5], [40, 40, 50, 50]]])
    scores = torch.tensor([[[0.1, 0.0], [0.6, 0.2], [0.9, 0.8]]])
    candidates = Candidates(boxes, scores)
    box, label = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0])
    assert targets.iou_times_score(candidates, box, label).item() == pytest.approx(0.3)
    assert targets.class_score(candidates, box, label).item() == pytest.approx(0.6)
    assert targets.class_score(candidates, box, label, near=0.6).item() == pytest.approx(0.1)
    assert targets.box_quality(candidates, box, label).item() == pytest.approx(1.0)
    other = targets.other_class(candidates, box, label, others=torch.tensor([1]))
    assert other.item() == pytest.approx(0.1 - 0.3)


@pytest.mark.parametrize("target", [targets.iou_times_score, targets.class_score, targets.box_quality])
def test_no_candidates_and_no_objects(target: targets.Target) -> None:
    none = Candidates(torch.zeros(2, 0, 4), torch.zeros(2, 0, 3, requires_grad=True))
    result = target(none, random_boxes(4), torch.tensor([0, 1, 2, 0]))
    assert result.shape == (2, 4)
    assert (result == 0).all()
    some = Candidates(random_boxes(2, 5), torch.rand(2, 5, 3))
    assert target(some, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)).shape == (2, 0)


def test_never_nan_whatever_the_candidates() -> None:
    boxes = random_boxes(1, 4)
    boxes[0, 0] = torch.nan
    boxes[0, 1] = torch.inf
    boxes[0, 2, 2:] = boxes[0, 2, :2]
    boxes.requires_grad_()
    scores = torch.tensor([[[0.9], [0.9], [0.9], [torch.nan]]], requires_grad=True)
    value = targets.iou_times_score(Candidates(boxes, scores), random_boxes(2), torch.tensor([0, 0]))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert boxes.grad is not None
    assert torch.isfinite(boxes.grad).all()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_gradient_equals_the_closed_form_of_the_toy() -> None:
    detector = ToyDetector()
    inputs = torch.rand(1, 3, SIDE, SIDE, requires_grad=True)
    box = detector.anchors[30:31] + torch.tensor([1.0, 1, 1, 1])
    forward = targets.forward_func(detector.forward, box, torch.tensor([1]))
    value = forward(inputs)
    value.sum().backward()
    overlap = torchvision.ops.box_iou(detector.anchors, box)[:, 0]
    weights = torch.stack([full_weights(anchor, 1) for anchor in detector.anchors])
    scores = torch.einsum("chw,achw->a", inputs[0].detach(), weights)
    best = int((overlap * scores).argmax())
    torch.testing.assert_close(value.detach()[0, 0], (overlap * scores)[best])
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad[0], overlap[best] * weights[best])


def test_changes_smoothly_where_nothing_is_detected() -> None:
    detector = ToyDetector()
    lights = np.linspace(0.2, 0.4, 21)
    prepared = detector.prepare([photo_with((32, 32, 64, 64), light=light) for light in lights])[0]
    candidates = detector.forward(prepared.inputs)
    assert all(len(found) == 0 for found in detector.select(candidates, prepared))
    box = targets.to_input(np.array([[32.0, 32, 64, 64]]), prepared, 0)
    values = targets.iou_times_score(candidates, box, torch.tensor([0]))[:, 0]
    steps = values.diff()
    assert (steps > 0).all()
    assert steps.max() < 0.02


def test_to_input_inverts_the_letterbox() -> None:
    prepared = ToyDetector().prepare([photo_with((0, 0, 128, 96))])[0]
    torch.testing.assert_close(
        targets.to_input(np.array([[0.0, 0, 128, 96]]), prepared, 0), torch.tensor([[0.0, 8, 64, 56]])
    )


@pytest.mark.parametrize(
    ("boxes", "labels", "words"),
    [
        (torch.zeros(2, 3), torch.tensor([0, 1]), "expected boxes"),
        (torch.zeros(1, 4), torch.tensor([3]), "expected labels in 0–2"),
        (torch.full((1, 4), torch.nan), torch.tensor([0]), "finite"),
    ],
)
def test_wrong_requests_are_named(boxes: torch.Tensor, labels: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        targets.iou_times_score(Candidates(random_boxes(1, 5), torch.rand(1, 5, 3)), boxes, labels)


def test_wrong_candidates_are_named() -> None:
    with pytest.raises(ValueError, match="expected candidate boxes"):
        targets.iou_times_score(
            Candidates(random_boxes(1, 4), torch.rand(1, 5, 3)), torch.zeros(1, 4), torch.tensor([0])
        )


def test_partial_targets_fit_the_protocol() -> None:
    forward = targets.forward_func(
        ToyDetector().forward, torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([0]), partial(targets.class_score, near=0)
    )
    assert forward(torch.rand(2, 3, SIDE, SIDE)).shape == (2, 1)


def test_deployed_score_sees_detections_only() -> None:
    detector = ToyDetector()
    lights = (0.3, 0.9, 1.0)
    photos = [photo_with((32, 32, 64, 64), light=light) for light in lights]
    prepared = detector.prepare(photos[:1])[0]
    inputs = torch.cat([detector.prepare([photo])[0].inputs for photo in photos])
    boxes = targets.to_input(
        np.array([[32.0, 32, 64, 64], [32, 40, 64, 72], [32, 32, 64, 64], [0, 0, 9, 9]]), prepared, 0
    )
    labels = torch.tensor([0, 0, 1, 0])
    found = targets.Score(detector, boxes, labels, targets.deployed_score(detector, prepared))(inputs)
    assert found.shape == (3, 4)
    assert (found[0] == 0).all(), "a miss is flat"
    score = detector.forward(inputs).scores.amax((1, 2))
    assert float(score[1]) > detector.score_threshold
    torch.testing.assert_close(found[1:, 0], score[1:])
    overlap = torchvision.ops.box_iou(boxes[:1], boxes[1:2]).item()
    torch.testing.assert_close(found[1:, 1], score[1:] * overlap)
    assert (found[:, 2:] == 0).all(), "another class, another place"
    everything = targets.iou_times_score(detector.forward(inputs), boxes, labels)
    assert (found <= everything + 1e-6).all()


def test_deployed_score_takes_candidates_with_a_gradient_and_moved_boxes() -> None:
    detector = ToyDetector()
    prepared = detector.prepare([photo_with((32, 32, 64, 64))])[0]
    candidates = detector.forward(prepared.inputs.clone().requires_grad_())
    target = targets.deployed_score(detector, prepared)
    box = targets.to_input(np.array([[32.0, 32, 64, 64]]), prepared, 0)
    found = target(candidates, box[None], torch.tensor([0]))
    assert not found.requires_grad
    assert found.item() == pytest.approx(candidates.scores.max().item())
    with pytest.raises(ValueError, match="expected labels in 0–1"):
        target(candidates, box, torch.tensor([2]))


@pytest.mark.parametrize("per_class", [False, True])
def test_the_strongest_rival_equals_brute_force(per_class: bool) -> None:
    candidates = Candidates(random_boxes(1, 9, 5) if per_class else random_boxes(1, 9), torch.rand(1, 9, 5))
    boxes, labels = random_boxes(4), torch.tensor([0, 4, 2, 2])
    expected = []
    for box, label in zip(boxes, labels, strict=True):
        rivals = [code for code in range(5) if code != label]
        expected.append(max(rivals, key=lambda code: float(brute_force(candidates, box[None], torch.tensor([code])))))
    found = targets.strongest_rival(candidates, boxes, labels)
    assert found.tolist() == expected
    why = targets.other_class(candidates, boxes, labels, others=found)
    assert why.shape == (1, 4)


def test_the_strongest_rival_where_nothing_is_near_is_another_class() -> None:
    candidates = Candidates(torch.zeros(1, 0, 4), torch.zeros(1, 0, 3))
    assert targets.strongest_rival(candidates, random_boxes(2), torch.tensor([0, 1])).tolist() == [1, 0]
    for wrong in (
        Candidates(random_boxes(2, 4), torch.rand(2, 4, 3)),
        Candidates(random_boxes(1, 4), torch.rand(1, 4, 1)),
    ):
        with pytest.raises(ValueError, match="one input for at least 2 classes"):
            targets.strongest_rival(wrong, random_boxes(1), torch.tensor([0]))

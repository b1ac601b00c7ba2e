import inspect
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, IntegratedGradients, LayerGradCam
from linear_detector import FeatureDetector, LinearDetector
from torch import Tensor
from toy_detector import SIDE, ToyDetector, photo_with

from xai.evidence import targets
from xai.evidence.feature_maps import ODAM, FeatureScore, spread
from xai.evidence.gradients import GRADIENT_METHODS, METHODS
from xai.evidence.method import BASELINES, restored
from xai.evidence.perturbations import PERTURBATION_METHODS
from xai.evidence.targets import Score
from xai.types import Candidates

FEW: dict[str, dict[str, Any]] = {
    "drise": {"n_masks": 12},
    "extremal": {"n_masks": 16},
    "integrated_gradients": {"n_steps": 3},
    "feature_ablation": {"cells": 3},
    "occlusion": {"cells": 2},
    "kernel_shap": {"cells": 2, "n_samples": 12},
}
"""Options that make each method quick."""

generator = torch.Generator().manual_seed(0)


def linear(*labels: int, size: tuple[int, int] = (24, 32)) -> tuple[LinearDetector, Score]:
    detector = LinearDetector(torch.rand(2, 3, *size, generator=generator) - 0.4)
    boxes, codes = detector.whole_photo(*labels)
    return detector, Score(detector, boxes, codes)


def photo(size: tuple[int, int] = (24, 32), n: int = 1) -> Tensor:
    return torch.rand(n, 3, *size, generator=generator)


def toy_score(detector: ToyDetector) -> tuple[Tensor, Score]:
    """A photo with a dim red object, its box, and another box beside it."""
    prepared = detector.prepare([photo_with((32, 32, 64, 64), light=0.6)])[0]
    boxes = targets.to_input(np.array([[30.0, 32, 64, 66], [60, 60, 92, 90]]), prepared, 0)
    return prepared.inputs, Score(detector, boxes, torch.tensor([0, 1]))


def cell_sums(values: Tensor, rows: int, columns: int) -> Tensor:
    """Sum (..., h, w) over a lattice of cells and give every pixel its cell's sum."""
    height, width = values.shape[-2:]
    summed = values.unflatten(-1, (columns, -1)).sum(-1).unflatten(-2, (rows, -1)).sum(-2)  # type: ignore[no-untyped-call]
    return summed.repeat_interleave(height // rows, -2).repeat_interleave(width // columns, -1)


def test_closed_forms_of_a_linear_score() -> None:
    detector, score = linear(0, 1)
    inputs, hidden = photo(), photo()
    worth = (detector.weights * (inputs - hidden)).sum(1)
    maps = METHODS["integrated_gradients"](score, inputs, baselines=hidden, n_steps=3)
    torch.testing.assert_close(maps[0], worth, atol=1e-5, rtol=1e-4)
    maps = METHODS["feature_ablation"](score, inputs, baselines=hidden, cells=4)
    torch.testing.assert_close(maps[0], cell_sums(worth, 3, 4), atol=1e-4, rtol=1e-4)
    maps = METHODS["kernel_shap"](score, inputs, baselines=hidden, cells=4, n_samples=60)
    torch.testing.assert_close(maps[0], cell_sums(worth, 3, 4), atol=1e-3, rtol=1e-3)


def test_occlusion_is_the_mean_over_the_squares_that_hide_a_pixel() -> None:
    detector, score = linear(1)
    inputs = photo()
    worth = (detector.weights[1] * inputs[0]).sum(0)
    total, count = torch.zeros(24, 32), torch.zeros(24, 32)
    for y in range(0, 17, 4):
        for x in range(0, 25, 4):
            total[y : y + 8, x : x + 8] += worth[y : y + 8, x : x + 8].sum()
            count[y : y + 8, x : x + 8] += 1
    maps = METHODS["occlusion"](score, inputs, baselines=0.0, cells=4)
    torch.testing.assert_close(maps[0, 0], total / count, atol=1e-4, rtol=1e-4)


def test_agrees_with_captums_own_on_the_toy() -> None:
    detector = FeatureDetector()
    inputs, score = toy_score(detector)
    rows = torch.arange(SIDE) // 8
    mask = (rows[:, None] * 8 + rows)[None, None]
    for column in (0, 1):
        ablated = FeatureAblation(score).attribute(inputs, baselines=0.1, target=column, feature_mask=mask)
        found = METHODS["feature_ablation"](score, inputs, baselines=0.1, target=column, cells=8)
        torch.testing.assert_close(found[:, 0], ablated[:, 0])
        integrated = IntegratedGradients(score).attribute(inputs, baselines=0.1, target=column, n_steps=7)
        found = METHODS["integrated_gradients"](score, inputs, baselines=0.1, target=column, n_steps=7)
        torch.testing.assert_close(found[:, 0], integrated.sum(1))


class Network(torch.nn.Module):
    """The toy with features, as a network with a layer that Captum can hook."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.pool = torch.nn.AvgPool2d(4)
        self.score = score

    def forward(self, inputs: Tensor) -> Tensor:
        detector = self.score.detector
        assert isinstance(detector, FeatureDetector)
        scores = torch.nn.functional.conv2d(self.pool(inputs), detector.cells).flatten(2).transpose(1, 2)
        candidates = Candidates(detector.anchors.expand(len(inputs), -1, -1), scores)
        return targets.iou_times_score(candidates, self.score.boxes, self.score.labels)


def test_grad_cam_equals_captums_on_the_same_network_with_a_layer() -> None:
    inputs, score = toy_score(FeatureDetector())
    network = Network(score)
    found = METHODS["grad_cam"](score, inputs)
    for column in (0, 1):
        expected = LayerGradCam(network, network.pool).attribute(inputs.clone().requires_grad_(), column)
        torch.testing.assert_close(found[:, column], spread(expected[:, 0].detach(), (SIDE, SIDE)))
    assert found.abs().sum() > 0


@pytest.mark.parametrize("copies", [False, True])
def test_odam_in_closed_form_also_where_the_features_are_copies(copies: bool) -> None:
    """IoU of the winning candidate × the class's weights on its cells × activation there."""
    detector = FeatureDetector(copies=copies)
    inputs, score = toy_score(detector)
    found = METHODS["odam"](score, inputs)
    activations = torch.nn.functional.avg_pool2d(inputs, 4)[0]
    scores = torch.nn.functional.conv2d(activations, detector.cells).flatten(1)
    for column, label in enumerate((0, 1)):
        overlap = targets.iou(detector.anchors, score.boxes[column])
        best = int((overlap * scores[label]).argmax())
        y, x = divmod(best, 13)
        cells = torch.zeros(1, 16, 16)
        window = activations[:, y : y + 4, x : x + 4]
        cells[0, y : y + 4, x : x + 4] = overlap[best] * (window * detector.cells[label]).sum(0)
        shown = cells[:, :12] if copies else cells
        torch.testing.assert_close(found[:, column], spread(shown, (SIDE, SIDE)))
        if not copies:
            torch.testing.assert_close(found[0, column].sum(), score(inputs)[0, column])
    torch.testing.assert_close(METHODS["odam"](score, inputs, relu_attributions=True), found.relu())


def test_odam_on_any_network_and_layer() -> None:
    """As a Captum class, without the rest of the toolkit: for a linear end, the map is weight × activation."""
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1)
    weights = torch.rand(2, 5, 8, 8, generator=generator)

    def forward(inputs: Tensor, factor: float) -> Tensor:
        return factor * torch.einsum("ndhw,kdhw->nk", convolution(inputs), weights)

    inputs = photo((8, 8), n=2)
    maps = ODAM(forward, convolution).attribute(inputs, additional_forward_args=3.0)
    expected = 3 * torch.einsum("ndhw,kdhw->nkhw", convolution(inputs), weights).detach()
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(ODAM(forward, convolution).attribute(inputs, 1, 3.0), expected[:, 1:])
    assert not convolution._forward_hooks
    with pytest.raises(ValueError, match="that forward_func calls"):
        ODAM(lambda x: x.sum((1, 2, 3)), convolution).attribute(inputs)
    with pytest.raises(ValueError, match="no gradient reaches it"):
        ODAM(lambda x: (convolution(x), x.sum((1, 2, 3)))[1], convolution).attribute(inputs)
    with pytest.raises(ValueError, match="got a constant"):
        ODAM(lambda x: convolution(x).detach().sum((1, 2, 3)), convolution).attribute(inputs)


def test_features_that_the_scores_are_not_made_of_are_refused() -> None:
    class Wrong(FeatureDetector):
        def forward(self, inputs: Tensor) -> Candidates:
            seen = super().forward(inputs)
            return Candidates(seen.boxes, seen.scores, (seen.features[0].exp(),))

    inputs, score = toy_score(Wrong())
    for name in ("odam", "grad_cam"):
        with pytest.raises(ValueError, match="scores with a gradient to the feature maps"):
            METHODS[name](score, inputs)


@pytest.mark.parametrize("name", METHODS)
def test_one_call_for_all(name: str) -> None:
    """All objects or one, many photos or one, any batch, hidden by any baseline: the same map."""
    inputs, score = toy_score(FeatureDetector())
    inputs = torch.cat([inputs, inputs.flip(3)])
    torch.manual_seed(7)
    expected_next = torch.rand(3)
    torch.manual_seed(7)
    maps = METHODS[name](score, inputs, seed=1, **FEW.get(name, {}))
    assert torch.equal(torch.rand(3), expected_next)
    assert maps.shape == (2, 2, SIDE, SIDE)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert maps[0, 1].abs().sum() > 0
    for target in (1, -1):
        one = METHODS[name](score, inputs, seed=1, target=target, **FEW.get(name, {}))
        torch.testing.assert_close(one, maps[:, 1:], atol=1e-5, rtol=1e-4)
    hidden = BASELINES["blurred"](inputs)
    for row in (0, 1):
        alone = METHODS[name](
            score,
            inputs[[row]],
            baselines=hidden[[row]],
            seed=1,
            perturbations_per_eval=3,
            show_progress=True,
            **FEW.get(name, {}),
        )
        # Rounding, which a batch of another size changes, grows over the steps of an ascent.
        tolerance = 0.02 * float(maps[row].abs().max()) if name == "extremal" else 1e-5
        torch.testing.assert_close(alone[0], maps[row], atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize("name", [*PERTURBATION_METHODS, "integrated_gradients", "odam"])
def test_many_objects_cost_the_forwards_of_one(name: str) -> None:
    detector = FeatureDetector()
    inputs, score = toy_score(detector)
    METHODS[name](score, inputs, target=0, **FEW.get(name, {}))
    one, detector.forwards = detector.forwards, 0
    METHODS[name](score, inputs, **FEW.get(name, {}))
    assert detector.forwards == one


@pytest.mark.parametrize("name", METHODS)
def test_finds_the_object_that_a_miss_is_about(name: str) -> None:
    detector = FeatureDetector()
    prepared = detector.prepare([photo_with((32, 32, 64, 64), light=0.4)])[0]
    assert not len(detector.select(detector.forward(prepared.inputs), prepared)[0])
    box = targets.to_input(np.array([[32.0, 32, 64, 64]]), prepared, 0)
    saliency = METHODS[name](Score(detector, box, torch.tensor([0])), prepared.inputs)[0, 0].clamp(min=0)
    x1, y1, x2, y2 = box[0].int().tolist()
    if name == "grad_cam":
        # Its weights are means over the photo, and red above green averages to nothing.
        assert (saliency == 0).all()
    else:
        assert saliency[y1:y2, x1:x2].sum() / saliency.sum() > 4 * (16 * 16) / (SIDE * SIDE)


def test_baselines() -> None:
    inputs = photo(n=2)
    flat = BASELINES["mean_colour"](inputs)
    assert flat.shape == inputs.shape
    torch.testing.assert_close(flat[1, 2, 3, 4], inputs[1, 2].mean())
    torch.testing.assert_close(flat.std((2, 3)), torch.zeros(2, 3))


class Noisy(torch.nn.Module):
    """A network that fails, after it has left its own and its callers' state in disorder."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.Dropout())
        self.modes: list[bool] = []

    def misbehave(self, *, fails: bool) -> None:
        self.modes.append(self.training)
        self.train()
        self.layer.register_forward_hook(lambda *_: None)
        self.layer[0]._forward_pre_hooks.clear()
        weight = next(self.layer.parameters())
        weight.requires_grad_(False)
        weight.grad = torch.ones_like(weight)
        if fails:
            raise RuntimeError("out of memory")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("fails", [True, False])
def test_the_detector_is_left_as_it_was(name: str, fails: bool) -> None:
    detector = FeatureDetector()
    model = Noisy()
    model.layer[1].eval()
    handle = model.layer[0].register_forward_pre_hook(lambda *_: None)

    class Wrapped(FeatureDetector):
        def forward(self, inputs: Tensor) -> Candidates:
            self.model.misbehave(fails=fails)
            return super().forward(inputs)

    inputs, score = toy_score(detector)
    wrapped = Wrapped()
    wrapped.model = model  # type: ignore[attr-defined]
    score = Score(wrapped, score.boxes, score.labels)
    inputs.requires_grad_()
    if fails:
        with pytest.raises(RuntimeError, match="out of memory"):
            METHODS[name](score, inputs, **FEW.get(name, {}))
    else:
        METHODS[name](score, inputs, **FEW.get(name, {}))
    assert model.modes[0] is False, "explained as deployed"
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert not model.layer._forward_hooks
    assert list(model.layer[0]._forward_pre_hooks) == [handle.id]
    assert all(item.requires_grad and item.grad is None for item in model.parameters())
    assert inputs.requires_grad
    assert inputs.grad is None
    assert torch.is_grad_enabled()


def fail_outside_inference_mode() -> None:
    assert not torch.is_inference_mode_enabled()
    raise RuntimeError("it fails")


def test_the_callers_modes_are_restored() -> None:
    with torch.no_grad():
        with restored(None):
            assert torch.is_grad_enabled()
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        with pytest.raises(RuntimeError, match="fails"), restored(torch.nn.Linear(1, 1)):
            fail_outside_inference_mode()
        assert torch.is_inference_mode_enabled()


@pytest.mark.parametrize("name", METHODS)
def test_works_on_tensors_of_inference_mode_and_within_it(name: str) -> None:
    detector = FeatureDetector()
    outside = METHODS[name](*toy_score(detector)[::-1], **FEW.get(name, {}))
    with torch.inference_mode():
        inputs, score = toy_score(detector)
        score = Score(detector, score.boxes.clone(), score.labels.clone())
        inputs = inputs.clone()
        assert inputs.is_inference()
        inside = METHODS[name](score, inputs, **FEW.get(name, {}))
    torch.testing.assert_close(inside, outside)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("connected", [True, False])
def test_no_candidates_at_all_give_an_empty_map(name: str, connected: bool) -> None:
    class Nothing(FeatureDetector):
        def forward(self, inputs: Tensor) -> Candidates:
            seen = super().forward(inputs)
            scores = seen.scores[:, :0] if connected else torch.zeros(len(inputs), 0, 2)
            return Candidates(torch.zeros(len(inputs), 0, 4), scores, seen.features)

    inputs, score = toy_score(Nothing())
    maps = METHODS[name](score, inputs, **FEW.get(name, {}))
    assert maps.shape == (1, 2, SIDE, SIDE)
    assert (maps == 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_box_outside_the_photo_gives_an_empty_map(name: str) -> None:
    inputs, _ = toy_score(FeatureDetector())
    score = Score(FeatureDetector(), torch.tensor([[900.0, 10, 950, 60]]), torch.tensor([0]))
    assert (METHODS[name](score, inputs, **FEW.get(name, {})) == 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_no_objects_give_no_maps(name: str) -> None:
    inputs, _ = toy_score(FeatureDetector())
    score = Score(FeatureDetector(), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert METHODS[name](score, inputs, **FEW.get(name, {})).shape == (1, 0, SIDE, SIDE)


@pytest.mark.parametrize("name", [*PERTURBATION_METHODS, "integrated_gradients"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 5)])
def test_photos_smaller_than_the_grid(name: str, size: tuple[int, int]) -> None:
    _, score = linear(0, 1, size=size)
    inputs = photo(size)
    maps = METHODS[name](score, inputs, baselines=0.0)
    assert maps.shape == (1, 2, *size)
    if name != "drise" and size == (1, 1):
        torch.testing.assert_close(maps[0, :, 0, 0], score(inputs)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_scores_that_are_not_finite_never_give_a_map_that_is_not(name: str, value: float) -> None:
    """Targets count such candidates as absent; a gradient through them breaks, and the method says so."""

    class Broken(FeatureDetector):
        def forward(self, inputs: Tensor) -> Candidates:
            seen = super().forward(inputs)
            return Candidates(seen.boxes, seen.scores * value, seen.features)

    inputs, score = toy_score(Broken())
    if name in GRADIENT_METHODS:
        with pytest.raises(ValueError, match="finite gradient"):
            METHODS[name](score, inputs, **FEW.get(name, {}))
    else:
        assert (METHODS[name](score, inputs, **FEW.get(name, {})) == 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_wrong_requests_are_named(name: str) -> None:
    inputs, score = toy_score(FeatureDetector())
    method = METHODS[name]
    with pytest.raises(ValueError, match="expected labels in 0–1, the detector's classes"):
        method(Score(FeatureDetector(), score.boxes, torch.tensor([0, 5])), inputs, **FEW.get(name, {}))
    with pytest.raises(ValueError, match="target below 2"):
        method(score, inputs, target=2)
    with pytest.raises(ValueError, match="perturbations_per_eval"):
        method(score, inputs, perturbations_per_eval=0)
    for baselines in (inputs[..., 1:], inputs.repeat(2, 1, 1, 1), inputs[None], torch.nan):
        with pytest.raises(ValueError, match="expected finite baselines"):
            method(score, inputs, baselines=baselines)
    for wrong in (inputs[0], inputs[:0], inputs * torch.nan):
        with pytest.raises(ValueError, match="expected finite inputs"):
            method(score, wrong)


def test_black_boxes_get_perturbation_methods_only() -> None:
    detector, score = linear(0, 1)
    for name in ("odam", "grad_cam"):
        with pytest.raises(ValueError, match="tells its feature maps"):
            METHODS[name](score, photo())
    detector.differentiable = False
    for name, method in METHODS.items():
        if name in PERTURBATION_METHODS:
            assert method(score, photo(), **FEW[name]).abs().sum() > 0
        else:
            with pytest.raises(ValueError, match="use one of drise"):
                method(score, photo())


def test_a_detector_that_only_says_that_it_is_differentiable() -> None:
    class Detached(FeatureDetector):
        def forward(self, inputs: Tensor) -> Candidates:
            seen = super().forward(inputs.detach())
            return Candidates(seen.boxes, seen.scores, seen.features)

    inputs, score = toy_score(Detached())
    for method in GRADIENT_METHODS.values():
        with pytest.raises(ValueError, match="expected scores with a gradient"):
            method(score, inputs)


def test_feature_scores_equal_scores() -> None:
    inputs, score = toy_score(FeatureDetector())
    torch.testing.assert_close(FeatureScore(score)(inputs).detach(), score(inputs))


def test_options_are_named_and_checked() -> None:
    assert list(inspect.signature(METHODS["occlusion"]).parameters)[-3:] == ["seed", "show_progress", "cells"]
    inputs, score = toy_score(FeatureDetector())
    for name in ("occlusion", "feature_ablation", "kernel_shap"):
        with pytest.raises(ValueError, match="cells of at least 1"):
            METHODS[name](score, inputs, cells=0)
    with pytest.raises(TypeError, match="n_masks"):
        METHODS["odam"](score, inputs, n_masks=5)

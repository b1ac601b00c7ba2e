from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation
from torch import Tensor
from toy_detector import SIDE, ToyDetector, photo_with

from xai.evidence import targets
from xai.evidence.drise import DRISE
from xai.evidence.masks import inpainted


def linear(weights: Tensor) -> Any:
    """f(x) = Σ weights · x for weights (k, h, w): the closed form of everything."""
    return lambda inputs: torch.einsum("nchw,khw->nk", inputs, weights)


def blobs() -> Tensor:
    """Two objects: one that helps at the top left and suppresses at the bottom right, one the other way round."""
    weights = torch.zeros(2, 48, 64)
    weights[0, 8:24, 8:24] = 1
    weights[0, 32:44, 44:60] = -1
    weights[1] = -weights[0].flip(0)
    return weights / 256


def correlation(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])


def expected(weights: Tensor) -> Tensor:
    """Effect of showing a square of 8×8 px, an eighth of the longest side, around each pixel of a linear target."""
    padded = torch.nn.functional.pad(weights[:, None], (4, 3, 4, 3), mode="replicate")
    return 64 * torch.nn.functional.avg_pool2d(padded, 8, stride=1)[:, 0]


def test_signed_maps_of_all_objects_from_the_same_forwards() -> None:
    weights, calls = blobs(), []

    def forward(inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        return linear(weights)(inputs)

    maps = DRISE(forward).attribute(torch.ones(1, 1, 48, 64), baselines=0.0, n_masks=600, perturbations_per_eval=10)
    assert isinstance(maps, Tensor)
    assert maps.shape == (1, 2, 48, 64)
    assert sum(calls) == 600
    assert max(calls) == 10
    for found, truth, weight in zip(maps[0], expected(weights), weights, strict=True):
        assert correlation(found, truth) > 0.9
        assert float((found * truth).sum() / truth.square().sum()) == pytest.approx(1, abs=0.15)
        assert found[weight > 0].mean() > 3 * found[weight == 0].abs().mean()
        assert found[weight < 0].mean() < -3 * found[weight == 0].abs().mean()


def test_agrees_with_feature_ablation_of_a_linear_target() -> None:
    """Captum's ablation of 8×8 blocks is exact for a linear target; the map must agree on the blocks."""
    weights = blobs()[:1]
    rows, columns = torch.arange(48) // 8, torch.arange(64) // 8
    blocks = (rows[:, None] * 8 + columns[None])[None, None]
    inputs = torch.ones(1, 1, 48, 64)
    ablated = FeatureAblation(linear(weights)).attribute(inputs, baselines=0.0, target=0, feature_mask=blocks)
    found = DRISE(linear(weights)).attribute(inputs, baselines=0.0, target=0, n_masks=1500, grid_sizes=(8,))
    assert isinstance(found, Tensor)
    pooled = torch.nn.functional.avg_pool2d(found, 8)
    assert correlation(pooled, torch.nn.functional.avg_pool2d(ablated, 8)) > 0.85
    strongest = ablated[0, 0].flatten().topk(4).indices
    assert set(found.flatten().topk(20).indices.tolist()) <= set(torch.nonzero(ablated.flatten() > 0)[:, 0].tolist())
    assert (found.flatten()[strongest] > 0).all()


def test_a_constant_target_gives_an_empty_map_exactly() -> None:
    maps, error = DRISE(lambda x: torch.tensor([0.7, 0.3, 0.05]).expand(len(x), 3)).attribute(
        torch.rand(2, 3, 32, 40), n_masks=200, return_standard_error=True
    )
    assert maps.shape == error.shape == (2, 3, 32, 40)
    assert (maps == 0).all()
    assert (error == 0).all()


def test_target_picks_a_column() -> None:
    inputs = torch.rand(1, 1, 48, 64)
    explain = DRISE(linear(blobs())).attribute
    everything = explain(inputs, n_masks=60, seed=3)
    one = explain(inputs, n_masks=60, seed=3, target=1)
    assert one.shape == (1, 1, 48, 64)  # type: ignore[union-attr]
    torch.testing.assert_close(everything[:, 1:], one)


def test_same_seed_same_map_whatever_the_batch() -> None:
    inputs = torch.rand(1, 1, 48, 64)
    explain = DRISE(linear(blobs())).attribute
    first = explain(inputs, n_masks=60, seed=3)
    assert torch.equal(first, explain(inputs, n_masks=60, seed=3))  # type: ignore[arg-type]
    assert not torch.equal(first, explain(inputs, n_masks=60, seed=4))  # type: ignore[arg-type]
    torch.testing.assert_close(first, explain(inputs, n_masks=60, seed=3, perturbations_per_eval=22))


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected_next = torch.rand(3)
    torch.manual_seed(5)
    DRISE(linear(blobs())).attribute(torch.rand(1, 1, 48, 64).fill_(0.5), n_masks=6)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), expected_next)


def test_standard_error_tells_the_spread_between_seeds() -> None:
    inputs = torch.ones(1, 1, 48, 64)
    runs = [
        DRISE(linear(blobs()[:1])).attribute(inputs, baselines=0.0, n_masks=120, seed=seed, return_standard_error=True)
        for seed in range(20)
    ]
    spread = torch.stack([run[0] for run in runs]).std(0)
    told = torch.stack([run[1] for run in runs]).mean(0)
    ratio = (told / spread).median()
    assert 0.7 < ratio < 1.5


def test_what_does_not_matter_gets_no_sign_from_what_does() -> None:
    """One thing helps and nothing suppresses: elsewhere the map must lie around 0, however much helps in all."""
    weights = torch.zeros(1, 48, 64)
    weights[0, 8:24, 8:24] = 1 / 256
    runs = [DRISE(linear(weights)).attribute(torch.ones(1, 1, 48, 64), baselines=0.0, seed=seed) for seed in range(8)]
    far = torch.stack([run[0, 0, 36:, 40:].mean() for run in runs])  # type: ignore[call-overload]
    near = torch.stack([run[0, 0, 12:20, 12:20].mean() for run in runs])  # type: ignore[call-overload]
    # Roots bend what is linear here: about 1% of what helps is left elsewhere.
    assert far.mean().abs() < 0.03 * near.mean()


def test_what_the_amount_on_show_explains_is_no_noise() -> None:
    """A target of the shown area alone, however steep and bent, leaves no structure in the map."""
    flat = DRISE(lambda inputs: inputs.mean((1, 2, 3), keepdim=True)[..., 0, 0]).attribute(
        torch.ones(1, 1, 48, 64), baselines=0.0, n_masks=120
    )
    uneven = DRISE(linear(blobs())).attribute(torch.ones(1, 1, 48, 64), baselines=0.0, n_masks=120)
    assert isinstance(flat, Tensor)
    assert isinstance(uneven, Tensor)
    assert flat.std() < 0.05 * uneven.std()


def test_it_stops_when_the_maps_are_reliable() -> None:
    calls = []

    def forward(inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        return torch.cat([linear(blobs())(inputs), torch.full((len(inputs), 1), 0.3)], dim=1)

    explain = DRISE(forward).attribute
    photo = torch.ones(1, 1, 48, 64)
    stopped = explain(photo, baselines=0.0, n_masks=2000, stop_at=0.7)
    used = sum(calls)
    assert used < 2000
    torch.testing.assert_close(stopped, explain(photo, baselines=0.0, n_masks=used))
    calls.clear()
    explain(photo, baselines=0.0, n_masks=120, stop_at=0.99)
    assert sum(calls) == 120
    assert explain(photo, baselines=0.0, n_masks=60)[0, 2].abs().max() == 0  # type: ignore[call-overload]


def test_a_baseline_that_depends_on_what_is_hidden() -> None:
    seen = []

    def forward(inputs: Tensor) -> Tensor:
        seen.append(inputs)
        return inputs.mean((1, 2, 3))

    photo = torch.full((1, 3, 24, 32), 0.25)
    maps = DRISE(forward).attribute(photo, baselines=inpainted, n_masks=60)
    assert maps.abs().max() < 1e-6  # type: ignore[union-attr]
    torch.testing.assert_close(seen[0], photo.expand_as(seen[0]))


def test_a_toy_miss_is_explained_where_it_lies() -> None:
    detector = ToyDetector()
    prepared = detector.prepare([photo_with((32, 32, 64, 64), light=0.4)])[0]
    box = targets.to_input(np.array([[32.0, 32, 64, 64]]), prepared, 0)
    forward = targets.forward_func(detector.forward, box, torch.tensor([0]))
    saliency = DRISE(forward).attribute(prepared.inputs, n_masks=300)[0][0]
    x1, y1, x2, y2 = box[0].int().tolist()
    inside = saliency[y1:y2, x1:x2].clamp(min=0).sum() / saliency.clamp(min=0).sum()
    assert inside > 3 * (16 * 16) / (SIDE * SIDE)


@pytest.mark.parametrize("fails", [True, False])
def test_grad_mode_train_mode_and_flags_are_restored(fails: bool) -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 2, 3)
            self.calls = 0

        def forward(self, inputs: Tensor) -> Tensor:
            self.calls += 1
            if fails and self.calls == 2:
                raise RuntimeError("out of memory")
            return self.layer(inputs).mean((2, 3))

    model = Model().train()
    inputs = torch.rand(1, 3, 16, 16, requires_grad=True)
    if fails:
        with pytest.raises(RuntimeError, match="out of memory"):
            DRISE(model).attribute(inputs, n_masks=60)
    else:
        maps = DRISE(model).attribute(inputs, n_masks=60)
        assert not maps.requires_grad  # type: ignore[union-attr]
    assert torch.is_grad_enabled()
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert inputs.requires_grad
    assert inputs.grad is None
    assert not model._forward_hooks
    assert not model.layer._forward_hooks


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": torch.rand(3, 8, 8)}, "expected inputs"),
        ({"n_masks": 7}, "even n_masks"),
        ({"n_masks": 2}, "even n_masks"),
        ({"grid_sizes": ()}, "grid sizes"),
        ({"perturbations_per_eval": 0}, "perturbations_per_eval"),
        ({"target": 2}, "target below 2"),
        ({"stop_at": 1.0}, "stop_at"),
    ],
)
def test_wrong_requests_are_named(changes: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"inputs": torch.rand(1, 1, 48, 64), **changes}
    with pytest.raises(ValueError, match=words):
        DRISE(linear(blobs())).attribute(**arguments)


def test_a_target_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        DRISE(lambda x: torch.full((len(x), 1), torch.nan)).attribute(torch.rand(1, 3, 8, 8), n_masks=6)
    with pytest.raises(ValueError, match="expected forward_func to return"):
        DRISE(lambda x: torch.zeros(1)).attribute(torch.rand(1, 3, 8, 8), n_masks=6)


def test_a_photo_smaller_than_the_grid() -> None:
    maps = DRISE(lambda x: x.mean((1, 2, 3))).attribute(torch.rand(1, 3, 3, 5), n_masks=60)
    assert maps.shape == (1, 1, 3, 5)  # type: ignore[union-attr]
    assert torch.isfinite(maps).all()  # type: ignore[arg-type]

import itertools

import pytest
import torch
from torch import Tensor

from xai.evidence.faithfulness import insertion_deletion, random_difference


def linear(weights: Tensor):  # type: ignore[no-untyped-def]
    return lambda inputs: torch.einsum("nchw,khw->nk", inputs, weights)


def brute_force(forward, photo: Tensor, saliency: Tensor, baseline: Tensor, steps: int, column: int):  # type: ignore[no-untyped-def]
    """Exchange pixels share by share, one photo at a time."""
    order = saliency.flatten().argsort(descending=True, stable=True)
    curves = []
    for start, end in ((baseline, photo), (photo, baseline)):
        values = []
        for step in range(steps + 1):
            changed = start.flatten(2).clone()
            chosen = order[: -(-step * len(order) // steps)]
            changed[..., chosen] = end.flatten(2)[..., chosen]
            values.append(float(forward(changed.view_as(photo))[0, column]))
        curves.append(sum((a + b) / 2 for a, b in itertools.pairwise(values)) / steps)
    return curves


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_equals_brute_force(steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    forward = linear(torch.rand(3, 9, 11, generator=generator) - 0.3)
    photo, baseline = (torch.rand(1, 2, 9, 11, generator=generator) for _ in range(2))
    maps = torch.rand(3, 9, 11, generator=generator)
    found = insertion_deletion(forward, photo, maps, baseline, steps=steps, perturbations_per_eval=4)
    for k in range(3):
        insertion, deletion = brute_force(forward, photo, maps[k], baseline, steps, k)
        assert float(found.insertion[k]) == pytest.approx(insertion, rel=1e-4)
        assert float(found.deletion[k]) == pytest.approx(deletion, rel=1e-4)


def test_closed_form_of_the_best_map() -> None:
    """Half of the pixels carry all the weight: inserted first, the curve rises to 1 at one half and stays: area 3/4."""
    weights = torch.zeros(1, 8, 8)
    weights[0, :4] = 1 / 32
    found = insertion_deletion(linear(weights), torch.ones(1, 1, 8, 8), weights, torch.zeros(1, 1, 8, 8), steps=4)
    assert float(found.insertion) == pytest.approx(0.75)
    assert float(found.deletion) == pytest.approx(0.25)
    assert float(found.difference) == pytest.approx(0.5)
    worst = insertion_deletion(linear(weights), torch.ones(1, 1, 8, 8), -weights, torch.zeros(1, 1, 8, 8), steps=4)
    assert float(worst.difference) == pytest.approx(-0.5)


def test_costs_what_it_says_and_keeps_no_gradient() -> None:
    seen = []

    def forward(inputs: Tensor) -> Tensor:
        seen.append(len(inputs))
        assert not torch.is_grad_enabled()
        return linear(torch.rand(3, 8, 8, requires_grad=True))(inputs)

    photo = torch.rand(1, 1, 8, 8)
    insertion_deletion(forward, photo, torch.rand(3, 8, 8), photo * 0, steps=6, perturbations_per_eval=4)
    assert sum(seen) == 2 * 5 * 3 + 2
    assert max(seen) <= 4
    seen.clear()
    random_difference(forward, photo, photo * 0, repeats=2, steps=6)
    assert sum(seen) == 2 * 5 * 2 + 2
    assert torch.is_grad_enabled()


def test_random_maps_know_little() -> None:
    weights = torch.zeros(2, 32, 32)
    weights[0, 4:10, 4:10] = weights[1, 20:28, 15:25] = 0.01
    photo = torch.ones(1, 1, 32, 32)
    chance = random_difference(linear(weights), photo, photo * 0, repeats=20)
    best = insertion_deletion(linear(weights), photo, weights, photo * 0).difference
    assert chance.shape == (20, 2)
    assert (chance >= 0).all()
    assert (chance.mean(0) < 0.5 * best).all()


def test_gradient_mode_is_restored_when_the_forward_fails() -> None:
    def forward(inputs: Tensor) -> Tensor:
        raise RuntimeError("the forward fails")

    photo = torch.rand(1, 1, 8, 8)
    with pytest.raises(RuntimeError, match="the forward fails"):
        insertion_deletion(forward, photo, torch.rand(1, 8, 8), photo)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("inputs", "maps", "words"),
    [
        (torch.rand(2, 1, 8, 8), torch.rand(1, 8, 8), "one photo"),
        (torch.rand(1, 1, 8, 8), torch.rand(1, 8, 9), "expected maps"),
        (torch.rand(1, 1, 8, 8), torch.full((1, 8, 8), torch.nan), "finite"),
    ],
)
def test_wrong_requests_are_named(inputs: Tensor, maps: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        insertion_deletion(linear(torch.rand(1, 8, 8)), inputs, maps, torch.zeros(1, 1, 8, 8))

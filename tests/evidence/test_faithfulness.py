import itertools

import pytest
import torch
from torch import Tensor

from xai.evidence.faithfulness import (
    energy_pointing_game,
    infidelity,
    insertion_deletion,
    pointing_game,
    random_difference,
)


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


def test_pointing_games_by_hand() -> None:
    maps = torch.zeros(4, 6, 8)
    maps[0, 1, 2] = 3.0
    maps[0, 4, 4] = 1.0
    maps[0, 5, 7] = -9.0  # suppresses, and counts for nothing
    maps[1, 5, 7] = 2.0
    maps[2] = 0.5
    box = torch.tensor([2.0, 1, 4, 3]).repeat(4, 1)
    assert pointing_game(maps, box).tolist() == pytest.approx([1, 0, 4 / 48, 4 / 48])
    assert energy_pointing_game(maps, box).tolist() == pytest.approx([3 / 4, 0, 4 / 48, 0])
    near = torch.tensor([[4.0, 1, 6, 3]]).repeat(4, 1)
    assert pointing_game(maps, near)[0] == 0
    assert pointing_game(maps, near, tolerance=2)[0] == 1


def test_pointing_games_of_boxes_outside_and_of_none() -> None:
    maps = torch.rand(2, 6, 8)
    outside = torch.tensor([[90.0, 90, 95, 95], [-9, -9, -1, -1]])
    assert (pointing_game(maps, outside) == 0).all()
    assert (energy_pointing_game(maps, outside) == 0).all()
    everything = torch.tensor([[0.0, 0, 8, 6]]).repeat(2, 1)
    assert (pointing_game(maps, everything) == 1).all()
    torch.testing.assert_close(energy_pointing_game(maps, everything), torch.ones(2))
    for game in (pointing_game, energy_pointing_game):
        assert game(torch.zeros(0, 6, 8), torch.zeros(0, 4)).shape == (0,)
        with pytest.raises(ValueError, match="expected maps"):
            game(maps, outside[:1])
        with pytest.raises(ValueError, match="finite"):
            game(maps * torch.nan, outside)


def test_infidelity_is_zero_for_the_truth_in_any_unit_and_the_mean_squared_drop_for_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(2, 12, 16, generator=generator) - 0.3
    photo, baseline = (torch.rand(1, 3, 12, 16, generator=generator) for _ in range(2))
    truth = (weights[:, None] * (photo - baseline)).sum(1)
    forward = linear(weights)
    exact = infidelity(forward, photo, truth, baseline, normalize=False)
    torch.testing.assert_close(exact, torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(infidelity(forward, photo, 7 * truth, baseline), torch.zeros(2), atol=1e-5, rtol=0)
    nothing = infidelity(forward, photo, torch.zeros_like(truth), baseline)
    double = infidelity(forward, photo, 2 * truth, baseline, normalize=False)
    assert (nothing > 0.01).all()
    torch.testing.assert_close(double, nothing, msg="foretelling twice the drop errs by the drop")
    other = infidelity(forward, photo, truth.flip(0), baseline)
    assert (other > 1e-3).all()
    assert (other <= nothing + 1e-5).all()


def test_infidelity_costs_what_it_says_whatever_the_objects_and_the_batch() -> None:
    seen = []
    weights = torch.rand(3, 8, 8)

    def forward(inputs: Tensor) -> Tensor:
        seen.append(len(inputs))
        assert not torch.is_grad_enabled()
        return linear(weights)(inputs)

    photo, maps = torch.rand(1, 1, 8, 8), torch.rand(3, 8, 8)
    torch.manual_seed(3)
    expected_next = torch.rand(2)
    torch.manual_seed(3)
    found = infidelity(forward, photo, maps, photo * 0, n_samples=10, perturbations_per_eval=4)
    assert torch.equal(torch.rand(2), expected_next)
    assert sum(seen) == 10 + 3
    assert max(seen) == 4
    torch.testing.assert_close(
        found, infidelity(forward, photo, maps, photo * 0, n_samples=10, perturbations_per_eval=99)
    )
    alone = infidelity(lambda inputs: forward(inputs)[:, 1:2], photo, maps[1:2], photo * 0, n_samples=10)
    torch.testing.assert_close(found[1:2], alone)
    assert infidelity(forward, photo, maps[:0], photo).shape == (0,)
    with pytest.raises(ValueError, match="expected maps"):
        infidelity(forward, photo, maps[:, 1:], photo)

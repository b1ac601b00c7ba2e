"""The order of regions, against the order that is known to be the best."""

import pytest
import torch
from torch import Tensor

from xai.evidence.extremal import ExtremalPerturbation, _falling
from xai.evidence.faithfulness import insertion_deletion

SIZE = (48, 64)
HELPS, SUPPRESSES = (slice(8, 24), slice(8, 28)), (slice(28, 44), slice(40, 60))


def weights() -> Tensor:
    """(48, 64): one region adds 1 to a linear score, one takes 0.5 from it."""
    worth = torch.zeros(SIZE)
    worth[HELPS] = 1 / worth[HELPS].numel()
    worth[SUPPRESSES] = -0.5 / worth[SUPPRESSES].numel()
    return worth


def linear(inputs: Tensor) -> Tensor:
    """Two objects: the regions as they are, and with their signs changed."""
    values = (inputs.mean(1) * weights()).sum((1, 2))
    return torch.stack([values, 0.5 - values], 1)


def test_a_linear_score_gives_its_own_order_with_its_sign() -> None:
    photo = torch.ones(1, 3, *SIZE)
    maps = ExtremalPerturbation(linear).attribute(photo, 0.0, n_masks=40)[0]
    best = torch.stack([weights(), -weights()])
    baseline = torch.zeros_like(photo)
    reached, most = (insertion_deletion(linear, photo, item, baseline).difference for item in (maps, best))
    assert (reached > 0.85 * most).all()
    for map_, helps, suppresses in ((maps[0], HELPS, SUPPRESSES), (maps[1], SUPPRESSES, HELPS)):
        assert map_[helps].mean() > 0 > map_[suppresses].mean()
        assert map_[helps].mean() > 1.5 * map_.abs().mean()
        assert map_[suppresses].min() == map_.min()


def test_the_unit_is_the_change_as_a_square_is_shown() -> None:
    """Of an even photo every square of an eighth of the longest side adds its share."""
    maps = ExtremalPerturbation(lambda inputs: inputs.mean((1, 2, 3))).attribute(torch.ones(1, 3, *SIZE), 0.0)
    torch.testing.assert_close(maps, torch.full_like(maps, 8 * 8 / (48 * 64)), rtol=0.01, atol=0)


def test_slopes_of_the_concave_majorant() -> None:
    at = torch.tensor([0.0, 0.1, 0.2, 0.6, 1.0])
    places, slopes = _falling(at, torch.tensor([0.0, 0.1, 0.6, 0.5, 0.6]))
    torch.testing.assert_close(places, torch.tensor([0.1, 0.6]))
    torch.testing.assert_close(slopes, torch.tensor([3.0, 0.0]))
    _, slopes = _falling(at, at**2)
    torch.testing.assert_close(slopes, torch.ones(1))


def test_the_callers_flags_are_left_alone_and_a_map_comes_again() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3), torch.nn.Flatten(), torch.nn.LazyLinear(1))
    photo = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    network(photo)
    seen: list[float] = []

    def score(inputs: Tensor) -> Tensor:
        seen.append(float(inputs.detach().sum()))
        if len(seen) == 5:
            raise RuntimeError("out of memory")
        values: Tensor = network(inputs)
        return values

    method = ExtremalPerturbation(score)
    with torch.no_grad(), pytest.raises(RuntimeError, match="out of memory"):
        method.attribute(photo)
    assert torch.is_grad_enabled()
    assert all(item.requires_grad and item.grad is None for item in network.parameters())
    assert not photo.requires_grad
    first, second = (method.attribute(photo, n_masks=16) for _ in range(2))
    assert torch.equal(first, second)


def test_wrong_requests() -> None:
    photo = torch.rand(1, 3, 20, 30)
    method = ExtremalPerturbation(linear)
    with pytest.raises(ValueError, match="at least 14"):
        method.attribute(photo, n_masks=13)
    with pytest.raises(ValueError, match="got none; use drise"):
        ExtremalPerturbation(lambda inputs: inputs.detach().sum((1, 2, 3))).attribute(photo)

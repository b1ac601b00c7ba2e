import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from xai.evidence.columns import each_column
from xai.evidence.stability import randomised, randomised_correlation, rank_correlation, sensitivity

generator = torch.Generator().manual_seed(0)
PHOTO = torch.rand(1, 3, 9, 11, generator=generator)


def test_sensitivity_by_hand() -> None:
    """Maps of x, 5 and x + 4: the noise relative to the map's norm, and nothing for a constant."""
    calls = []

    def explain(photos: Tensor) -> Tensor:
        calls.append(len(photos))
        grey = photos.mean(1)
        return torch.stack([grey, torch.full_like(grey, 5.0), grey + 4], dim=1)

    found = sensitivity(explain, PHOTO, radius=0.1, n_samples=4, seed=3)
    assert calls == [1] * 5
    with torch.random.fork_rng():
        torch.manual_seed(3)
        noise = [torch.empty(1, 3, 9, 11).uniform_(-0.1, 0.1).mean(1).norm() for _ in range(4)]
    grey = PHOTO.mean(1)
    expected = [float(max(noise) / grey.norm()), 0.0, float(max(noise) / (grey + 4).norm())]
    assert found.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_sensitivity_of_no_objects_and_wrong_requests() -> None:
    assert sensitivity(lambda photos: torch.zeros(len(photos), 0, 4, 4), PHOTO).shape == (0,)
    with pytest.raises(ValueError, match="one photo"):
        sensitivity(lambda photos: photos, PHOTO.repeat(2, 1, 1, 1))
    with pytest.raises(ValueError, match="finite maps"):
        sensitivity(lambda photos: photos * torch.nan, PHOTO)


def test_rank_correlation_equals_scipys() -> None:
    first, second = (torch.randint(0, 5, (3, 6, 7), generator=generator).float() for _ in range(2))
    second[0] = -(first[0] ** 3)
    second[2] = 4
    found = rank_correlation(first, second)
    assert found[0] == pytest.approx(-1)
    assert found[1] == pytest.approx(stats.spearmanr(first[1].flatten(), second[1].flatten())[0])
    assert found[2] == 0, "a flat map ranks nothing"
    assert rank_correlation(first[:0], second[:0]).shape == (0,)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 3, padding=1)
    ).eval()


def test_a_map_of_the_photo_is_told_from_a_map_of_the_model() -> None:
    model = network()
    state = {name: value.clone() for name, value in model.state_dict().items()}

    def explain(photos: Tensor) -> Tensor:
        edges = photos.mean(1, keepdim=True) ** 2
        return torch.cat([edges, model(photos)[:, :1]], dim=1)

    photo = torch.rand(1, 3, 40, 40, generator=generator)
    found = randomised_correlation(explain, photo, model)
    assert found[0] == pytest.approx(1)
    assert abs(float(found[1])) < 0.5
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("fails", [True, False])
def test_weights_are_put_back(fails: bool) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pointers = [parameter.data_ptr() for parameter in model.parameters()]

    def spoil() -> None:
        with randomised(model, seed=1):
            inside = model[0].weight.detach().clone()
            assert not torch.equal(inside, before["0.weight"])
            np.testing.assert_allclose(*(np.sort(w.flatten().numpy()) for w in (inside, before["0.weight"])))
            if fails:
                raise RuntimeError("no memory")

    if fails:
        with pytest.raises(RuntimeError, match="no memory"):
            spoil()
    else:
        spoil()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert pointers == [parameter.data_ptr() for parameter in model.parameters()]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_a_model_without_weights_cannot_be_randomised() -> None:
    with pytest.raises(ValueError, match="weights to randomise, got ReLU"):
        randomised_correlation(lambda photos: photos, PHOTO, nn.ReLU())


def test_columns_share_forwards_and_random_numbers() -> None:
    asked = []

    def forward(inputs: Tensor, factor: float) -> Tensor:
        asked.append(len(inputs))
        return factor * torch.stack([inputs.sum(1), inputs.prod(1)], dim=1)

    def method(one_column) -> Tensor:  # type: ignore[no-untyped-def]
        return torch.cat([one_column(torch.rand(n, 3), 2.0) for n in (4, 1)])

    first, second = each_column(method, forward, [0, 1], seed=5)
    assert asked == [4, 1]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        drawn = torch.cat([torch.rand(4, 3), torch.rand(1, 3)])
    torch.testing.assert_close(first, 2 * drawn.sum(1))
    torch.testing.assert_close(second, 2 * drawn.prod(1))


def test_methods_that_draw_elsewhere_are_found_out() -> None:
    source = torch.Generator().manual_seed(0)
    with pytest.raises(RuntimeError, match="for column 1 it asked for others"):
        each_column(lambda one: one(torch.rand(2, 3, generator=source)), lambda inputs: inputs, [0, 1])
    sizes = iter((2, 3))
    with pytest.raises(RuntimeError, match="for column 1 it asked for others"):
        each_column(lambda one: one(torch.zeros(next(sizes), 3)), lambda inputs: inputs, [0, 1])

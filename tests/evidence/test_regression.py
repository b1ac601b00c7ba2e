import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal

from xai.evidence import regression
from xai.evidence.regression import smooth_weights


def drawn(n: int, k: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 12, generator=generator), torch.randn(n, k, generator=generator)


@pytest.mark.parametrize("n", [8, 40])
def test_equals_the_textbook_with_one_length_and_one_ratio(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """E[w | y] = K Aᵀ (A K Aᵀ + σ² I)⁻¹ y, with fewer and with more values than cells."""
    monkeypatch.setattr(regression, "_LENGTHS", (0.2,))
    monkeypatch.setattr(regression, "_RATIOS", (3.0,))
    design, values = drawn(n, 2)
    places = np.array([(row / 4, column / 4) for row in range(3) for column in range(4)])
    covariance = np.exp(-cdist(places, places) / 0.2)
    matrix = design.double().numpy()
    inner = matrix @ covariance @ matrix.T
    inner *= 3 * n / np.trace(inner)
    gain = 3 * n / np.trace(matrix @ covariance @ matrix.T) * covariance @ matrix.T @ np.linalg.inv(inner + np.eye(n))
    weights, errors = smooth_weights(design, values, (3, 4))
    np.testing.assert_allclose(weights, (gain @ values.numpy()).T, rtol=1e-4, atol=1e-6)
    noise = (values.double().numpy() * np.linalg.solve(inner + np.eye(n), values.double().numpy())).mean(0)
    np.testing.assert_allclose(errors, np.sqrt(noise[:, None] * np.square(gain).sum(1)), rtol=1e-4)


@pytest.mark.parametrize("n", [8, 40])
def test_ratios_weigh_by_their_likelihood(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "_LENGTHS", (0.2,))
    design, values = drawn(n)
    values = values * 0.3 + design[:, :3].sum(1, keepdim=True)
    alone, likelihood = [], []
    places = np.array([(row / 4, column / 4) for row in range(3) for column in range(4)])
    inner = design.double().numpy() @ np.exp(-cdist(places, places) / 0.2) @ design.double().numpy().T
    inner *= n / np.trace(inner)
    for ratio in (0.5, 20.0):
        monkeypatch.setattr(regression, "_RATIOS", (ratio,))
        alone.append(smooth_weights(design, values, (3, 4))[0].numpy())
        shape = ratio * inner + np.eye(n)

        def surprise(log_noise: np.ndarray, shape: np.ndarray = shape) -> float:
            return -float(multivariate_normal(cov=np.exp(log_noise[0]) * shape).logpdf(values[:, 0].numpy()))

        likelihood.append(-minimize(surprise, [0.0], method="Nelder-Mead").fun)
    share = 1 / (1 + np.exp(likelihood[1] - likelihood[0]))
    monkeypatch.setattr(regression, "_RATIOS", (0.5, 20.0))
    both = smooth_weights(design, values, (3, 4))[0].numpy()
    np.testing.assert_allclose(both, share * alone[0] + (1 - share) * alone[1], rtol=1e-3, atol=1e-5)


def test_columns_are_fitted_by_themselves_and_zeros_stay() -> None:
    design, values = drawn(30, 2)
    both = smooth_weights(design, torch.cat([values, torch.zeros(30, 1)], 1), (3, 4))
    for found, alone in zip(both, smooth_weights(design, values[:, 1:], (3, 4)), strict=True):
        torch.testing.assert_close(found[1:2], alone)
        assert (found[2] == 0).all()
        assert torch.isfinite(found).all()


def test_nothing_shown_gives_nothing() -> None:
    weights, errors = smooth_weights(torch.zeros(6, 12), torch.ones(6, 1), (3, 4))
    assert (weights == 0).all()
    assert torch.isfinite(errors).all()

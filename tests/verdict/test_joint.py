import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy import integrate, sparse, stats

from xai.verdict import joint


def data(count: int, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    dark = rng.random(count) < 0.2
    noisy = np.where(dark, rng.random(count) < 0.6, rng.random(count) < 0.05)
    miss = rng.random(count) < 0.05 * np.where(dark, 4.0, 1.0)
    frame = pl.DataFrame(
        {
            "image_id": [str(index) for index in range(count)],
            "label": rng.choice(["car", "bus"], count),
            "brightness": np.where(dark, "dark", "normal"),
            "noise": np.where(noisy, "strong", "low"),
        }
    )
    return frame, miss


CONDITIONS = [("brightness", "dark"), ("noise", "strong")]


def test_large_samples_give_the_poisson_regression_of_statsmodels() -> None:
    frame, miss = data(40_000)
    risk = joint.fit(frame, miss, CONDITIONS)
    design = np.column_stack([(frame[name] == value).to_numpy() for name, value in CONDITIONS])
    design = np.column_stack([design, (frame["label"] == "car").to_numpy()]).astype(float)
    model = sm.GLM(miss.astype(float), sm.add_constant(design), family=sm.families.Poisson()).fit()
    assert risk.mean == pytest.approx(model.params[1:3], abs=0.02)
    assert np.sqrt(np.diag(risk.covariance)) == pytest.approx(model.bse[1:3], rel=0.05)


def test_what_only_comes_along_is_not_to_blame() -> None:
    frame, miss = data(4000, 1)
    crude = miss[(frame["noise"] == "strong").to_numpy()].mean() / miss[(frame["noise"] == "low").to_numpy()].mean()
    risk = joint.fit(frame, miss, CONDITIONS)
    assert crude > 2
    assert np.exp(risk.mean[0]) > 3
    assert np.exp(risk.mean[1]) < 1.4


def test_few_data_stay_near_one_and_alike_objects_count_less() -> None:
    frame, miss = data(30, 2)
    assert (np.abs(joint.fit(frame, miss, CONDITIONS).mean) < 1.2).all()
    frame, miss = data(600, 3)
    repeated = pl.concat([frame] * 5)
    clustered = joint.fit(repeated, np.tile(miss, 5), CONDITIONS)
    once = joint.fit(frame, miss, CONDITIONS)
    assert np.sqrt(np.diag(clustered.covariance)) == pytest.approx(np.sqrt(np.diag(once.covariance)), rel=0.25)


@pytest.mark.parametrize("missed", [0.0, 1.0])
def test_degenerate_outcomes_have_finite_risks(missed: float) -> None:
    frame, _ = data(50)
    risk = joint.fit(frame, np.full(50, bool(missed)), CONDITIONS)
    assert np.isfinite(risk.mean).all()
    assert np.isfinite(risk.covariance).all()


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 0.8), (1.5, 0.3), (-0.7, 0.2), (-2.0, 1.0)])
def test_expected_excess_is_the_integral(mean: float, deviation: float) -> None:
    risk = joint.JointRisk((("a", "b"),), np.array([mean]), np.array([[deviation**2]]))
    ratio, excess, _ = risk.excess(sparse.csr_array(np.ones((1, 1))))
    expected, _ = integrate.quad(
        lambda x: (np.exp(x) - 1) * stats.norm.pdf(x, mean, deviation), 0, max(mean, 0) + 12 * deviation
    )
    assert ratio[0] == pytest.approx(np.exp(mean))
    assert excess[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_conditions_that_act_together_multiply() -> None:
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    risk = joint.JointRisk((("a", "x"), ("b", "y")), np.array([0.5, 0.3]), covariance)
    ratio, excess, upper = risk.excess(sparse.csr_array(np.array([[1.0, 1.0], [0.0, 1.0]])))
    assert upper == pytest.approx(np.exp([0.8 + 1.96 * np.sqrt(0.15), 0.3 + 1.96 * 0.3]))
    assert ratio == pytest.approx(np.exp([0.8, 0.3]))
    together = joint.JointRisk((("a", "x"),), np.array([0.8]), np.array([[0.15]]))
    assert excess[0] == pytest.approx(together.excess(sparse.csr_array(np.ones((1, 1))))[1][0])

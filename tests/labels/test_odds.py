import numpy as np
import statsmodels.api as sm

from xai.labels import odds


def test_many_data_give_the_maximum_likelihood() -> None:
    random = np.random.default_rng(0)
    traits = random.normal(size=(4000, 3)) * [1, 5, 0.1]
    yes = random.random(4000) < 1 / (1 + np.exp(-(0.5 + traits @ [1.0, -0.3, 4.0])))
    expected = sm.Logit(yes, sm.add_constant(traits)).fit(disp=0).predict(sm.add_constant(traits))
    np.testing.assert_allclose(odds.fit(traits, yes)(traits), expected, atol=2e-3)


def test_separated_and_constant_traits_stay_finite() -> None:
    traits = np.column_stack([np.linspace(-1, 1, 20), np.ones(20)])
    probability = odds.fit(traits, traits[:, 0] > 0)(traits)
    assert np.isfinite(probability).all()
    assert (np.diff(probability) > 0).all()
    assert probability[0] < 0.1 < 0.9 < probability[-1]

import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import cdist

from xai.detect import novelty as module
from xai.detect.novelty import MIN_OBJECTS, NEAREST, Objects, novelty


def objects(features: np.ndarray, labels: list[int] | int = 0, draws: list[int] | None = None) -> Objects:
    count = len(features)
    codes = np.full(count, labels) if isinstance(labels, int) else np.array(labels)
    return Objects(features.astype(np.float32), codes, np.arange(count) if draws is None else np.array(draws))


def whitened(reference: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The module's whitening, by a singular value decomposition instead of a covariance."""
    centre, spread = reference.mean(axis=0), reference.std(axis=0)

    def unit(values: np.ndarray) -> np.ndarray:
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    scaled = unit((reference - centre) / spread)
    _, singular, axes = np.linalg.svd(scaled, full_matrices=False)
    count = min(module.AXES, len(singular))
    return unit(unit((features - centre) / spread) @ axes[:count].T / singular[:count])


def test_novelty_is_the_percentile_of_the_nearest_distance_among_trainings_own() -> None:
    random = np.random.default_rng(0)
    train, judged = random.normal(size=(60, 8)), random.normal(size=(15, 8))
    photos = np.repeat(np.arange(20), 3).tolist()
    found = novelty(objects(train, draws=photos), objects(judged))
    left, right = whitened(train, train), whitened(train, judged)
    own = cdist(left, left)
    own[np.array(photos)[:, None] == photos] = np.inf
    own = own.min(axis=1)
    apart = cdist(right, left)
    np.testing.assert_allclose(found.distance, np.sort(apart, axis=1)[:, :NEAREST], atol=1e-3)
    np.testing.assert_array_equal(found.nearest[:, 0], apart.argmin(axis=1))
    expected = 100 * (own < apart.min(axis=1)[:, None]).mean(axis=1)
    np.testing.assert_allclose(found.judged, expected, atol=100 / 60)
    ranks = scipy.stats.rankdata(own.round(5))  # objects that are nearest to each other share a rank
    np.testing.assert_allclose(found.train, 100 * (ranks - 0.5) / 60, atol=2)


def test_an_object_like_none_is_novel_and_a_copy_is_not() -> None:
    random = np.random.default_rng(1)
    common = np.zeros((80, 16))
    common[:, :8] = random.normal(size=(80, 8)) + 4
    rest = np.zeros((80, 16))
    rest[:, 8:] = random.normal(size=(80, 8)) + 4
    train = objects(np.concatenate([common, rest]), [0] * 80 + [1] * 80)
    stranger, copy = rest[:1], common[:1]
    found = novelty(train, objects(np.concatenate([stranger, copy]), [0, 0]))
    assert found.judged[0] == 100
    assert found.judged[1] == 0
    assert found.nearest[1, 0] == 0
    assert (found.nearest[0] < 80).all()


def test_exchangeable_objects_have_even_percentiles() -> None:
    random = np.random.default_rng(2)
    found = novelty(objects(random.normal(size=(500, 12))), objects(random.normal(size=(500, 12))))
    assert abs(found.judged.mean() - 50) < 5
    assert 0.02 < (found.judged >= 95).mean() < 0.09
    assert (found.train >= 95).mean() == pytest.approx(0.05, abs=0.002)


def test_what_cannot_be_told_is_nan() -> None:
    random = np.random.default_rng(3)
    features = random.normal(size=(60, 4))
    features[5] = np.nan
    train = objects(features, [0] * 45 + [1] * 15)
    judged = objects(np.array([[np.nan] * 4, [0.1] * 4, [0.1] * 4, [0.1] * 4]), [0, 0, 1, 2])
    found = novelty(train, judged)
    assert MIN_OBJECTS > 15
    assert np.isnan(found.train[5])
    assert np.isfinite(found.train[:5]).all()
    assert np.isnan(found.train[45:]).all()
    assert np.isnan(found.judged).tolist() == [True, False, True, True]
    assert (found.nearest[[0, 2, 3]] == -1).all()
    empty = novelty(objects(np.empty((0, 4))), judged)
    assert np.isnan(empty.judged).all()
    bare = novelty(objects(np.empty((30, 0))), objects(np.empty((2, 0))))
    assert np.isnan(bare.judged).all()


def test_objects_of_one_photo_are_no_neighbours_in_training() -> None:
    """Twins in one photo: each one's nearest is in another photo, so that twins elsewhere are not the rule."""
    random = np.random.default_rng(4)
    half = random.normal(size=(40, 6))
    twins = np.repeat(half, 2, axis=0) + 1e-4 * random.normal(size=(80, 6))
    together = novelty(objects(twins, draws=np.repeat(np.arange(40), 2).tolist()), objects(half[:5] + 0.05))
    apart = novelty(objects(twins), objects(half[:5] + 0.05))
    assert (together.judged < 20).all()
    assert (apart.judged > 80).all()
    alone = novelty(objects(twins, draws=[0] * 80), objects(half[:5]))
    assert np.isnan(alone.judged).all()


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    train, judged = objects(random.normal(size=(70, 6))), objects(random.normal(size=(33, 6)))
    whole = novelty(train, judged)
    monkeypatch.setattr(module, "BLOCK", 8)
    parts = novelty(train, judged)
    np.testing.assert_allclose(parts.train, whole.train, atol=1e-6)
    np.testing.assert_allclose(parts.judged, whole.judged, atol=1e-6)
    np.testing.assert_allclose(parts.distance, whole.distance, atol=1e-5)
    np.testing.assert_array_equal(parts.nearest, whole.nearest)


def test_features_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one length on both sides, got shapes \(30, 4\) and \(2, 5\)"):
        novelty(objects(np.zeros((30, 4))), objects(np.zeros((2, 5))))

"""Greedy choice of photos: against naive greedy, against the best choice on small pools."""

import itertools

import numpy as np
import pytest

from xai.coverage.fill import ALIKE_BITS, alike, fill


def worth(holds: np.ndarray, needed: np.ndarray, weight: np.ndarray, chosen) -> float:
    return float((weight * np.minimum(holds[list(chosen)].sum(axis=0), needed) / needed).sum())


@pytest.mark.parametrize("seed", range(25))
def test_greedy_is_naive_greedy_and_reaches_its_guarantee(seed: int) -> None:
    rng = np.random.default_rng(seed)
    holds = rng.poisson(0.5, (11, 5))
    needed, weight = rng.integers(1, 5, 5), rng.uniform(0.1, 3, 5)
    found = fill(holds, needed, weight, most=4)
    best = max(worth(holds, needed, weight, part) for part in itertools.combinations(range(11), 4))
    reached = worth(holds, needed, weight, found.chosen)
    assert reached == pytest.approx(found.gain.sum())
    assert (1 - 1 / np.e) * best - 1e-9 <= reached <= best + 1e-9
    chosen: list[int] = []
    for pick in found.chosen:
        options = [worth(holds, needed, weight, [*chosen, photo]) for photo in range(11) if photo not in chosen]
        assert worth(holds, needed, weight, [*chosen, pick]) == pytest.approx(max(options))
        chosen.append(int(pick))
    assert (found.remaining == needed - np.minimum(holds[chosen].sum(axis=0), needed)).all()
    assert (found.taken.sum(axis=0) + found.remaining == needed).all()


def test_it_stops_when_nothing_is_gained() -> None:
    holds = np.array([[1, 0], [1, 0], [1, 0], [0, 0]])
    found = fill(holds, np.array([2, 5]), np.array([1.0, 1.0]), most=10)
    assert found.chosen.tolist() == [0, 1]
    assert found.remaining.tolist() == [0, 5]


def test_near_duplicates_and_used_photos_are_left_out() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (4, 32), dtype=np.uint8)
    hashes[1] = hashes[0]
    hashes[1, 0] ^= 0b101
    found = fill(np.ones((4, 1), dtype=np.int64), np.array([4]), np.array([1.0]), most=9, hashes=hashes)
    assert found.chosen.tolist() == [0, 2, 3]
    usable = np.array([False, True, False, True])
    kept = fill(np.ones((4, 1), dtype=np.int64), np.array([4]), np.array([1.0]), most=9, hashes=hashes, usable=usable)
    assert kept.chosen.tolist() == [1, 3]


def test_alike_counts_bits() -> None:
    hashes = np.zeros((3, 32), dtype=np.uint8)
    bits = np.zeros(256, dtype=np.uint8)
    bits[:ALIKE_BITS] = 1
    hashes[1] = np.packbits(bits)
    bits[ALIKE_BITS] = 1
    hashes[2] = np.packbits(bits)
    assert alike(hashes, hashes[0]).tolist() == [True, True, False]


def test_an_empty_pool_fills_nothing() -> None:
    found = fill(np.zeros((0, 3), dtype=np.int64), np.ones(3, dtype=np.int64), np.ones(3), most=5)
    assert found.chosen.tolist() == []
    assert found.taken.shape == (0, 3)
    none = fill(np.ones((3, 0), dtype=np.int64), np.ones(0, dtype=np.int64), np.ones(0), most=5)
    assert none.chosen.tolist() == []

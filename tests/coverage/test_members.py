"""Counting by kinds, joint tables and many slices at once equals counting objects one by one."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from xai.coverage import intervals, joint
from xai.coverage.intervals import Moments, added, indicator, intraclass_correlation, rates, rates_of
from xai.coverage.joint import count_pairs, count_triples, thin_triples
from xai.coverage.kinds import Kinds, Rows
from xai.coverage.members import Held, Members, within_parents
from xai.coverage.ratios import Ratios, compare, risk_ratios

SIZES = np.array([3, 2, 4, 2])


def objects(seed: int, count: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, some of which show no condition, draws side by side, and misses that depend on both."""
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, size + 1, count) for size in SIZES]).astype(np.uint8)
    draw = np.sort(rng.integers(0, count // 6, count))
    risk = 0.05 + 0.2 * (codes[0] == 1) * (codes[2] == 3) + 0.3 * rng.random(count // 6)[draw]
    return codes, draw, rng.random(count) < risk


@pytest.mark.parametrize("seed", range(3))
def test_joint_counts_are_those_of_each_combination(seed: int) -> None:
    codes, _, miss = objects(seed, 200)
    starts = np.cumsum(SIZES) - SIZES
    columns = np.concatenate([codes[place] == np.arange(size)[:, None] for place, size in enumerate(SIZES)]).astype(int)
    pairs = count_pairs(codes, SIZES, miss)
    np.testing.assert_array_equal(pairs, [columns @ columns.T, columns * miss @ columns.T])
    triples = dict(count_triples(codes, SIZES, miss))
    assert list(triples) == list(combinations(range(4), 3))
    for (a, b, c), table in triples.items():
        for place in np.ndindex(table.shape[1:]):
            chosen = [columns[starts[item] + code] for item, code in zip((a, b, c), place, strict=True)]
            both = np.prod(chosen, axis=0)
            assert table[(slice(None), *place)].tolist() == [both.sum(), (both * miss).sum()]


def test_triples_that_reach_the_threshold_early_are_left_out_and_others_counted_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes, _, _ = objects(3, 900)
    codes[3, codes[0] == 1] = 2  # shows none of the last attribute's conditions
    every = dict(count_triples(codes, SIZES))
    monkeypatch.setattr(joint, "_FIRST", 50)
    thin = thin_triples(codes, SIZES, 3, lambda group: np.ones(SIZES[list(group)], dtype=bool))
    assert set(thin) == {group for group, table in every.items() if (table[0] < 3).any()} != set(every)
    for group, table in thin.items():
        np.testing.assert_array_equal(table, every[group][0])
    assert thin_triples(codes, SIZES, 3, lambda group: np.zeros(SIZES[list(group)], dtype=bool)) == {}


def test_one_attribute_and_no_object_have_counts_too() -> None:
    nothing = np.empty((2, 0), dtype=np.uint8)
    assert not count_pairs(nothing, np.array([2, 3])).any()
    assert list(count_triples(nothing, np.array([2, 3]))) == []
    alone = count_pairs(np.array([[0, 1, 1, 2]], dtype=np.uint8), np.array([2]))
    assert alone[0].tolist() == [[1, 0], [0, 2]]


@pytest.mark.parametrize(("seed", "few"), [(0, False), (1, False), (2, True)])
def test_slices_in_their_parents_equal_the_ratios_of_each(seed: int, few: bool) -> None:
    codes, draw, miss = objects(seed, 120 if few else 900)
    attribute = np.repeat(np.arange(4), SIZES)
    members = Members(codes, attribute, np.arange(len(attribute)) - (np.cumsum(SIZES) - SIZES)[attribute])
    rows, parents = [], []
    for width in (1, 2, 3):
        for group in combinations(range(len(attribute)), width):
            if len(set(attribute[list(group)])) == width and members.of(np.array([group])).any():
                rows.append([*group, -1, -1][:3])
                parents.append([*group[:-1], -1, -1, -1][:3])
    combination, parent = np.array(rows), np.array(parents)
    photos = indicator(draw, int(draw.max()) + 1)
    icc = intraclass_correlation(miss, photos)
    got, rate = within_parents(members, combination, parent, draw, miss, icc)
    inside, compared = members.of(combination).T, members.of(parent).T
    expected = risk_ratios(inside, compared, miss, photos, icc=icc)
    for name in Ratios.__slots__:
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-9, err_msg=name)
    plain = rates(inside, miss, photos, icc=icc)
    np.testing.assert_allclose([rate.low, rate.high], [plain.low, plain.high], rtol=1e-9)


def test_a_slice_of_which_nearly_all_is_missed_is_fishers_exact_test() -> None:
    codes = (np.arange(1020) >= 20)[None].astype(np.uint8)
    miss = np.arange(1020) < 570
    members = Members(codes, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
    whole = np.full((1, 3), -1)
    ratios, _ = within_parents(members, np.array([[0, -1, -1]]), whole, np.arange(1020), miss, 0.0)
    tail = stats.fisher_exact([[20, 0], [550, 450]], alternative="greater")[1]
    assert ratios.p_value[0] == pytest.approx(2 * tail)
    assert ratios.low[0] > 1.4


@pytest.mark.parametrize("figures", [2**22, 300])
def test_groups_and_kinds_equal_objects_one_label_at_a_time(monkeypatch: pytest.MonkeyPatch, figures: int) -> None:
    """Also where photos are counted a few at a time."""
    monkeypatch.setattr(intervals, "_FIGURES", figures)
    codes, draw, miss = objects(5, 1500)
    rng = np.random.default_rng(5)
    label, stratum = rng.integers(-1, 3, 1500), rng.integers(0, 4, 1500)
    code = codes[2].astype(np.int64)
    rows = Rows.of(draw, label, 3)
    kinds = Kinds.of(rows, code, 5, miss, stratum)
    known = kinds.inside(4)
    (got,) = compare(
        known,
        np.asarray(known.any(axis=1))[:, None],
        kinds.miss,
        kinds.counts,
        [kinds.stratum],
        icc=0.2,
        groups=kinds.grouping,
    )
    parts = [Moments.of(*counted) for counted in kinds.by_bin(5)]
    assert (len(parts) > 10) == (figures == 300)
    rate = rates_of(added(parts), 0.2, 0.025, rows.units)
    for place in range(3):
        mine = label == place
        photos = indicator(draw[mine], int(draw.max()) + 1)
        inside = code[mine, None] == np.arange(5)
        expected = risk_ratios(
            inside[:, :4], inside[:, :4].any(axis=1)[:, None], miss[mine], photos, stratum[mine], icc=0.2
        )
        for name in Ratios.__slots__:
            np.testing.assert_allclose(getattr(got, name)[place], getattr(expected, name), rtol=1e-9, err_msg=name)
        plain = rates(inside, miss[mine], photos, icc=0.2)
        np.testing.assert_allclose(rate.low[place], plain.low, rtol=1e-9)
        np.testing.assert_allclose(rate.high[place], plain.high, rtol=1e-9)


def test_units_of_slices_are_counted_where_they_share_objects() -> None:
    inside = np.array([[True, True, False, True], [False, False, False, False], [False, False, True, True]])
    held = Held.of(inside, np.array([0, 0, 1, 1]), np.array([True, False, True, True]))
    assert list(zip(held.which, held.unit, held.size, held.lost, strict=True)) == [
        (0, 0, 2.0, 1.0),
        (0, 1, 1.0, 1.0),
        (2, 1, 2.0, 2.0),
    ]
    assert held.sum(held.lost).tolist() == [2.0, 0.0, 2.0]

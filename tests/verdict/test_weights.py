"""How lines of evidence add up."""

import numpy as np
import polars as pl
import pytest

from xai import tables
from xai.verdict.features import cheap_features
from xai.verdict.weights import INTERCEPTS, OWN, WEIGHTS, mark_log_ratio, weigh


def test_a_mark_counts_by_how_often_misses_of_the_condition_carry_it() -> None:
    under = np.arange(100) < 20
    marked = (np.arange(100) < 12) | (np.arange(100) >= 96)
    ratio = mark_log_ratio(marked, under)
    h, f = (12 + 1) / (20 + 2), (4 + 1) / (80 + 10)
    assert ratio[0] == pytest.approx(np.log(h / f))
    assert ratio[15] == pytest.approx(np.log((1 - h) / (1 - f)))
    assert ratio[0] > 0 > ratio[15]


def test_a_mark_that_is_everywhere_or_rarer_under_the_condition_tells_nothing() -> None:
    under = np.arange(100) < 20
    np.testing.assert_allclose(mark_log_ratio(~under, under), 0)
    everywhere = mark_log_ratio(np.ones(100, dtype=np.bool_), under)
    assert np.abs(everywhere).max() < 0.1


def test_few_misses_leave_it_near_one() -> None:
    assert np.isfinite(mark_log_ratio(np.array([True]), np.array([True]))).all()
    assert mark_log_ratio(np.empty(0, dtype=np.bool_), np.empty(0, dtype=np.bool_)).shape == (0,)


def test_a_condition_that_is_merely_there_does_not_speak() -> None:
    rows = pl.DataFrame(
        {"error_id": ["a", "b"], "cause": ["haze", "haze"], "gain": [0.0, 0.3], "joint_risk": [-1.0, -1.0]}
    )
    told = weigh(rows)
    assert told["speaks"].to_list() == [False, True]
    assert told["log_weight"].to_list() == pytest.approx(
        [
            INTERCEPTS["haze"] - WEIGHTS["joint_risk"] + (WEIGHTS["gain"] + OWN["haze"]["gain"]) * gain
            for gain in (0.0, 0.3)
        ]
    )


def test_a_condition_whose_joint_risk_is_shown_below_one_is_left_out() -> None:
    lines = [("a", "joint_risk", "noise", 0.8, 0.4, 0.0), ("b", "joint_risk", "noise", 1.2, 0.7, 0.1)]
    names = ["error_id", "kind", "name", "before", "after", "effect"]
    evidence = tables.conform(pl.DataFrame(lines, schema=names, orient="row"), tables.TABLES["evidence"])
    assert cheap_features(evidence)["error_id"].to_list() == ["b"]

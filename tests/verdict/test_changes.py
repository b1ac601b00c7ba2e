import polars as pl

from xai.causes import ALIKE, ONE_CHANGE, same_change
from xai.tables import TABLES
from xai.verdict.changes import idle_changes, repaired
from xai.verdict.judge import runner_up
from xai.verdict.scene import Repaired


def evidence_of(*rows: tuple[str, str, str, float]) -> pl.DataFrame:
    filled = [(error_id, kind, name, 0.1, after, None, after - 0.1) for error_id, kind, name, after in rows]
    return pl.DataFrame(filled, schema=TABLES["evidence"], orient="row")


def test_placebos_after_which_a_miss_is_found_are_counted_with_the_best_target_among_them() -> None:
    told = evidence_of(
        ("a", "placebo", "flip", 0.4), ("a", "placebo_found", "flip", 1.0),
        ("a", "placebo", "shift", 0.9), ("a", "placebo_found", "shift", 0.0),
        ("a", "placebo", "resample", 0.3), ("a", "placebo_found", "resample", 1.0),
        ("a", "placebo", "turn_but_not_upright", 0.8), ("a", "placebo_found", "turn_but_not_upright", 1.0),
        ("b", "placebo", "flip", 0.2), ("b", "placebo_found", "flip", 0.0),
    )  # fmt: skip
    assert idle_changes(told) == {"a": (2, 3, 0.4), "b": (0, 1, 0.0)}
    assert idle_changes(told.clear()) == {}


def test_repairs_are_told_by_their_names_and_only_of_causes_that_have_one() -> None:
    rows = [("a", "darkness", 0.1, 0.5, 0.2, 0.0), ("a", "occlusion", 0.1, 0.5, 0.2, 0.0)]
    rows += [("a", "label_pose:Left", 0.1, 0.5, 0.2, 0.0), ("b", "tilt", 0.0, 0.3, 0.1, 1 / 3)]
    columns = ["error_id", "cause", "before", "after", "placebo", "hit_placebo"]
    assert repaired(pl.DataFrame(rows, schema=columns, orient="row")) == {
        "a": [Repaired("lift_shadows", 0.1, 0.5, 0.2, 0.0)],
        "b": [Repaired("level", 0.0, 0.3, 0.1, 1 / 3)],
    }


def test_names_of_one_change_are_no_second_guess_of_each_other() -> None:
    assert same_change("haze", "glare")
    assert same_change("blur", "blur")
    assert not same_change("haze", "overexposure"), "alike, but one does not stand for the other"
    assert not same_change("blur", "noise")
    assert any(names >= ONE_CHANGE for names in ALIKE)
    assert runner_up("haze", {"haze": 3.0, "glare": 2.0, "unexplained": 1.0}) == "unexplained"

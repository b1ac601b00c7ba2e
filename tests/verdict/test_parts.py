import polars as pl
import pytest

from xai import tables
from xai.verdict import own_parts, with_hidden
from xai.verdict.features import features
from xai.verdict.seen import seen

CORNERS = ("x1", "y1", "x2", "y2")
KEYS = {"image_id": ["a", "a", "a"], "object_id": [0, 1, 2]}
OBJECTS = pl.DataFrame(
    {
        **KEYS, "label": ["car", "car", "car"], "cand_score": [0.3, 0.1, 0.9], "occlusion": [0.2, 0.7, 0.0],
        "x1": [0.0, 200.0, 0.0], "y1": [0.0, 0.0, 55.0], "x2": [100.0, 300.0, 100.0], "y2": [100.0, 100.0, 100.0],
    }
)  # fmt: skip
ERRORS = pl.DataFrame(
    {
        "error_id": ["e0", "e1"], "kind": ["missed", "confused"], "image_id": ["a", "a"], "object_id": [0, 1],
        "label": ["car", "car"], "mechanism": ["poor_box", "wrong_class"], "best_score": [0.9, 0.6],
        "best_iou": [0.45, None], "best_label": ["car", "truck"],
    }
)  # fmt: skip
PREDICTIONS = pl.DataFrame(
    {
        "image_id": ["a", "a"], "label": ["car", "truck"], "score": [0.9, 0.6], "outcome": ["matched", "confused"],
        "object_id": [2, 1], "x1": [0.0, 200.0], "y1": [55.0, 0.0], "x2": [100.0, 300.0], "y2": [100.0, 80.0],
    }
)  # fmt: skip


def told(after: float) -> pl.DataFrame:
    rows = [(error_id, "part", "bottom", 0.3, after, None, after - 0.3) for error_id in ("e0", "e1")] + [
        ("e0", "repair", "blur", 0.1, after, None, 0.0)
    ]
    return pl.DataFrame(rows, schema=dict(tables.TABLES["evidence"]), orient="row")


def test_a_part_that_a_found_neighbour_fills_is_the_neighbours() -> None:
    """The found car is the lower 45% of the missed one: its score of 0.9 is all that 0.9 tells, not what 1.3 would."""
    kept = own_parts(told(0.9), ERRORS, OBJECTS, PREDICTIONS)
    assert kept["kind"].to_list() == ["neighbours_part", "part", "repair"]
    assert own_parts(told(1.3), ERRORS, OBJECTS, PREDICTIONS).equals(told(1.3))
    assert own_parts(told(0.9), ERRORS, OBJECTS, PREDICTIONS.with_columns(label=pl.lit("bus"))).equals(told(0.9))
    assert own_parts(told(0.9), ERRORS, OBJECTS, PREDICTIONS.clear()).equals(told(0.9))


def test_a_neighbours_part_speaks_for_crowding_and_not_for_something_in_front() -> None:
    shown = [("e0", "joint_risk", cause, 2.0, 1.5, None, 0.5) for cause in ("crowding", "occlusion")]
    lines = pl.concat([told(0.9), pl.DataFrame(shown, schema=dict(tables.TABLES["evidence"]), orient="row")])
    errors = ERRORS.with_columns(mechanism=pl.lit("unknown"))
    for evidence, hidden in ((lines, True), (own_parts(lines, errors, OBJECTS, PREDICTIONS), False)):
        parts = dict(features(evidence, errors, 0.25).select("cause", "part").rows())
        assert parts["crowding"] > 1
        assert (parts["occlusion"] > 1) == hidden


def test_a_measured_occlusion_is_kept_where_it_is_much_already() -> None:
    bins = OBJECTS.select("image_id", "object_id", occlusion=pl.Series(["some", "much", "none"]))
    objects, named = with_hidden(OBJECTS, bins, ERRORS, told(0.9))
    assert objects["occlusion"].to_list() == [None, 0.7, 0.0]
    assert named["occlusion"].to_list() == ["much", "much", "none"]


def test_the_box_that_a_mechanism_speaks_of_is_found_by_its_score() -> None:
    facts = seen(ERRORS, OBJECTS, PREDICTIONS, complete=True)
    assert facts["e0"] == {"own": 0.3, "unused": False, "likewise": 0, "claimed": True, "box_iou": pytest.approx(0.45)}
    assert facts["e1"] == {"own": 0.1, "unused": True, "likewise": 0, "claimed": False, "box_iou": pytest.approx(0.8)}
    assert not seen(ERRORS, OBJECTS, PREDICTIONS, complete=False)["e1"]["unused"]
    bare = seen(ERRORS, OBJECTS.drop("cand_score", *CORNERS), None, complete=True)
    assert bare["e0"] == {"own": None, "unused": False, "likewise": 0, "claimed": False, "box_iou": None}

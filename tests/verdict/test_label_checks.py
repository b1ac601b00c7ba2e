import polars as pl
import pytest

from xai import tables
from xai.verdict import label_lines

OBJECTS = pl.DataFrame(
    {
        "image_id": ["a", "b", "c", "d"],
        "object_id": [0, 0, 0, 0],
        "x1": [10.0, 0.0, 10.0, 10.0], "y1": [10.0, 0.0, 10.0, 10.0],
        "x2": [50.0, 100.0, 50.0, 50.0], "y2": [50.0, 80.0, 50.0, 50.0],
        "cand_score": [0.001, 0.02, 0.2, None],
    }
)  # fmt: skip
ERRORS = pl.DataFrame(
    {
        "error_id": ["e_a", "e_b", "e_c", "e_d"],
        "kind": ["confused", "mislocated", "confused", "missed"],
        "image_id": ["a", "b", "c", "d"],
        "object_id": [0, 0, 0, 0],
        "label": ["dog", "car", "cow", "dog"],
        "mechanism": ["wrong_class", "poor_box", "wrong_class", "no_candidate"],
    }
)
PREDICTIONS = pl.DataFrame(
    {
        "image_id": ["a", "b", "c"],
        "label": ["train", "car", "sheep"],
        "score": [0.8, 0.9, 0.8],
        "outcome": ["confused", "mislocated", "confused"],
        "x1": [11.0, 25.0, 11.0], "y1": [11.0, 20.0, 11.0], "x2": [50.0, 75.0, 50.0], "y2": [50.0, 60.0, 50.0],
    }
)  # fmt: skip


def told(predictions: pl.DataFrame = PREDICTIONS, objects: pl.DataFrame = OBJECTS) -> dict[str, str]:
    lines = label_lines(ERRORS, objects, predictions, 0.25)
    assert lines.schema == pl.Schema(tables.TABLES["evidence"])
    return dict(lines.select("error_id", "name").iter_rows())


def test_a_wrong_class_and_a_box_too_large_are_told_and_a_look_alike_is_not() -> None:
    """A cow that keeps a score of 0.2 beside the sheep's 0.8 is a look-alike; the dog has nothing of the train."""
    assert told() == {"e_a": "label_class", "e_b": "label_box"}


def test_figures_are_overlap_score_and_its_odds() -> None:
    row = label_lines(ERRORS, OBJECTS, PREDICTIONS, 0.25).filter(error_id="e_b").row(0, named=True)
    assert row["before"] == pytest.approx(50 * 40 / (100 * 80))
    assert row["after"] == 0.9
    assert row["effect"] == pytest.approx(9)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": pl.lit(0.4)},
        {"outcome": pl.lit("matched")},
        {"x1": pl.col("x1") + 24, "x2": pl.col("x2") + 24},
    ],
)
def test_unsure_claimed_or_displaced_detections_contradict_nothing(changes: dict[str, pl.Expr]) -> None:
    assert told(PREDICTIONS.with_columns(**changes)) == {}


def test_without_candidates_or_detections_nothing_is_told() -> None:
    assert told(objects=OBJECTS.drop("cand_score")) == {}
    assert told(PREDICTIONS.clear()) == {}

import polars as pl
import pytest

from xai import tables
from xai.verdict import judge_detections

OBJECTS = pl.DataFrame(
    {
        "image_id": ["a", "b"], "object_id": [0, 0], "label": ["car", "car"],
        "x1": [10.0, 10.0], "y1": [10.0, 10.0], "x2": [110.0, 110.0], "y2": [60.0, 60.0],
    }
)  # fmt: skip


def predictions(*rows: tuple[str, int, str, float, tuple[float, float, float, float], str, int | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [(*row[:4], *row[4], *row[5:]) for row in rows],
        schema={
            "image_id": pl.String, "prediction_id": pl.Int64, "label": pl.String, "score": pl.Float64, "x1": pl.Float64,
            "y1": pl.Float64, "x2": pl.Float64, "y2": pl.Float64, "outcome": pl.String, "object_id": pl.Int64,
        },
        orient="row",
    )  # fmt: skip


FOUND = ("a", 0, "car", 0.9, (10.0, 10.0, 110.0, 60.0), "matched", 0)
TWICE = ("a", 1, "car", 0.4, (10.0, 10.0, 70.0, 60.0), "duplicate", 0)
BUS = ("b", 0, "bus", 0.6, (12.0, 10.0, 110.0, 60.0), "background", None)
ALONE = ("b", 1, "person", 0.5, (200.0, 10.0, 240.0, 90.0), "background", None)
DOUBTFUL = ("b", 2, "person", 0.3, (300.0, 10.0, 340.0, 90.0), "background", None)
PART = ("a", 2, "wheel", 0.8, (20.0, 40.0, 30.0, 50.0), "background", None)


def judged(*rows: tuple[str, int, str, float, tuple[float, float, float, float], str, int | None]) -> pl.DataFrame:
    found = predictions(*rows)
    false = found.filter(pl.col("outcome").is_in(["background", "duplicate"]))
    errors = false.select(
        pl.format("{}{}", "image_id", "prediction_id").alias("error_id"), pl.col("outcome").alias("kind"),
        "image_id", "object_id", "prediction_id", "label",
    )  # fmt: skip
    return judge_detections(errors, OBJECTS, found, score_threshold=0.25, match_iou=0.5, nms_iou=0.7)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return judged(FOUND, TWICE, BUS, ALONE, DOUBTFUL, PART)


def test_each_false_detection_gets_its_cause(table: pl.DataFrame) -> None:
    assert table.schema == pl.Schema(tables.BESIDE["false_detections"])
    assert dict(table.select("error_id", "cause").iter_rows()) == {
        "a1": "suppression",
        "b0": "look_alike",
        "b1": "missing_annotation",
        "b2": "unexplained",
        "a2": "unexplained",
    }


def test_overlaps_are_of_what_the_verdict_speaks_of(table: pl.DataFrame) -> None:
    overlaps = dict(table.select("error_id", "overlap").iter_rows())
    assert overlaps["a1"] == pytest.approx(0.6)
    assert overlaps["b0"] == pytest.approx(0.98)
    assert overlaps["b1"] == 0.0
    assert overlaps["a2"] == 1.0


def test_sentences_are_whole(table: pl.DataFrame) -> None:
    for text in table["sentence"]:
        assert text[0].isupper()
        assert text.endswith(".")
        assert "None" not in text
    assert "inside what is annotated as a car" in table.filter(error_id="a2")["sentence"][0]


def test_a_duplicate_that_suppression_should_have_taken_is_not_put_down_to_it() -> None:
    close = ("a", 1, "car", 0.4, (10.0, 10.0, 100.0, 60.0), "duplicate", 0)
    assert judged(FOUND, close)["cause"].to_list() == ["unexplained"]


def test_nothing_false_nothing_judged() -> None:
    assert judged(FOUND).is_empty()

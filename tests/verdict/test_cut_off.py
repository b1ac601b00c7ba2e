import polars as pl
import pytest

from xai.tables import TABLES
from xai.verdict import cut_lines
from xai.verdict.features import SURE_CUT, cheap_features

IMAGES = pl.DataFrame({"image_id": ["a.jpg"], "width": [400], "height": [300]})
DOGS = [160.0, 180, 190, 200, 210, 220, 240]
"""Widths of whole dogs, each 100 high: the middle one is twice as wide as high."""


def objects(*rows: tuple[str, float, float, float, float, float | None], outcome: str = "missed") -> pl.DataFrame:
    schema = {"label": pl.String, **dict.fromkeys(("x1", "y1", "x2", "y2", "truncation"), pl.Float64)}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(
        image_id=pl.lit("a.jpg"), object_id=pl.int_range(pl.len(), dtype=pl.Int64), outcome=pl.lit(outcome)
    )


def errors_of(lost: pl.DataFrame) -> pl.DataFrame:
    return lost.select("image_id", "object_id", "label", kind=pl.lit("missed"), error_id=pl.format("e{}", "object_id"))


def whole(count: int = len(DOGS)) -> pl.DataFrame:
    return objects(*[("dog", 100.0, 100.0, 100 + wide, 200.0, 0.0) for wide in DOGS[:count]], outcome="found")


def lines_of(lost: pl.DataFrame, usual: pl.DataFrame) -> dict[str, dict[str, float]]:
    lines = cut_lines(errors_of(lost), [(usual, IMAGES)], (lost, IMAGES))
    assert lines.schema == pl.Schema(TABLES["evidence"])
    return {row["error_id"]: row for row in lines.iter_rows(named=True)}


def test_how_much_shorter_than_whole_objects_of_its_class() -> None:
    lost = objects(
        ("dog", 0.0, 100.0, 100.0, 200.0, 0.25),  # cut by the left edge: half as wide as the middle one
        ("dog", 350.0, 100.0, 400.0, 200.0, 0.33),  # by the right edge: a quarter
        ("dog", 100.0, 0.0, 300.0, 50.0, 0.4),  # by the upper edge: half as high
        ("dog", 0.0, 100.0, 200.0, 200.0, 0.17),  # at the edge, and whole by its shape
        ("dog", 0.0, 0.0, 100.0, 100.0, 0.5),  # a corner: short across one of its edges
    )
    told = lines_of(lost, whole())
    assert {key: row["after"] for key, row in told.items()} == {"e0": 1, "e1": 0.5, "e2": 4, "e3": 2, "e4": 1}
    assert all(row["before"] == pytest.approx(2.0) for row in told.values())
    # log2 of 1.6 and 1.8 surround the lowest tenth: the seven widths' quantile is nearest to the second.
    spread = 1 - pl.Series([wide / 100 for wide in DOGS]).log(2).quantile(0.1) + 0.1
    assert told["e0"]["effect"] == pytest.approx(1 / spread)
    assert told["e1"]["effect"] == pytest.approx(2 / spread)
    assert told["e2"]["effect"] > 3, "few whole dogs are wider than the middle one by much"
    assert told["e3"]["effect"] == 0
    assert told["e4"]["effect"] == pytest.approx(1 / spread)


def test_nothing_is_said_without_an_edge_a_class_or_enough_whole_objects() -> None:
    inside = objects(("dog", 100.0, 100.0, 150.0, 200.0, 0.0), ("dog", 100.0, 100.0, 150.0, 200.0, None))
    assert not lines_of(inside, whole())
    cut = objects(("dog", 0.0, 100.0, 100.0, 200.0, 0.25), ("cat", 0.0, 100.0, 100.0, 200.0, 0.25))
    assert list(lines_of(cut, whole())) == ["e0"]
    assert not lines_of(cut, whole(5))
    assert not lines_of(cut, whole().with_columns(outcome=pl.lit("missed"))), "missed objects are no examples"
    assert list(lines_of(cut, whole().with_columns(outcome=pl.lit(None, pl.String)))) == ["e0"]
    assert not lines_of(cut, whole().drop("truncation"))
    assert not lines_of(cut.clear(), whole())


def test_a_far_cut_object_keeps_its_cause_though_objects_at_the_edge_do_no_worse() -> None:
    rows = [
        (key, kind, "truncation", before, 0.8, None, effect)
        for key, effect in (("far", SURE_CUT + 2), ("near", SURE_CUT - 0.5))
        for kind, before, effect in (("joint_risk", 0.9, 0.1), ("cut", 2.0, effect))
    ]
    evidence = pl.DataFrame(rows, schema=TABLES["evidence"], orient="row")
    told = cheap_features(evidence)
    assert told.select("error_id", "cut").rows() == [("far", 2.0)]

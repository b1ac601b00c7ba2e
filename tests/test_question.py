"""Reported misses join what was scanned: cases without a box, what the detector says of them, the labelled sample."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from xai import question, tables
from xai.dataset import codes
from xai.dataset.reported import CASES
from xai.question import Question, complete, undrawn, unlabelled
from xai.scan import Split
from xai.types import Dataset


def scanned() -> Split:
    images = pl.DataFrame(
        {"split": "production", "image_id": ["a.jpg", "b.jpg", "bad.jpg"], "status": ["ok", "ok", "photo_empty"],
         "sha256": ["1", "2", None]}
    )  # fmt: skip
    objects = pl.DataFrame(
        {
            "split": "production", "image_id": ["a.jpg", "b.jpg"], "object_id": [0, 0], "label": "car",
            "x1": 1.0, "y1": 1.0, "x2": 5.0, "y2": 5.0, "outcome": ["missed", "found"], "score": [None, 0.8],
            "crowding": [0.0, 0.0], "object_size": 0.1,
        }
    )  # fmt: skip
    predictions = pl.DataFrame({"image_id": ["a.jpg", "b.jpg"], "label": ["car", "car"]})
    return Split(
        tables.conform(images, tables.TABLES["images"]),
        tables.conform(objects, tables.TABLES["objects"]),
        tables.conform(predictions, tables.TABLES["predictions"]),
        tables.empty(tables.ISSUES),
    )


def asked(root: Path) -> Question:
    listed = [
        ("a.jpg", 0, "car", "dark"),
        ("a.jpg", 1, "Car", None),
        ("b.jpg", 0, "car", None),
        ("b.jpg", 1, "ufo", None),
        ("bad.jpg", 0, "car", None),
    ]
    placed = pl.DataFrame({"image_id": ["a.jpg", "b.jpg"], "object_id": [0, 0]})
    data = Dataset("production", root, ("a.jpg", "b.jpg", "bad.jpg"), placed, codes.table([]), ("car",))
    return Question(data, "reported cases", pl.DataFrame(listed, schema=dict(CASES), orient="row"))


def test_cases_without_a_box_become_objects_without_one(tmp_path: Path) -> None:
    told = complete(scanned(), asked(tmp_path), {"Car": "car"}, ["car"])
    rows = told.objects.select("image_id", "object_id", "label", "x1", "outcome", "ignore", "note").rows()
    assert rows == [
        ("a.jpg", 0, "car", 1.0, "missed", None, "dark"),
        ("a.jpg", 1, "car", None, "missed", None, None),
        ("b.jpg", 0, "car", 1.0, "found", None, None),
        ("b.jpg", 1, "ufo", None, "ignored", "class", None),
    ]
    assert told.objects["crowding"].null_count() == 4, "neighbours without labels cannot be told"
    assert told.objects["object_size"].null_count() == 2


def test_every_odd_case_is_an_issue(tmp_path: Path) -> None:
    issues = complete(scanned(), asked(tmp_path), {"Car": "car"}, ["car"]).issues
    assert sorted(issues.select("image_id", "object_id", "code").rows()) == [
        ("a.jpg", 1, "case_ambiguous"),
        ("b.jpg", 0, "case_found"),
        ("b.jpg", 1, "case_unknown_class"),
        ("bad.jpg", 0, "case_without_photo"),
    ]


def test_cases_without_a_box_that_repeat_each_other_count_once(tmp_path: Path) -> None:
    question = asked(tmp_path)
    again = pl.DataFrame([("a.jpg", 2, "car", "again")], schema=dict(CASES), orient="row")
    assert question.cases is not None
    told = complete(scanned(), replace(question, cases=pl.concat([question.cases, again])), {"Car": "car"}, ["car"])
    repeated = told.objects.filter(pl.col("ignore") == "duplicate")
    assert repeated.select("image_id", "object_id", "outcome").rows() == [("a.jpg", 2, "ignored")]
    assert told.issues.filter(pl.col("code") == "case_repeated")["object_id"].to_list() == [2]


def test_annotated_sets_are_left_as_they_are(tmp_path: Path) -> None:
    split = scanned()
    assert complete(split, replace(asked(tmp_path), cases=None), {}, ["car"]) is split


def test_labelled_photos_that_were_not_drawn_are_told(tmp_path: Path) -> None:
    production = scanned()
    audit = replace(
        production, images=production.images.with_columns(split=pl.lit("audit"), sha256=pl.Series(["2", "9", None]))
    )
    assert undrawn(audit, production, tmp_path)["image_id"].to_list() == ["b.jpg"], (
        "its content is in no production photo"
    )
    pl.DataFrame({"image_id": ["a.jpg"]}).write_csv(tmp_path / question.SAMPLE)
    assert undrawn(audit, production, tmp_path)["image_id"].to_list() == ["a.jpg", "b.jpg"]


def test_drawn_photos_without_labels_are_told(tmp_path: Path) -> None:
    production = scanned()
    audit = replace(production, images=production.images.filter(pl.col("image_id") == "b.jpg"))
    assert unlabelled(audit, production, tmp_path).is_empty(), "nothing was drawn"
    pl.DataFrame({"image_id": ["a.jpg", "b.jpg", "bad.jpg", "gone.jpg"]}).write_csv(tmp_path / question.SAMPLE)
    left = unlabelled(audit, production, tmp_path)
    assert left.select("split", "image_id", "code").rows() == [("audit", "a.jpg", "audit_photo_unlabelled")]

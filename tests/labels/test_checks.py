import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from xai import labels, tables
from xai.labels import checks

BOX = ("x1", "y1", "x2", "y2")
RANDOM = np.random.default_rng(0)
SIZE = {"width": 640, "height": 480}


def usual_objects(count: int = 60) -> list[dict[str, object]]:
    """Found cars of about 80 × 40 px, one a photo."""
    corner = RANDOM.uniform([100, 100], [400, 300], (count, 2))
    side = [80, 40] * RANDOM.lognormal(0, 0.1, (count, 2))
    rows = np.concatenate([corner, corner + side], axis=1)
    return [{"image_id": f"{place:03d}.jpg", "object_id": 0, "box": tuple(row)} for place, row in enumerate(rows)]


def objects(*more: dict[str, object]) -> pl.DataFrame:
    rows = []
    for given in [*usual_objects(), *more]:
        found = {"label": "car", "ignore": None, "outcome": "found", "cand_score": 0.9, "cand_target": 0.8} | given
        rows.append({**found, **dict(zip(BOX, found.pop("box"), strict=True)), "split": "eval"})
    schema = {name: dtype for name, dtype in (tables.TABLES["objects"] | tables.CANDIDATES).items()}
    return tables.conform(
        pl.DataFrame(rows, infer_schema_length=None).drop("box", strict=False), {**schema, "ignore": pl.String}
    )


def predictions(frame: pl.DataFrame, *more: dict[str, object]) -> pl.DataFrame:
    """A detection for every object that is found, and further ones."""
    found = frame.filter(pl.col("outcome") == "found").select(
        "split", "image_id", "label", *BOX, "object_id", score=pl.lit(0.9), outcome=pl.lit("matched")
    )
    rows = [
        {"split": "eval", "label": "car", "score": 0.9, "outcome": "background", "object_id": None}
        | {key: value for key, value in given.items() if key != "box"}
        | dict(zip(BOX, given["box"], strict=True))  # type: ignore[arg-type]
        for given in more
    ]
    extra = pl.DataFrame(rows, infer_schema_length=None) if rows else found.clear()
    joined = pl.concat([found, extra], how="diagonal_relaxed").sort("image_id", "score", descending=[False, True])
    ranked = joined.with_columns(prediction_id=pl.int_range(pl.len()).over("image_id"))
    return tables.conform(ranked, tables.TABLES["predictions"])


def images(frame: pl.DataFrame, *more: str) -> pl.DataFrame:
    ids = sorted({*frame["image_id"], *more})
    return pl.DataFrame({"image_id": ids}).with_columns(**{name: pl.lit(side) for name, side in SIZE.items()})


def first(more: dict[str, object], *seen: dict[str, object]) -> dict[str, object]:
    """Add one label and detections to sound ones; return the first row of the list."""
    frame = objects(more)
    return labels.review(frame, images(frame), predictions(frame, *seen)).row(0, named=True)


LOST = {"image_id": "x.jpg", "object_id": 0, "outcome": "missed", "cand_score": None, "cand_target": 0.0}
CAR = (200.0, 150.0, 280.0, 190.0)


def test_sound_labels_are_not_doubtful() -> None:
    frame = objects()
    rows = labels.review(frame, images(frame), predictions(frame))
    assert not rows["doubtful"].any()
    assert list(rows.columns) == list(tables.BESIDE["relabel"])


@pytest.mark.parametrize(
    ("box", "check"),
    [
        ((20.0, 150.0, 280.0, 190.0), "misplaced_dot"),
        ((150.0, 200.0, 190.0, 280.0), "swapped_axes"),
    ],
)
def test_a_slip_is_named_with_the_box_that_was_meant(box: tuple[float, ...], check: str) -> None:
    row = first({**LOST, "box": box}, {"image_id": "x.jpg", "box": CAR})
    assert (row["image_id"], row["object_id"], row["check"], row["doubtful"]) == ("x.jpg", 0, check, True)
    assert tuple(row[f"suggested_{name}"] for name in BOX) == pytest.approx(CAR)
    assert "overlaps a detected car (score 0.9)" in row["reason"]


def test_width_and_height_in_place_of_the_far_corner() -> None:
    row = first({**LOST, "box": (30.0, 20.0, 80.0, 40.0)}, {"image_id": "x.jpg", "box": (30.0, 20.0, 110.0, 60.0)})
    assert row["check"] == "size_as_corner"
    assert row["suggested_x2"] == pytest.approx(110)


def test_a_shifted_label_lies_beside_a_detection_of_its_size() -> None:
    moved = (240.0, 150.0, 320.0, 190.0)
    row = first(
        {**LOST, "outcome": "mislocated", "box": moved}, {"image_id": "x.jpg", "box": CAR, "outcome": "mislocated"}
    )
    assert row["check"] == "shifted"
    assert row["score"] == pytest.approx(0.9**0.5)
    assert row["suggested_x1"] == 200


def test_a_wrong_class_is_told_by_candidates_of_annotated_classes_alone() -> None:
    seen = {"cand_score": 0.02, "cand_other_score": 0.9, "cand_target": 0.1, "outcome": "confused"}
    bus = {"image_id": "y.jpg", "object_id": 0, "label": "bus", "box": (50.0, 50.0, 250.0, 200.0)}
    frame = objects({**LOST, **seen, "box": CAR, "cand_other_label": "bus"}, bus)
    row = labels.review(frame, images(frame), predictions(frame)).row(0, named=True)
    assert (row["check"], row["label"], row["suggested_label"]) == ("wrong_class", "car", "bus")
    assert row["score"] == pytest.approx(0.9 * 0.98)
    frame = objects({**LOST, **seen, "box": CAR, "cand_other_label": "truck"})
    rows = labels.review(frame, images(frame), predictions(frame))
    assert "wrong_class" not in rows["check"].to_list()


def test_labels_of_another_frame_have_no_candidate_and_leave_detections_free() -> None:
    lost = [
        {**LOST, "object_id": place, "box": (300.0 + 90 * place, 300.0, 380.0 + 90 * place, 340.0)} for place in (0, 1)
    ]
    frame = objects(*lost)
    stray = {"image_id": "x.jpg", "box": CAR, "score": 0.95}
    rows = labels.review(frame, images(frame), predictions(frame, stray)).filter(check="unsupported")
    assert rows.filter("doubtful").select("image_id", "object_id").rows() == [("x.jpg", 0), ("x.jpg", 1)]
    alone = objects({**lost[0], "image_id": "000.jpg", "object_id": 1})
    rows = labels.review(alone, images(alone), predictions(alone)).filter(check="unsupported")
    assert not rows["doubtful"].any()


def test_missing_labels_are_those_that_nothing_explains() -> None:
    ignored = {"image_id": "z.jpg", "object_id": 0, "ignore": "difficult", "outcome": "ignored", "box": CAR}
    frame = objects({"image_id": "x.jpg", "object_id": 0, "box": CAR}, ignored)
    part = (205.0, 152.0, 240.0, 188.0)
    noise = [{"image_id": f"n{place}.jpg", "box": (1.0, 1.0, 9.0, 9.0), "score": 0.3} for place in range(40)]
    seen = [
        {"image_id": "w.jpg", "box": (400.0, 300.0, 480.0, 340.0)},
        {"image_id": "x.jpg", "box": part},
        {"image_id": "z.jpg", "box": CAR},
    ]
    photos = images(frame, "w.jpg", *[str(item["image_id"]) for item in noise])
    rows = labels.review(frame, photos, predictions(frame, *seen, *noise)).filter(check="missing", doubtful=True)
    assert rows.select("image_id", "object_id", *BOX).rows() == [("w.jpg", None, 400, 300, 480, 340)]
    assert rows["prediction_id"][0] is not None


def test_of_twins_the_one_that_is_not_found_is_named_with_or_without_a_detector() -> None:
    twin = tuple(value + 1 for value in CAR)
    pair = [
        {**LOST, "box": twin, "cand_score": 0.9, "cand_target": 0.8},
        {"image_id": "x.jpg", "object_id": 1, "box": CAR},
    ]
    frame = objects(*pair)
    row = labels.review(frame, images(frame), predictions(frame)).row(0, named=True)
    assert (row["check"], row["object_id"]) == ("duplicate", 0)
    untold = frame.with_columns(outcome=pl.lit(None, pl.String))
    row = labels.review(untold, images(frame)).row(0, named=True)
    assert (row["check"], row["object_id"]) == ("duplicate", 1)


def test_an_implausible_box_is_told_by_the_reference() -> None:
    odd = {"image_id": "x.jpg", "object_id": 0, "box": (200.0, 150.0, 280.0, 154.0)}
    usual, judged = objects(), objects(odd).filter(pl.col("image_id") == "x.jpg")
    row = labels.review(judged, images(judged), reference=(usual, images(usual))).row(0, named=True)
    assert (row["check"], row["doubtful"]) == ("implausible", True)
    assert "width to height is" in row["reason"]
    assert labels.review(judged, images(judged)).is_empty()  # one object tells nothing of its class


def test_issues_of_labels_come_first() -> None:
    row = {"split": "eval", "image_id": "x.jpg", "object_id": 3, "code": "negative_area", "message": "right < left"}
    told = tables.conform(pl.DataFrame([row, {**row, "code": "duplicate_photo"}]), tables.ISSUES)
    rows = labels.from_issues(told)
    assert rows.select("image_id", "object_id", "check", "score", "reason").rows() == [
        ("x.jpg", 3, "invalid", 1.0, "right < left")
    ]
    frame = objects({**LOST, "box": (20.0, 150.0, 280.0, 190.0)})
    listed = labels.ordered([labels.review(frame, images(frame), predictions(frame)), rows])
    assert listed["check"][0] == "invalid"


def test_files_keep_the_order(tmp_path: Path) -> None:
    frame = objects({**LOST, "box": (20.0, 150.0, 280.0, 190.0)})
    seen = predictions(frame, {"image_id": "x.jpg", "box": CAR})
    rows = labels.review(frame, images(frame), seen)
    labels.to_csv(rows, tmp_path / labels.CSV)
    back = pl.read_csv(tmp_path / labels.CSV)
    assert back["image_id"].to_list() == rows["image_id"].to_list()
    assert back["check"].to_list() == rows["check"].to_list()
    labels.to_coco(rows, images(frame), tmp_path / labels.COCO)
    made = json.loads((tmp_path / labels.COCO).read_text())
    names = {item["id"]: item["file_name"] for item in made["images"]}
    assert [names[item["image_id"]] for item in made["annotations"]] == rows["image_id"].to_list()
    top = made["annotations"][0]
    assert top["bbox"] == [20, 150, 260, 40]
    assert top["attributes"]["check"] == "misplaced_dot"
    assert top["attributes"]["suggested_bbox"] == [200, 150, 80, 40]
    assert {item["name"] for item in made["categories"]} == {"car"}


def test_what_needs_no_detector_becomes_issues() -> None:
    odd = {"image_id": "x.jpg", "object_id": 0, "box": (200.0, 150.0, 280.0, 154.0)}
    twins = [{"image_id": "y.jpg", "object_id": place, "box": CAR} for place in (0, 1)]
    frame = objects(odd, *twins)
    told = labels.as_issues(labels.review(frame, images(frame))).sort("image_id")
    assert told.select("image_id", "object_id", "code", "severity").rows() == [
        ("x.jpg", 0, "implausible_box", "warning"),
        ("y.jpg", 1, "twin_box", "warning"),
    ]


def test_every_check_has_a_threshold() -> None:
    assert all(0 < check.threshold < 1 for check in checks.CHECKS.values())


@pytest.mark.parametrize(("check", "kept"), [("implausible", None), ("missing", 7)])
def test_a_row_speaks_of_a_label_or_of_a_detection(check: str, kept: int | None) -> None:
    """A mislocated label carries the detection that it was matched with: naming both would list it twice."""
    found = pl.DataFrame(
        {"split": ["eval"], "image_id": ["a.jpg"], "object_id": [3], "prediction_id": [7], "score": [0.9]}
    )
    assert checks._rows(found, check)["prediction_id"].to_list() == [kept]

import hashlib

import polars as pl

from xai import tables
from xai.detect.error_rows import error_rows


def frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    objects = pl.DataFrame(
        {
            "image_id": ["a/ü.jpg"] * 5,
            "object_id": [0, 1, 2, 3, 4],
            "label": ["car", "car", "bus", "car", "dog"],
            "outcome": ["found", "missed", "confused", "mislocated", "ignored"],
            "prediction_id": [0, None, 3, 4, None],
        }
    )
    predictions = pl.DataFrame(
        {
            "image_id": ["a/ü.jpg"] * 6,
            "prediction_id": [0, 1, 2, 3, 4, 5],
            "label": ["car", "car", "bus", "car", "car", "cat"],
            "outcome": ["matched", "duplicate", "background", "confused", "mislocated", "ignored"],
            "object_id": [0, 0, None, 2, 3, None],
        }
    )
    return tables.conform(objects, tables.TABLES["objects"]), tables.conform(predictions, tables.TABLES["predictions"])


def test_every_miss_and_every_false_detection_is_one_row() -> None:
    found = error_rows(*frames())
    assert dict(found.schema) == dict(tables.TABLES["errors"])
    assert found.select("kind", "object_id", "prediction_id", "label").rows() == [
        ("missed", 1, None, "car"),
        ("confused", 2, 3, "bus"),
        ("mislocated", 3, 4, "car"),
        ("duplicate", 0, 1, "car"),
        ("background", None, 2, "bus"),
    ]
    assert found["mechanism"].null_count() == len(found)


def test_identity_is_the_digest_of_what_the_error_is_about() -> None:
    found = error_rows(*frames())
    expected = [
        hashlib.sha256(text.encode()).hexdigest()[:12]
        for text in ["missed/a/ü.jpg/1/", "confused/a/ü.jpg/2/3", "mislocated/a/ü.jpg/3/4", "duplicate/a/ü.jpg/0/1"]
    ]
    assert found["error_id"].to_list()[:4] == expected
    assert found["error_id"].n_unique() == len(found)


def test_no_errors() -> None:
    objects, predictions = frames()
    found = error_rows(objects.clear(), predictions.clear())
    assert len(found) == 0
    assert dict(found.schema) == dict(tables.TABLES["errors"])

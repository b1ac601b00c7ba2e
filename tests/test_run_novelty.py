from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from xai import tables
from xai.catalog import CATALOG, OF_DETECTOR
from xai.novelty import with_novelty
from xai.reference import Reference
from xai.scan import Split
from xai.types import ModelCard

CARD = ModelCard("ultralytics", sha256="abc")
RANDOM = np.random.default_rng(0)


def split(name: str, features: np.ndarray | None, outcomes: list[str] | None = None) -> Split:
    """One car a photo; features of the first ones only, as if the detector had not been asked about the rest."""
    count = 60 if features is None else len(features) + 5
    ids = [f"{place:03d}.jpg" for place in range(count)]
    told = outcomes or ["found"] * (count - 5) + [None] * 5
    objects = pl.DataFrame(
        {"split": name, "image_id": ids, "object_id": 0, "label": "car", "outcome": told},
        schema_overrides={"outcome": pl.String},
    )
    images = pl.DataFrame({"split": name, "image_id": ids, "status": "ok"})
    made = tables.features([])
    if features is not None:
        keys = objects.select("image_id", pl.col("object_id").cast(pl.Int64)).head(len(features))
        made = tables.features([keys.with_columns(features=pl.Series(features.astype(np.float16)))])
    return Split(
        tables.conform(images, tables.TABLES["images"]),
        tables.conform(objects, tables.TABLES["objects"]),
        tables.empty(tables.TABLES["predictions"]),
        tables.empty(tables.ISSUES),
        made,
    )


def train(made_by: str | None = None, features: np.ndarray | None = None) -> Reference:
    values = RANDOM.normal(size=(60, 16)) + 3 * np.eye(16)[0] if features is None else features
    return Reference(split("train", values), True, True, {}, made_by)


def judged() -> Split:
    values = np.concatenate([RANDOM.normal(size=(9, 16)) + 3 * np.eye(16)[0], -9 * np.eye(16)[:1]])
    outcomes = ["found"] * 8 + ["ignored", "missed"] + [None] * 5
    return split("eval", values, outcomes)


def test_objects_get_novelty_and_misses_their_nearest_training_objects() -> None:
    left, right, nearest = with_novelty(train(), judged(), CARD, "cpu")
    assert left is not None
    assert left.tables.objects["novelty"].null_count() == 5
    told = right.objects["novelty"].to_list()
    assert told[9] > 80
    assert all(value is not None for value in told[:8])
    assert told[8] is None  # ignored
    assert told[10:] == [None] * 5  # the detector was not asked
    assert list(nearest.columns) == list(tables.BESIDE["nearest"])
    assert nearest.select("image_id", "rank").rows() == [("009.jpg", rank) for rank in range(1, 6)]
    assert nearest["distance"].is_sorted()
    assert set(nearest["train_image_id"]) <= set(left.tables.features["image_id"])


@pytest.mark.parametrize("made_by", ["other", "unknown"])
def test_features_of_other_weights_are_refused_with_a_message(made_by: str) -> None:
    left, right, nearest = with_novelty(train(made_by), judged(), CARD, "cpu")
    assert left is not None
    assert "novelty" not in left.tables.objects.columns
    assert "novelty" not in right.objects.columns
    assert nearest.is_empty()
    (issue,) = right.issues.rows(named=True)
    assert issue["code"] == "profile_other_weights"
    assert "xai profile --detector CONFIG" in issue["message"]
    _, right, _ = with_novelty(train("abc"), judged(), CARD, "cpu")
    assert right.issues.is_empty()


def test_without_features_or_training_nothing_is_told_and_nothing_is_wrong() -> None:
    bare = replace(train(), tables=split("train", None))
    for reference, evaluation in ((None, judged()), (bare, judged()), (train(), split("eval", None))):
        _, right, nearest = with_novelty(reference, evaluation, CARD, "cpu")
        assert "novelty" not in right.objects.columns
        assert right.issues.is_empty()
        assert nearest.is_empty()


def test_features_of_a_training_object_fit_in_a_kilobyte() -> None:
    from xai.detect.features import WIDTH

    assert WIDTH * np.dtype(np.float16).itemsize <= 1024


def test_the_catalog_holds_what_only_a_detector_tells() -> None:
    entry = OF_DETECTOR["novelty"]
    assert CATALOG["novelty"] is entry
    assert (entry.level, entry.range) == ("object", (0.0, 100.0))
    assert [part.name for part in entry.bins] == ["familiar", "uncommon", "novel"]

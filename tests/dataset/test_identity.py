"""Digests do not depend on order or place; repeated and leaked photos are found."""

import polars as pl

from xai import tables
from xai.dataset import digest, duplicates, leaks

LABELS = tables.conform(
    pl.DataFrame(
        {
            "image_id": ["a", "a", "b"],
            "object_id": [0, 1, 0],
            "label": ["car", "bus", "car"],
            "x1": [0.1, 0.2, 0.3],
            "line": [1, 2, 1],
            "label_pose": ["Left", None, None],
        }
    ),
    tables.LABELS,
)
HASHES = pl.DataFrame({"image_id": ["a", "b"], "sha256": ["11", "22"]})


def test_a_digest_is_of_the_content() -> None:
    known = digest(LABELS, HASHES)
    assert len(known) == 64
    assert digest(LABELS.reverse(), HASHES.reverse()) == known
    assert digest(LABELS.with_columns(line=pl.lit(9), file=pl.lit("z")), HASHES) == known
    assert digest(LABELS.with_columns(x1=pl.col("x1") + 1e-12), HASHES) != known
    assert digest(LABELS.with_columns(label_pose=None), HASHES) != known
    assert digest(LABELS.head(2), HASHES) != known
    assert digest(LABELS, HASHES.with_columns(sha256=pl.lit("11"))) != known


def test_a_digest_stays_the_same_between_versions() -> None:
    assert digest(LABELS, HASHES) == "24b716280a2648ee06105eaea65e1d3bbcdb36f4efcca93a8c3bd69b356dbacc"


def test_repeated_photos() -> None:
    images = pl.DataFrame(
        {
            "split": ["train", "train", "train", "eval", "eval"],
            "image_id": ["c", "a", "b", "d", "e"],
            "sha256": ["1", "1", "2", "1", None],
        }
    )
    assert duplicates(images).select("split", "image_id", "code", "severity", "message").rows() == [
        ("train", "c", "duplicate_photo", "warning", "the same photo as a")
    ]
    train, evaluation = images.filter(split="train"), images.filter(split="eval")
    assert leaks(train, evaluation).select("split", "image_id", "code", "message").rows() == [
        ("eval", "d", "leaked_photo", "the same photo as a of the training or reference set")
    ]
    assert duplicates(evaluation).is_empty()
    assert leaks(train.clear(), evaluation).is_empty()

"""The training side: its class names are read as those of the other splits are."""

from pathlib import Path

import polars as pl

from xai import tables
from xai.dataset import codes
from xai.reference import name_as_detector
from xai.types import Dataset


def test_names_that_differ_in_case_only_are_the_detectors_in_every_split(tmp_path: Path) -> None:
    labels = tables.conform(pl.DataFrame({"image_id": ["a.jpg", "b.jpg"], "label": ["Car", "bus "]}), tables.LABELS)
    data = Dataset("train", tmp_path, ("a.jpg", "b.jpg"), labels, codes.table([]), ("Car", "bus ", "Van"))
    named = name_as_detector(data, {}, ["car", "bus", "van"])
    assert named.labels["label"].to_list() == ["car", "bus"]
    assert named.labels["ignore"].null_count() == 2
    assert named.issues.is_empty(), "nobody asked for a mapping of the class that no label has"

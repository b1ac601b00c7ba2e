"""Class names of the data set and of the detector."""

import polars as pl
import pytest

from xai import tables
from xai.dataset import map_classes, rename_classes, spell
from xai.exceptions import ConfigError

DETECTOR = ["person", "airplane", "couch", "car"]


def labels(*names: str) -> pl.DataFrame:
    return tables.conform(pl.DataFrame({"label": list(names)}, schema={"label": pl.String}), tables.LABELS)


def test_names_are_mapped_and_the_rest_is_not_scored() -> None:
    table = labels("aeroplane", "person", "cow", "cow", "cr").with_columns(
        ignore=pl.Series([None, "difficult", "difficult", None, None])
    )
    mapped, issues = map_classes(table, {"aeroplane": "airplane"}, DETECTOR, split="eval")
    assert mapped["label"].to_list() == ["airplane", "person", "cow", "cow", "cr"]
    assert mapped["ignore"].to_list() == [None, "difficult", "difficult", "class", "class"]
    assert issues.select("split", "code", "severity").unique().rows() == [("eval", "class_not_in_detector", "info")]
    assert issues["message"].to_list() == [
        "2 objects of class 'cow' are not scored: the detector lacks the class",
        "1 objects of class 'cr' are not scored: the detector lacks the class; did you mean 'car'?",
    ]


def test_names_can_be_swapped_and_joined() -> None:
    assert rename_classes(labels("a", "b", "c"), {"a": "b", "b": "a", "c": "a"})["label"].to_list() == ["b", "a", "a"]


def test_a_class_that_the_detector_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'aeroplane' is mapped to 'airplan', .* did you mean 'airplane'\?"):
        map_classes(labels("aeroplane"), {"aeroplane": "airplan"}, DETECTOR)
    with pytest.raises(ConfigError, match="which the detector lacks; it has person, airplane, couch, car"):
        map_classes(labels("aeroplane"), {"aeroplane": "xyz"}, DETECTOR)


def test_a_misspelt_class_is_refused_and_an_absent_one_is_told() -> None:
    with pytest.raises(ConfigError, match=r"the data set has no class 'aeroplan'; did you mean 'aeroplane'\?"):
        map_classes(labels("aeroplane"), {"aeroplan": "airplane"}, DETECTOR)
    mapped, issues = map_classes(labels("car"), {"sofa": "couch"}, DETECTOR)
    assert mapped["ignore"].to_list() == [None]
    assert issues["code"].to_list() == ["class_mapping_unused"]


def test_declared_classes_are_the_whole_list() -> None:
    _, issues = map_classes(labels("car"), {"sofa": "couch"}, DETECTOR, declared=["car", "sofa"])
    assert issues.is_empty()
    with pytest.raises(ConfigError, match="has no class 'settee'"):
        map_classes(labels("car"), {"settee": "couch"}, DETECTOR, declared=["car", "sofa"])


def test_names_that_differ_in_case_only_are_mapped() -> None:
    assert spell({"bus": "coach"}, ["Car ", "bus", "Bus"], ["car", "coach", "bus"]) == {
        "bus": "coach",
        "Car ": "car",
        "Bus": "bus",
    }


def test_no_labels() -> None:
    mapped, issues = map_classes(labels(), {}, DETECTOR)
    assert mapped.is_empty()
    assert issues.is_empty()

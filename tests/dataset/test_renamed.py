"""Class names that are new, gone, renamed or misspelled."""

import numpy as np
import polars as pl

from xai.dataset.renamed import compare_classes, misspelled


def objects(counts: dict[str, int], aspects: dict[str, float] | None = None) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    labels = [name for name, count in counts.items() for _ in range(count)]
    middle = np.array([(aspects or {}).get(name, 1.0) for name in labels])
    return pl.DataFrame(
        {
            "label": pl.Series(labels, dtype=pl.String),
            "object_size": rng.uniform(0.1, 0.3, len(labels)),
            "object_aspect": middle * rng.uniform(0.9, 1.1, len(labels)),
        }
    )


def compared(
    ours: pl.DataFrame, theirs: pl.DataFrame, declared: tuple[str, ...] = ()
) -> tuple[dict[str, list[str]], dict[str, str]]:
    issues, mapping = compare_classes(ours, declared, theirs, split=None)
    by_code = {
        str(code): rows["message"].to_list() for (code,), rows in issues.partition_by("code", as_dict=True).items()
    }
    return by_code, mapping


def test_the_same_classes_are_no_issue() -> None:
    assert compared(objects({"car": 5, "bus": 3}), objects({"car": 50, "bus": 30})) == ({}, {})
    assert compared(objects({}), objects({})) == ({}, {})


def test_spelling_and_likeness_suggest_a_mapping() -> None:
    ours = objects({"Potted_Plants": 9, "aeroplane": 9, "Straße": 2, "sofa": 4})
    theirs = objects({"potted plant": 9, "airplane": 9, "strasse": 2, "couch": 1, "cart": 1})
    codes, mapping = compared(ours, theirs)
    assert mapping == {"Potted_Plants": "potted plant", "aeroplane": "airplane", "Straße": "strasse"}
    assert codes["class_new"] == ["4 objects of class 'sofa', of which the profile has none"]
    assert "9 objects of class 'aeroplane', which looks like the profile's 'airplane'" in codes["class_renamed"]


def test_boxes_decide_where_names_are_only_somewhat_alike() -> None:
    theirs = objects({"motorcycle": 40, "tv": 40, "person": 40}, {"motorcycle": 1.3, "tv": 1.1})
    alike = objects({"motorbike": 40, "tvmonitor": 40, "person": 40}, {"motorbike": 1.3, "tvmonitor": 1.1})
    assert compared(alike, theirs)[1] == {"motorbike": "motorcycle", "tvmonitor": "tv"}
    unlike = objects({"motorbike": 40, "tvmonitor": 40, "person": 40}, {"motorbike": 0.3, "tvmonitor": 4.0})
    codes, mapping = compared(unlike, theirs)
    assert mapping == {}
    assert "its nearest name is 'motorcycle'" in codes["class_new"][0]
    few = objects({"motorbike": 4, "person": 40})
    assert compared(few, theirs)[1] == {}


def test_a_variant_of_a_class_that_is_still_there_is_renamed_too() -> None:
    codes, mapping = compared(objects({"car": 30, "Car": 3, "CARS": 2}), objects({"car": 100}))
    assert mapping == {"Car": "car", "CARS": "car"}
    assert set(codes) == {"class_renamed"}


def test_a_class_is_not_mapped_to_one_that_is_still_there() -> None:
    codes, mapping = compared(objects({"cart": 30, "car": 30}), objects({"car": 100}))
    assert mapping == {}
    assert set(codes) == {"class_new"}


def test_what_is_gone_is_said_with_what_was_expected() -> None:
    theirs = objects({"car": 900, "bus": 90, "tram": 6, "boat": 4})
    codes, _ = compared(objects({"car": 100}), theirs)
    assert codes["class_gone"] == [
        "no object of class 'bus', where about 9 of 100 would be expected: the profile has 90 of 1,000",
        "no object of class 'tram', which may be chance among 100: the profile has 6 of 1,000",
        "no object of class 'boat', which may be chance among 100: the profile has 4 of 1,000",
    ]
    declared = compared(objects({"car": 100}), theirs, ("car", "bus", "tram", "boat"))[0]
    assert len(declared["class_gone"]) == 1


def test_a_slip_of_the_pen_within_a_data_set() -> None:
    issues = misspelled(objects({"person": 300, "pesron": 1, "Person": 7, "car": 40, "cat": 1, "bus": 3}), split="val")
    assert issues.select("split", "code", "message").rows() == [
        ("val", "class_spelling", "7 objects of class 'Person', 300 of class 'person'"),
        ("val", "class_spelling", "1 object of class 'pesron', 300 of class 'person'"),
    ]
    assert misspelled(objects({}), split=None).is_empty()
    assert misspelled(objects({"truck": 50, "trucker": 20}), split=None).is_empty()

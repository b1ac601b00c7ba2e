from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from attributes import ATTRIBUTES
from xai.coverage.bins import Range, bin_columns, bin_names, fit_user_bins, inherit


@dataclass(frozen=True)
class Item:
    level: str
    bins: tuple[Range, ...]


CATALOG = {
    "glare": Item("image", (Range("none", None, 0.2), Range("mild", 0.2, 0.5), Range("strong", 0.5, 1.0))),
    "roll": Item("image", (Range("left", None, -10), Range("level", -10, 10), Range("right", 10, None))),
    "crowding": Item("object", (Range("alone", 0.0, 0.5), Range("crowded", 0.5, 1.0))),
}


def test_bounds_are_low_inclusive_and_the_last_high_too() -> None:
    frame = pl.DataFrame({"glare": [-5.0, 0.1999, 0.2, 0.5, 1.0, 1.0001, None, float("nan"), float("inf")]})
    assert bin_columns(frame, CATALOG)["glare"].to_list() == [
        "none", "none", "mild", "strong", "strong", "unknown", "unknown", "unknown", "unknown",
    ]  # fmt: skip


@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_every_value_of_the_real_catalog_is_binned_as_by_hand(name: str) -> None:
    attribute = ATTRIBUTES[name]
    values = np.random.default_rng(1).uniform(-200, 200, 500).tolist() + np.linspace(0, 1, 101).tolist()

    def by_hand(value: float) -> str:
        for index, item in enumerate(attribute.bins):
            last = index == len(attribute.bins) - 1
            above = item.low is None or value >= item.low
            below = item.high is None or value < item.high or (last and value == item.high)
            if above and below:
                return item.name
        return "unknown"

    got = bin_columns(pl.DataFrame({name: values}))[name].to_list()
    assert got == [by_hand(value) for value in values]


def test_rare_values_of_a_users_column_are_other() -> None:
    values = [f"v{index % 25:02d}" for index in range(1000)] + ["v00", "", " Unknown ", "unspecified", None]
    frame = pl.DataFrame({"label_weather": values})
    bins = fit_user_bins(frame)
    assert len(bins["label_weather"]) == 20
    binned = bin_columns(frame, {}, bins)["label_weather"]
    assert binned[-5] == "v00"
    assert binned.tail(4).to_list() == ["unknown"] * 4
    assert (binned == "other").sum() == 5 * 40
    assert bin_names("label_weather", {}, bins)[-2:] == ["other", "unknown"]


def test_unicode_values_and_booleans_keep_their_words() -> None:
    frame = pl.DataFrame({"label_ort": ["Zürich", "東京", "Zürich"], "label_wet": [True, False, None]})
    binned = bin_columns(frame, {})
    assert binned["label_ort"].to_list() == ["Zürich", "東京", "Zürich"]
    assert binned["label_wet"].to_list() == ["true", "false", "unknown"]


def test_numbers_with_few_values_are_categories_and_equal_across_types() -> None:
    bins = fit_user_bins(pl.DataFrame({"label_truncated": [0, 1, 1, None]}))
    for values in (pl.Series([1, 0]), pl.Series([1.0, 0.0]), pl.Series(["1", "0"])):
        assert bin_columns(pl.DataFrame({"label_truncated": values}), {}, bins)["label_truncated"].to_list() == [
            "1",
            "0",
        ]


def test_numbers_with_many_values_are_cut_at_quartiles_that_the_names_state() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"label_speed": rng.gamma(2, 10, 4000)})
    bins = fit_user_bins(frame)
    counts = bin_columns(frame, {}, bins)["label_speed"].value_counts()
    assert len(counts) == 4
    assert counts["count"].min() > 0.2 * 4000
    for item in bins["label_speed"]:
        assert isinstance(item, Range)
        assert all(f"{edge:.3g}" in item.name for edge in (item.low, item.high) if edge is not None)
    other_side = pl.DataFrame({"label_speed": ["12.5", "fast", None]})
    assert bin_columns(other_side, {}, bins)["label_speed"].to_list()[1:] == ["unknown", "unknown"]


def test_a_numeric_column_of_almost_one_value_has_no_repeated_bins() -> None:
    values = [0.0] * 1000 + [float(index) for index in range(1, 30)]
    bins = fit_user_bins(pl.DataFrame({"label_count": values}))["label_count"]
    names = [item.name for item in bins if isinstance(item, Range)]
    assert len(names) == len(set(names)) == 2


def test_nested_and_empty_columns_are_unknown() -> None:
    frame = pl.DataFrame({"label_list": [[1, 2], [3]], "label_none": [None, None]})
    assert bin_columns(frame, {}).row(0) == ("unknown", "unknown")
    empty = bin_columns(pl.DataFrame(schema={"glare": pl.Float64, "label_a": pl.String}), CATALOG)
    assert empty.schema == {"glare": pl.String, "label_a": pl.String}


def test_objects_inherit_from_their_photo_and_keep_their_order() -> None:
    images = pl.DataFrame({"image_id": ["a", "b"], "glare": [0.1, 0.9], "roll": [None, 20.0]})
    objects = pl.DataFrame({"image_id": ["b", "gone", "a"], "crowding": [0.0, 1.0, 0.5]})
    got = inherit(objects, images, CATALOG)
    assert got["image_id"].to_list() == ["b", "gone", "a"]
    assert bin_columns(got, CATALOG).select("glare", "roll", "crowding").rows() == [
        ("strong", "right", "alone"),
        ("unknown", "unknown", "crowded"),
        ("none", "unknown", "crowded"),
    ]

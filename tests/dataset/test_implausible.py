"""Labels that are legal and wrong are found; labels that are merely rare are left in peace."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from xai import dataset, tables
from xai.dataset import implausible

VOC = Path(__file__).resolve().parents[2].parent / "shared/data/voc/eval"


def cars(count: int = 60, *, seed: int = 0, label: str = "car") -> pl.DataFrame:
    """Cars about twice as wide as high, one a photo of 1000 x 800, away from its edges."""
    rng = np.random.default_rng(seed)
    width = rng.uniform(150, 400, count)
    height = width / 2 * rng.uniform(0.8, 1.25, count)
    x, y = rng.uniform(50, 500, count), rng.uniform(50, 400, count)
    return pl.DataFrame(
        {
            "split": "train", "image_id": [f"{label} {index}" for index in range(count)], "object_id": 0,
            "label": label, "x1": x, "y1": y, "x2": x + width, "y2": y + height, "ignore": None,
        },
        schema_overrides={"ignore": pl.String, "object_id": pl.Int64},
    )  # fmt: skip


def photos(objects: pl.DataFrame) -> pl.DataFrame:
    return objects.select("split", "image_id", width=pl.lit(1000), height=pl.lit(800)).unique()


def altered(objects: pl.DataFrame, row: int, **columns: float) -> pl.DataFrame:
    at = pl.int_range(pl.len()) == row
    return objects.with_columns(pl.when(at).then(value).otherwise(name).alias(name) for name, value in columns.items())


def found(objects: pl.DataFrame, reference: pl.DataFrame | None = None) -> pl.DataFrame:
    beside = None if reference is None else (reference, photos(reference))
    return implausible.find(objects, photos(objects), beside)


def test_nothing_is_said_of_plausible_few_or_no_boxes() -> None:
    assert found(cars()).is_empty()
    assert found(altered(cars(19), 3, x2=60.0)).is_empty()
    assert found(cars(1)).is_empty()
    empty = found(cars().clear())
    assert dict(empty.schema) == dict(tables.ISSUES)


def test_a_misplaced_dot_in_a_width_is_named_with_what_is_usual() -> None:
    objects = altered(cars(), 7, x1=300.0, x2=320.0, y1=100.0, y2=200.0)
    (issue,) = found(objects).rows(named=True)
    assert (issue["image_id"], issue["code"], issue["severity"]) == ("car 7", "implausible_box", "warning")
    assert issue["message"].startswith("a car is usually 1.6 to 2.4 times as wide as high (90% of 60)")
    assert issue["message"].endswith(
        "this one is 0.2 times (20.0 x 100.0 pixels), as if the dot in its width were misplaced"
    )
    tall = altered(cars(), 7, x1=300.0, x2=320.0, y1=100.0, y2=101.0)
    (issue,) = found(tall).rows(named=True)
    assert "as if the dot in its height" in issue["message"]


def test_boxes_cut_by_the_edge_may_have_any_shape() -> None:
    assert found(altered(cars(), 7, x1=0.0, x2=20.0, y1=100.0, y2=200.0)).is_empty()
    assert found(altered(cars(), 7, x1=980.0, x2=1000.0, y1=100.0, y2=200.0)).is_empty()


def test_a_box_far_smaller_than_all_of_its_class() -> None:
    (issue,) = found(altered(cars(), 7, x1=300.0, x2=302.0, y1=100.0, y2=101.0)).rows(named=True)
    assert issue["message"].startswith("a car usually takes 0.1")
    assert issue["message"].endswith("of the photo's side (90% of 60); this one 0.0016 (2.0 x 1.0 pixels)")


def test_one_box_everywhere() -> None:
    copied = cars().with_columns(
        pl.when(pl.int_range(pl.len()) < 5).then(value).otherwise(name).alias(name)
        for name, value in {"x1": 100.0, "y1": 100.0, "x2": 300.0, "y2": 200.0}.items()
    )
    issues = found(copied)
    assert issues["code"].to_list() == ["repeated_box"] * 5
    assert "at exactly this place is in 5 photos" in issues["message"][0]
    assert found(copied.filter(pl.col("image_id") != "car 4")).is_empty()
    whole = copied.with_columns(x1=0.0, y1=0.0, x2=1000.0)
    assert found(whole).is_empty()


def test_crowds_and_repetitions_are_not_judged() -> None:
    odd = altered(cars(), 7, x1=300.0, x2=320.0, y1=100.0, y2=200.0)
    at = pl.col("image_id") == "car 7"
    for reason, expected in (("crowd", 0), ("duplicate", 0), ("difficult", 1)):
        marked = odd.with_columns(ignore=pl.when(at).then(pl.lit(reason)))
        assert len(found(marked)) == expected


def test_a_profile_tells_what_is_usual_where_there_are_few() -> None:
    few = altered(cars(3, seed=5), 1, x1=300.0, x2=320.0, y1=100.0, y2=200.0)
    assert found(few).is_empty()
    assert found(few, cars(label="car"))["image_id"].to_list() == ["car 1"]


def test_columns_of_the_user_do_not_get_in_the_way() -> None:
    objects = altered(cars(), 7, x1=300.0, x2=320.0, y1=100.0, y2=200.0).with_columns(
        wide=pl.lit(True), width=pl.lit("x"), size=None
    )
    assert len(found(objects)) == 1


def test_values_ten_times_off_are_found_and_spread_out_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    speed = rng.normal(50, 3, 200)
    speed[17], speed[40] = 512.0, 4.9
    frame = pl.DataFrame(
        {
            "split": "train",
            "image_id": [f"{index}.jpg" for index in range(200)],
            "meta_speed": speed,
            "meta_fast": np.where(speed > 100, 80.0, speed),
            "meta_distance": 10 ** rng.uniform(0, 4, 200),
            "meta_latitude": np.where(speed > 50, -speed, speed),
            "meta_word": "rain",
            "meta_unknown": pl.Series([None] * 200, dtype=pl.Float64),
        }
    )
    issues = implausible.find_values(frame, [name for name in frame.columns if name.startswith("meta_")])
    assert issues.select("image_id", "code").rows() == [
        ("17.jpg", "implausible_value"), ("40.jpg", "implausible_value"), ("40.jpg", "implausible_value"),
    ]  # fmt: skip
    assert issues["message"][0].startswith("speed is usually 4")
    assert issues["message"][0].endswith("512.0 would be usual with its dot one place further left")
    assert issues["message"][1].endswith("4.9 would be usual with its dot one place further right")
    assert implausible.find_values(frame.head(19), ["meta_speed"]).is_empty()


@pytest.mark.skipif(not VOC.is_dir(), reason="needs ../shared/data/voc")
def test_false_alarms_are_rare_on_real_labels() -> None:
    data = dataset.read(VOC, "voc", role="eval")
    boxes = data.labels.with_columns(split=pl.lit("eval"))
    sizes = boxes.select("image_id", width="file_width", height="file_height")
    issues = implausible.find(boxes, sizes)
    assert len(issues) <= 0.005 * len(boxes)
    narrow = boxes.with_row_index("row").with_columns(
        x2=pl.when(pl.col("row") % 40 == 0).then(pl.col("x1") + (pl.col("x2") - pl.col("x1")) / 10).otherwise("x2")
    )
    corrupted = narrow.filter(pl.col("row") % 40 == 0)
    hit = implausible.find(narrow, sizes).join(corrupted, on=["image_id", "object_id"], how="semi")
    assert len(hit) >= 0.4 * len(corrupted)

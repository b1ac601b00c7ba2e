"""What is known of photos from elsewhere (``meta_*``) is covered like any attribute of photos."""

import polars as pl
from worlds import CATALOG, Side, world

from xai.coverage.analyse import analyse
from xai.coverage.bins import bin_columns, fit_user_bins, inherit, is_of_photos


def rainy(side: Side) -> Side:
    """Photos with strong glare were taken in the rain; one photo holds no object."""
    rain = pl.when(pl.col("glare") > 0.6).then(pl.lit("rain")).otherwise(pl.lit("dry"))
    images = side.images.with_columns(meta_weather=rain, meta_speed=pl.col("brightness") * 120)
    bare = images.head(1).with_columns(image_id=pl.lit("bare.jpg"), meta_weather=pl.lit("rain"))
    return Side(pl.concat([images, bare]), side.objects)


def test_objects_inherit_what_is_known_of_their_photo() -> None:
    images = pl.DataFrame({"image_id": ["a", "b"], "meta_weather": ["rain", None], "glare": [0.1, 0.9], "camera": "x"})
    objects = pl.DataFrame({"image_id": ["b", "a", "gone", "a"], "object_id": [0, 0, 0, 1]})
    got = inherit(objects, images, CATALOG)
    assert got.columns == ["image_id", "object_id", "glare", "meta_weather"]
    assert got["meta_weather"].to_list() == [None, "rain", None, "rain"]
    assert is_of_photos("meta_weather", CATALOG)
    assert is_of_photos("glare", CATALOG)
    assert not is_of_photos("crowding", CATALOG)


def test_words_and_numbers_are_binned_like_label_columns() -> None:
    images = rainy(world(1)).images
    bins = fit_user_bins(images)
    assert set(bins) == {"meta_weather", "meta_speed"}
    assert bins["meta_weather"] == ("dry", "rain")
    assert len(bins["meta_speed"]) == 4
    assert set(bin_columns(images, {}, bins)["meta_weather"]) == {"dry", "rain"}


def test_coverage_counts_photos_and_names_the_condition() -> None:
    train, evaluation = rainy(world(2, glare=0.01)), rainy(world(3, glare=0.25, glare_risk=4))
    found = analyse(train, evaluation, train_detected=False, catalog={"object_size": CATALOG["object_size"]})
    rows = found.coverage.filter((pl.col("attribute") == "meta_weather") & pl.col("label").is_null())
    assert rows["level"].unique().to_list() == ["image"]
    by_bin = {row["bin"]: row for row in rows.iter_rows(named=True)}
    assert by_bin["rain"]["eval_photos"] == (evaluation.images["meta_weather"] == "rain").sum()
    assert by_bin["rain"]["assessment"] == "coverage_gap"
    assert by_bin["rain"]["collect"] > 0
    assert "meta_weather=rain" in found.slices["slice"].to_list()
    assert ["meta_weather=rain"] in found.uncovered["pattern"].to_list()
    assert "meta_weather" in found.bins.columns


def test_a_training_set_without_metadata_is_not_called_uncovered() -> None:
    evaluation = rainy(world(3, glare=0.25, glare_risk=4))
    found = analyse(world(2), evaluation, train_detected=False, catalog=CATALOG)
    rows = found.coverage.filter(pl.col("attribute") == "meta_weather")
    assert rows["train_count"].null_count() == len(rows)
    assert "coverage_gap" not in rows["assessment"].to_list()
    assert not any("meta_" in part for pattern in found.uncovered["pattern"] for part in pattern)

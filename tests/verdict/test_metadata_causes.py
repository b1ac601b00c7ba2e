"""Causes that lie in what is known of photos, and verdicts that respect groups of photos."""

import numpy as np
import polars as pl
import pytest
from planted import World, judge, world

from xai.verdict import joint


def rained_on(side: World, share: float, risk: float, seed: int) -> World:
    """A share of the photos was taken in the rain, and so much more of their objects is missed."""
    rng = np.random.default_rng(seed)
    wet = rng.random(len(side.images)) < share
    images = side.images.with_columns(
        meta_weather=pl.when(pl.Series(wet)).then(pl.lit("rain {wet}")).otherwise(pl.lit("dry"))
    )
    joined = side.objects.join(images.select("image_id", "meta_weather"), on="image_id", maintain_order="left")
    hit = (joined["meta_weather"] == "rain {wet}").to_numpy() & (rng.random(len(joined)) < risk)
    objects = side.objects.with_columns(outcome=pl.when(pl.Series(hit)).then(pl.lit("missed")).otherwise("outcome"))
    lost = objects.filter(pl.col("outcome") == "missed")
    errors = lost.select(
        pl.Series("error_id", [f"{index:012x}" for index in range(len(lost))]), pl.col("outcome").alias("kind"),
        "image_id", "object_id", pl.lit(None, pl.Int64).alias("prediction_id"), "label",
        pl.lit("no_candidate").alias("mechanism"), pl.lit(0.01).alias("best_score"), pl.lit(0.6).alias("best_iou"),
        pl.col("label").alias("best_label"), pl.lit("meta_weather:rain {wet}").alias("truth"),
    )  # fmt: skip
    return World(images, objects, errors)


def test_the_weather_of_the_metadata_is_named() -> None:
    train = rained_on(world(1, 900, {}), 0.01, 0.5, 3)
    evaluation = rained_on(world(2, 700, {}), 0.2, 0.5, 4)
    result = judge(train, evaluation)
    told = result.verdicts.filter(pl.col("cause") == "meta_weather:rain {wet}")
    assert len(told) > 100
    sentence = told["sentence"][0]
    assert sentence.startswith("The photo of this ")
    assert "is marked “weather: rain {wet}”." in sentence
    assert "are in photos marked “weather: rain {wet}”" in sentence
    assert told["attribute"].unique().to_list() == ["meta_weather"]


def test_copies_of_photos_within_groups_count_once() -> None:
    rng = np.random.default_rng(5)
    count = 400
    dark = rng.random(count) < 0.3
    frame = pl.DataFrame(
        {
            "image_id": [str(index) for index in range(count)],
            "label": "car",
            "brightness": np.where(dark, "dark", "normal"),
        }
    )
    miss = rng.random(count) < np.where(dark, 0.4, 0.1)
    copies = pl.concat([frame.with_columns(image_id=pl.col("image_id") + f" {copy}") for copy in range(6)])
    groups = copies.select("image_id", group=pl.col("image_id").str.extract(r"^(\d+)"))
    conditions = [("brightness", "dark")]
    deviations = [
        float(np.sqrt(joint.fit(table, lost, conditions, images).covariance[0, 0]))
        for table, lost, images in (
            (frame, miss, None),
            (copies, np.tile(miss, 6), groups),
            (copies, np.tile(miss, 6), None),
        )
    ]
    assert deviations[1] == pytest.approx(deviations[0], rel=0.2)
    assert deviations[2] < 0.6 * deviations[0]

"""Photos of one group are one draw: k copies of a photo in its group say no more than the photo."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from worlds import CATALOG, Side, world

from xai import tables
from xai.config import Promise
from xai.coverage.bins import fit_user_bins
from xai.coverage.promise import Answer, promise
from xai.coverage.sample import sample
from xai.coverage.slices import slices
from xai.coverage.table import tabulate

NOTHING = pl.DataFrame(schema={"image_id": pl.String, "outcome": pl.String})


def copied(side: Side, times: int) -> Side:
    """Every photo several times, each set of copies in a group of its own."""
    copies = [pl.lit(f" copy {copy}") for copy in range(times)]
    own = pl.col("image_id")
    images = pl.concat([side.images.with_columns(group=own, image_id=own + copy) for copy in copies])
    return Side(images, pl.concat([side.objects.with_columns(image_id=own + copy) for copy in copies]))


def covered(side: Side) -> pl.DataFrame:
    user = fit_user_bins(side.objects)
    return tabulate(None, sample(side.images, side.objects, CATALOG, user), CATALOG, user, labels=False)


def recall(side: Side, groups: pl.DataFrame | None) -> Answer:
    (answer,) = promise(side.objects, NOTHING, Promise(recall=0.9), groups)
    return answer


def test_copies_within_groups_leave_rates_and_ratios_as_they_are() -> None:
    once, many = world(3, glare=0.25, glare_risk=3), copied(world(3, glare=0.25, glare_risk=3), 5)
    single, grouped = covered(once), covered(many)
    alone = covered(Side(many.images.drop("group"), many.objects))
    key = ["attribute", "bin"]
    assert single.select(key).equals(grouped.select(key))
    for low, high in (("miss_rate_low", "miss_rate_high"), ("adjusted_low", "adjusted_high")):
        width = [(table[high].log() - table[low].log()).to_numpy() for table in (single, grouped, alone)]
        told = np.isfinite(width).all(axis=0)
        assert told.sum() >= 8
        # The objects of a photo are then not quite independent any more: they repeat.
        assert width[1][told] == pytest.approx(width[0][told], rel=0.15)
        assert (width[2][told] < 0.75 * width[0][told]).all()
    assert grouped["eval_photos"].to_list() == (5 * single["eval_photos"]).to_list()
    assert grouped["miss_photos"].to_list() == (5 * single["miss_photos"]).to_list()


def test_copies_within_groups_leave_the_promise_as_it_is() -> None:
    once, many = world(5), copied(world(5), 5)
    single, grouped, alone = recall(once, None), recall(many, many.images), recall(many, None)
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high), abs=0.003)
    assert alone.low is not None
    assert single.low is not None
    assert alone.low > single.low + 0.005
    assert (grouped.photos, grouped.groups) == (5 * single.photos, single.photos)
    assert f" in {grouped.photos:,} photos ({single.photos} groups) were found" in grouped.sentence
    assert single.groups is None
    assert "group" not in single.sentence


def test_what_is_needed_is_said_in_photos_and_groups() -> None:
    table = pl.DataFrame({"image_id": [str(i) for i in range(100)], "outcome": ["missed"] * 5 + ["found"] * 95})
    groups = pl.DataFrame({"image_id": table["image_id"], "group": [f"site {i // 2}" for i in range(100)]})
    (answer,) = promise(table, NOTHING, Promise(recall=0.93), groups)
    assert answer.answer == "not shown"
    assert answer.groups == 50
    assert answer.photos_needed is not None
    assert (
        f"{answer.photos_needed:,} photos in all, in about {answer.photos_needed / 2:,.0f} groups," in answer.sentence
    )


def test_groups_are_scaled_on_those_of_all_photos() -> None:
    """A class in 100 photos of 50 sites, and 300 photos of 150 more sites without one: 400 photos are 200 groups."""
    table = pl.DataFrame({"image_id": [str(i) for i in range(100)], "outcome": ["missed"] * 5 + ["found"] * 95})
    names = [str(i) for i in range(400)]
    groups = pl.DataFrame({"image_id": names, "group": [f"site {i // 2}" for i in range(400)], "status": "ok"})
    (answer,) = promise(table, NOTHING, Promise(recall=0.93), groups)
    assert answer.groups == 50
    assert answer.photos_needed is not None
    assert f"in about {answer.photos_needed / 2:,.0f} groups," in answer.sentence


def test_slices_do_not_take_copies_for_confirmation() -> None:
    quiet = world(11, photos=120, size_risk=1.0)
    many = copied(quiet, 8)
    user = fit_user_bins(many.objects)
    found = [
        slices(None, sample(images, many.objects, CATALOG, user), CATALOG, user)
        for images in (many.images, many.images.drop("group"))
    ]
    assert len(found[0]) <= len(found[1])
    assert found[0].is_empty()


def test_a_photo_without_group_is_its_own_draw_whatever_it_is_called() -> None:
    images = pl.DataFrame({"image_id": ["a", "b", "c", "d"], "group": ["d", "d", None, None]})
    codes = tables.draws(pl.Series(["a", "b", "c", "d", "d", "gone"]), images).to_list()
    assert codes[0] == codes[1]
    assert codes[3] == codes[4]
    assert len(set(codes)) == 4
    assert tables.draws(pl.Series(["b", "a", "b"]), None).to_list() == [1, 0, 1]
    assert tables.draws(pl.Series([], dtype=pl.String), images).to_list() == []


def test_one_group_of_all_photos_says_nothing() -> None:
    side = world(7, photos=60)
    images = side.images.with_columns(group=pl.lit("the only site"))
    user = fit_user_bins(side.objects)
    table = tabulate(None, sample(images, side.objects, CATALOG, user), CATALOG, user, labels=False)
    bounds = table.filter(pl.col("bin") != "unknown").select("miss_rate_low", "miss_rate_high").drop_nulls()
    assert all(high - low > 0.4 for low, high in bounds.iter_rows())
    answer = recall(side, images)
    assert answer.answer == "not shown"
    assert answer.groups == 1


def test_clusters_grow_intervals_with_the_size_of_the_groups() -> None:
    side = world(9, photos=240, glare=0.5, glare_risk=4)
    order = side.images.sort("glare")["image_id"]
    widths = []
    for size in (1, 4, 20):
        groups = pl.DataFrame({"image_id": order, "group": [f"{index // size}" for index in range(len(order))]})
        answer = recall(side, groups)
        assert answer.low is not None
        assert answer.high is not None
        widths.append(answer.high - answer.low)
    assert all(left < right for left, right in pairwise(widths))

"""Columns of objects and of their photos, read one at a time."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from worlds import CATALOG, Side, world

from xai.coverage import analyse
from xai.coverage.bins import bin_columns, fit_user_bins, inherit
from xai.coverage.columns import fit_user_bins as fit_by_column
from xai.coverage.sample import sample


def rough(seed: int) -> Side:
    """A data set with all that one can be: groups, unread, repeated and absent photos, ignored objects, no order."""
    rng = np.random.default_rng(seed)
    plain = world(seed, 60)
    photos, things = len(plain.images), len(plain.objects)
    images = plain.images.with_columns(
        status=pl.Series(np.where(rng.random(photos) < 0.1, "photo_empty", "ok")),
        meta_weather=pl.Series(rng.choice(["dry", "rain", "", "Unknown"], photos)),
        meta_warmth=pl.Series(rng.normal(10, 8, photos)).set(pl.Series(rng.random(photos) < 0.1), None),
        group=pl.Series(rng.choice(["a", "b", "c"], photos)).set(pl.Series(rng.random(photos) < 0.5), None),
    )
    objects = plain.objects.with_columns(
        outcome=pl.when(pl.Series(rng.random(things) < 0.1)).then(pl.lit("ignored")).otherwise("outcome"),
        label_kind=pl.Series(rng.integers(0, 40, things)),
        crowding=pl.when(pl.Series(rng.random(things) < 0.1)).then(None).otherwise("crowding"),
    )
    absent = objects.head(3).with_columns(image_id=pl.lit("nowhere"))
    return Side(
        pl.concat([images, images.head(2).with_columns(glare=0.9)]),
        pl.concat([objects, absent]).sample(fraction=1, shuffle=True, seed=seed),
    )


@pytest.mark.parametrize("seed", range(3))
def test_bins_equal_those_of_whole_tables(seed: int) -> None:
    side = rough(seed)
    user = fit_user_bins(inherit(side.objects, side.images, CATALOG))
    assert fit_by_column(side.images, side.objects, CATALOG) == user
    assert list(fit_by_column(side.images, side.objects, CATALOG)) == list(user)
    scored = side.objects.filter(pl.col("outcome") != "ignored")
    read = side.images.filter(pl.col("status") == "ok")
    whole = bin_columns(inherit(scored, read, CATALOG), CATALOG, user)
    found = sample(side.images, side.objects, CATALOG, user)
    got = found.named()
    assert_frame_equal(got.with_columns(pl.col(pl.Enum).cast(pl.String)), whole.select(got.columns))
    assert set(found.codes) == {*CATALOG, *user}
    assert found.objects["image_id"].n_unique() == len(np.unique(found.photo))


def test_lazy_tables_give_the_same_analysis(tmp_path: Path) -> None:
    sides = [rough(seed) for seed in (4, 5)]
    lazy = []
    for place, side in enumerate(sides):
        for name in ("images", "objects"):
            getattr(side, name).write_parquet(tmp_path / f"{name} {place}.parquet", row_group_size=50)
        lazy.append(Side(*(pl.scan_parquet(tmp_path / f"{name} {place}.parquet") for name in ("images", "objects"))))
    expected = analyse(*sides, train_detected=True, catalog=CATALOG)
    got = analyse(*lazy, train_detected=True, catalog=CATALOG)
    for name in ("coverage", "slices", "uncovered", "bins", "plan"):
        assert_frame_equal(getattr(got, name), getattr(expected, name))

"""Coverage where nobody labelled anything: reported misses against production and training photos.

Without labels there is no miss rate and no count of objects; what can be compared is photos. A photo with a reported
miss takes the place of a missed object, and a risk ratio is how many times as often photos of a kind are reported as
others: an estimate of the ratio of miss rates as far as people report all kinds of misses alike (a case-cohort design,
Prentice, Biometrika 1986).
"""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

from xai import tables
from xai.config import Promise
from xai.coverage import collect
from xai.coverage.analyse import Analysis, LoadedTables
from xai.coverage.bins import UNKNOWN, Catalog, UserBins, catalog_or_default, fit_user_bins, inherit
from xai.coverage.gaps import uncovered
from xai.coverage.misread import COLUMNS
from xai.coverage.plan import plan
from xai.coverage.promise import Answer
from xai.coverage.sample import sample
from xai.coverage.slices import slices
from xai.coverage.table import tabulate
from xai.rules import MISSES

PHOTO = "photo"
"""Label of a photo that stands for what is in it."""

NO_OBJECT = -1
"""``object_id`` of such a row."""

_RATES = ("miss_rate", "miss_rate_low", "miss_rate_high", "train_miss_rate")
_COMPARED = (
    "eval_count", "eval_photos", "eval_share", "risk_ratio", "risk_ratio_low", "risk_ratio_high",
    "adjusted_risk_ratio", "adjusted_low", "adjusted_high", "q_value", "assessment", "collect",
    "eval_share_low", "eval_share_high", *collect.COLUMNS,
)  # fmt: skip


def analyse_cases(
    train: LoadedTables | None, production: LoadedTables, *, train_detected: bool, catalog: Catalog | None = None
) -> Analysis:
    """Compare reported misses with production and training photos.

    In rows of image attributes, slices and patterns everything is counted in photos: ``eval_*`` is production,
    ``train_*`` training; ``miss_count`` and ``miss_share`` alone are of reported misses. Ratios are of report rates per
    photo, and the adjusted ones equal the crude ones: nothing is known to adjust for. Rows of object attributes have
    the shares of reported misses and of training objects and no comparison. Miss rates are null throughout.

    Args:
        train: images and objects of the training set, or None.
        production: production photos, and the reported misses as objects; those that the detector finds do not count.
        train_detected: whether the detector was run on (some of) the training photos.
        catalog: attributes by name; ``attributes.ATTRIBUTES`` if left out.
    """
    catalog = catalog_or_default(catalog)
    cases = production.objects.filter(pl.col("outcome").is_in(list(MISSES)))
    photos = _photos(production.images, cases)
    everywhere = fit_user_bins(inherit(photos, production.images, catalog))
    user = bins_of_cases(production.objects, production.images, catalog)
    right = sample(production.images, photos, catalog, everywhere)
    left = None
    if train:
        asked = train.objects if train_detected else train.objects.clear()
        left = sample(train.images, _as_objects(train.images, asked, quiet=None), catalog, everywhere)
    by_photo = tabulate(left, right, catalog, everywhere, labels=False)
    of_cases = sample(production.images, cases, catalog, user)
    of_training = sample(train.images, train.objects, catalog, user, detected=False) if train else None
    by_object = tabulate(of_training, of_cases, catalog, user, labels=False)
    coverage = pl.concat([_with_cases(by_photo, by_object), _uncompared(by_object, by_photo)])
    told = of_cases.named().select(pl.exclude("label"), label=pl.lit(PHOTO))
    quiet = right.where(~right.miss).named()
    words = cs.enum().cast(pl.String)  # the two may have other bins of the user's columns of objects
    bins = pl.concat([told.with_columns(words), quiet.with_columns(words)], how="diagonal_relaxed")
    patterns = uncovered(left, right, catalog, everywhere)
    return Analysis(
        coverage=coverage.select(*tables.TABLES["coverage"], *COLUMNS, *collect.COLUMNS),
        slices=_without_rates(slices(left, right, catalog, everywhere)),
        uncovered=patterns,
        bins=bins.with_columns(pl.exclude("image_id", "object_id", "label").fill_null(UNKNOWN)),
        compared=pl.concat([cases, photos.filter(pl.col("outcome") == "found")], how="diagonal_relaxed"),
        plan=plan(patterns, left, right, catalog, everywhere),
    )


def unanswered(promised: Promise) -> list[Answer]:
    """Return that reported misses alone answer no promise: what was found, and what nobody reported, is not known."""
    return [
        Answer(
            metric=metric,
            target=target,
            confidence=promised.confidence,
            answer="not shown",
            rate=None,
            low=None,
            high=None,
            numerator=0,
            denominator=0,
            photos=0,
            photos_needed=None,
            sentence=(
                f"Whether the promised {metric} of {100 * target:.4g}% is kept cannot be told from reported misses: "
                "label a random sample of the photos (xai sample) to answer it."
            ),
        )
        for metric, target in (("recall", promised.recall), ("precision", promised.precision))
        if target is not None
    ]


def _as_objects(images: pl.DataFrame, objects: pl.DataFrame, *, quiet: str | None) -> pl.DataFrame:
    """Return one row per photo that was read: missed where one of its objects is, else found where one is.

    Args:
        images: the photos.
        objects: with outcomes.
        quiet: outcome of photos that hold neither.
    """
    photos = images.filter(pl.col("status") == "ok").select("image_id")
    outcome = pl.col("outcome")
    told = objects.group_by("image_id").agg(missed=outcome.is_in(list(MISSES)).any(), found=(outcome == "found").any())
    joined = photos.join(told, on="image_id", how="left", maintain_order="left")
    return joined.select(
        "image_id",
        object_id=pl.lit(NO_OBJECT, pl.Int64),
        label=pl.lit(PHOTO),
        outcome=pl.when("missed").then(pl.lit("missed")).when("found").then(pl.lit("found")).otherwise(pl.lit(quiet)),
    )


def _with_cases(by_photo: pl.DataFrame, by_object: pl.DataFrame) -> pl.DataFrame:
    """Count reported misses in place of photos that have one."""
    keys = ["attribute", "bin"]
    counted = by_object.select(*keys, "miss_count", "miss_share")
    rows = by_photo.drop("miss_count", "miss_share").join(counted, on=keys, how="left", maintain_order="left")
    none = pl.lit(0.0 if counted["miss_count"].sum() else None, pl.Float64)
    filled = rows.with_columns(pl.col("miss_count").fill_null(0), pl.coalesce("miss_share", none))
    return _without_rates(filled).select(by_photo.columns)


def _uncompared(by_object: pl.DataFrame, by_photo: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows of attributes that photos do not have, with what production cannot tell as null."""
    rows = by_object.filter(~pl.col("attribute").is_in(by_photo["attribute"].unique().to_list()))
    return _without_rates(rows.with_columns(pl.lit(None).cast(rows.schema[name]).alias(name) for name in _COMPARED))


def _without_rates(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.lit(None, pl.Float64).alias(name) for name in _RATES if name in table.columns)


def bins_of_cases(objects: pl.DataFrame, images: pl.DataFrame, catalog: Catalog | None = None) -> UserBins:
    """Return the bins of the user's columns of reported misses.

    Columns of photos have the same bins on both sides: a report is counted in the bin that its photo is counted in.

    Args:
        objects: reported objects of production, with outcomes; those that the detector finds do not count.
        images: production photos.
        catalog: attributes by name; ``attributes.ATTRIBUTES`` if left out.
    """
    cases = objects.filter(pl.col("outcome").is_in(list(MISSES)))
    everywhere = fit_user_bins(inherit(_photos(images, cases), images, catalog_or_default(catalog)))
    return {**fit_user_bins(cases), **everywhere}


def _photos(images: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    """Photos as objects: missed where one is reported."""
    return _as_objects(images, cases.with_columns(outcome=pl.lit("missed")), quiet="found")

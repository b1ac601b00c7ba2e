"""Bins both data sets once and makes the three tables of coverage from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import polars as pl

from xai.catalog import OF_DETECTOR
from xai.coverage.bins import Catalog, catalog_or_default
from xai.coverage.columns import fit_user_bins
from xai.coverage.gaps import uncovered
from xai.coverage.plan import plan
from xai.coverage.sample import sample
from xai.coverage.slices import slices
from xai.coverage.table import tabulate
from xai.tables import Frame


class Tables(Protocol):
    """A scanned data set: what ``analyse`` reads of it, from lazy tables one column at a time."""

    @property
    def images(self) -> Frame: ...  # noqa: D102
    @property
    def objects(self) -> Frame: ...  # noqa: D102


class LoadedTables(Protocol):
    """A scanned data set in memory."""

    @property
    def images(self) -> pl.DataFrame: ...  # noqa: D102
    @property
    def objects(self) -> pl.DataFrame: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What the comparison of training and evaluation set found.

    Attributes:
        coverage: ``tables.TABLES["coverage"]``.
        slices: ``tables.TABLES["slices"]``.
        uncovered: ``tables.TABLES["uncovered"]``.
        bins: the scored evaluation objects with ``image_id object_id label`` and the bin of every attribute, Enum or
            String; in a reported-cases run the cases, and the photos without one.
        compared: the same rows with outcome and values, which misses are compared with; None for the evaluation's own.
        plan: ``plan.SCHEMA``: photos to collect, so that no pattern with misses stays uncovered.
    """

    coverage: pl.DataFrame
    slices: pl.DataFrame
    uncovered: pl.DataFrame
    bins: pl.DataFrame
    compared: pl.DataFrame | None
    plan: pl.DataFrame


def analyse(
    train: Tables | None, evaluation: Tables, *, train_detected: bool, catalog: Catalog | None = None
) -> Analysis:
    """Compare where the evaluation set fails with what the training set holds.

    Args:
        train: images and objects of the training set, or None.
        evaluation: images and objects of the evaluation set, with outcomes.
        train_detected: whether the detector was run on (some of) the training photos.
        catalog: attributes by name; ``xai.catalog.CATALOG`` if left out.
    """
    catalog = catalog_or_default(catalog)
    user = fit_user_bins(evaluation.images, evaluation.objects, catalog)
    right = sample(evaluation.images, evaluation.objects, catalog, user)
    left = sample(train.images, train.objects, catalog, user, detected=train_detected) if train else None
    # What training lacks is what is novel, so that patterns of novelty would say one thing twice.
    plain = {name: item for name, item in catalog.items() if name not in OF_DETECTOR}
    named, known = right.of(plain, user), left.of(plain, user) if left else None
    patterns = uncovered(known, named, plain, user)
    return Analysis(
        coverage=tabulate(left, right, catalog, user),
        slices=slices(known, named, plain, user),
        uncovered=patterns,
        bins=right.named(),
        compared=None,
        plan=plan(patterns, known, named, plain, user),
    )

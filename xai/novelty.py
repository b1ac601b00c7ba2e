"""Novelty in a run's tables: which objects look unlike anything in training, and what they look most alike to.

The base is stated once, here: training objects that are scored, in the photos that the detector was run on (of training
``data.train.detect`` photos at most, drawn at random). Objects of the same photo, or group of photos, are no neighbours
of each other in training.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from xai import tables
from xai.dataset import codes
from xai.detect.detector import resolve_device
from xai.detect.novelty import NEAREST, Novelty, Objects, novelty
from xai.reference import Reference
from xai.rules import MISSES
from xai.scan import Split
from xai.types import ModelCard

COLUMN = "novelty"


def with_novelty(
    train: Reference | None, judged: Split, card: ModelCard, device: str
) -> tuple[Reference | None, Split, pl.DataFrame]:
    """Add ``novelty`` to the objects of training and of the judged split where it can be told.

    Args:
        train: the training side; features that other weights made, or nobody knows which, are not compared with, which
            is an issue of the split.
        judged: the evaluation or production photos.
        card: of the detector that made the features of ``judged``.
        device: as in the config.

    Returns:
        Both sides, and rows of ``tables.BESIDE["nearest"]`` for the misses of ``judged``.
    """
    nothing = tables.empty(tables.BESIDE["nearest"])
    if train is None or train.tables.features.is_empty() or judged.features.is_empty():
        return train, judged, nothing
    if not train.features_fit(card):
        text = (
            "the object features of the profile were made by other weights than the detector's, or it is not known by "
            "which; novelty is not told. Make the profile again with 'xai profile --detector CONFIG'"
        )
        issue = codes.table([codes.issue("profile_other_weights", text, split="train")])
        return train, replace(judged, issues=tables.stack([judged.issues, issue], tables.ISSUES)), nothing
    left, right = _scored(train.tables), _scored(judged)
    vocabulary = pl.concat([left["label"], right["label"]]).unique().sort().to_list()
    order = {name: code for code, name in enumerate(vocabulary)}
    found = novelty(
        _objects(left, train.tables.images, order), _objects(right, judged.images, order), resolve_device(device)
    )
    tagged = replace(train.tables, objects=_attach(train.tables.objects, left, found.train))
    told = replace(judged, objects=_attach(judged.objects, right, found.judged))
    return replace(train, tables=tagged), told, _nearest(left, right, found)


def _scored(split: Split) -> pl.DataFrame:
    """Objects that count and have features."""
    scored = split.objects.filter(pl.col("outcome").is_not_null() & (pl.col("outcome") != "ignored"))
    keys = scored.select("image_id", "object_id", "label", "outcome")
    return keys.join(split.features, on=["image_id", "object_id"], how="inner", maintain_order="left")


def _objects(rows: pl.DataFrame, images: pl.DataFrame, order: dict[str, int]) -> Objects:
    return Objects(
        rows["features"].to_numpy(),
        rows["label"].replace_strict(order, return_dtype=pl.Int64).to_numpy(),
        tables.draws(rows["image_id"], images).to_numpy(),
    )


def _attach(objects: pl.DataFrame, rows: pl.DataFrame, values: np.ndarray) -> pl.DataFrame:
    keys = ["image_id", "object_id"]
    told = rows.select(keys).with_columns(pl.Series(COLUMN, values, dtype=pl.Float64).fill_nan(None))
    return objects.drop(COLUMN, strict=False).join(told, on=keys, how="left", maintain_order="left")


def _nearest(train: pl.DataFrame, judged: pl.DataFrame, found: Novelty) -> pl.DataFrame:
    """Rows of the misses and their nearest training objects, rank by rank."""
    lost = np.flatnonzero(judged["outcome"].is_in(list(MISSES)).to_numpy())
    query, rank = (axis.ravel() for axis in np.broadcast_arrays(lost[:, None], np.arange(NEAREST)))
    place = found.nearest[query, rank]
    kept = place >= 0
    query, rank, place = query[kept], rank[kept], place[kept]
    of_train = train.select(train_image_id="image_id", train_object_id="object_id")[place]
    rows = judged.select("image_id", "object_id")[query].with_columns(
        rank=pl.Series(rank + 1, dtype=pl.Int64), distance=pl.Series(found.distance[query, rank], dtype=pl.Float64)
    )
    return tables.conform(pl.concat([rows, of_train], how="horizontal"), tables.BESIDE["nearest"])

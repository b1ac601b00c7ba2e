"""What the detector tells of the photos whose `rotation` or `roll` the attribute does not tell.

Only photos with misses are asked about, so that what is told of them is evidence for a verdict and must not reach the
counts of the coverage table, where found objects would be compared with them.
"""

from __future__ import annotations

import polars as pl

from xai import tables
from xai.verdict.conditions import misses


def with_upright(images: pl.DataFrame, bins: pl.DataFrame, told: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Fill in the rotation of photos that had none.

    Args:
        images: photos with ``rotation``, null where it could not be told.
        bins: ``coverage.Analysis.bins``.
        told: ``image_id`` and ``rotation`` (``evidence.upright.which_way_up``).

    Returns:
        Photos and bins; the same where either lacks the attribute.
    """
    return _filled(images, bins, told, "rotation", pl.col("turn").cast(pl.Int64).cast(pl.String))


def with_level(images: pl.DataFrame, bins: pl.DataFrame, told: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Fill in the roll of photos that had none; arguments as in ``with_upright``, ``told`` of ``evidence.tilted``."""
    return _filled(
        images, bins, told, "roll", pl.when(pl.col("turn") < 0).then(pl.lit("left")).otherwise(pl.lit("right"))
    )


def _filled(
    images: pl.DataFrame, bins: pl.DataFrame, told: pl.DataFrame, attribute: str, name: pl.Expr
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if told.is_empty() or attribute not in images.columns or attribute not in bins.columns:
        return images, bins
    turns = told.select("image_id", turn=attribute)
    photos = images.join(turns, on="image_id", how="left", maintain_order="left")
    objects = bins.join(turns, on="image_id", how="left", maintain_order="left")
    is_blank = (pl.col(attribute) == "unknown") & pl.col("turn").is_not_null()
    return (
        photos.with_columns(pl.coalesce(attribute, "turn").alias(attribute)).drop("turn"),
        objects.with_columns(pl.when(is_blank).then(name).otherwise(attribute).alias(attribute)).drop("turn"),
    )


def upright_lines(told: pl.DataFrame, errors: pl.DataFrame) -> pl.DataFrame:
    """Return a line of evidence for each miss on a photo that the detector takes for turned.

    ``kind`` is ``upright``, ``name`` is ``rotation``, ``before`` the probability of that turn by the photo alone,
    ``after`` with the detector's help, ``effect`` their difference.
    """
    lost = misses(errors).join(told.filter(pl.col("rotation") != 0), on="image_id")
    lines = lost.select(
        "error_id",
        kind=pl.lit("upright"),
        name=pl.lit("rotation"),
        before=pl.col("alone"),
        after=pl.col("together"),
        effect=pl.col("together") - pl.col("alone"),
    )
    return tables.conform(lines, tables.TABLES["evidence"])


def level_lines(told: pl.DataFrame, errors: pl.DataFrame) -> pl.DataFrame:
    """Return a line of evidence for each miss on a photo that the detector takes for tilted.

    ``kind`` is ``upright``, ``name`` is ``roll``, ``before`` how sure the detector is of what it finds in the photo
    tilted further (the sum of its squared scores), ``after`` in the photo levelled, ``effect`` their difference.
    """
    lost = misses(errors).join(told, on="image_id")
    lines = lost.select(
        "error_id",
        kind=pl.lit("upright"),
        name=pl.lit("roll"),
        before=pl.col("further"),
        after=pl.col("levelled"),
        effect=pl.col("levelled") - pl.col("further"),
    )
    return tables.conform(lines, tables.TABLES["evidence"])


def with_hidden(
    objects: pl.DataFrame, bins: pl.DataFrame, errors: pl.DataFrame, told: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Call objects much occluded of which the detector sees a part only, whatever the boxes in front of them say.

    Args:
        objects: evaluation objects with ``occlusion``.
        bins: ``coverage.Analysis.bins``.
        errors: all errors of the run.
        told: lines of evidence, of which those of kind ``part`` are read (``evidence.hidden``).

    Returns:
        Objects, whose ``occlusion`` is then null where it was not much before: nobody measured how much is hidden; and
        bins.
    """
    told = told.filter(pl.col("kind") == "part")
    if told.is_empty() or "occlusion" not in objects.columns or "occlusion" not in bins.columns:
        return objects, bins
    keys = ["image_id", "object_id"]
    seen = errors.join(told, on="error_id", how="semi").select(*keys, hides=True)
    values = objects.join(seen, on=keys, how="left", maintain_order="left")
    names = bins.join(seen, on=keys, how="left", maintain_order="left")
    more = names.select(
        *keys, "hides", more=pl.col("hides").fill_null(False) & (pl.col("occlusion").cast(pl.String) != "much")
    )
    blank = values.join(more.select(*keys, "more"), on=keys, how="left", maintain_order="left")
    values = blank.with_columns(occlusion=pl.when(pl.col("more").fill_null(False)).then(None).otherwise("occlusion"))
    much = pl.when(more["more"]).then(pl.lit("much")).otherwise("occlusion")
    return values.drop("hides", "more"), names.with_columns(much.alias("occlusion")).drop("hides")

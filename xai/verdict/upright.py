"""What the detector tells of the photos whose `rotation` the attribute does not tell.

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
    if told.is_empty() or "rotation" not in images.columns or "rotation" not in bins.columns:
        return images, bins
    turns = told.select("image_id", turn="rotation")
    photos = images.join(turns, on="image_id", how="left", maintain_order="left")
    objects = bins.join(turns, on="image_id", how="left", maintain_order="left")
    is_blank = (pl.col("rotation") == "unknown") & pl.col("turn").is_not_null()
    name = pl.col("turn").cast(pl.Int64).cast(pl.String)
    return (
        photos.with_columns(pl.coalesce("rotation", "turn").alias("rotation")).drop("turn"),
        objects.with_columns(rotation=pl.when(is_blank).then(name).otherwise("rotation")).drop("turn"),
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

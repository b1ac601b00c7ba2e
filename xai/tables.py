"""The tables of a run: their columns, and how they reach the disk.

Every table is Parquet with one row per thing. ``TABLES`` is the contract that other programs read; tables that carry
attributes have further columns, named as in ``attributes.ATTRIBUTES``, ``label_*`` (of objects, from label files) or
``meta_*`` (of photos, from ``data.metadata``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from xai.exceptions import RunError
from xai.files import replacing

Schema = Mapping[str, pl.DataType | type[pl.DataType]]

Frame = pl.DataFrame | pl.LazyFrame
"""A table in memory, or one whose columns are read from its files when they are asked for."""

_KEY: Schema = {"split": pl.String, "image_id": pl.String}
_BOX: Schema = {"x1": pl.Float64, "y1": pl.Float64, "x2": pl.Float64, "y2": pl.Float64}

_FIGURES: Schema = {
    "train_count": pl.Int64,
    "train_photos": pl.Int64,
    "train_share": pl.Float64,
    "train_miss_rate": pl.Float64,
    "eval_count": pl.Int64,
    "eval_photos": pl.Int64,
    "eval_share": pl.Float64,
    "miss_count": pl.Int64,
    "miss_photos": pl.Int64,
    "miss_share": pl.Float64,
    "miss_rate": pl.Float64,
    "miss_rate_low": pl.Float64,
    "miss_rate_high": pl.Float64,
    "risk_ratio": pl.Float64,
    "risk_ratio_low": pl.Float64,
    "risk_ratio_high": pl.Float64,
    "adjusted_risk_ratio": pl.Float64,
    "adjusted_low": pl.Float64,
    "adjusted_high": pl.Float64,
    "q_value": pl.Float64,
    "assessment": pl.String,
    "collect": pl.Int64,
}

TABLES: dict[str, Schema] = {
    "images": {
        **_KEY,
        "status": pl.String,
        "width": pl.Int64,
        "height": pl.Int64,
        "exif_orientation": pl.Int64,
        "captured_at": pl.String,
        "camera": pl.String,
        "focal_length": pl.Float64,
    },
    "objects": {
        **_KEY,
        "object_id": pl.Int64,
        "label": pl.String,
        **_BOX,
        "outcome": pl.String,
        "prediction_id": pl.Int64,
        "score": pl.Float64,
        "iou": pl.Float64,
    },
    "predictions": {
        **_KEY,
        "prediction_id": pl.Int64,
        "label": pl.String,
        "score": pl.Float64,
        **_BOX,
        "outcome": pl.String,
        "object_id": pl.Int64,
    },
    "errors": {
        "error_id": pl.String,
        "kind": pl.String,
        "image_id": pl.String,
        "object_id": pl.Int64,
        "prediction_id": pl.Int64,
        "label": pl.String,
        "mechanism": pl.String,
        "best_score": pl.Float64,
        "best_iou": pl.Float64,
        "best_label": pl.String,
    },
    "coverage": {"attribute": pl.String, "bin": pl.String, "label": pl.String, "level": pl.String, **_FIGURES},
    "slices": {"slice": pl.String, "conditions": pl.List(pl.String), **_FIGURES},
    "uncovered": {
        "pattern": pl.List(pl.String),
        "train_count": pl.Int64,
        "eval_count": pl.Int64,
        "miss_count": pl.Int64,
        "collect": pl.Int64,
    },
    "evidence": {
        "error_id": pl.String,
        "kind": pl.String,
        "name": pl.String,
        "before": pl.Float64,
        "after": pl.Float64,
        "placebo": pl.Float64,
        "effect": pl.Float64,
    },
    "verdicts": {
        "error_id": pl.String,
        "cause": pl.String,
        "verdict": pl.String,
        "strength": pl.Float64,
        "mechanism": pl.String,
        "attribute": pl.String,
        "value": pl.String,
        "bin": pl.String,
        "train_share": pl.Float64,
        "eval_share": pl.Float64,
        "miss_share": pl.Float64,
        "risk_ratio": pl.Float64,
        "repair": pl.String,
        "sentence": pl.String,
        "runner_up": pl.String,
        "runner_up_strength": pl.Float64,
    },
    "issues": {
        **_KEY,
        "object_id": pl.Int64,
        "code": pl.String,
        "severity": pl.String,
        "message": pl.String,
        "file": pl.String,
        "line": pl.Int64,
    },
}

ISSUES = TABLES["issues"]

LABELS: Schema = {
    "image_id": pl.String,
    "object_id": pl.Int64,
    "label": pl.String,
    **_BOX,
    "normalised": pl.Boolean,
    "ignore": pl.String,
    "file": pl.String,
    "line": pl.Int64,
}
"""Labels as read (``types.Dataset.labels``), beside ``label_*`` columns. ``label`` is the data set's own class name;
``ignore`` is null or why the object is not scored (``difficult``, ``crowd``)."""

CANDIDATES: Schema = {
    "cand_score": pl.Float64,
    "cand_iou": pl.Float64,
    "cand_other_score": pl.Float64,
    "cand_other_label": pl.String,
    "cand_loose_score": pl.Float64,
    "cand_loose_iou": pl.Float64,
    "cand_max_iou": pl.Float64,
    "cand_proposal_iou": pl.Float64,
    "cand_target": pl.Float64,
}
"""What the candidates say about each annotated object; kept in the shards beside ``objects``, read by the mechanism."""

BESIDE: dict[str, Schema] = {
    "nearest": {
        "image_id": pl.String,
        "object_id": pl.Int64,
        "rank": pl.Int64,
        "train_image_id": pl.String,
        "train_object_id": pl.Int64,
        "distance": pl.Float64,
    },
    "stress": {
        "condition": pl.String,
        "dose": pl.Float64,
        "unit": pl.String,
        "objects": pl.Int64,
        "photos": pl.Int64,
        "found": pl.Int64,
        "recall": pl.Float64,
        "recall_low": pl.Float64,
        "recall_high": pl.Float64,
        "breaks": pl.Float64,
        "attribute": pl.String,
        "value": pl.Float64,
        "eval_beyond": pl.Float64,
        "train_beyond": pl.Float64,
    },
    "false_detections": {
        "error_id": pl.String,
        "kind": pl.String,
        "cause": pl.String,
        "score": pl.Float64,
        "overlap": pl.Float64,
        "other_label": pl.String,
        "sentence": pl.String,
    },
    "relabel": {
        **_KEY,
        "object_id": pl.Int64,
        "prediction_id": pl.Int64,
        "check": pl.String,
        "score": pl.Float64,
        "threshold": pl.Float64,
        "doubtful": pl.Boolean,
        "reason": pl.String,
        "label": pl.String,
        **_BOX,
        "suggested_label": pl.String,
        **{f"suggested_{name}": dtype for name, dtype in _BOX.items()},
    },
}
"""Tables of a run beside the contract's. ``nearest``: for each missed object the training objects of its class that
look most alike to the detector, ``rank`` 1 first; ``distance`` 0 (alike) to 2. ``relabel``: labels to look at, most
doubtful first; ``prediction_id`` instead of ``object_id`` where a label seems to be missing.
``stress``: the recall of found objects under graded conditions, empty without ``explain.stress``.
``false_detections``: a verdict on every error of the kinds ``background`` and ``duplicate``."""

FEATURES = ("image_id", "object_id", "features")
"""Columns of the features of objects, in shards and profiles: ``features`` is an array of at most 512 float16."""


def features(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate tables of features, those without rows left out; without any, ``features`` is an array of none."""
    parts = [frame for frame in frames if len(frame)]
    if parts:
        return pl.concat(parts)
    return pl.DataFrame(schema={"image_id": pl.String, "object_id": pl.Int64, "features": pl.Array(pl.Float16, 0)})


def empty(schema: Schema) -> pl.DataFrame:
    """Return a table without rows."""
    return pl.DataFrame(schema=dict(schema))


def conform(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Put the contract's columns first, in order and type, missing ones null; further columns follow as they are."""
    fixed = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    ]
    return frame.select(*fixed, *[name for name in frame.columns if name not in schema])


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write a Parquet file so that readers see either the old file or the whole new one."""
    with replacing(path) as temporary:
        frame.write_parquet(temporary)


def scan(folder: Path, table: str) -> pl.LazyFrame:
    """Open one table of a run, of ``TABLES`` or ``BESIDE``; what is asked of it decides what is read.

    Raises:
        RunError: the table is not there, is damaged, or lacks a column of the contract.
    """
    path = folder / f"{table}.parquet"
    if not path.is_file():
        raise RunError(f"expected a finished run with {path.name}, found none in {folder}: run 'xai triage' to the end")
    frame = pl.scan_parquet(path)
    try:
        present = frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(f"{path} is damaged ({error}): triage again") from error
    missing = [name for name in (TABLES | BESIDE)[table] if name not in present]
    if missing:
        absent = ", ".join(missing)
        raise RunError(f"{path} lacks the columns {absent}: it was written by another version; triage again")
    return frame


def read(folder: Path, table: str) -> pl.DataFrame:
    """Read one table of a run whole; as ``scan``."""
    return scan(folder, table).collect()


def columns(frame: Frame, *names: str) -> pl.DataFrame:
    """Return some columns of a table, and read no others."""
    return frame.lazy().select(names).collect()


def stack(frames: Iterable[pl.DataFrame], schema: Schema) -> pl.DataFrame:
    """Concatenate tables whose further columns may differ; absent ones become null."""
    parts = list(frames)
    return conform(pl.concat(parts, how="diagonal_relaxed"), schema) if parts else empty(schema)


def draws(image_ids: pl.Series, images: pl.DataFrame | None) -> pl.Series:
    """Return (n,) codes from 0 of the independent draws that rows belong to: their photo's group, else the photo.

    Args:
        image_ids: (n,) the photo of each row.
        images: ``image_id`` and, where photos are drawn in groups (a site, a video), ``group``, null for a photo that
            is a draw of its own; None where every photo is.

    >>> images = pl.DataFrame({"image_id": ["a", "b", "c"], "group": ["c", "c", None]})
    >>> draws(pl.Series(["a", "b", "c", "c"]), images).to_list()
    [0, 0, 1, 1]
    """
    runs = image_ids.rle().struct.unnest()  # rows of one photo stand side by side as a rule
    rows = runs.select("len", image_id="value").with_columns(key=pl.concat_str(pl.lit("photo "), "image_id"))
    if images is not None and "group" in images.columns:
        groups = images.select("image_id", "group").unique("image_id", keep="first")
        rows = rows.join(groups, on="image_id", how="left", maintain_order="left")
        rows = rows.with_columns(key=pl.coalesce(pl.concat_str(pl.lit("group "), "group"), "key"))
    codes = rows["key"].rank("dense").cast(pl.Int64) - 1
    return pl.Series(np.repeat(codes.to_numpy(), rows["len"].to_numpy()))

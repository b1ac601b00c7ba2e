"""Verdicts on detections that are errors of their own: of nothing annotated (``background``), or of what has one.

The words are those of TIDE's background and duplicate errors (Bolya et al., "TIDE: a general toolbox for identifying
object detection errors", ECCV 2020). What is wrong may be the label as well as the detector.
"""

from __future__ import annotations

import polars as pl

from xai import tables
from xai.verdict.words import article, percent

KINDS = ("background", "duplicate")

SURE = 0.2
"""A detection is sure if its score exceeds the threshold by this much."""

APART = 0.3
"""Share of a detection up to which annotated boxes may cover it for it to be of something that nobody annotated."""

INSIDE = 0.8
"""Share of a detection from which it lies inside an annotated box."""

SCHEMA = tables.BESIDE["false_detections"]

_CORNERS = ("x1", "y1", "x2", "y2")


def judge_detections(
    errors: pl.DataFrame,
    objects: pl.DataFrame,
    predictions: pl.DataFrame,
    *,
    score_threshold: float,
    match_iou: float,
    nms_iou: float,
) -> pl.DataFrame:
    """Return one verdict per error of the kinds ``background`` and ``duplicate``.

    The first that applies; how often each is right was not measured, so that no strength is stated:

    - ``suppression``: a duplicate that overlaps the detection which found the object by no more than ``nms_iou``, so
      that suppression kept both;
    - ``look_alike``: it overlaps an annotated object of another class by ``match_iou``;
    - ``missing_annotation``: the score passes the threshold by 0.2, and annotated boxes of any class, ignored ones
      included, cover at most 30% of it;
    - ``unexplained``.

    Args:
        errors: all errors of the run.
        objects: evaluation objects with boxes.
        predictions: evaluation detections.
        score_threshold: the deployed threshold.
        match_iou: IoU at which a detection finds an object.
        nms_iou: IoU from which non-maximum suppression takes the weaker of two detections of a class.

    Returns:
        Columns of ``SCHEMA``: ``overlap`` is the IoU with the detection or object that the verdict speaks of, or the
        share of the detection that is annotated; ``other_label`` that object's class.
    """
    keys = ["image_id", "prediction_id"]
    false = errors.filter(pl.col("kind").is_in(KINDS)).select("error_id", "kind", *keys, "object_id", "label")
    false = false.join(predictions.select(*keys, "score", *_CORNERS), on=keys, how="left", maintain_order="left")
    rows = [
        _verdict(row, score_threshold, match_iou, nms_iou)
        for row in _with_partner(_with_neighbour(false, objects), predictions).iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=dict(SCHEMA), orient="row")


def _with_neighbour(false: pl.DataFrame, objects: pl.DataFrame) -> pl.DataFrame:
    """Put beside each detection the annotated object of another class and of its own that overlap it most."""
    drawn = objects.filter(pl.col("x1").is_not_null()).select(
        "image_id", drawn="label", **{f"o{corner}": pl.col(corner) for corner in _CORNERS}
    )
    pairs = false.select("error_id", "image_id", "label", *_CORNERS).join(drawn, on="image_id")
    pairs = pairs.with_columns(_common("o")).with_columns(
        iou=pl.col("common") / (_area("") + _area("o") - pl.col("common")), share=pl.col("common") / _area("")
    )
    other = (
        pairs.filter(pl.col("drawn") != pl.col("label"))
        .sort("iou", descending=True)
        .unique("error_id", keep="first")
        .select("error_id", other_label="drawn", other_iou="iou")
    )
    any_class = pairs.group_by("error_id").agg(
        share=pl.col("share").max(), within=pl.col("drawn").sort_by("share").last()
    )
    joined = false.join(other, on="error_id", how="left", maintain_order="left")
    return joined.join(any_class, on="error_id", how="left", maintain_order="left")


def _with_partner(false: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Put beside each duplicate its IoU with the detection that found its object."""
    finders = predictions.filter(pl.col("outcome") == "matched").select(
        "image_id", "object_id", **{f"o{corner}": pl.col(corner) for corner in _CORNERS}
    )
    joined = false.join(finders, on=["image_id", "object_id"], how="left", maintain_order="left")
    joined = joined.with_columns(_common("o"))
    return joined.with_columns(finder_iou=pl.col("common") / (_area("") + _area("o") - pl.col("common")))


def _common(side: str) -> pl.Expr:
    width, height = (
        (pl.min_horizontal(f"{axis}2", f"{side}{axis}2") - pl.max_horizontal(f"{axis}1", f"{side}{axis}1")).clip(0)
        for axis in ("x", "y")
    )
    return (width * height).alias("common")


def _area(side: str) -> pl.Expr:
    return (pl.col(f"{side}x2") - pl.col(f"{side}x1")) * (pl.col(f"{side}y2") - pl.col(f"{side}y1"))


def _verdict(
    row: dict[str, object], score_threshold: float, match_iou: float, nms_iou: float
) -> tuple[object, str, str, object, float | None, str | None, str]:
    label, kind, score = str(row["label"]), str(row["kind"]), row["score"]
    shown = "" if not isinstance(score, float) else f" (score {score:.2f})"
    finder, other, share = (_number(row[name]) for name in ("finder_iou", "other_iou", "share"))

    def told(cause: str, overlap: float | None, other_label: str | None, text: str) -> tuple[object, ...]:
        return row["error_id"], kind, cause, score, overlap, other_label, text

    if kind == "duplicate" and finder is not None and finder <= nms_iou:
        result = told(
            "suppression", finder, label,
            f"This {label} is detected twice{shown}: the two boxes overlap by {percent(finder)}, which suppression at "
            f"nms_iou {nms_iou:g} keeps.",
        )  # fmt: skip
    elif other is not None and other >= match_iou:
        name = str(row["other_label"])
        result = told(
            "look_alike", other, name,
            f"{article(name).capitalize()} is annotated here (overlap {percent(other)}), and the detector sees "
            f"{article(label)}{shown} as well: the classes look alike, or the annotated one is wrong.",
        )  # fmt: skip
    elif (
        kind == "background" and isinstance(score, float) and score >= score_threshold + SURE and (share or 0) <= APART
    ):
        result = told(
            "missing_annotation", share or 0.0, None,
            f"The detector is sure of {article(label)}{shown} where nothing is annotated: look whether one is missing.",
        )  # fmt: skip
    else:
        where = ""
        if share is not None and share >= INSIDE:
            where = f" inside what is annotated as {article(str(row['within']))}"
        result = told(
            "unexplained", share, None,
            f"The detector sees {article(label)}{shown}{where}. Why, these data do not tell.",
        )  # fmt: skip
    return result  # type: ignore[return-value]


def _number(value: object) -> float | None:
    return value if isinstance(value, float) and value == value else None

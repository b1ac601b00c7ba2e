"""The list of labels to look at, most doubtful first: each with a score, a threshold, a reason, what it should be.

Without a detector a label is doubted for its shape alone. Detections add what they contradict: a label that no
candidate supports, a box that fits a detection once a slip is undone, another class with confidence, and objects that
nobody annotated. A score is 0–1 and ranks; from ``threshold`` on a label is ``doubtful``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xai import tables
from xai.dataset import codes
from xai.labels import odds, shapes
from xai.labels.shapes import CORNERS, Floats
from xai.rules import MISSES

REVIEW = tables.BESIDE["relabel"]


@dataclass(frozen=True, slots=True)
class Check:
    """One way in which labels can be wrong.

    Attributes:
        threshold: score from which a label is doubtful.
        what: what is told.
    """

    threshold: float
    what: str


CHECKS: Mapping[str, Check] = {
    "invalid": Check(0.5, "the label was refused or changed when it was read"),
    "misplaced_dot": Check(0.3, "a number with its dot one digit further would fit what is detected"),
    "swapped_axes": Check(0.3, "with x and y exchanged it would fit what is detected"),
    "size_as_corner": Check(0.3, "width and height seem to stand where the far corner belongs"),
    "shifted": Check(0.3, "something of its class and size is detected beside it"),
    "wrong_class": Check(0.75, "something of another class is detected at its place"),
    "unsupported": Check(0.72, "nothing of its class is detected there, not even faintly"),
    "implausible": Check(0.4, "its shape, size or place is unlike its class"),
    "duplicate": Check(0.3, "another label of its class has nearly the same box"),
    "missing": Check(0.9, "something is detected that nobody annotated"),
}

"""Thresholds lie at or above what all but one of 594 labels of the tuning half of VOC reach as they are
(`tests/benchmarks/label_checks.py`): what is doubtful on sound labels is the exception."""

FAR = 6.0
"""Robust standard deviations at which an implausible box has the score 0.5."""

FIT = 0.5
"""IoU with a detection from which a box, put right, fits it."""

TWIN = 0.6
"""IoU of two labels of one class from which they may be of one object; score 0 there, 1 at identity."""

FAINT = 0.02
"""Score of a candidate that supports its label half."""

_INVALID = {
    "negative_area": 1.0, "zero_area": 1.0, "box_off_photo": 1.0, "not_finite": 1.0, "not_a_number": 1.0,
    "missing_field": 1.0, "normalised_pixel_mixup": 1.0, "box_outside_photo": 0.97, "duplicate_box": 1.0,
}  # fmt: skip
"""Issues of single labels, with the score that they give."""

_CODES = {"implausible": "implausible_box", "duplicate": "twin_box"}
"""Check → code of the issue that says it without a detector."""


def review(
    objects: pl.DataFrame,
    images: pl.DataFrame,
    predictions: pl.DataFrame | None = None,
    *,
    reference: tuple[pl.DataFrame, pl.DataFrame] | None = None,
    reference_predictions: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return what is doubtful about the labels of a split, most doubtful first, one row per label and missing label.

    Args:
        objects: ``split image_id object_id label x1 y1 x2 y2 ignore``; with outcomes and ``tables.CANDIDATES`` where a
            detector was run. Ignored ones are not judged, and explain detections.
        images: their photos with ``image_id width height``.
        predictions: of the split, with outcomes; None where no detector was run.
        reference: objects and images that tell what is usual of each class; those of the split itself if left out.
        reference_predictions: detections of these, which tell how surely a detection has a label; likewise.

    Returns:
        Columns ``REVIEW``, of every check the best row of each label; sorted by score over threshold.
    """
    placed = _placed(objects, images)
    judged = placed.filter(pl.col("ignore").is_null())
    usual = shapes.usual((_placed(*reference) if reference else judged).filter(pl.col("ignore").is_null()))
    classes = judged.select("label").join(usual, on="label", how="left", maintain_order="left")
    rows = [_implausible(judged, classes), _duplicates(judged)]
    if predictions is not None:
        asked, annotated = judged.filter(pl.col("outcome").is_not_null()), set(judged["label"].unique())
        seen = (_placed(*reference), reference_predictions) if reference and reference_predictions is not None else None
        rows += [
            _slipped(asked, predictions, usual),
            _shifted(asked, predictions),
            _wrong_class(asked, annotated),
            _unsupported(asked, predictions),
            _missing(placed, predictions, annotated, seen),
        ]
    return ordered(rows)


def from_issues(issues: pl.DataFrame) -> pl.DataFrame:
    """Return rows of ``REVIEW`` for labels that were refused or changed when they were read."""
    told = issues.filter(pl.col("code").is_in(list(_INVALID)) & pl.col("image_id").is_not_null())
    score = pl.col("code").replace_strict(_INVALID, default=None, return_dtype=pl.Float64)
    return _rows(told.with_columns(score=score, reason=pl.col("message")), "invalid")


def as_issues(rows: pl.DataFrame) -> pl.DataFrame:
    """Return an issue for every doubtful label of what photos and labels alone tell: a strange box, a twin."""
    code = pl.col("check").replace_strict(_CODES, default=None, return_dtype=pl.String)
    told = rows.filter(pl.col("doubtful") & pl.col("check").is_in(list(_CODES))).with_columns(code=code)
    severities = {code: codes.CODES[code].severity for code in _CODES.values()}
    severity = pl.col("code").replace_strict(severities, return_dtype=pl.String)
    return tables.conform(told.with_columns(severity=severity, message="reason"), tables.ISSUES).select(
        list(tables.ISSUES)
    )


def ordered(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Stack rows of checks, keep of each label (and missing label) the one that says most, most doubtful first."""
    rows = tables.stack(parts, REVIEW)
    rows = rows.with_columns(strength=_strength(pl.col("score"), pl.col("threshold")))
    keys = ["split", "image_id", "object_id", "prediction_id"]
    rows = rows.sort(["strength", *keys, "check"], descending=[True, *[False] * 5], nulls_last=True)
    # Label files that cannot be read name no object: each of their rows stays.
    nameless = pl.col("object_id").is_null() & pl.col("prediction_id").is_null()
    first = rows.filter(~nameless).unique(keys, keep="first", maintain_order=True)
    kept = pl.concat([first, rows.filter(nameless)])
    return kept.sort(["strength", *keys], descending=[True, *[False] * 4], nulls_last=True).drop("strength")


def _strength(score: pl.Expr, threshold: pl.Expr) -> pl.Expr:
    """Odds of the score over those of the threshold, so that checks of different thresholds share one order."""
    odds = [value.clip(1e-6, 1 - 1e-6) / (1 - value.clip(1e-6, 1 - 1e-6)) for value in (score, threshold)]
    return odds[0] / odds[1]


def _placed(objects: pl.DataFrame, images: pl.DataFrame) -> pl.DataFrame:
    sizes = images.select("image_id", "width", "height").unique("image_id")
    return objects.join(sizes, on="image_id", how="inner", maintain_order="left").filter(pl.col("x1").is_not_null())


def _rows(found: pl.DataFrame, check: str) -> pl.DataFrame:
    told = found.with_columns(check=pl.lit(check), threshold=pl.lit(CHECKS[check].threshold))
    told = told.with_columns(doubtful=pl.col("score") >= pl.col("threshold"))
    if check != "missing" and "prediction_id" in told.columns:
        # A row speaks of a label or of a detection: with both, one label doubted twice would be two.
        told = told.with_columns(prediction_id=pl.lit(None, told.schema["prediction_id"]))
    return tables.conform(told, REVIEW).select(list(REVIEW))


def _implausible(judged: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    sizes = judged.select("width", "height").to_numpy().astype(np.float64)
    off, measure = shapes.strangeness(shapes.corners(judged), sizes, classes)
    score = off**2 / (off**2 + FAR**2)
    told = judged.with_columns(score=pl.Series(score), measure=pl.Series(measure), off=pl.Series(off))
    reason = pl.format(
        "{} is {} robust standard deviations from what is usual of {}", _word("measure"), _round("off"), "label"
    )
    return _rows(told.filter(pl.col("score") > 0.1).with_columns(reason=reason), "implausible")


def _duplicates(judged: pl.DataFrame) -> pl.DataFrame:
    """Of two labels of nearly one box the one that no detection took, else the later."""
    sides = judged.with_row_index("row").select(
        "row", "image_id", "label", *CORNERS, lost=pl.col("outcome").is_in(list(MISSES)).fill_null(True)
    )
    pairs = sides.join(sides, on=["image_id", "label"], suffix="_twin").filter(pl.col("row") != pl.col("row_twin"))
    if pairs.is_empty():
        return tables.empty(REVIEW)
    twin = pairs.select(*[pl.col(f"{name}_twin").alias(name) for name in CORNERS])
    pairs = pairs.with_columns(overlap=pl.Series(shapes.iou(shapes.corners(pairs), shapes.corners(twin))))
    worse = (pl.col("lost") & ~pl.col("lost_twin")) | (
        (pl.col("lost") == pl.col("lost_twin")) & (pl.col("row") > pl.col("row_twin"))
    )
    found = pairs.filter(worse & (pl.col("overlap") > TWIN)).group_by("row").agg(pl.col("overlap").max())
    told = judged.with_row_index("row").join(found, on="row")
    told = told.with_columns(
        score=(pl.col("overlap") - TWIN) / (1 - TWIN),
        reason=pl.format("another {} has nearly the same box (IoU {})", "label", _round("overlap", 2)),
    )
    return _rows(told, "duplicate")


def _slipped(asked: pl.DataFrame, predictions: pl.DataFrame, usual: pl.DataFrame) -> pl.DataFrame:
    """Labels that are not found and fit a free detection of their class once a slip is undone."""
    pairs = _beside(asked, predictions)
    if pairs.is_empty():
        return tables.empty(REVIEW)
    names, meant = shapes.slips(shapes.corners(pairs))
    seen = _detected(pairs)
    fit = shapes.iou(meant, seen[:, None])
    best = fit.argmax(axis=1)
    rows = np.arange(len(pairs))
    gain = np.clip((fit[rows, best] - FIT) / (1 - FIT), 0, 1) ** 0.5
    score = gain * pairs["det_score"].to_numpy() ** 0.5 * (1 - _own(pairs))
    told = pairs.with_columns(
        score=pl.Series(score),
        slip=pl.Series(np.array(names)[best]),
        fit=pl.Series(fit[rows, best]),
        suggested_label=pl.col("label"),
        **{f"suggested_{name}": pl.Series(meant[rows, best, column]) for column, name in enumerate(CORNERS)},
    ).filter(pl.col("score") > 0)
    told = told.with_columns(
        reason=pl.format(
            "put right it overlaps a detected {} (score {}) by {}", "label", _round("det_score", 2), _round("fit", 2)
        )
    )
    return tables.stack([_rows(told.filter(pl.col("slip") == name), name) for name in dict.fromkeys(names)], REVIEW)


def _shifted(asked: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Labels that are not found, beside a free detection of their class and size."""
    pairs = _beside(asked, predictions)
    if pairs.is_empty():
        return tables.empty(REVIEW)
    boxes, seen = shapes.corners(pairs), _detected(pairs)
    centred = seen + np.tile((boxes[:, :2] + boxes[:, 2:] - seen[:, :2] - seen[:, 2:]) / 2, 2)
    same_size, overlap = shapes.iou(boxes, centred), shapes.iou(boxes, seen)
    near = np.abs(boxes - seen)[:, :2].max(axis=1) <= 1.5 * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    score = np.clip((same_size - FIT) / (1 - FIT), 0, 1) ** 0.5 * pairs["det_score"].to_numpy() ** 0.5
    score *= (1 - _own(pairs)) * near
    told = pairs.with_columns(
        score=pl.Series(score),
        overlap=pl.Series(overlap),
        suggested_label=pl.col("label"),
        **{f"suggested_{name}": pl.Series(seen[:, column]) for column, name in enumerate(CORNERS)},
    ).filter(pl.col("score") > 0)
    reason = pl.format(
        "a {} of its size is detected beside it (score {}, overlap {})",
        "label", _round("det_score", 2), _round("overlap", 2),
    )  # fmt: skip
    return _rows(told.with_columns(reason=reason), "shifted")


def _wrong_class(asked: pl.DataFrame, annotated: set[str]) -> pl.DataFrame:
    """Labels whose place the candidates give to another class that is annotated; of others nobody could draw a box."""
    own, other = pl.col("cand_score").fill_null(0), pl.col("cand_other_score").fill_null(0)
    told = asked.filter((other > own) & pl.col("cand_other_label").is_in(list(annotated)))
    told = told.with_columns(
        score=other * (1 - own),
        suggested_label=pl.col("cand_other_label"),
        **{f"suggested_{name}": pl.col(name) for name in CORNERS},
        reason=pl.format(
            "taken for {} with score {}, for {} with {}",
            "cand_other_label", _round("cand_other_score", 2), "label", own.round(2),
        ),
    )  # fmt: skip
    return _rows(told, "wrong_class")


def _unsupported(asked: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Labels without even a faint candidate; more so where the photo's other labels lack one too."""
    known = asked.filter(pl.col("cand_target").is_not_null())
    support = pl.col("cand_score").fill_null(0)
    doubt = FAINT / (support + FAINT)
    told = known.with_columns(doubt=doubt).with_columns(
        others=(pl.col("doubt").sum().over("image_id") + 0.5) / (pl.len().over("image_id") + 1)
    )
    free = predictions.filter(~pl.col("outcome").is_in(["matched", "ignored"])).group_by("image_id")
    seen = free.agg(strongest=pl.col("score").max())
    told = told.join(seen, on="image_id", how="left", maintain_order="left").with_columns(
        score=pl.col("doubt") * (0.5 + 0.25 * pl.col("others") + 0.25 * pl.col("strongest").fill_null(0)),
        reason=pl.format("no candidate of {} above a score of {} fits it", "label", support.round(3)),
    )
    return _rows(told.filter(pl.col("score") > 0.1), "unsupported")


def _missing(
    placed: pl.DataFrame,
    predictions: pl.DataFrame,
    annotated: set[str],
    usual: tuple[pl.DataFrame, pl.DataFrame] | None,
) -> pl.DataFrame:
    """Detections of background, by how surely one like it has a label where labels are as usual."""
    told = _explained(predictions.filter(pl.col("label").is_in(list(annotated))), placed)
    known = _explained(usual[1], usual[0]) if usual else told
    known = known.filter(pl.col("outcome").is_in(["matched", "background"]))
    stray = told.filter(pl.col("outcome") == "background")
    if stray.is_empty() or known["outcome"].n_unique() < 2:
        return tables.empty(REVIEW)
    fitted = odds.fit(_traits(known), (known["outcome"] == "matched").to_numpy())
    stray = stray.with_columns(
        confidence=pl.col("score"),
        score=pl.Series(fitted(_traits(stray))) * (1 - pl.col("explained")),
        suggested_label=pl.col("label"),
        **{f"suggested_{name}": pl.col(name) for name in CORNERS},
        object_id=pl.lit(None, pl.Int64),
    )
    reason = pl.format("a {} is detected with score {} and not annotated", "label", _round("confidence", 2))
    return _rows(stray.with_columns(reason=reason), "missing")


def _explained(predictions: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """Add how much of each detection the labels beside the one that it found explain, its size, and its neighbours.

    ``explained`` 0–1: greatest IoU with a label of any class, or the part of it that lies in one of its own;
    ``neighbours``: labels of its class in the photo that it did not find; ``edges`` of the photo that it reaches.
    """
    frame = predictions.with_row_index("row").join(
        placed.select("image_id", "width", "height").unique("image_id"),
        on="image_id",
        how="left",
        maintain_order="left",
    )
    others = placed.select(
        "image_id", of_object="object_id", of_label="label", **{f"of_{name}": pl.col(name) for name in CORNERS}
    )
    pairs = frame.join(others, on="image_id")
    pairs = pairs.filter((pl.col("outcome") != "matched") | (pl.col("object_id") != pl.col("of_object")))
    seen = shapes.corners(pairs)
    drawn = pairs.select([f"of_{name}" for name in CORNERS]).to_numpy().astype(np.float64).reshape(-1, 4)
    same = pl.col("of_label") == pl.col("label")
    pairs = pairs.with_columns(overlap=pl.Series(shapes.iou(seen, drawn)), inside=pl.Series(_inside(seen, drawn)))
    pairs = pairs.with_columns(part=pl.max_horizontal("overlap", pl.when(same).then(pl.col("inside")).otherwise(0.0)))
    most = pairs.group_by("row").agg(explained=pl.col("part").max(), neighbours=same.sum())
    area = (pl.col("x2") - pl.col("x1")) * (pl.col("y2") - pl.col("y1"))
    edges = [pl.col(name) <= shapes.EDGE * pl.col(side) for name, side in (("x1", "width"), ("y1", "height"))]
    edges += [pl.col(name) >= (1 - shapes.EDGE) * pl.col(side) for name, side in (("x2", "width"), ("y2", "height"))]
    return frame.join(most, on="row", how="left", maintain_order="left").with_columns(
        pl.col("explained", "neighbours").fill_null(0),
        edges=sum((edge.cast(pl.Int64) for edge in edges), start=pl.lit(0)).fill_null(0),
        size=(area / (pl.col("width") * pl.col("height"))).sqrt().log10().fill_null(-1.0).clip(lower_bound=-3.0),
    )


def _traits(detections: pl.DataFrame) -> Floats:
    """(n, 6) what tells whether a detection has a label: its score, size, overlap, neighbours and edges reached."""
    score = pl.col("score").clip(0.001, 0.999)
    size = pl.col("size") + 1
    traits = detections.select(
        (score / (1 - score)).log().alias("odds"),
        size.alias("size"),
        (size**2).alias("size_squared"),
        pl.col("explained"),
        pl.col("neighbours").log1p().alias("neighbours"),
        pl.col("edges"),
    )
    return traits.to_numpy().astype(np.float64)


def _beside(asked: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Pairs of a label that is not found and a detection of its class in its photo that found none."""
    lost = asked.filter(pl.col("outcome").is_in(list(MISSES))).drop("prediction_id", strict=False)
    free = predictions.filter(pl.col("outcome") != "matched").select(
        "image_id", "label", "prediction_id", det_score="score", **{f"det_{name}": pl.col(name) for name in CORNERS}
    )
    pairs = lost.join(free, on=["image_id", "label"], maintain_order="left")
    return pairs.drop("prediction_id")


def _detected(pairs: pl.DataFrame) -> Floats:
    return pairs.select([f"det_{name}" for name in CORNERS]).to_numpy().astype(np.float64).reshape(-1, 4)


def _own(pairs: pl.DataFrame) -> Floats:
    values: Floats = pairs["cand_score"].fill_null(0.0).to_numpy()
    return values


def _inside(seen: Floats, drawn: Floats) -> NDArray[np.float64]:
    """Share of each first box that lies in the second."""
    common = np.prod(
        np.clip(np.minimum(seen[:, 2:], drawn[:, 2:]) - np.maximum(seen[:, :2], drawn[:, :2]), 0, None), axis=1
    )
    area = np.prod(seen[:, 2:] - seen[:, :2], axis=1)
    share: Floats = np.divide(common, area, out=np.zeros_like(common), where=area > 0)
    return share


def _round(name: str, digits: int = 1) -> pl.Expr:
    return pl.col(name).round(digits)


def _word(name: str) -> pl.Expr:
    words = {"aspect": "width to height", "size": "size", "middle_x": "place from left to right"}
    words |= {"middle_y": "place from top to bottom", "bottom": "lower edge"}
    return pl.col(name).replace_strict(words, return_dtype=pl.String)

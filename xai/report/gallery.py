"""The gallery: one card per miss, with the picture, the box, what was detected nearby, and the ledger of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from xai.report.pictures import Picture, embed_maps, embed_photos
from xai.report.source import Source
from xai.report.summarize import Summary

MAX_CARDS = 300
"""Misses that get a card with their photo; the rest are rows of a table."""

MAX_ROWS = 2000
"""Rows of that table; the rest is in ``verdicts.parquet``."""

NEARBY = 4
"""Detections drawn beside a miss."""

_REACH = 0.5
"""A detection is nearby if it touches the object's box grown by this part of its size on every side."""

_ZOOM = 3.0
"""The close look shows this many times the box's size, but never less than the next constant of the photo."""

_ZOOM_MIN = 0.15


@dataclass(frozen=True, slots=True)
class Card:
    """One miss as the gallery shows it.

    Attributes:
        row: the miss, columns of ``Source.misses``.
        photo: its picture.
        heat_map: overlay of the same aspect, or None.
        box: x, y, width, height in pixels of the displayed frame; None where nobody said where the object is.
        close: the view box of the close look, same unit.
        nearby: detections around the object: ``label score iou x1 y1 x2 y2``, best overlap first; of an object without
            a box those in the photo, ``iou`` null, its own class and high scores first.
        ledger: its rows of ``evidence.parquet`` by the cause that they speak of, the verdict's own first; then
            "heat map" and "placebo", which speak of none.
    """

    row: Mapping[str, Any]
    photo: Picture
    heat_map: Picture | None
    box: tuple[float, float, float, float] | None
    close: tuple[float, float, float, float]
    nearby: Sequence[Mapping[str, Any]]
    ledger: Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Everything that the gallery's section shows.

    Attributes:
        cards: misses with a photo, by cause, strongest first.
        pictures: the distinct photos of the cards.
        mapped: cards with a heat map.
        rest: misses without a card, rows of ``Source.misses``.
        left_out: misses that are neither a card nor a row.
        causes, labels, mechanisms: the choices of the filters, in order of frequency.
    """

    cards: tuple[Card, ...]
    pictures: tuple[Picture, ...]
    mapped: int
    rest: tuple[Mapping[str, Any], ...]
    left_out: int
    causes: tuple[str, ...]
    labels: tuple[str, ...]
    mechanisms: tuple[str, ...]


def build(source: Source, summary: Summary, *, max_cards: int = MAX_CARDS, max_rows: int = MAX_ROWS) -> Gallery:
    """Choose the misses to show, embed their photos and gather what belongs to each.

    Where there are more misses than cards, every cause gets its strongest ones in turn.

    Raises:
        RunError: a picture in ``gallery/`` or ``maps/`` cannot be read.
    """
    ordered = _order(source.misses, [line.cause for line in summary.causes])
    folder = source.path / "gallery"
    stored = pl.Series([(folder / f"{error_id}.jpg").is_file() for error_id in ordered["error_id"]], dtype=pl.Boolean)
    complete = pl.all_horizontal(pl.col("width", "height").is_not_null())
    possible = ordered.with_columns(stored=stored).filter(pl.col("stored") & complete)
    chosen = possible.sort("turn", "place").head(max_cards).sort("place")
    rest = ordered.join(chosen.select("error_id"), on="error_id", how="anti")

    photos = embed_photos([folder / f"{error_id}.jpg" for error_id in chosen["error_id"]])
    overlays = [source.path / "maps" / f"{error_id}.png" for error_id in chosen["error_id"]]
    maps = embed_maps([file for file in overlays if file.is_file()])
    nearby = _nearby(chosen, source.table("predictions").filter(pl.col("split") == source.split))
    evidence = _grouped(source.table("evidence").join(chosen.select("error_id"), on="error_id", how="semi"))
    cards = tuple(
        Card(
            row=row,
            photo=photos[folder / f"{row['error_id']}.jpg"],
            heat_map=maps.get(overlay),
            box=_box(row),
            close=_close(row),
            nearby=nearby.get(row["error_id"], ()),
            ledger=_ledger(evidence.get(row["error_id"], ()), row["cause"]),
        )
        for row, overlay in zip(chosen.rows(named=True), overlays, strict=True)
    )
    listed = ordered.select("shown_cause", "label", pl.col("mechanism").fill_null("unknown"))
    return Gallery(
        cards=cards,
        pictures=tuple({card.photo.key: card.photo for card in cards}.values()),
        mapped=sum(card.heat_map is not None for card in cards),
        rest=tuple(rest.head(max_rows).rows(named=True)),
        left_out=max(0, rest.height - max_rows),
        causes=tuple(listed["shown_cause"].unique(maintain_order=True)),
        labels=tuple(listed["label"].drop_nulls().unique().sort()),
        mechanisms=tuple(summary.mechanisms),
    )


def facts(miss: pl.DataFrame, evidence: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, Any]:
    """Return ``row``, ``nearby`` and ``ledger`` of one miss, as in ``Card``."""
    row = miss.row(0, named=True)
    nearby = _nearby(miss, predictions).get(row["error_id"], [])
    return {"row": row, "nearby": nearby, "ledger": _ledger(evidence.rows(named=True), row["cause"])}


def _order(misses: pl.DataFrame, causes: Sequence[str]) -> pl.DataFrame:
    """Sort by cause, most frequent first, then by strength; unclear ones come last.

    Adds ``shown_cause`` (chance and unexplained stand for themselves), ``place`` and ``turn`` (rank within the cause).
    """
    verdict, cause = pl.col("verdict"), pl.col("cause")
    shown = pl.when(verdict.is_in(["chance", "unexplained"])).then(verdict).otherwise(cause).fill_null("not judged")
    order = [*causes, "unexplained", "chance", "not judged"]
    rank = {name: place for place, name in enumerate(dict.fromkeys(order))}
    return (
        misses.with_columns(shown_cause=shown)
        .with_columns(rank=pl.col("shown_cause").replace_strict(rank, default=len(rank), return_dtype=pl.Int64))
        .sort(["rank", "strength", "error_id"], descending=[False, True, False], nulls_last=True)
        .with_row_index("place")
        .with_columns(turn=pl.int_range(pl.len()).over("shown_cause"))
        .drop("rank")
    )


def _nearby(misses: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Find the detections that touch the grown box of each miss, best overlap first; see ``Card.nearby``."""
    around = predictions.select("image_id", "label", "score", *(pl.col(side).alias(f"d{side}") for side in _SIDES))
    keys = misses.select("error_id", "image_id", "label", *_SIDES).rename({"label": "missed"})
    pairs = keys.join(around, on="image_id")
    unplaced = pl.col("x1").is_null()
    width, height = pl.col("x2") - pl.col("x1"), pl.col("y2") - pl.col("y1")
    touches = (
        (pl.col("dx1") < pl.col("x2") + _REACH * width)
        & (pl.col("dx2") > pl.col("x1") - _REACH * width)
        & (pl.col("dy1") < pl.col("y2") + _REACH * height)
        & (pl.col("dy2") > pl.col("y1") - _REACH * height)
    )
    wide = pl.min_horizontal("x2", "dx2") - pl.max_horizontal("x1", "dx1")
    high = pl.min_horizontal("y2", "dy2") - pl.max_horizontal("y1", "dy1")
    shared = wide.clip(lower_bound=0) * high.clip(lower_bound=0)
    union = width * height + (pl.col("dx2") - pl.col("dx1")) * (pl.col("dy2") - pl.col("dy1")) - shared
    best = (
        pairs.filter(touches | unplaced)
        .with_columns(
            iou=pl.when(~unplaced).then(shared / union), alike=unplaced & (pl.col("label") == pl.col("missed"))
        )
        .sort(["iou", "alike", "score"], descending=True, nulls_last=True)
        .group_by("error_id", maintain_order=True)
        .head(NEARBY)
        .select("error_id", "label", "score", "iou", *(pl.col(f"d{side}").alias(side) for side in _SIDES))
    )
    return _grouped(best)


_GENERAL = {
    "saliency": "heat map",
    "faithfulness": "heat map",
    "placebo": "placebo",
    "placebo_found": "placebo",
}
"""Kinds of evidence that speak of no cause → their group in the ledger."""

_SIDES = ("x1", "y1", "x2", "y2")


def _ledger(lines: Sequence[Mapping[str, Any]], cause: str | None) -> dict[str, list[Mapping[str, Any]]]:
    """Group lines by the cause that they speak of; see ``Card.ledger``."""
    named: dict[str, list[Mapping[str, Any]]] = {cause: []} if cause else {}
    general: dict[str, list[Mapping[str, Any]]] = {"heat map": [], "placebo": []}
    for line in lines:
        group = _GENERAL.get(line["kind"])
        (general[group] if group else named.setdefault(line["name"], [])).append(line)
    return {name: group for name, group in {**named, **general}.items() if group}


def _box(row: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    if row["x1"] is None:
        return None
    return row["x1"], row["y1"], row["x2"] - row["x1"], row["y2"] - row["y1"]


def _close(row: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return the view box of the close look: the photo's aspect, around the box, inside the photo."""
    width, height = float(row["width"]), float(row["height"])
    if row["x1"] is None:
        return 0.0, 0.0, width, height
    part = max(_ZOOM * (row["x2"] - row["x1"]) / width, _ZOOM * (row["y2"] - row["y1"]) / height, _ZOOM_MIN)
    part = min(1.0, part)
    left = min(max((row["x1"] + row["x2"]) / 2 - part * width / 2, 0), (1 - part) * width)
    top = min(max((row["y1"] + row["y2"]) / 2 - part * height / 2, 0), (1 - part) * height)
    return left, top, part * width, part * height


def _grouped(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in frame.rows(named=True):
        groups.setdefault(row["error_id"], []).append(row)
    return groups

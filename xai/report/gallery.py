"""The gallery: one card per miss, with the picture, the box, what was detected nearby, and the ledger of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from xai.report.cards import NEAREST, Card, Pictures, card_of, detections, grouped, nearby_of
from xai.report.pictures import Picture
from xai.report.source import Source
from xai.report.summarize import Summary

MAX_CARDS = 2000
"""Misses that get a card; the rest is in ``verdicts.parquet``."""

EMBEDDED = 300
"""Cards whose pictures the page holds itself; pictures of the others stay in their folders beside it."""

READABLE = 300
"""Cards that are there to be read without a script; the page holds the others compressed."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Everything that the gallery's section shows.

    Attributes:
        cards: by cause, strongest first.
        readable, packed: those of them that the page holds as text, and those that it holds compressed.
        pictures: the distinct photos that the page holds.
        mapped, repaired, beside: cards with a heat map, with a repaired photo, with pictures beside the page.
        left_out: misses without a card.
        causes, labels, mechanisms: the choices of the filters, the first and last in order of frequency.
        slices: those that hold a miss that is shown: place and conditions.
    """

    cards: tuple[Card, ...]
    readable: tuple[Card, ...]
    packed: tuple[Card, ...]
    pictures: tuple[Picture, ...]
    mapped: int
    repaired: int
    beside: int
    left_out: int
    causes: tuple[str, ...]
    labels: tuple[str, ...]
    mechanisms: tuple[str, ...]
    slices: tuple[tuple[int, Sequence[str]], ...]


def build(
    source: Source,
    summary: Summary,
    slices: Sequence[Mapping[str, Any]] = (),
    *,
    max_cards: int | None = None,
    embedded: int | None = None,
) -> Gallery:
    """Choose the misses to show, embed their photos and gather what belongs to each.

    Where there are more misses than cards, or than cards whose pictures are embedded, every cause gets its strongest
    ones in turn.

    Args:
        source: the run.
        summary: of it.
        slices: rows of ``slices.parquet`` that the gallery can be filtered by.
        max_cards: cards at most; ``MAX_CARDS`` if left out.
        embedded: cards with embedded pictures at most; ``EMBEDDED`` if left out.

    Raises:
        RunError: a picture in ``gallery/``, ``maps/``, ``repairs/`` or ``alike/`` cannot be read.
    """
    by_cause = ordered(source.misses, [line.cause for line in summary.causes])
    chosen = by_cause.sort("turn", "place").head(MAX_CARDS if max_cards is None else max_cards).sort("place")
    shown = Pictures(source.path, chosen, EMBEDDED if embedded is None else embedded)
    nearby = nearby_of(chosen, detections(source, chosen))
    lines = source.scan("evidence").join(
        chosen.lazy().select("error_id"), on="error_id", how="semi", maintain_order="left"
    )
    evidence = grouped(lines.collect())
    alike: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in source.nearest.rows(named=True):
        alike.setdefault((row["image_id"], row["object_id"]), []).append(row)
    wanted = [frozenset(row["conditions"]) for row in slices]
    cards = tuple(
        card_of(
            row,
            shown,
            nearby.get(row["error_id"], ()),
            evidence.get(row["error_id"], ()),
            alike.get((row["image_id"], row["object_id"]), ())[:NEAREST],
            wanted,
        )
        for row in chosen.rows(named=True)
    )
    held = sorted({place for card in cards for place in card.slices})
    pictures = [card.photo for card in cards if card.photo and card.photo.embedded]
    as_text = set(chosen.sort("turn", "place").head(READABLE)["error_id"])
    return Gallery(
        cards=cards,
        readable=tuple(card for card in cards if card.row["error_id"] in as_text),
        packed=tuple(card for card in cards if card.row["error_id"] not in as_text),
        pictures=tuple({picture.key: picture for picture in pictures}.values()),
        mapped=sum(card.heat_map is not None for card in cards),
        repaired=sum(card.repaired is not None for card in cards),
        beside=sum(card.photo is not None and not card.photo.embedded for card in cards),
        left_out=by_cause.height - chosen.height,
        causes=tuple(chosen["shown_cause"].unique(maintain_order=True)),
        labels=tuple(chosen["label"].drop_nulls().unique().sort()),
        mechanisms=tuple(summary.mechanisms),
        slices=tuple((place, slices[place]["conditions"]) for place in held),
    )


def index(gallery: Gallery) -> dict[str, list[Any]]:
    """Return what the filters ask of each card, a list per question in the order of the cards."""
    rows = [card.row for card in gallery.cards]
    return {
        **{name: [row[name] for row in rows] for name in ("error_id", "image_id", "label")},
        "cause": [row["shown_cause"] for row in rows],
        "mechanism": [row["mechanism"] or "unknown" for row in rows],
        "strength": [card.strength or "" for card in gallery.cards],
        "slices": [card.slices for card in gallery.cards],
        "text": [" ".join(filter(None, (row["note"], row["sentence"]))) for row in rows],
    }


def ordered(misses: pl.DataFrame, causes: Sequence[str]) -> pl.DataFrame:
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

"""One miss as the gallery shows it: its picture with the box, what was detected nearby, and the ledger of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from xai.report.causes import UNCLEAR
from xai.report.format import known
from xai.report.pictures import Picture, beside, embed_alike, embed_maps, embed_photos, embed_repairs
from xai.report.source import Source, gathered

STRENGTHS = {"strong": 0.7, "medium": 0.4, "weak": 0.0}
"""Name → least strength of a verdict, in falling order."""

NEARBY = 4
"""Detections drawn beside a miss."""

NEAREST = 5
"""Training objects named beside a miss."""

_REACH = 0.5
"""A detection is nearby if it touches the object's box grown by this part of its size on every side."""

_ZOOM = 3.0
"""The close look shows this many times the box's size, but never less than the next constant of the photo."""

_ZOOM_MIN = 0.15


@dataclass(frozen=True, slots=True)
class Repaired:
    """The photo with one condition taken away, as the detector was shown it; the object is framed in it.

    Attributes:
        picture: of it.
        cause: the condition.
        found: whether the detector found the object then.
    """

    picture: Picture
    cause: str
    found: bool


@dataclass(frozen=True, slots=True)
class Card:
    """One miss as the gallery shows it.

    Attributes:
        row: the miss, columns of ``Source.misses``.
        photo: its picture; None where none was kept.
        heat_map: overlay of the same aspect, or None.
        repaired: the repair that brought it nearest to being found, or None.
        box: x, y, width, height in pixels of the displayed frame; None where nobody said where the object is.
        close: the view box of the close look, same unit; None without a photo.
        nearby: detections around the object: ``label score iou x1 y1 x2 y2``, best overlap first; of an object without
            a box those in the photo, ``iou`` null, its own class and high scores first.
        ledger: its rows of ``evidence.parquet`` by the cause that they speak of, the verdict's own first; then
            "heat map", "placebo" and "control", which speak of none that it shows.
        alike: picture of the first of ``nearest``, side by side, or None.
        nearest: what it looks most alike to in training, ``train_image_id train_object_id distance outcome``.
        slices: places of the slices that the object lies in.
        strength: name of the verdict's strength, None where it names no cause.
    """

    row: Mapping[str, Any]
    photo: Picture | None
    heat_map: Picture | None
    repaired: Repaired | None
    box: tuple[float, float, float, float] | None
    close: tuple[float, float, float, float] | None
    nearby: Sequence[Mapping[str, Any]]
    ledger: Mapping[str, Sequence[Mapping[str, Any]]]
    alike: Picture | None
    nearest: Sequence[Mapping[str, Any]]
    slices: tuple[int, ...]
    strength: str | None


class Pictures:
    """The pictures of the chosen misses: the first in turn inside the page, the others beside it."""

    def __init__(self, run_dir: Path, chosen: pl.DataFrame, embedded: int) -> None:
        self.folder = run_dir
        photos = {name: run_dir / "gallery" / f"{name}.jpg" for name in chosen["error_id"]}
        maps = {name: run_dir / "maps" / f"{name}.png" for name in photos}
        repairs = {file.name.split(".")[0]: file for file in sorted((run_dir / "repairs").glob("*.*.jpg"))}
        measured = set(chosen.filter(pl.all_horizontal(pl.col("width", "height").is_not_null()))["error_id"])
        stored = [name for name in chosen.sort("turn", "place")["error_id"] if photos[name].is_file()]
        stored = [name for name in stored if name in measured]
        inside, outside = stored[:embedded], stored[embedded:]
        page = run_dir / "report.html"

        def existing(files: Mapping[str, Path], names: Sequence[str]) -> list[Path]:
            return [files[name] for name in names if name in files and files[name].is_file()]

        strips = {name: run_dir / "alike" / f"{name}.jpg" for name in photos}
        self.files = {"photo": photos, "map": maps, "repair": repairs, "alike": strips}
        self.made = embed_photos(existing(photos, inside))
        self.made |= embed_maps(existing(maps, inside)) | embed_repairs(existing(repairs, inside))
        self.made |= embed_alike(existing(strips, inside))
        for files in self.files.values():
            self.made |= beside(existing(files, outside), page)

    def of(self, kind: str, error_id: str) -> Picture | None:
        """Return the picture of a miss, None where there is none."""
        file = self.files[kind].get(error_id)
        return self.made.get(file) if file else None

    def repaired(self, error_id: str, evidence: Sequence[Mapping[str, Any]]) -> Repaired | None:
        """Return the repaired photo of a miss with what became of it."""
        picture = self.of("repair", error_id)
        if picture is None:
            return None
        cause = self.files["repair"][error_id].name.split(".")[1]
        told = [line["after"] for line in evidence if line["kind"] == "repair_found" and line["name"] == cause]
        return Repaired(picture, cause, bool(told and told[0] == 1))


def card_of(
    row: Mapping[str, Any],
    shown: Pictures,
    nearby: Sequence[Mapping[str, Any]],
    evidence: Sequence[Mapping[str, Any]],
    nearest: Sequence[Mapping[str, Any]],
    slices: Sequence[frozenset[str]],
) -> Card:
    """Gather what belongs to a miss; the arguments are rows of its own, and the conditions of each slice."""
    photo = shown.of("photo", row["error_id"])
    inside = {*(row["conditions"] or ()), f"label={row['label']}"}
    clear = known(row["strength"]) and row["verdict"] not in UNCLEAR
    return Card(
        row=row,
        photo=photo,
        heat_map=shown.of("map", row["error_id"]),
        repaired=shown.repaired(row["error_id"], evidence),
        box=_box(row),
        close=_close(row) if photo else None,
        nearby=nearby,
        ledger=_ledger(evidence, row["cause"]),
        alike=shown.of("alike", row["error_id"]),
        nearest=nearest,
        slices=tuple(place for place, wanted in enumerate(slices) if wanted <= inside),
        strength=next(name for name, least in STRENGTHS.items() if row["strength"] >= least) if clear else None,
    )


def facts(miss: pl.DataFrame, evidence: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, Any]:
    """Return ``row``, ``nearby`` and ``ledger`` of one miss, as in ``Card``."""
    row = miss.row(0, named=True)
    nearby = nearby_of(miss, predictions).get(row["error_id"], [])
    return {"row": row, "nearby": nearby, "ledger": _ledger(evidence.rows(named=True), row["cause"])}


def detections(source: Source, misses: pl.DataFrame) -> pl.DataFrame:
    """Return the detections in the photos of some misses."""
    photos = misses.lazy().select("image_id").unique()
    found = source.scan("predictions").filter(pl.col("split") == source.split)
    return gathered(found.join(photos, on="image_id", how="semi", maintain_order="left"))


def nearby_of(misses: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
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
    return grouped(best)


_GENERAL = {
    "saliency": "heat map",
    "suppressor": "heat map",
    "faithfulness": "heat map",
    "placebo": "placebo",
    "placebo_found": "placebo",
    "control": "control",
    "control_found": "control",
}
"""Kinds of evidence that speak of no cause → their group in the ledger."""

_TOLD_BY = {"roll": "tilt", **dict.fromkeys(("top", "bottom", "left", "right"), "occlusion")}
"""Names of evidence that are no cause → the cause that it speaks of."""

_OF_KIND = {"neighbours_part": "crowding"}
"""Kinds of evidence that speak of one cause, whatever their name."""

_SIDES = ("x1", "y1", "x2", "y2")


def _ledger(lines: Sequence[Mapping[str, Any]], cause: str | None) -> dict[str, list[Mapping[str, Any]]]:
    """Group lines by the cause that they speak of; see ``Card.ledger``."""
    named: dict[str, list[Mapping[str, Any]]] = {cause: []} if cause else {}
    general: dict[str, list[Mapping[str, Any]]] = {"heat map": [], "placebo": [], "control": []}
    for line in lines:
        group = _GENERAL.get(line["kind"])
        told = _OF_KIND.get(line["kind"]) or _TOLD_BY.get(line["name"], line["name"])
        (general[group] if group else named.setdefault(told, [])).append(line)
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


def grouped(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each miss, in their order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in frame.rows(named=True):
        groups.setdefault(row["error_id"], []).append(row)
    return groups

"""Spends a run's forwards on its misses: repairs first, heat maps with what is left."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from xai import tables
from xai.evidence.experiment import EVIDENCE, run_experiments
from xai.evidence.geometric import Repaired
from xai.evidence.hidden import FORWARDS, part_lines, parts_seen
from xai.evidence.kept import Kept, not_kept
from xai.evidence.maps import explain_maps
from xai.evidence.pictures import write_gallery_photo, write_repaired
from xai.types import Detector, Pixels, Progress, no_progress

GALLERY = 2000
"""Misses at most whose photo is kept for the report, highest priority first."""


def explain(
    misses: pl.DataFrame,
    *,
    plan: pl.DataFrame | None,
    controls: pl.DataFrame | None = None,
    objects: pl.DataFrame,
    load_pixels: Callable[[str], Pixels],
    detector: Detector,
    budget: int,
    maps: int,
    match_iou: float,
    seed: int,
    folder: Path,
    progress: Progress = no_progress,
    kept: Kept = not_kept,
) -> pl.DataFrame:
    """Repair and map misses within the budget, and keep their photos.

    Args:
        misses: one row per missed object, with its box, label and attributes.
        plan: repairs to try (``error_id cause repair priority``); None for none.
        controls: repairs to try on misses that do not show their condition, columns as in ``plan``.
        objects: all annotated objects.
        load_pixels: ``image_id`` → photo.
        detector: the detector.
        budget: forwards per miss on average.
        maps: misses that get a heat map, highest priority first.
        match_iou: IoU at which a detection finds an object.
        seed: of masks and random maps.
        folder: the run directory; gets ``gallery/``, ``maps/`` and ``repairs/ERROR_ID.CAUSE.jpg``, the repair that
            brought the miss nearest to being found.
        progress: told how far each stage is.
        kept: keeps the lines of each photo; pictures that are in the folder are taken for those of an earlier try.

    Returns:
        Lines of evidence: those of ``experiment.run_experiments`` and ``maps.explain_maps``, and ``part`` lines also of
        misses for which nothing was planned.
    """
    ordered = _by_priority(misses, plan)
    waiting = _Gallery(ordered.head(GALLERY), folder / "gallery", load_pixels, kept)
    left = budget * len(misses)
    lines = []
    shown = set(ordered["error_id"].head(GALLERY))

    def keep(error_id: str, cause: str, repaired: Repaired) -> None:
        if error_id in shown:
            write_repaired(repaired.pixels, repaired.box, folder / "repairs" / f"{error_id}.{cause}.jpg")

    if plan is not None and len(misses):
        tried = run_experiments(
            plan if controls is None else _with_controls(plan, controls),
            ordered,
            objects,
            load_pixels=waiting.load,
            detector=detector,
            budget_per_miss=budget,
            match_iou=match_iou,
            progress=progress,
            kept=kept,
            keep=keep,
        )
        left -= tried.forwards
        lines.append(tried.evidence)
        untried = ordered.filter(~pl.col("image_id").is_in(tried.photos))
        photos = untried["image_id"].unique(maintain_order=True).head(left // FORWARDS)
        told = parts_seen(
            untried.filter(pl.col("image_id").is_in(photos.implode())),
            load_pixels=waiting.load,
            detector=detector,
            match_iou=match_iou,
            progress=progress,
            kept=kept,
        )
        left -= FORWARDS * len(photos)
        lines.append(part_lines(told))
    mapped = explain_maps(
        ordered,
        objects,
        load_pixels=waiting.load,
        detector=detector,
        n_maps=maps,
        budget=left,
        out_dir=folder / "maps",
        seed=seed,
        progress=progress,
        kept=kept,
    )
    waiting.finish()
    return tables.stack([*lines, mapped.evidence], EVIDENCE)


def _with_controls(plan: pl.DataFrame, controls: pl.DataFrame) -> pl.DataFrame:
    marked = [frame.with_columns(control=pl.lit(flag)) for frame, flag in ((plan, False), (controls, True))]
    return pl.concat(marked, how="diagonal_relaxed")


def keep_photos(
    misses: pl.DataFrame, *, load_pixels: Callable[[str], Pixels], folder: Path, kept: Kept = not_kept
) -> None:
    """Keep the photos of misses for the report where there is no model to ask; the rest as in ``explain``."""
    _Gallery(misses.sort("error_id").head(GALLERY), folder / "gallery", load_pixels, kept).finish()


def _by_priority(misses: pl.DataFrame, plan: pl.DataFrame | None) -> pl.DataFrame:
    """Sort misses by the highest priority of their planned repairs; those without a plan come last."""
    if plan is None:
        return misses.sort("error_id")
    best = plan.group_by("error_id").agg(_priority=pl.col("priority").max())
    joined = misses.join(best, on="error_id", how="left")
    return joined.sort(["_priority", "error_id"], descending=[True, False], nulls_last=True).drop("_priority")


class _Gallery:
    """Keeps the photos of misses as they are loaded for other ends, and the rest at the end."""

    def __init__(self, misses: pl.DataFrame, folder: Path, load_pixels: Callable[[str], Pixels], kept: Kept) -> None:
        there = [path.stem for path in folder.glob("*.jpg") if path.stat().st_size]
        pairs = (
            misses.filter(~pl.col("error_id").is_in(there))
            .group_by("image_id", maintain_order=True)
            .agg("error_id")
            .iter_rows()
        )
        self.waiting: dict[str, list[str]] = dict(pairs)
        self.folder = folder
        self.load_pixels = load_pixels
        self.kept = kept

    def load(self, image_id: str) -> Pixels:
        """Load a photo; at the first time also write it into the gallery for each of its misses."""
        pixels = self.load_pixels(image_id)
        for error_id in self.waiting.pop(image_id, []):
            write_gallery_photo(pixels, self.folder / f"{error_id}.jpg")
        return pixels

    def finish(self) -> None:
        """Load the photos that nothing else asked for."""
        for image_id in list(self.waiting):
            self.kept("gallery", image_id, partial(self._write, image_id))

    def _write(self, image_id: str) -> list[None]:
        self.load(image_id)
        return []

"""Shows misses to the detector again: photos are read from disk, repaired, mapped, and kept for the report."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from attributes import frames
from attributes.decode import DecodeError, read
from xai import evidence, journal, tables, verdict
from xai.config import Config
from xai.evidence import tilted
from xai.evidence.kept import Kept, not_kept
from xai.evidence.upright import FORWARDS, SCHEMA, which_way_up
from xai.exceptions import RunError
from xai.loading import loaders
from xai.rules import MISSES
from xai.scan import Split
from xai.types import Boxes, Detector, Pixels, PredictedOnly, Progress

_CORNERS = ("x1", "y1", "x2", "y2")

UPRIGHT_SHARE = 10
"""Of the forwards, at most one in so many is spent on which way up photos are."""

LEVEL_SHARE = 6
"""Of the forwards, at most one in so many is spent on how far photos are tilted."""


class Asked(NamedTuple):
    """Rows of ``evidence.upright`` or ``tilted``, and the photos put through the detector for them."""

    told: pl.DataFrame
    forwards: int


def ask_upright(
    config: Config,
    detector: Detector | PredictedOnly,
    evaluation: Split,
    root: Path,
    errors: pl.DataFrame,
    progress: Progress,
    kept: Kept = not_kept,
) -> Asked:
    """Ask the detector which way up the photos of misses are whose ``rotation`` could not be told.

    Photos with most misses come first; a tenth of the budget is spent at most, which at 40 forwards a miss is enough
    for all of them. Arguments are those of ``experiment``.
    """
    if isinstance(detector, PredictedOnly):
        return Asked(pl.DataFrame(schema=SCHEMA), 0)
    photos = _blind(config, evaluation, errors, "rotation", UPRIGHT_SHARE * FORWARDS)
    told = which_way_up(
        photos,
        load_pixels=loaders(root, evaluation.images)[0],
        detector=detector,
        as_is=_surety(evaluation),
        progress=progress,
        kept=kept,
    )
    return Asked(told, FORWARDS * len(photos))


def ask_level(
    config: Config,
    detector: Detector | PredictedOnly,
    evaluation: Split,
    root: Path,
    errors: pl.DataFrame,
    progress: Progress,
    kept: Kept = not_kept,
) -> Asked:
    """Ask the detector how far the photos of misses are tilted whose ``roll`` could not be told.

    Photos that lie on their side or upside down are left out. Otherwise as ``ask_upright``.
    """
    if isinstance(detector, PredictedOnly):
        return Asked(pl.DataFrame(schema=tilted.SCHEMA), 0)
    photos = _blind(config, evaluation, errors, "roll", LEVEL_SHARE * tilted.FORWARDS)
    told, forwards = tilted.how_level(
        photos,
        load_pixels=loaders(root, evaluation.images)[0],
        detector=detector,
        as_is=_surety(evaluation),
        progress=progress,
        kept=kept,
    )
    return Asked(told, forwards)


def _surety(evaluation: Split) -> dict[str, float]:
    """Sum of squared scores of each photo's detections, which the scan has seen."""
    sums = evaluation.predictions.group_by("image_id").agg((pl.col("score") ** 2).sum())
    return {str(image_id): float(total) for image_id, total in sums.iter_rows()}


def _blind(config: Config, evaluation: Split, errors: pl.DataFrame, attribute: str, cost: int) -> list[str]:
    """Photos of misses of which an attribute is not told, most misses first, as many as the budget over ``cost``."""
    if not config.explain.repairs or attribute not in evaluation.images.columns:
        return []
    lost = errors.filter(pl.col("kind").is_in(MISSES))
    blind = evaluation.images.filter((pl.col("status") == "ok") & pl.col(attribute).is_null())
    if config.detector.exif == "ignore":  # what the scan was shown is not what is asked about
        blind = blind.filter(pl.col("exif_orientation").fill_null(1) == 1)
    if attribute == "roll" and "rotation" in blind.columns:
        blind = blind.filter(pl.col("rotation").fill_null(0.0) == 0)
    counts = lost.join(blind, on="image_id", how="semi").group_by("image_id").len()
    most = config.explain.budget * len(lost) // cost
    return counts.sort(["len", "image_id"], descending=[True, False])["image_id"].head(most).to_list()


def experiment(
    config: Config,
    detector: Detector | PredictedOnly,
    evaluation: Split,
    root: Path,
    errors: pl.DataFrame,
    lines: pl.DataFrame,
    folder: Path,
    progress: Progress,
    *,
    spent: int = 0,
    kept: journal.Journal | None = None,
) -> pl.DataFrame:
    """Keep the misses' photos, repair and map them within the budget; return the lines of evidence that this adds.

    A miss without a box (reported without one) is kept and not experimented on. A detector that reads pixels as stored
    is shown them so; the photos and heat maps that are kept are as displayed.

    Args:
        config: of the run.
        detector: is asked again, where it is a model.
        evaluation: photos and objects that the errors are of.
        root: folder of the photos.
        errors: all errors of the run.
        lines: lines of ``verdict.rank``, which say what is worth trying.
        folder: the run directory; ``gallery/``, ``maps/`` and ``repairs/`` are made anew, or gone on with where the
            journal knows them.
        progress: told how far each stage is.
        spent: forwards of the budget that are gone.
        kept: the journal; none where nothing is to be taken from an earlier try.
    """
    keys = ["image_id", "object_id"]
    misses = (
        errors.filter(pl.col("kind").is_in(MISSES))
        .select("error_id", *keys, "mechanism")
        .join(evaluation.objects, on=keys)
        .join(evaluation.images.drop("split"), on="image_id")
    )
    as_displayed, as_stored = loaders(root, evaluation.images)
    placed = misses.filter(pl.col("x1").is_not_null())
    stored = config.detector.exif == "ignore"
    only_kept = isinstance(detector, PredictedOnly) or not len(placed)
    plan, controls = (None, None)
    if config.explain.repairs and not only_kept:
        plan, controls = _plan(config, lines, errors, placed)
    # What is kept as displayed at the end, and was shown as stored, cannot be gone on with half way.
    known = journal.begin(kept, folder, [misses, plan, controls], spent, resume=not stored)
    if isinstance(detector, PredictedOnly) or not len(placed):
        evidence.keep_photos(misses, load_pixels=as_displayed, folder=folder, kept=known)
        return tables.empty(tables.TABLES["evidence"])
    objects = evaluation.objects.filter(pl.col("x1").is_not_null())
    tried = evidence.explain(
        _stored_boxes(placed) if stored else placed,
        plan=plan,
        controls=controls,
        objects=_stored_boxes(objects.join(evaluation.images.drop("split"), on="image_id")) if stored else objects,
        load_pixels=as_stored if stored else as_displayed,
        detector=detector,
        budget=max(config.explain.budget - math.ceil(spent / len(placed)), 0),
        maps=config.explain.maps,
        match_iou=config.match.iou,
        seed=config.seed,
        folder=folder,
        progress=progress,
        kept=known,
    )
    if stored:
        _turn_back(misses, as_displayed, folder, known)
    _keep_others(misses.filter(pl.col("x1").is_null()), as_displayed, folder, known)
    return tried


def stress(
    config: Config,
    detector: Detector | PredictedOnly,
    evaluation: Split,
    train: Split | None,
    root: Path,
    progress: Progress,
    kept: Kept = not_kept,
) -> pl.DataFrame:
    """Lose found objects by graded conditions within ``explain.stress`` forwards; ``tables.BESIDE["stress"]``.

    The promised recall is the share of found objects that has to stay found, 0.9 where none is promised. Photos are
    stressed as displayed; a detector that reads them as stored is left out, as is one that cannot be asked.
    """
    if config.explain.stress == 0 or isinstance(detector, PredictedOnly) or config.detector.exif == "ignore":
        return tables.empty(tables.BESIDE["stress"])
    # Albumentations takes a second to import, and asks the network for news of itself unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from xai.evidence.stress import stress as lose

    return lose(
        evaluation.objects.filter(pl.col("outcome") == "found"),
        evaluation.images,
        (train.images, train.objects) if train else None,
        load_pixels=loaders(root, evaluation.images)[0],
        detector=detector,
        budget=config.explain.stress,
        recall=config.promise.recall or 0.9,
        match_iou=config.match.iou,
        seed=config.seed,
        progress=progress,
        kept=kept,
    )


def map_miss(
    config: Config,
    miss: pl.DataFrame,
    objects: pl.DataFrame,
    images: pl.DataFrame,
    detector: Detector,
    root: Path,
    folder: Path,
    *,
    n_masks: int,
    seed: int,
) -> pl.DataFrame:
    """Map one miss with as many masks as asked; return the lines of evidence of the map.

    Args:
        config: of the run.
        miss: its row of objects, with ``error_id``.
        objects: of its photo.
        images: rows of the split's photos, with ``exif_orientation`` and ``sha256``.
        detector: is asked again.
        root: folder of the photos.
        folder: where ``ERROR_ID.png`` and ``.npz`` go.
        n_masks: masked copies of the photo.
        seed: of the masks.

    Raises:
        RunError: the photo cannot be read any more, or is another one now.
    """
    image_id = str(miss["image_id"][0])
    told = images.filter(pl.col("image_id") == image_id)
    try:
        photo = read(root / image_id, within=root)
    except DecodeError as error:
        raise RunError(f"the photo of the miss cannot be read any more: {error}") from error
    if photo.sha256 != told["sha256"][0]:
        raise RunError(f"{root / image_id} is not the photo that the run was made of; run xai triage again")
    stored = config.detector.exif == "ignore"
    placed = objects.filter(pl.col("x1").is_not_null())
    if stored:
        sizes = told.select("image_id", "width", "height", "exif_orientation")
        miss, placed = (_stored_boxes(frame.join(sizes, on="image_id")) for frame in (miss, placed))
    seen = frames.stored_pixels(photo.pixels, photo.exif_orientation) if stored else photo.pixels
    mapped = evidence.explain_maps(
        miss,
        placed,
        load_pixels=lambda _: seen,
        detector=detector,
        n_maps=1,
        budget=2**31,
        out_dir=folder,
        n_masks=n_masks,
        seed=seed,
        all_pictures=True,
    )
    if stored:
        displayed = frames.displayed_boxes(
            miss.select(_CORNERS).to_numpy().astype(np.float64), photo.exif_orientation or 1, photo.width, photo.height
        )
        evidence.turn_map(folder / str(miss["error_id"][0]), photo.pixels, displayed[0], photo.exif_orientation)
    return mapped.evidence


def _turn_back(misses: pl.DataFrame, load_pixels: Callable[[str], Pixels], folder: Path, kept: Kept) -> None:
    """Make photos and heat maps that were kept as the detector saw them agree with the boxes of the tables."""
    shown = [path.stem for path in (folder / "gallery").glob("*.jpg")]
    for path in (folder / "gallery").glob("*.jpg"):
        path.unlink()  # as stored
    _keep_others(misses.filter(pl.col("error_id").is_in(shown)), load_pixels, folder, kept)
    mapped = [path.stem for path in (folder / "maps").glob("*.npz")]
    for miss in misses.filter(pl.col("error_id").is_in(mapped)).iter_rows(named=True):
        box = np.array([miss[corner] for corner in _CORNERS])
        kept(
            "turn map", miss["image_id"], partial(_turn_map, folder / "maps" / miss["error_id"], miss, box, load_pixels)
        )


def _turn_map(stem: Path, miss: Mapping[str, Any], box: Boxes, load_pixels: Callable[[str], Pixels]) -> None:
    evidence.turn_map(stem, load_pixels(miss["image_id"]), box, miss["exif_orientation"])


def _plan(
    config: Config, lines: pl.DataFrame, errors: pl.DataFrame, placed: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Repairs to try, and controls."""
    lines, errors = (frame.join(placed, on="error_id", how="semi") for frame in (lines, errors))
    plan = verdict.plan(lines, errors, config.explain.budget)
    return plan, verdict.controls(lines, plan, errors, config.explain.budget)


def _keep_others(misses: pl.DataFrame, load_pixels: Callable[[str], Pixels], folder: Path, kept: Kept) -> None:
    if len(misses):
        evidence.keep_photos(misses, load_pixels=load_pixels, folder=folder, kept=kept)


def _stored_boxes(objects: pl.DataFrame) -> pl.DataFrame:
    """Move boxes into the frame of the photos as stored."""
    orientation = objects["exif_orientation"].fill_null(1).to_numpy()
    boxes = frames.stored_boxes(
        objects.select(_CORNERS).to_numpy().astype(np.float64),
        orientation,
        objects["width"].to_numpy(),
        objects["height"].to_numpy(),
    )
    return objects.with_columns(pl.Series(name, boxes[:, index]) for index, name in enumerate(_CORNERS))

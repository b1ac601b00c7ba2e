"""Heat maps of misses, what they say in numbers, and how far they can be trusted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributes import glare_map
from attributes.frames import displayed_map
from xai import tables
from xai.evidence.drise import DRISE
from xai.evidence.experiment import EVIDENCE, Spent
from xai.evidence.extremal import COST
from xai.evidence.faithfulness import Faithfulness, insertion_deletion, random_difference
from xai.evidence.gradients import METHODS
from xai.evidence.kept import Kept, not_kept
from xai.evidence.masks import blurred, inpainted, mean_colour
from xai.evidence.pictures import write_overlay
from xai.evidence.targets import Score, to_input
from xai.evidence.trial import BATCH_SIZE, boxes_of, by_photo, labels_of
from xai.exceptions import DetectorError
from xai.files import replacing
from xai.room import Room
from xai.types import Boxes, Detector, Pixels, Prepared, Progress, no_progress

_LOG = logging.getLogger("xai")

Floats = NDArray[np.float32]
Row = tuple[str, str, str, float | None, float | None, float | None, float | None]

MAP_SIDE = 320
"""Longest side of a stored map, pixels."""

STEPS = 10
"""Steps of insertion and deletion."""

RANDOM_MAPS = 3
"""Random maps that a map is compared with."""

GLARE = 0.35
"""Severity from which a pixel lies in glare: where the attribute's bin ``mild`` begins."""

TRUSTED = "better_than_random"
"""Name of the line of faithfulness of maps that may be shown."""

BY_GRADIENT = 32
"""Masks with a gradient from which their map of one miss beats that of all forwards without: 100 forwards' worth."""

_NOTHING = 0.02
"""Share of a map's strongest effect below which a pixel counts for nothing, where no standard error is known."""

_GRADIENT_BATCH = 2
"""Masked copies a forward with gradients, which keep all that lies between."""

_PLACES = 4
"""A suppressing region and its three mirror images."""

MIN_MASKS = 60
"""With fewer masks a map is noise; the budget is then spent on fewer maps."""


def explain_maps(
    misses: pl.DataFrame,
    neighbours: pl.DataFrame,
    *,
    load_pixels: Callable[[str], Pixels],
    detector: Detector,
    n_maps: int,
    budget: int,
    out_dir: Path,
    n_masks: int = 200,
    seed: int = 0,
    all_pictures: bool = False,
    progress: Progress = no_progress,
    kept: Kept = not_kept,
) -> Spent:
    """Make heat maps for the first misses; those of one photo share its masked forwards.

    By gradient (``extremal.ExtremalPerturbation``) where the detector passes one and ``n_masks`` reach for it, a mask
    with its gradient counted as three; else by masks alone (``drise.DRISE``), from the same forwards for all misses of
    a photo.

    Writes ``ERROR_ID.npz`` (``saliency`` float16 h×w of the photo's aspect, signed, −1 to 1; ``standard_error``
    likewise, NaN of a map by gradient, which has none; ``scale``, what 1 stands for in units of the target; ``box`` in
    pixels of the map) and ``ERROR_ID.png``.
    The lines of evidence, one set per miss:

    - ``saliency``: ``after`` is a share of the map's mass, ``placebo`` the region's share of the photo's area, which
      is what a map without knowledge gives, ``effect`` their difference. ``inside_box`` is of the helping mass;
      ``suppressing_inside_box``, ``suppressing_other_boxes`` and ``suppressing_context`` are of the suppressing mass
      and add up to 1; ``suppressing_glare`` is what of it lies in glare, wherever that is, and stands only where the
      photo has any. Mass is of pixels beyond twice their standard error, or beyond 2% of the strongest effect where
      none is known; null where there are none.
    - ``suppressor``, name ``hidden``: the target ``before`` and ``after`` the most suppressing region (pixels of such
      mass beyond half of the deepest) is painted over from around it; ``placebo`` the largest that the region's mirror
      images give. It stands only where the map has such a region.
    - ``faithfulness``, name ``better_than_random`` or ``no_better_than_random``: ``before`` deletion, ``after``
      insertion, ``effect`` insertion − deletion, ``placebo`` the largest that random maps reach; what is hidden shows
      the photo's mean colour, behind which no map was made.

    Args:
        misses: ``error_id image_id label x1 y1 x2 y2``, most important first.
        neighbours: the objects table.
        load_pixels: ``image_id`` → photo.
        detector: the detector.
        n_maps: maps at most.
        budget: forwards at most; where it is short, masks go down to 60 and then maps are left out.
        out_dir: where the files go.
        n_masks: masks a photo; a third of it, divided among its misses, where the map is made by gradient.
        seed: of masks and random maps.
        all_pictures: draw also the maps that are no better than random, which would mislead people who do not read
            the figures beside them.
        progress: told after each photo.
        kept: keeps the lines of each photo.
    """
    parts = by_photo(misses.head(n_maps))
    parts, masks = _afford(parts, budget, n_masks)
    found, forwards = [tables.empty(EVIDENCE)], 0
    for index, part in enumerate(parts):
        image_id = str(part["image_id"][0])
        objects = neighbours.filter(pl.col("image_id") == image_id)
        work = partial(_photo, part, boxes_of(objects), load_pixels, detector, masks, seed, out_dir, all_pictures)
        rows, asked = kept(f"heat maps of {masks} masks", image_id, work) or ([], 0)
        found.append(pl.DataFrame(rows, schema=dict(EVIDENCE), orient="row"))
        forwards += asked
        progress("heat maps", index + 1, len(parts))
    return Spent(tables.stack(found, EVIDENCE), forwards)


def _judging(count: int) -> int:
    """Forwards that judging ``count`` maps of a photo costs at most."""
    return 2 * (STEPS - 1) * (count + RANDOM_MAPS) + 4 + _PLACES * count + 1


def _afford(parts: Sequence[pl.DataFrame], budget: int, n_masks: int) -> tuple[list[pl.DataFrame], int]:
    """Return the photos that the budget reaches, and the masks for each of them."""
    costs = np.cumsum([_judging(len(part)) for part in parts], dtype=np.int64)
    counts = np.arange(1, len(parts) + 1)
    reached = int(np.count_nonzero(costs + counts * MIN_MASKS <= budget))
    if not reached:
        return [], 0
    return list(parts[:reached]), min(n_masks, (budget - int(costs[reached - 1])) // reached) // 2 * 2


def turn_map(stem: Path, pixels: Pixels, box: Boxes, orientation: int | None) -> None:
    """Move a stored heat map, and its picture if it has one, into the displayed frame.

    For a detector that saw the photo as stored.

    Args:
        stem: the map's file without its ending.
        pixels: the photo as displayed.
        box: (4,) the object's, in pixels of that photo.
        orientation: EXIF orientation of the photo.
    """
    with np.load(stem.with_suffix(".npz")) as stored:
        scale = float(stored["scale"])
        saliency, error = (
            displayed_map(stored[name].astype(np.float64), orientation) * scale
            for name in ("saliency", "standard_error")
        )
    _store(saliency, error, pixels, box, stem, drawn=stem.with_suffix(".png").is_file())


def _photo(
    misses: pl.DataFrame,
    objects: Boxes,
    load_pixels: Callable[[str], Pixels],
    detector: Detector,
    n_masks: int,
    seed: int,
    out_dir: Path,
    all_pictures: bool,
) -> tuple[list[Row], int]:
    """Map, judge and store the misses of one photo; return their lines and the forwards that it took."""
    pixels = load_pixels(str(misses["image_id"][0]))
    prepared = detector.prepare([pixels])[0]
    boxes = boxes_of(misses)
    labels = torch.as_tensor(labels_of(misses, detector))
    score = Score(detector, to_input(boxes, prepared, 0), labels)
    baseline = blurred(prepared.inputs)
    slopes, errors = estimated(score, prepared.inputs, baseline, n_masks, seed)
    # A map that was optimised behind the blurred photo would be better than chance there whatever it shows.
    judging = mean_colour(prepared.inputs)
    judged = insertion_deletion(score, prepared.inputs, slopes, judging, steps=STEPS, perturbations_per_eval=BATCH_SIZE)
    chance = random_difference(
        score,
        prepared.inputs,
        judging,
        repeats=RANDOM_MAPS,
        seed=seed,
        steps=STEPS,
        perturbations_per_eval=BATCH_SIZE,
    ).amax(0)
    rows, asked = _hide_suppressors(score, prepared.inputs, slopes, errors, misses["error_id"].to_list())
    for index, error_id in enumerate(misses["error_id"]):
        trust = _faithfulness(error_id, judged, index, float(chance[index]))
        saliency, error = (_to_photo(map_.cpu().numpy(), prepared) for map_ in (slopes[index], errors[index]))
        drawn = all_pictures or trust[2] == TRUSTED
        _store(saliency, error, pixels, boxes[index], out_dir / error_id, drawn=drawn)
        others = objects[(objects != boxes[index]).any(1)]
        rows += _shares(error_id, saliency, error, boxes[index], others, pixels)
        rows.append(trust)
    return rows, n_masks + 2 * (STEPS - 1) * (len(misses) + RANDOM_MAPS) + 4 + asked


def estimated(score: Score, inputs: Tensor, baseline: Tensor, n_masks: int, seed: int) -> tuple[Tensor, Tensor]:
    """Maps (k, h, w) of all objects of the score, and their standard errors; NaN where the method tells none."""
    each = n_masks // (COST * max(1, len(score.labels)))
    # Black boxes written before there was such a flag pass no gradient.
    if each >= BY_GRADIENT and getattr(score.detector, "differentiable", False):
        maps = _by_gradient(score, inputs, baseline, each, seed)
        if maps is not None:
            return maps, torch.full_like(maps, torch.nan)
    found = DRISE(score).attribute(
        inputs,
        baselines=baseline,
        n_masks=n_masks,
        perturbations_per_eval=BATCH_SIZE,
        seed=seed,
        return_standard_error=True,
    )
    return found[0][0], found[1][0]


def _by_gradient(score: Score, inputs: Tensor, baseline: Tensor, n_masks: int, seed: int) -> Tensor | None:
    """Maps (k, h, w) by gradient; None where no usable one comes back, or the GPU has no room for a backward.

    What a forward with its gradient has no room for says nothing of forwards alone, whose batches stay as they are.
    """
    detector: object = score.detector
    most = detector.most if isinstance(detector, Room) else None
    try:
        return METHODS["extremal"](
            score, inputs, baselines=baseline, n_masks=n_masks, perturbations_per_eval=_GRADIENT_BATCH, seed=seed
        )[0]
    except DetectorError as error:
        if not isinstance(error.__cause__, torch.OutOfMemoryError):
            raise
        _LOG.warning("the GPU has no room for gradients: this heat map is made by masks alone")
    except (ValueError, RuntimeError) as error:  # of autograd, or out of memory; masks alone meet what else is wrong
        _LOG.warning("no usable gradient comes back, so that this heat map is made by masks alone: %s", error)
    finally:
        if isinstance(detector, Room):
            detector.most = most
    return None


def _hide_suppressors(
    score: Callable[[Tensor], Tensor],
    inputs: Tensor,
    slopes: Tensor,
    errors: Tensor,
    error_ids: Sequence[str],
) -> tuple[list[Row], int]:
    """Paint over each map's most suppressing region, and its mirror images; return lines and forwards."""
    deepest = slopes.amin((1, 2), keepdim=True)
    least = torch.where(errors.isnan(), _NOTHING * slopes.abs().amax((1, 2), keepdim=True), 2 * errors)
    regions = (slopes < -least) & (slopes <= deepest / 2)
    holding = torch.nonzero(regions.any((1, 2)))[:, 0].tolist()
    if not holding:
        return [], 0
    places = [torch.stack([region, region.flip(0), region.flip(1), region.flip((0, 1))]) for region in regions[holding]]
    shown = 1 - torch.cat([torch.zeros_like(regions[:1]), *places])[:, None].to(inputs)
    with torch.no_grad():
        # A blurred glare is a glare: what suppresses is painted over from around it.
        parts = [score(inpainted(inputs, part)) for part in torch.split(shown, BATCH_SIZE)]
    values = torch.cat(parts).cpu()
    rows: list[Row] = []
    for place, column in enumerate(holding):
        before, own = float(values[0, column]), values[1 + _PLACES * place : 1 + _PLACES * (place + 1), column]
        after, placebo = float(own[0]), float(own[1:].max())
        rows.append((error_ids[column], "suppressor", "hidden", before, after, placebo, after - before))
    return rows, len(shown)


def _to_photo(values: Floats, prepared: Prepared) -> Floats:
    """Resample a map (h, w) of the network's input to the photo's frame, longest side at most ``MAP_SIDE``."""
    width, height = prepared.sizes[0].tolist()
    factor = min(1.0, MAP_SIDE / max(width, height))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    # Output pixel centre → photo → input; OpenCV counts from centres.
    scale = prepared.scale[0] * [width / size[0], height / size[1]]
    inverse = np.array([[scale[0], 0, 0], [0, scale[1], 0]])
    inverse[:, 2] = prepared.offset[0] + 0.5 * scale - 0.5
    resampled: Floats = cv2.warpAffine(
        values.astype(np.float32),
        inverse,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return resampled


def _store(saliency: Floats, error: Floats, pixels: Pixels, box: Boxes, stem: Path, *, drawn: bool = True) -> None:
    scale = float(np.abs(saliency).max()) or 1.0
    factor = np.tile([saliency.shape[1] / pixels.shape[1], saliency.shape[0] / pixels.shape[0]], 2)
    with replacing(stem.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            saliency=(saliency / scale).astype(np.float16),
            standard_error=(error / scale).astype(np.float16),
            scale=np.float64(scale),
            box=box * factor,
        )
    if drawn:
        write_overlay(pixels, saliency, box, stem.with_suffix(".png"))


def _shares(error_id: str, saliency: Floats, error: Floats, box: Boxes, others: Boxes, pixels: Pixels) -> list[Row]:
    """Say where the helping and the suppressing mass lies."""
    factor = np.tile([saliency.shape[1] / pixels.shape[1], saliency.shape[0] / pixels.shape[0]], 2)
    own = _inside(box[None] * factor, saliency.shape)
    other = _inside(others * factor, saliency.shape) & ~own
    least = np.where(np.isnan(error), _NOTHING * np.abs(saliency).max(), 2 * error)
    certain = np.where(np.abs(saliency) > least, saliency, 0)
    helping, suppressing = certain.clip(min=0), (-certain).clip(min=0)
    regions = [
        ("inside_box", helping, own),
        ("suppressing_inside_box", suppressing, own),
        ("suppressing_other_boxes", suppressing, other),
        ("suppressing_context", suppressing, ~(own | other)),
    ]
    if (glare := _glare(pixels, saliency.shape)).any():
        regions.append(("suppressing_glare", suppressing, glare))
    rows: list[Row] = []
    for name, mass, region in regions:
        total, area = float(mass.sum()), float(region.mean())
        share = float(mass[region].sum()) / total if total > 0 else None
        rows.append((error_id, "saliency", name, None, share, area, None if share is None else share - area))
    return rows


def _glare(pixels: Pixels, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mark the pixels of a map that lie in a light source or its halo."""
    small: Pixels = np.asarray(cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.asarray(glare_map(small) >= GLARE)


def _inside(boxes: Boxes, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Mark the pixels that any of the boxes (m, 4) touches."""
    height, width = shape
    x1, y1, x2, y2 = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1).T[..., None]
    down = (np.arange(height) >= y1) & (np.arange(height) < y2)
    across = (np.arange(width) >= x1) & (np.arange(width) < x2)
    touched: NDArray[np.bool_] = (down.T.astype(np.float32) @ across.astype(np.float32)) > 0
    return touched


def _faithfulness(error_id: str, judged: Faithfulness, index: int, chance: float) -> Row:
    effect = float(judged.difference[index])
    name = TRUSTED if effect > chance else "no_better_than_random"
    return error_id, "faithfulness", name, float(judged.deletion[index]), float(judged.insertion[index]), chance, effect

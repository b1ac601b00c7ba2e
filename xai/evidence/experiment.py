"""Repairs the conditions that may have caused a miss, one at a time, and sees whether the object comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from xai import tables
from xai.evidence.geometric import Repaired, identity, move
from xai.evidence.hidden import PARTS, SCHEMA, part_lines, seen, with_parts
from xai.evidence.kept import Kept, not_kept
from xai.evidence.repair import PLACEBOS, REPAIRS, TURN_PLACEBO, Repair, RepairContext, turn_but_not_upright
from xai.evidence.trial import Answers, ask, boxes_of, by_photo, labels_of
from xai.types import Boxes, Detector, Pixels, Progress, no_progress

EVIDENCE = tables.TABLES["evidence"]


class Spent(NamedTuple):
    """Lines of evidence, how many photos were put through the detector for them, and the photos that they are of."""

    evidence: pl.DataFrame
    forwards: int
    photos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Variant:
    """One changed photo.

    Attributes:
        name: the cause or placebo that it tests.
        repair: what made it, None for placebos and the untouched photo.
        row: row of the photo's misses that it was made for, None for all.
        repaired: the photo.
    """

    name: str
    repair: str | None
    row: int | None
    repaired: Repaired


def run_experiments(
    plan: pl.DataFrame,
    misses: pl.DataFrame,
    neighbours: pl.DataFrame,
    *,
    load_pixels: Callable[[str], Pixels],
    detector: Detector,
    budget_per_miss: int,
    match_iou: float,
    progress: Progress = no_progress,
    done: Callable[[pl.DataFrame], None] | None = None,
    keep: Callable[[str, str, Repaired], None] | None = None,
    kept: Kept = not_kept,
) -> Spent:
    """Test planned causes by repairing them, against placebos, on the very misses that they are to explain.

    Each photo is read once. Its untouched self and the placebos cost one forward each for all its misses together;
    each repair costs one per miss. Photos go by the highest priority among their misses; repairs that the budget
    does not reach are left out, lowest priority first. Repairs that do not apply (rotation unknown, nothing to lift)
    leave no row and cost nothing.

    The lines, one set per miss:

    - ``repair``, name = cause: ``before`` and ``after`` are the target (IoU × score of the best candidate, 0–1) on
      the miss's own box and class, ``placebo`` the best target under any placebo, and ``effect`` = after −
      max(before, placebo). The best of several placebos is a hurdle that a repair without effect takes less often
      than one placebo alone, so that small effects are not overstated.
    - ``repair_found``, name = cause: ``before`` and ``after`` are 1 or 0, whether a deployed detection of the class
      reaches ``match_iou``; ``placebo`` the share of placebos under which one does; effect likewise.
    - ``control``, ``control_found``: the same for rows of the plan that are controls.
    - ``part``, name = side: only where the detector sees a part of the object that lies there (``hidden``).
    - ``placebo``, name = placebo: ``before`` and ``after`` the target, effect their difference.
    - ``placebo_found``, name = placebo: the same for found.

    Args:
        plan: ``error_id cause repair priority``; higher priority first. ``control``, where there, marks repairs of
            misses that do not show the condition.
        misses: ``error_id image_id label x1 y1 x2 y2`` and attribute columns; ``object_id`` where known.
        neighbours: the objects table; boxes of the same photo are a miss's neighbours.
        load_pixels: ``image_id`` → photo.
        detector: the detector.
        budget_per_miss: forwards per row of ``misses`` on average.
        match_iou: IoU at which a detection finds an object.
        progress: told after each photo.
        done: gets each photo's lines as soon as they are known.
        keep: gets ``error_id``, cause and photo of the repair that brought each miss nearest to being found.
        kept: keeps the lines of each photo; nothing is spent on a photo that cannot be read any more.

    Raises:
        ValueError: the plan names a repair that does not exist, or a miss has a class that the detector lacks.
    """
    planned = plan.filter(pl.col("repair").is_not_null())
    if "control" not in planned.columns:
        planned = planned.with_columns(control=pl.lit(False))
    unknown = sorted(set(planned["repair"].to_list()) - set(REPAIRS))
    if unknown:
        raise ValueError(f"expected repairs among {', '.join(REPAIRS)}; the plan has also {', '.join(unknown)}")
    queue = _queue(planned, misses)
    plans = _plans(planned, misses)
    boxes_by_photo = {str(part["image_id"][0]): part for part in by_photo(neighbours.filter(_in(neighbours, queue)))}
    left = budget_per_miss * len(misses)
    found: list[pl.DataFrame] = []
    reached: list[str] = []
    for index, part in enumerate(queue):
        image_id = str(part["image_id"][0])
        work = partial(
            _photo,
            part,
            plans[image_id],
            boxes_by_photo.get(image_id, part),
            load_pixels=load_pixels,
            detector=detector,
            match_iou=match_iou,
            budget=left,
            keep=keep,
        )
        # What is tried depends on what is left, which is another where a photo before this one had gone.
        rows, forwards = kept(f"experiment within {left}", image_id, work) or ([], 0)
        lines = pl.DataFrame(rows, schema=dict(EVIDENCE), orient="row")
        left -= forwards
        found.append(lines)
        reached += [image_id] * (forwards > 0)
        if done is not None:
            done(lines)
        progress("experiment", index + 1, len(queue))
    return Spent(tables.stack(found, EVIDENCE), budget_per_miss * len(misses) - left, tuple(reached))


def _in(frame: pl.DataFrame, queue: Sequence[pl.DataFrame]) -> pl.Series:
    return frame["image_id"].is_in([part["image_id"][0] for part in queue])


def _queue(plan: pl.DataFrame, misses: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the planned misses by photo, the photo with the highest priority first."""
    best = plan.group_by("error_id").agg(priority=pl.col("priority").max())
    ordered = misses.join(best, on="error_id").sort(["priority", "error_id"], descending=[True, False])
    return by_photo(ordered)


def _plans(plan: pl.DataFrame, misses: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return what is planned for each photo, highest priority first."""
    located = plan.join(misses.select("error_id", "image_id"), on="error_id").sort("priority", descending=True)
    return {str(part["image_id"][0]): part for part in by_photo(located)}


def _photo(
    misses: pl.DataFrame,
    plan: pl.DataFrame,
    objects: pl.DataFrame,
    *,
    load_pixels: Callable[[str], Pixels],
    detector: Detector,
    match_iou: float,
    budget: int,
    keep: Callable[[str, str, Repaired], None] | None,
) -> tuple[list[Row], int]:
    """Try the placebos and the planned repairs of one photo's misses; return their lines and the forwards."""
    pixels = load_pixels(str(misses["image_id"][0]))
    controls = set(plan.filter("control").select("error_id", "cause").iter_rows())
    boxes, labels = boxes_of(misses), labels_of(misses, detector)
    shared = [_Variant("original", None, None, Repaired(pixels, identity(), boxes[0]))]
    shared += [_Variant(name, None, None, make(pixels, boxes[0], RepairContext())) for name, make in PLACEBOS.items()]
    own = _repairs(plan, misses, objects, pixels, room=budget - len(shared))
    if not own:
        return [], 0
    variants = shared + own
    # Parts of the objects are asked about in the untouched photo and the placebos; after repairs nobody reads them.
    placed = np.stack([with_parts(_placed(variant, boxes)) for variant in variants])
    repeated = np.repeat(labels, PARTS)
    told = ask(detector, [variant.repaired.pixels for variant in variants], placed, repeated, match_iou=match_iou)
    answers = Answers(told.target[:, ::PARTS], told.found[:, ::PARTS])
    parts = pl.DataFrame(seen(misses["error_id"].to_list(), told.target[: len(shared)]), schema=SCHEMA, orient="row")
    if keep is not None:
        for row, error_id in enumerate(misses["error_id"]):
            tried = [i for i, variant in enumerate(variants) if variant.row == row and variant.repair is not None]
            tried = [i for i in tried if (error_id, variants[i].name) not in controls]
            if tried:
                best = max(tried, key=lambda i: (answers.found[i, row], answers.target[i, row]))
                keep(error_id, variants[best].name, variants[best].repaired)
    rows = _rows(variants, answers, misses["error_id"].to_list(), controls)
    return [*rows, *part_lines(parts).rows()], len(variants)


def _repairs(
    plan: pl.DataFrame, misses: pl.DataFrame, objects: pl.DataFrame, pixels: Pixels, room: int
) -> list[_Variant]:
    """Make the planned changes of one photo's misses, most promising first, as many as there is room for."""
    boxes = boxes_of(misses)
    contexts = [_context(row, objects) for row in misses.iter_rows(named=True)]
    rows = {error_id: row for row, error_id in enumerate(misses["error_id"])}
    made: list[_Variant] = []
    for error_id, cause, repair in plan.select("error_id", "cause", "repair").iter_rows():
        row = rows[error_id]
        changes: list[tuple[str, str | None, Repair]] = [(cause, repair, REPAIRS[repair])]
        if repair == "turn_upright":
            changes.append((TURN_PLACEBO, None, turn_but_not_upright))
        results = [(name, of, change(pixels, boxes[row], contexts[row])) for name, of, change in changes]
        variants = [_Variant(name, of, row, result) for name, of, result in results if result is not None]
        if len(made) + len(variants) > room:
            break
        made += variants
    return made


def _context(miss: Mapping[str, Any], objects: pl.DataFrame) -> RepairContext:
    """Gather a miss's numeric columns and the boxes of the photo's other objects."""
    values = {name: float(value) for name, value in miss.items() if isinstance(value, int | float)}
    boxes = boxes_of(objects)
    own = np.array([miss[name] for name in ("x1", "y1", "x2", "y2")], dtype=np.float64)
    return RepairContext(values, boxes[(boxes != own).any(1)])


def _placed(variant: _Variant, boxes: Boxes) -> Boxes:
    """Return where the photo's missed objects (k, 4) lie in a variant, cut to its canvas."""
    placed = move(boxes, variant.repaired.matrix)
    if variant.row is not None:
        placed[variant.row] = variant.repaired.box
    height, width = variant.repaired.pixels.shape[:2]
    return np.clip(placed, 0, [width, height, width, height])


Row = tuple[str, str, str, float, float, float | None, float]


def _rows(
    variants: Sequence[_Variant], answers: Answers, error_ids: Sequence[str], controls: AbstractSet[tuple[str, str]]
) -> list[Row]:
    """Turn answers into lines of evidence; variant 0 is the untouched photo."""
    rows: list[Row] = []
    found = answers.found.astype(np.float64)
    for miss, error_id in enumerate(error_ids):
        common = [i for i, variant in enumerate(variants) if variant.name in PLACEBOS]
        turned = [i for i, variant in enumerate(variants) if variant.row == miss and variant.repair is None]
        repairs = [i for i, variant in enumerate(variants) if variant.row == miss and variant.repair is not None]
        if not repairs:
            continue
        for index in common + turned:
            for kind, values in (("placebo", answers.target), ("placebo_found", found)):
                before, after = float(values[0, miss]), float(values[index, miss])
                rows.append((error_id, kind, variants[index].name, before, after, None, after - before))
        for index in repairs:
            control = (error_id, variants[index].name) in controls
            placebos = common + (turned if variants[index].repair == "turn_upright" else [])
            target, hit = answers.target[:, miss], found[:, miss]
            for kind, values, placebo in (
                ("repair", target, float(target[placebos].max())),
                ("repair_found", hit, float(hit[placebos].mean())),
            ):
                before, after = float(values[0]), float(values[index])
                effect = after - max(before, placebo)
                named = kind.replace("repair", "control") if control else kind
                rows.append((error_id, named, variants[index].name, before, after, placebo, effect))
    return rows

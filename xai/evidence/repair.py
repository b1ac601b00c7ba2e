"""Repairs that take a condition away, and placebos that change a photo as much without taking anything away.

Any change of a photo makes some lost objects reappear, so a repair counts only for what it does beyond placebos. The
placebos of every repair are a mirror image, a shift by 9 of 640 pixels and a resampling to 98%; turning upright is
also compared with a turn of the same kind that leaves the photo not upright. A zoom elsewhere would cut the object
off, so zooming is compared with the common three alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from xai.evidence import geometric, photometric
from xai.evidence.geometric import Repaired, identity
from xai.types import Boxes, Pixels

__all__ = ["PLACEBOS", "REPAIRS", "TURN_PLACEBO", "Repair", "RepairContext", "Repaired", "turn_but_not_upright"]


@dataclass(frozen=True, slots=True, eq=False)
class RepairContext:
    """What a repair may know about the object besides its box.

    Attributes:
        values: attribute → value of the photo or object; None or absent where unknown.
        neighbours: (m, 4) boxes of the photo's other annotated objects.
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    neighbours: Boxes = field(default_factory=lambda: np.empty((0, 4)))

    def value(self, name: str) -> float | None:
        """Return a finite attribute value, or None where it is unknown."""
        value = self.values.get(name)
        return None if value is None or not np.isfinite(value) else float(value)


Repair = Callable[[Pixels, Boxes, RepairContext], Repaired | None]
"""(photo, box (4,) in its pixels, context) → the changed photo, or None where the repair does not apply."""


def turn_upright(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired | None:
    """Turn the photo by its ``rotation``; None where that is unknown or 0."""
    degrees = _quarter_turns(context)
    return geometric.turn(pixels, box, degrees) if degrees else None


def turn_but_not_upright(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired | None:
    """Turn the photo so that it ends neither upright nor as it was: the placebo of ``turn_upright``."""
    degrees = _quarter_turns(context)
    return geometric.turn(pixels, box, 90 if degrees == 180 else 180) if degrees else None


def level(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired | None:
    """Rotate about the object clockwise by the ``roll``; None where that is unknown or under 3 degrees."""
    roll = context.value("roll")
    return None if roll is None or abs(roll) < 3 else geometric.rotate(pixels, box, roll)


def deblock(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired | None:
    """Smooth the blocks of JPEG away; None where the ``jpeg_quality`` is unknown or 75 and more."""
    quality = context.value("jpeg_quality")
    if quality is None or quality >= 75:
        return None
    return Repaired(photometric.deblock(pixels, quality), identity(), box)


def zoom_in(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired | None:
    """Enlarge the surroundings of the object, 3.5 times its longest side; None where that enlarges by under 1.3."""
    return geometric.zoom(pixels, box, context=3.5)


def zoom_out(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired | None:
    """Show the photo at half size on a grey canvas."""
    return geometric.shrink(pixels, box, 0.5)


def pad(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired | None:
    """Extend the photo by half an object beyond the edges that cut the object; None where none does."""
    return geometric.extend(pixels, box, touching=0.015, share=0.5)


def hide_neighbours(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired | None:
    """Fill other objects within one object's reach with their surroundings; None where there are none."""
    size = box[2:] - box[:2]
    low, high = box[:2] - size, box[2:] + size
    near = ((context.neighbours[:, :2] < high) & (context.neighbours[:, 2:] > low)).all(1)
    if not near.any():
        return None
    return Repaired(photometric.hide(pixels, context.neighbours[near], box), identity(), box)


def _in_place(change: Callable[[Pixels, Boxes], Pixels | None]) -> Repair:
    """Make a repair of a function that leaves every pixel in its place."""

    def repair(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired | None:
        changed = change(pixels, box)
        return None if changed is None else Repaired(changed, identity(), box)

    repair.__doc__ = change.__doc__
    repair.__name__ = change.__name__
    return repair


REPAIRS: Mapping[str, Repair] = {
    "tone_down_glare": _in_place(photometric.tone_down_glare),
    "lift_shadows": _in_place(photometric.lift_shadows),
    "compress_highlights": _in_place(photometric.compress_highlights),
    "stretch_contrast": _in_place(photometric.stretch_contrast),
    "sharpen": _in_place(photometric.sharpen),
    "denoise": _in_place(photometric.denoise),
    "dehaze": _in_place(photometric.dehaze),
    "deblock": deblock,
    "turn_upright": turn_upright,
    "level": level,
    "zoom_in": zoom_in,
    "zoom_out": zoom_out,
    "pad": pad,
    "hide_neighbours": hide_neighbours,
}
"""Repairs by the names that ``xai.causes.CAUSES`` uses."""


def _flip(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired:
    return geometric.flip(pixels, box)


def _shift(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired:
    return geometric.shift(pixels, box, max(1, round(max(pixels.shape[:2]) * 9 / 640)))


def _resample(pixels: Pixels, box: Boxes, context: RepairContext) -> Repaired:
    return geometric.resample(pixels, box, 0.98)


PLACEBOS: Mapping[str, Callable[[Pixels, Boxes, RepairContext], Repaired]] = {
    "flip": _flip,
    "shift": _shift,
    "resample": _resample,
}
"""Placebos of every repair. They do not depend on the object, so that one photo's misses share them."""

TURN_PLACEBO = "turn_but_not_upright"


def _quarter_turns(context: RepairContext) -> int | None:
    """Return the clockwise turn that brings the photo upright, 90, 180 or 270; None where unknown or 0."""
    rotation = context.value("rotation")
    return None if rotation is None or round(rotation) not in (90, 180, 270) else round(rotation)

"""Tables of a data set whose risks are known, for the benchmarks of coverage: no photo, no detector, any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from xai.coverage.bins import Range
from xai.coverage.sample import Sample, sample

SHARES = (0.55, 0.30, 0.10, 0.05)
NAMES = ("low", "mid", "high", "top")
LABELS = {"car": 0.6, "person": 0.3, "bus": 0.1}


@dataclass(frozen=True)
class Item:
    """As much of ``attributes.Attribute`` as coverage reads."""

    level: str
    bins: tuple[Range, ...]
    bin_error: float | None = None


@dataclass(frozen=True)
class Side:
    images: pl.DataFrame
    objects: pl.DataFrame


@dataclass(frozen=True)
class Planted:
    """Objects in all of ``bins`` (attribute → bin) are missed ``ratio`` times as often as others.

    ``share`` of all objects lies there: as many as that takes are moved into (or out of) the last of the bins.
    """

    bins: Mapping[str, str]
    ratio: float
    share: float | None = None

    @property
    def conditions(self) -> set[str]:
        return {f"{name}={value}" for name, value in self.bins.items()}


def catalog(attributes: int, *, error: float | None = None) -> dict[str, Item]:
    """Half of the attributes tell of photos; the last, of objects, is their size, which ratios are adjusted for."""
    cuts = [None, *np.cumsum(SHARES)[:-1].tolist(), None]
    bins = tuple(
        Range(name, low, high, error, error, error) for name, low, high in zip(NAMES, cuts, cuts[1:], strict=False)
    )
    names = [*(f"a{place:02d}" for place in range(attributes - 1)), "object_size"]
    return {name: Item("image" if place < attributes // 2 else "object", bins) for place, name in enumerate(names)}


def tables(
    seed: int,
    photos: int,
    known: Mapping[str, Item],
    *,
    per_photo: int = 8,
    base: float = 0.1,
    correlation: float = 0.1,
    planted: Sequence[Planted] = (),
    lacking: Sequence[Planted] = (),
) -> Side:
    """Draw photos with objects.

    Args:
        seed: of the draw.
        photos: photos, of ``per_photo`` objects each.
        known: the attributes, from ``catalog``.
        per_photo: objects of a photo.
        base: miss rate outside what is planted.
        correlation: intraclass correlation of misses, of a beta distribution over photos.
        planted: where more is missed.
        lacking: what this data set does not show: its objects lie in the first bin of the last attribute instead.
    """
    rng = np.random.default_rng(seed)
    photo = np.repeat(np.arange(photos), per_photo)
    edges = np.cumsum(SHARES)[:-1]
    values = {name: rng.random(photos if item.level == "image" else len(photo)) for name, item in known.items()}

    def inside(item: Planted) -> np.ndarray:
        shown = np.ones(len(photo), dtype=bool)
        for name, value in item.bins.items():
            codes = np.searchsorted(edges, values[name], side="right")
            shown &= (codes[photo] if known[name].level == "image" else codes) == NAMES.index(value)
        return shown

    for item in planted:
        if item.share is not None:
            _reach(item, values, known, photo, inside, rng)
    for item in lacking:
        # The values of the last attribute are of objects, or of photos that hold one.
        name = list(item.bins)[-1]
        moved = inside(item)
        values[name][np.unique(photo[moved]) if known[name].level == "image" else moved] = 0.0
    shape = (1 - correlation) / correlation
    risk = rng.beta(base * shape, (1 - base) * shape, photos)[photo]
    for item in planted:
        risk = np.where(inside(item), np.minimum(risk * item.ratio, 1.0), risk)
    ids = np.char.add("photo ", np.char.zfill(np.arange(photos).astype(str), 7))
    return Side(
        pl.DataFrame(
            {
                "image_id": ids,
                "status": ["ok"] * photos,
                **{name: values[name] for name, item in known.items() if item.level == "image"},
            }
        ),
        pl.DataFrame(
            {
                "image_id": ids[photo],
                "object_id": np.tile(np.arange(per_photo), photos),
                "label": rng.choice(list(LABELS), len(photo), p=list(LABELS.values())),
                "outcome": np.where(rng.random(len(photo)) < risk, "missed", "found"),
                **{name: values[name] for name, item in known.items() if item.level == "object"},
            }
        ),
    )


def prepared(side: Side, known: Mapping[str, Item], *, detected: bool = True) -> Sample:
    return sample(side.images, side.objects, known, {}, detected=detected)


def codes(side: Side, known: Mapping[str, Item]) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, A) bins of the objects, for peers that take a matrix, and (n,) misses."""
    one = prepared(side, known)
    return np.column_stack(list(one.codes.values())), one.miss


def _reach(
    item: Planted,
    values: dict[str, np.ndarray],
    known: Mapping[str, Item],
    photo: np.ndarray,
    inside: Callable[[Planted], np.ndarray],
    rng: np.random.Generator,
) -> None:
    """Move objects that show the first bins into the last one until ``share`` of all objects shows them all."""
    name, value = list(item.bins.items())[-1]
    if known[name].level != "object":
        raise ValueError(f"expected the last planted attribute to be of objects, got {name}")
    first = inside(Planted(dict(list(item.bins.items())[:-1]), 1.0))
    shown = inside(item)
    missing = int((item.share or 0.0) * len(photo)) - int(shown.sum())
    place = NAMES.index(value)
    low = float(np.cumsum(SHARES)[place] - SHARES[place])
    if missing > 0:
        chosen = rng.choice(np.flatnonzero(first & ~shown), missing, replace=False)
        values[name][chosen] = low + SHARES[place] * rng.random(missing)
    elif missing < 0:
        values[name][rng.choice(np.flatnonzero(shown), -missing, replace=False)] = 0.0

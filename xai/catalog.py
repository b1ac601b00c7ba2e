"""The catalog of a run: the attributes of photos and objects, and those that only a detector can tell of objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attributes import ATTRIBUTES, Attribute, Bin
from attributes.attribute import bins


@dataclass(frozen=True, slots=True)
class DetectorAttribute:
    """A property of an object that its detector tells; fields as in ``attributes.Attribute``."""

    name: str
    level: str
    unit: str
    range: tuple[float | None, float | None]
    bins: tuple[Bin, ...]
    why: str
    definition: str
    source: str
    accuracy: str = ""
    bin_error: float | None = None
    cost: float | None = None


OF_DETECTOR: Mapping[str, DetectorAttribute] = {
    "novelty": DetectorAttribute(
        name="novelty",
        level="object",
        unit="",
        range=(0.0, 100.0),
        bins=bins("familiar", 80, "uncommon", 95, "novel"),
        why="a twentieth of the training objects themselves are novel, a fifth uncommon or novel, by definition",
        definition=(
            "distance of the object's detector features to the nearest training object of its class, as a percentile "
            "of the distances of training objects to those in other photos"
        ),
        source="after Sun et al., Out-of-distribution detection with deep nearest neighbors, ICML 2022",
    ),
}
"""Told of the photos that the detector was run on: of training ``data.train.detect`` at most, drawn at random."""

CATALOG: Mapping[str, Attribute | DetectorAttribute] = {**ATTRIBUTES, **OF_DETECTOR}

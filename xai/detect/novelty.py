"""How unlike its training examples an object looks to the detector: distances between object features.

The features (``features.object_features``) are whitened by the statistics of all training objects and scaled to unit
length, so that an object's distance to another is told by what the detector says of it, not by how loudly. An object's
distance is the one to the nearest training object of its class in another photo; its novelty is the share of the
training objects of its class whose own distance, told likewise, is smaller.

Sources: k-nearest-neighbour distance as outlier score, Ramaswamy, Rastogi & Shim, SIGMOD 2000, and on normalised
features of a deep network Sun et al., "Out-of-distribution detection with deep nearest neighbors", ICML 2022; the share
of leave-one-out scores that are smaller is one minus the conformal p-value of Vovk, Gammerman & Shafer, 2005.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

AXES = 64
"""Directions of greatest variance of the training features that are kept. On VOC (YOLO11n) 32 to 128 tell other classes
from cars alike well (AUC 0.96 to 0.97 over all others), and 86% of the nearest objects over all classes are of the
object's own with 64, 83% with 32 or 128."""

MIN_OBJECTS = 20
"""Training objects of a class below which their distances tell no percentiles."""

NEAREST = 5
"""Nearest training objects that are kept of each object."""

BLOCK = 4096
"""Objects whose distances are computed at once, on either side: 64 MB of distances."""


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """What of n objects decides how novel they are.

    Attributes:
        features: (n, d) of ``features.object_features``; NaN throughout for an object without.
        labels: (n,) class codes, in one vocabulary for all sets.
        draws: (n,) codes of the photos (or groups of photos) that the objects are in.
    """

    features: NDArray[np.floating]
    labels: Integers
    draws: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Novelty:
    """How novel training (n,) and judged (m,) objects are, and what of training the judged ones are nearest to.

    Attributes:
        train: (n,) percentile 0–100 of a training object's distance among those of its class, half of ties counted;
            NaN without features, or of a class with too few training objects.
        judged: (m,) likewise, of the judged objects among the training objects of their class.
        nearest: (m, ``NEAREST``) rows of training objects of the class by rising distance; −1 where there are no more.
        distance: (m, ``NEAREST``) distances to them, 0 (alike) to 2 (opposite); NaN likewise.
    """

    train: Floats
    judged: Floats
    nearest: Integers
    distance: Floats


def novelty(train: Objects, judged: Objects, device: str | torch.device = "cpu") -> Novelty:
    """Tell how novel objects are by their nearest training objects.

    Args:
        train: training objects; those of one draw are no neighbours of each other.
        judged: the objects to be told; their draws have nothing to do with training's.
        device: where distances are computed.

    Raises:
        ValueError: the two sets' features differ in length.
    """
    if train.features.shape[1] != judged.features.shape[1]:
        shapes = train.features.shape, judged.features.shape
        raise ValueError(f"expected features of one length on both sides, got shapes {shapes[0]} and {shapes[1]}")
    result = Novelty(
        np.full(len(train.labels), np.nan),
        np.full(len(judged.labels), np.nan),
        np.full((len(judged.labels), NEAREST), -1, dtype=np.int64),
        np.full((len(judged.labels), NEAREST), np.nan),
    )
    known, asked = _known(train.features), _known(judged.features)
    if not known.any():
        return result
    whitening = _whitening(torch.from_numpy(np.ascontiguousarray(train.features[known])).to(device))
    for label in np.unique(train.labels[known]):
        rows = np.flatnonzero(known & (train.labels == label))
        queries = np.flatnonzero(asked & (judged.labels == label))
        if len(rows) < MIN_OBJECTS:
            continue
        reference = whitening(torch.from_numpy(np.ascontiguousarray(train.features[rows])).to(device))
        draws = torch.from_numpy(train.draws[rows]).to(device)
        own = _nearest(reference, reference, 1, draws, draws)[0][:, 0]
        own_sorted = np.sort(own[np.isfinite(own)])
        if len(own_sorted) < MIN_OBJECTS:
            continue
        result.train[rows] = _percentile(own, own_sorted)
        looked = whitening(torch.from_numpy(np.ascontiguousarray(judged.features[queries])).to(device))
        distance, place = _nearest(looked, reference, NEAREST)
        kept = distance.shape[1]
        result.judged[queries] = _percentile(distance[:, 0], own_sorted)
        result.nearest[queries, :kept], result.distance[queries, :kept] = rows[place], distance
    return result


def _known(features: NDArray[np.floating]) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = np.isfinite(features).all(axis=1) & bool(features.shape[1])
    return known


@dataclass(frozen=True, slots=True, eq=False)
class _Whitening:
    """Centre (d,), spread (d,) and axes (d, k) of features."""

    centre: Tensor
    spread: Tensor
    axes: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """(n, d) features → (n, k) of unit length."""
        whitened = _unit((features.float() - self.centre) / self.spread) @ self.axes
        return _unit(whitened)


def _whitening(features: Tensor) -> _Whitening:
    """Fit on (n, d) features: every channel scaled alike, then the axes of most variance scaled alike."""
    values = features.float()
    centre, spread = values.mean(dim=0), values.std(dim=0, unbiased=False)
    spread = torch.where(spread > 1e-6, spread, torch.inf)  # a channel that never changes tells nothing
    scaled = _unit((values - centre) / spread)
    # The covariance about the fixed origin, the mean of the features: lengths are taken after this, from there too.
    variance, axes = torch.linalg.eigh((scaled.T @ scaled / len(scaled)).double())
    count = min(AXES, len(scaled), int((variance > 1e-9 * variance[-1]).sum()))
    variance, axes = variance[-count:], axes[:, -count:]
    return _Whitening(centre, spread, (axes / variance.sqrt()).float())


def _unit(values: Tensor) -> Tensor:
    return torch.nn.functional.normalize(values, dim=1, eps=1e-12)


def _nearest(
    queries: Tensor, reference: Tensor, count: int, query_draws: Tensor | None = None, draws: Tensor | None = None
) -> tuple[Floats, Integers]:
    """Distances (m, k) to the nearest of (n, d) unit vectors and their rows, block by block on both sides.

    With draws, those of the query's own are left out; the distance is infinite where no other is left.
    """
    distances, places = [], []
    for start in range(0, len(queries), BLOCK):
        part = queries[start : start + BLOCK]
        best = torch.full((len(part), 0), torch.inf, device=part.device)
        place = torch.zeros((len(part), 0), dtype=torch.long, device=part.device)
        for first in range(0, len(reference), BLOCK):
            block = reference[first : first + BLOCK]
            found = _apart(part, block)
            if query_draws is not None and draws is not None:
                same = query_draws[start : start + BLOCK, None] == draws[None, first : first + BLOCK]
                found = found.masked_fill(same, torch.inf)
            rows = torch.arange(first, first + len(block), device=part.device).expand(len(part), -1)
            best, place = torch.cat([best, found], dim=1), torch.cat([place, rows], dim=1)
            best, order = best.topk(min(count, best.shape[1]), dim=1, largest=False)
            place = place.gather(1, order)
        distances.append(best)
        places.append(place)
    if not distances:
        width = min(count, len(reference))
        return np.empty((0, width)), np.empty((0, width), dtype=np.int64)
    return torch.cat(distances).double().cpu().numpy(), torch.cat(places).cpu().numpy()


def _apart(left: Tensor, right: Tensor) -> Tensor:
    """Euclidean distances (m, n) of unit vectors, 0 to 2."""
    return (2 - 2 * left @ right.T).clamp(min=0).sqrt()


def _percentile(values: Floats, ordered: Floats) -> Floats:
    """Share of ``ordered`` below each value, half of those equal, in percent; NaN where the value is infinite."""
    # Two objects may be nearest to each other: rounding of float32 must not tell their one distance apart.
    values, ordered = values.round(5), ordered.round(5)
    below, upto = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    share = 50 * (below + upto) / len(ordered)
    return np.where(np.isfinite(values), share, np.nan)

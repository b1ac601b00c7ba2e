"""How attributes follow a planted change of their own kind, and how little they move under others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import accuracy_data as data
import numpy as np
from accuracy_bins import bin_of, judge_bins
from harness import Ledger
from scipy.stats import spearmanr

from attributes import ATTRIBUTES
from attributes.arrays import Floats, Pixels
from attributes.catalog import ALIKE
from attributes.views import Views

PHOTOS = 30
SIDE = 400
"""px: reducing takes the traces of the photo's own compression away."""

DRAWS = 6
"""Strengths drawn per photo where bins are judged."""

# The first seven are what the changes are for.
MEASURED = ("brightness", "contrast", "clipped", "haze", "sharpness", "noise", "jpeg_quality", "glare", "colorfulness")


class Change(NamedTuple):
    """A planted change: the attribute it is for, the sign of its effect, its strengths, and how it is made."""

    attribute: str
    sign: int
    strengths: tuple[float, ...]
    apply: Callable[[Pixels, float], Pixels]


class Moved(NamedTuple):
    """(photos, changes, attributes) Spearman correlation with the strength, and span of the values; NaN if not told."""

    correlation: Floats
    span: Floats


def _as_pixels(values: Floats) -> Pixels:
    return np.asarray(np.clip(values, 0, 255).round(), dtype=np.uint8)


def _exposed(photo: Pixels, stops: float) -> Pixels:
    """More or less light on the sensor; gamma 2.2."""
    return _as_pixels(255 * ((photo / 255.0) ** 2.2 * 2**stops) ** (1 / 2.2))


def _veiled(photo: Pixels, share: float) -> Pixels:
    return _as_pixels(photo * (1 - share) + 235 * share)


def _flattened(photo: Pixels, share: float) -> Pixels:
    return _as_pixels(photo.mean() + (photo.astype(np.float64) - photo.mean()) * (1 - share))


def _noisy(photo: Pixels, sigma: float) -> Pixels:
    """Grain of luma, the same for all three channels."""
    return _as_pixels(photo + np.random.default_rng(0).normal(0, sigma, photo.shape[:2])[..., None])


def _coded(photo: Pixels, strength: float) -> Pixels:
    return photo if strength == 0 else data.recoded(photo, round(100 - strength))


CHANGES: Mapping[str, Change] = {
    "darker": Change("brightness", -1, (0, 0.5, 1, 1.5, 2), lambda photo, stops: _exposed(photo, -stops)),
    "burned out": Change("clipped", 1, (0, 0.5, 1, 1.5, 2), _exposed),
    "flattened": Change("contrast", -1, (0, 0.15, 0.3, 0.45, 0.6), _flattened),
    "veil": Change("haze", 1, (0, 0.15, 0.3, 0.45, 0.6), _veiled),
    "blur": Change("sharpness", -1, (0, 0.7, 1.2, 2, 3), data.blurred),
    "noise": Change("noise", 1, (0, 3, 6, 10, 15), _noisy),
    "JPEG": Change("jpeg_quality", -1, (0, 15, 30, 50, 70, 85), _coded),
}


def follow(folder: Path) -> Moved:
    """Plant each change in its strengths into photos and measure all attributes."""
    files = data.paths(folder / "voc/eval/JPEGImages", most=PHOTOS)
    correlation = np.full((len(files), len(CHANGES), len(MEASURED)), np.nan)
    span = correlation.copy()
    for index, path in enumerate(files):
        photo = data.to_size(data.pixels(path), SIDE)
        for row, change in enumerate(CHANGES.values()):
            views = Views([change.apply(photo, strength) for strength in change.strengths])
            for column, name in enumerate(MEASURED):
                values = _known(name, ATTRIBUTES[name].function(views))
                told = np.isfinite(values)
                if told.sum() < 3:
                    continue
                span[index, row, column] = np.ptp(values[told])
                if span[index, row, column] > 0:
                    strengths = np.array(change.strengths)[told]
                    correlation[index, row, column] = spearmanr(strengths, values[told]).statistic
    return Moved(correlation, span)


class Bins(NamedTuple):
    """Changes of which the value that they give is known: their range, and the value from the value before."""

    change: str
    strengths: tuple[float, float]
    truth: Callable[[Floats, Floats], Floats]
    clean: Callable[[Floats], Floats]


BINNED: Mapping[str, Bins] = {
    "sharpness": Bins("blur", (0, 2.5), lambda s, sigma: 1 / np.sqrt(1 / s**2 + sigma**2), lambda s: s > 0.85),
    "noise": Bins("noise", (0, 10), lambda before, sigma: np.hypot(before, sigma), lambda before: before < 1.5),
    "haze": Bins("veil", (0, 0.5), lambda before, share: 1 - (1 - before) * (1 - share), lambda before: before < 0.1),
    "jpeg_quality": Bins("JPEG", (8, 90), lambda _, strength: 100 - strength.round(), lambda before: before == 100),
}


def bin_errors(ledger: Ledger, folder: Path) -> None:
    """How often the bin is wrong after a change of a strength drawn evenly; where the attribute is told."""
    rng = np.random.default_rng(0)
    photos = [data.to_size(data.pixels(path), SIDE) for path in data.paths(folder / "voc/eval/JPEGImages", most=PHOTOS)]
    everyday = Views([data.pixels(path) for path in data.paths(folder / "voc/eval/JPEGImages")])
    for name, item in BINNED.items():
        strengths = rng.uniform(*item.strengths, (len(photos), DRAWS))
        changed = [
            CHANGES[item.change].apply(photo, strength)
            for photo, drawn in zip(photos, strengths, strict=True)
            for strength in drawn
        ]
        before = _known(name, ATTRIBUTES[name].function(Views(photos)))
        after = ATTRIBUTES[name].function(Views(changed)).reshape(strengths.shape)
        used = np.isfinite(after) & item.clean(before)[:, None]
        truth = item.truth(before[:, None], strengths)
        note = f"{used.sum()} photos with {item.change} of any strength in {item.strengths}"
        usual = _known(name, ATTRIBUTES[name].function(everyday))
        usual = bin_of(name, usual[np.isfinite(usual)])
        judge_bins(ledger, name, bin_of(name, truth[used]), bin_of(name, after[used]), note, usual)


def _known(name: str, values: Floats) -> Floats:
    """A quality that leaves no trace is the best there is."""
    return np.where(np.isnan(values), 100.0, values) if name == "jpeg_quality" else values


def over_photos(values: Floats, quantile: float = 0.5) -> Floats:
    """Quantile over the photos where it is told; NaN where it is nowhere."""
    told = np.isfinite(values).any(axis=0)
    result = np.full(values.shape[1:], np.nan)
    result[told] = np.nanquantile(values[:, told], quantile, axis=0)
    return result


def shares(moved: Moved, quantile: float = 0.5) -> Floats:
    """(changes, attributes) spans as a share of the attribute's range; an open range is what its own change spans."""
    own = {change.attribute: row for row, change in enumerate(CHANGES.values())}
    span, middle = over_photos(moved.span, quantile), over_photos(moved.span)
    for column, name in enumerate(MEASURED):
        low, high = ATTRIBUTES[name].range
        if low is not None and high is not None:
            span[:, column] /= high - low
        elif name in own:
            span[:, column] /= middle[own[name], column]
        else:
            span[:, column] /= ATTRIBUTES[name].bins[-1].low
    return span


def grouped(change: str, attribute: str) -> bool:
    """Whether a change of one kind and an attribute of another are physically alike."""
    return any({CHANGES[change].attribute, attribute} <= group for group in ALIKE.values())


def report(ledger: Ledger, moved: Moved) -> None:
    """Correlation with the own change, and movement by others."""
    share, tail = shares(moved), shares(moved, 0.9)
    correlation = over_photos(moved.correlation)
    for row, (name, change) in enumerate(CHANGES.items()):
        value = change.sign * correlation[row, MEASURED.index(change.attribute)]
        note = f"Spearman, median over {PHOTOS} VOC photos, {len(change.strengths)} strengths"
        ledger.add(f"{change.attribute}: follows {name}", float(value), 0.95, "higher", note)
    for column, attribute in enumerate(MEASURED[:7]):
        others = {
            name: row
            for row, (name, change) in enumerate(CHANGES.items())
            if change.attribute != attribute and not grouped(name, attribute)
        }
        worst = max(others, key=lambda name: share[others[name], column])
        note = (
            f"share of its range, {worst}; 90th percentile over photos {tail[list(others.values()), column].max():.3f}"
        )
        ledger.add(f"{attribute}: moved by other changes", share[others[worst], column], 0.1, "lower", note)
    print("physically alike, so left out: " + "; ".join(f"{name} {sorted(parts)}" for name, parts in ALIKE.items()))

"""Accuracy of glare: its map against hand-drawn masks, its severity against everyday photos and planted light."""

from __future__ import annotations

from pathlib import Path

import accuracy_data as data
import cv2
import numpy as np
from accuracy_bins import bin_of, judge_each
from harness import Ledger
from scipy.stats import spearmanr

from attributes import ATTRIBUTES, glare_map
from attributes.arrays import Floats, Pixels
from attributes.exposure import brightness, clipped
from attributes.glare import glare
from attributes.reduced import fit
from attributes.views import Views

PEAK_REACH = 10.0
"""px at a longest side of 320."""

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
MILD, STRONG = (part.low for part in ATTRIBUTES["glare"].bins[1:])


def against_masks(ledger: Ledger, folder: Path) -> None:
    """Pixel AUC and place of the peak on photos with sun glare."""
    areas, reached = [], []
    for path in data.paths(folder / "glare/images"):
        photo = fit(data.pixels(path), 320)
        values = glare_map(photo)
        mask = cv2.imread(str(folder / f"glare/masks/{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        mask = cv2.resize(mask, values.shape[::-1], interpolation=cv2.INTER_NEAREST) > 127
        if mask.all() or not mask.any():
            continue
        areas.append(data.auc(values[::2, ::2][mask[::2, ::2]], values[::2, ::2][~mask[::2, ::2]]))
        peak = np.unravel_index(values.argmax(), values.shape)
        away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        reached.append(away[peak] <= PEAK_REACH)
    note = f"mean over {len(areas)} photos with a mask"
    ledger.add("glare map: pixel AUC", float(np.mean(areas)), 0.87, "higher", note)
    ledger.add("glare map: peak within 10 px of the mask", float(np.mean(reached)), 0.88, "higher", note)


def severity(ledger: Ledger, folder: Path) -> None:
    """Glare photos against VOC photos, both at 640 px and encoded alike, beside what is trivial."""
    sources = (folder / "glare/images", folder / "voc/eval/JPEGImages")
    trivial: dict[str, list[Floats]] = {"bytes per pixel": [], "mean luminance": [], "clipped share": []}
    severities = []
    for source in sources:
        photos = [data.to_size(data.pixels(path), 640) for path in data.paths(source)]
        sizes = [len(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]) for photo in photos]
        trivial["bytes per pixel"].append(np.array(sizes) / [photo.shape[0] * photo.shape[1] for photo in photos])
        views = Views([data.recoded(photo, 90) for photo in photos])
        severities.append(glare(views))
        trivial["mean luminance"].append(brightness(views))
        trivial["clipped share"].append(clipped(views))
    found = data.auc(*severities)
    areas = {name: data.auc(*values) for name, values in trivial.items()}
    best = max(areas, key=lambda name: max(areas[name], 1 - areas[name]))
    note = f"{len(severities[0])} glare and {len(severities[1])} VOC photos"
    ledger.add("glare severity: AUC", found, 0.90, "higher", note)
    for name, area in areas.items():
        ledger.add(f"glare severity: AUC of {name}", max(area, 1 - area), None, "lower", "what is trivial")
    margin = found - max(areas[best], 1 - areas[best])
    ledger.add("glare severity: AUC above the best trivial feature", margin, 0.05, "higher", best)
    strong = float(np.mean(severities[1] >= STRONG))
    ledger.add("glare severity: VOC photos told as strong", strong, 0.03, "lower", "white cars, snow, skies, stages")
    none = float(np.mean(severities[0] < MILD))
    ledger.add("glare severity: glare photos told as none", none, None, "lower", note)
    # Nobody says how much glare a photo has: those taken into the sun count as strong, everyday ones as none.
    truth = np.repeat([bin_of("glare", np.array(STRONG)), 0], [len(part) for part in severities])
    told = bin_of("glare", np.concatenate(severities))
    note = "photos into the sun are strong, VOC photos none; no photo counts as mild"
    ledger.add("glare: bin wrong", float(np.mean(told != truth)), ATTRIBUTES["glare"].bin_error, "lower", note)
    judge_each(ledger, "glare", truth, told)


def planted(ledger: Ledger, folder: Path) -> None:
    """Severity rises with the strength of a light with a halo and a veil that are added to photos without glare."""
    rng = np.random.default_rng(0)
    shares = []
    for path in data.paths(folder / "voc/eval/JPEGImages", most=40):
        photo = fit(data.pixels(path), 640)
        if glare(Views([photo]))[0] >= MILD:
            continue
        place = rng.uniform(0.15, 0.85, 2)
        values = glare(Views([with_light(photo, strength, place) for strength in STRENGTHS]))
        shares.append(spearmanr(STRENGTHS, values).statistic)
    note = f"median over {len(shares)} VOC photos, {len(STRENGTHS)} strengths"
    ledger.add("glare severity: Spearman with added light", float(np.nanmedian(shares)), 0.95, "higher", note)


def with_light(photo: Pixels, strength: float, place: Floats) -> Pixels:
    """The photo with a source, a halo that falls off with the distance, and a veil over everything, in linear light."""
    height, width = photo.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(columns - place[0] * width, rows - place[1] * height) / max(height, width)
    light = 4.0 * np.exp(-((away / 0.04) ** 2)) + 0.8 * np.exp(-away / 0.12) + 0.08
    linear = (photo / 255.0) ** 2.2 + strength * light[..., None]
    return np.asarray((255 * np.clip(linear, 0, 1) ** (1 / 2.2)).round(), dtype=np.uint8)

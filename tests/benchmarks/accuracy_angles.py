"""Accuracy of roll, pitch and quarter turns against known angles."""

from __future__ import annotations

import csv
from pathlib import Path

import accuracy_data as data
import cv2
import numpy as np
from accuracy_bins import bin_of, judge_bins
from harness import Ledger

from attributes import ATTRIBUTES, orientation, upright
from attributes.arrays import Pixels
from attributes.reduced import fit
from attributes.views import Views

ROLLS_EACH = 4
TILTS = (-8.0, 8.0)


def roll(ledger: Ledger, folder: Path) -> None:
    """York photos of known roll and VOC photos of unknown roll, turned by known angles within 20 degrees."""
    rng = np.random.default_rng(0)
    york = _york(folder)
    photos, known = [], []
    for path in data.paths(folder / "york"):
        photo = data.pixels(path)
        for angle in rng.uniform(-20, 20, ROLLS_EACH):
            photos.append(data.turned_inside(photo, angle))
            known.append(york[path.stem][0] + angle)
    found = orientation.roll(photos)
    sure = np.isfinite(found)
    off = np.abs(found - np.array(known))[sure]
    note = f"{len(photos)} turned photos of {len(photos) // ROLLS_EACH} York photos"
    ledger.add("roll: median error", float(np.median(off)), 0.3, "lower", f"degrees; {note}")
    ledger.add("roll: within 2 degrees where confident", float(np.mean(off <= 2)), 0.95, "higher")
    ledger.add("roll: confident", float(sure.mean()), 0.85, "higher")
    judge_bins(ledger, "roll", bin_of("roll", np.array(known)[sure]), bin_of("roll", found[sure]), "where told, York")
    photos, angles = [], []
    for path in data.paths(folder / "voc/eval/JPEGImages"):
        photo = data.pixels(path)
        angle = rng.uniform(-20, 20)
        photos += [photo, data.turned_inside(photo, angle)]
        angles.append(angle)
    pairs = orientation.roll(photos).reshape(-1, 2)
    change = np.abs(pairs[:, 1] - pairs[:, 0] - np.array(angles))
    both = np.isfinite(change)
    note = f"degrees, {both.sum()} of {len(angles)} VOC photos confident before and after"
    ledger.add("roll: median error of the change, VOC", float(np.median(change[both])), 1.0, "lower", note)


def pitch(ledger: Ledger, folder: Path) -> None:
    """York photos as taken and tilted up and down by a turn of the camera, which moves pixels by a homography."""
    york = _york(folder)
    photos, known, focal = [], [], []
    for path in data.paths(folder / "york"):
        photo = data.pixels(path)
        _, up, length = york[path.stem]
        photos.append(photo)
        known.append(up)
        focal.append(length)
        for tilt in TILTS:
            photos.append(_tilted(photo, tilt, york[path.stem][0], length))
            known.append(up + tilt)
            focal.append(length * _zoom(photo, length))
    truth = np.array(known)
    as_taken = np.arange(len(photos)) % (1 + len(TILTS)) == 0
    for name, lengths, target in (("focal length known", focal, 1.5), ("focal length unknown", None, 3.5)):
        views = Views(photos, focal_px=lengths)
        found = ATTRIBUTES["pitch"].function(views)
        sure = np.isfinite(found)
        off = np.abs(found - truth)
        told = sure & as_taken
        note = f"degrees; {told.sum()} of {as_taken.sum()} York photos as taken are told"
        ledger.add(f"pitch: median error, {name}", float(np.median(off[told])), target, "lower", note)
        lies, told_as = bin_of("pitch", truth)[sure], bin_of("pitch", found)[sure]
        n_tilted = int((np.abs(truth[sure]) >= ATTRIBUTES["pitch"].bins[-1].low).sum())
        note = f"{sure.sum()} of {len(photos)} told, tilted ones included; {n_tilted} not level"
        ledger.add(f"pitch: looks up/level/down right, {name}", float(np.mean(lies == told_as)), 0.92, "higher", note)
    judge_bins(ledger, "pitch", lies, told_as, "focal length unknown")


def rotation(ledger: Ledger, folder: Path) -> None:
    """Middle squares in all four turns, re-encoded after; whole upright photos for false turns."""
    # The head has seen nothing of these, but all of COCO; from where on it is believed was chosen on the other half.
    files = data.paths(folder / "voc/eval/JPEGImages")
    turns = np.tile(np.arange(4), len(files))
    squares = [
        fit(data.recoded(data.clockwise(data.middle_square(data.pixels(path)), turn), 85), 320)
        for path in files
        for turn in range(4)
    ]
    forced = 90.0 * np.array([upright.confidence(upright.describe(square)).argmax() for square in squares])
    answers, truth = orientation.rotation(squares), (360 - 90.0 * turns) % 360
    sure = np.isfinite(answers)
    note = f"middle squares of {len(files)} VOC photos, each in four turns"
    ledger.add("rotation: right where confident", float((answers == truth)[sure].mean()), 0.90, "higher", note)
    judge_bins(
        ledger,
        "rotation",
        bin_of("rotation", truth[sure]),
        bin_of("rotation", answers[sure]),
        "all four turns alike often",
    )
    ledger.add("rotation: confident", float(sure.mean()), 0.50, "higher", note)
    ledger.add("rotation: forced choice", float((forced == truth).mean()), 0.75, "higher", note)
    whole = orientation.rotation([fit(data.pixels(path), 320) for path in files])
    note = f"of {len(whole)} upright VOC photos; {np.isnan(whole).mean():.3f} are not told"
    ledger.add("rotation: upright photos called turned", float((whole > 0).mean()), 0.01, "lower", note)


def _york(folder: Path) -> dict[str, tuple[float, float, float]]:
    """Roll (positive = camera turned clockwise), pitch (positive = up) and focal length in px by photo."""
    with (folder / "york/ground_truth.csv").open() as table:
        # The table counts the turn of the content clockwise, the opposite of ours.
        return {
            row["image"]: (-float(row["roll_deg"]), float(row["pitch_up_deg"]), float(row["focal_px"]))
            for row in csv.DictReader(table)
        }


def _zoom(photo: Pixels, focal: float) -> float:
    """Least zoom at which a photo that is tilted by ``TILTS`` has no border."""
    half_view = np.arctan(photo.shape[0] / 2 / focal)
    return float(photo.shape[0] / 2 / focal / np.tan(half_view - np.radians(max(TILTS)) - np.radians(1)))


def _tilted(photo: Pixels, tilt: float, roll_degrees: float, focal: float) -> Pixels:
    """What the same camera, zoomed in, sees when its axis is lifted by ``tilt`` degrees without a change of roll."""
    height, width = photo.shape[:2]
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    zoomed = camera.copy()
    zoomed[[0, 1], [0, 1]] *= _zoom(photo, focal)
    sine, cosine = np.sin(np.radians(tilt)), np.cos(np.radians(tilt))
    lift = np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])
    sine, cosine = np.sin(np.radians(roll_degrees)), np.cos(np.radians(roll_degrees))
    level = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    turn = level.T @ lift @ level
    matrix = zoomed @ turn @ np.linalg.inv(camera)
    return np.asarray(cv2.warpPerspective(photo, matrix, (width, height), flags=cv2.INTER_CUBIC), dtype=np.uint8)

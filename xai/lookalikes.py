"""Keeps pictures of the training objects that missed objects look most alike to, for the report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from attributes.decode import DecodeError, read
from xai.dataset.photos import stamps
from xai.files import remove_pictures, replacing, tidy
from xai.rules import MISSES
from xai.types import Pixels

FOLDER = "alike"
"""Where the pictures go, in the run directory: ``ERROR_ID.jpg``, its crops side by side, nearest first."""

MOST = 300
"""Misses at most; each costs the reading of up to three training photos."""

CROPS = 3
SIDE = 112
"""px, of one crop."""

_AROUND = 1.3
"""The crop's side, of the longest side of the object's box."""


def keep(nearest: pl.DataFrame, errors: pl.DataFrame, trained: pl.DataFrame, root: Path, folder: Path) -> None:
    """Write a strip of crops for each of the first misses; a training photo that cannot be read leaves a gap.

    Args:
        nearest: rows of ``tables.BESIDE["nearest"]``.
        errors: of the run; misses in their order.
        trained: training objects with their boxes.
        root: folder of the training photos; where it is gone, as of a profile that was made elsewhere, nothing is kept.
        folder: the run directory; its ``alike/`` is made anew, or gone on with where it is of the same crops.
    """
    if nearest.is_empty() or not root.is_dir():
        remove_pictures(folder / FOLDER)
        return
    keys = ["image_id", "object_id"]
    misses = errors.filter(pl.col("kind").is_in(list(MISSES))).select("error_id", *keys)
    boxes = trained.select(
        train_image_id="image_id", train_object_id="object_id", x1="x1", y1="y1", x2="x2", y2="y2"
    ).drop_nulls()
    told = nearest.filter(pl.col("rank") <= CROPS).join(misses, on=keys)
    placed = told.join(boxes, on=["train_image_id", "train_object_id"])
    first = misses["error_id"].filter(misses["error_id"].is_in(placed["error_id"].to_list())).head(MOST)
    wanted = placed.filter(pl.col("error_id").is_in(first.to_list())).sort("error_id", "rank")
    stamp_of = stamps(root)
    seen = [stamp_of(name) for name in wanted["train_image_id"]]
    _begin(folder, hashlib.sha256(f"{root} {seen} {wanted.write_json()}".encode()).hexdigest())
    there = {path.stem for path in (folder / FOLDER).glob("*.jpg") if path.stat().st_size}
    wanted = wanted.filter(~pl.col("error_id").is_in(there))
    crops: dict[tuple[str, int], Pixels] = {}
    for part in wanted.partition_by("train_image_id", maintain_order=True):
        try:
            pixels = read(root / str(part["train_image_id"][0]), within=root).pixels
        except DecodeError:
            continue
        for row in part.iter_rows(named=True):
            box = [row[corner] for corner in ("x1", "y1", "x2", "y2")]
            crops[row["error_id"], row["rank"]] = crop(pixels, box)
    for error_id in (name for name in first if name not in there):
        ranks = sorted(rank for name, rank in crops if name == error_id)
        if ranks:
            _write([crops[error_id, rank] for rank in ranks], folder / FOLDER / f"{error_id}.jpg")


def _begin(run: Path, digest: str) -> None:
    """Remove the strips of other crops, and what a killed run left half written."""
    stamp = run / "shards" / FOLDER
    if not stamp.is_file() or stamp.read_text(encoding="ascii") != digest:
        remove_pictures(run / FOLDER)
        with replacing(stamp) as temporary:
            temporary.write_text(digest, encoding="ascii")
    tidy(run / FOLDER)


def crop(pixels: Pixels, box: Sequence[float]) -> Pixels:
    """Cut the square around a box (``x1 y1 x2 y2``, px) out of a photo, at ``SIDE``; beyond the photo it is grey."""
    x1, y1, x2, y2 = box
    side = max(x2 - x1, y2 - y1, 8.0) * _AROUND
    scale = SIDE / side
    left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
    # Shrinking by an affine map alone would skip pixels: the photo is shrunk by areas first.
    if scale < 1:
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        factor = size[0] / pixels.shape[1], size[1] / pixels.shape[0]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        left, top, scale = left * factor[0], top * factor[1], 1.0
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    grey = (114, 114, 114)
    cut: Pixels = cv2.warpAffine(pixels, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=grey)
    return cut


def _write(crops: list[Pixels], path: Path) -> None:
    gap = np.full((SIDE, 4, 3), 255, dtype=np.uint8)
    strip = np.concatenate([part for one in crops for part in (one, gap)][:-1], axis=1)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())

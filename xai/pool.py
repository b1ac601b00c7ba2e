"""Tags an unlabelled pool of photos once: what is measured on photos, and on the objects that the detector finds."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from attributes import ATTRIBUTES, frames, remote
from attributes.decode import Photo
from xai import batch, own, provenance, tables
from xai.dataset import photos
from xai.dataset.reported import read_production
from xai.exceptions import DataError
from xai.files import replacing
from xai.room import each_part
from xai.types import Detections, Detector, Pixels, Prepared, Progress

IMAGES, OBJECTS, STAMP = "pool_images.parquet", "pool_objects.parquet", "pool.sha256"


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """A tagged pool.

    Attributes:
        root: the folder.
        images: ``image_id status width height sha256 hash`` (hexadecimal, 256 bits) and image attributes.
        objects: ``image_id object_id label score x1 y1 x2 y2 outcome`` (null) and object attributes: what the detector
            finds at its threshold; empty where none was asked.
        detected: whether a detector was asked.
    """

    root: Path
    images: pl.DataFrame
    objects: pl.DataFrame
    detected: bool


def tag(
    root: Path,
    detector: Detector | None,
    *,
    folder: Path,
    workers: int | None = None,
    as_stored: bool = False,
    attributes: Sequence[own.Own] = (),
    progress: Progress,
) -> Pool:
    """Tag the photos of a folder; the tables are kept and taken again while photos and detector stay the same.

    Args:
        root: folder of photos.
        detector: tells the objects; None tags photos alone.
        folder: where the tables are kept.
        workers: threads that decode and tag.
        as_stored: the detector reads pixels without EXIF orientation.
        attributes: a user's own, told of every photo.
        progress: told after each batch.

    Raises:
        ConfigError: there is no such folder.
        DataError: there is no photo in it that can be read.
    """
    data = read_production(root)
    stamp = _stamp(root, data.image_ids, detector, as_stored, attributes)
    kept = folder / STAMP
    if kept.is_file() and kept.read_text() == stamp:
        parts = [pl.read_parquet(folder / name) for name in (IMAGES, OBJECTS)]
        return Pool(root, parts[0], parts[1], detector is not None)
    names = detector.names if detector else ()
    images: list[pl.DataFrame] = []
    objects: list[pl.DataFrame] = []
    hashes: list[str] = []
    found: list[Detections] = []

    def label(ids: Sequence[str], photos: Sequence[Photo]) -> list[batch.Labelled]:
        hashes[:] = [difference_hash(photo.pixels).tobytes().hex() for photo in photos]
        found[:] = _detections(detector, photos, as_stored) if detector else [_NOTHING] * len(photos)
        return [batch.Labelled(item.boxes, item.labels, np.zeros(len(item), dtype=np.bool_)) for item in found]

    done = 0
    for result in batch.process(
        root,
        data.image_ids,
        label=label,
        detector=None,
        detect_ids=frozenset(),
        match_iou=0.5,
        workers=workers or os.cpu_count() or 1,
        attributes=attributes,
    ):
        images.append(_images(result, hashes, attributes))
        objects.append(_objects(result, found, names))
        done += len(result.image_ids) + len(result.failures)
        progress("tag pool", done, len(data.image_ids))
    own.agree(images)
    pool = Pool(root, pl.concat(images, how="diagonal_relaxed"), pl.concat(objects), detector is not None)
    if not (pool.images["status"] == "ok").any():
        raise DataError(f"expected photos in {root}, none of {len(pool.images):,} can be read")
    tables.write(pool.images, folder / IMAGES)
    tables.write(pool.objects, folder / OBJECTS)
    with replacing(kept) as temporary:
        temporary.write_text(stamp)
    return pool


def difference_hash(pixels: Pixels) -> np.ndarray:
    """Return a 256-bit perceptual hash (32,) uint8: whether each of 16 × 16 cells is brighter than its left neighbour.

    Copies that were resized, compressed or brightened have nearly the same bits (dHash, Krawetz, "Kind of like that",
    hackerfactor.com 2013).
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.packbits((small[:, 1:] > small[:, :-1]).ravel())


_NOTHING = Detections(np.empty((0, 4)), np.empty(0), np.empty(0, dtype=np.int64))


def _detections(detector: Detector, photos: Sequence[Photo], as_stored: bool) -> list[Detections]:
    import torch

    pixels = [photo.pixels for photo in photos]
    if as_stored:
        pixels = [frames.stored_pixels(photo.pixels, photo.exif_orientation) for photo in photos]
    found = [_NOTHING] * len(photos)

    def see(part: Prepared) -> None:
        selected = detector.select(detector.forward(part.inputs), part)
        for index, item in zip(part.indices, selected, strict=True):
            found[index] = batch.displayed(item, photos[index]) if as_stored else item

    with torch.no_grad():
        groups = detector.prepare(pixels) if pixels else []
        for group in groups:
            each_part(detector, [group], batch.FORWARD_SIZE.get(group.inputs.device.type, batch.BATCH_SIZE), see)
    return found


def _images(result: batch.Batch, hashes: Sequence[str], attributes: Sequence[own.Own]) -> pl.DataFrame:
    photos = result.photos
    read = pl.DataFrame(
        {
            "image_id": list(result.image_ids),
            "status": ["ok"] * len(photos),
            "width": [photo.width for photo in photos],
            "height": [photo.height for photo in photos],
            "sha256": [photo.sha256 for photo in photos],
            "hash": list(hashes),
            **result.measured.images,
        },
        schema_overrides={"image_id": pl.String, "status": pl.String, "sha256": pl.String, "hash": pl.String},
    ).with_columns(own.columns(attributes, result.own))
    failed = pl.DataFrame(
        {
            "image_id": [image_id for image_id, _ in result.failures],
            "status": [error.code for _, error in result.failures],
        },
        schema={"image_id": pl.String, "status": pl.String},
    )
    measured = [name for name, item in ATTRIBUTES.items() if item.level == "image"]
    return pl.concat([read.with_columns(pl.col(measured).fill_nan(None)), failed], how="diagonal")


def _objects(result: batch.Batch, found: Sequence[Detections], names: Sequence[str]) -> pl.DataFrame:
    counts = [len(item) for item in found]
    boxes = np.concatenate([_NOTHING.boxes, *(item.boxes for item in found)])
    frame = pl.DataFrame(
        {
            "image_id": np.repeat(np.array(result.image_ids, dtype=object), counts).tolist(),
            "object_id": np.concatenate([np.empty(0, dtype=np.int64), *(np.arange(count) for count in counts)]),
            "label": [names[code] for item in found for code in item.labels.tolist()],
            "score": np.concatenate([_NOTHING.scores, *(item.scores for item in found)]),
            **{side: boxes[:, place] for place, side in enumerate(("x1", "y1", "x2", "y2"))},
            "outcome": pl.Series([None] * sum(counts), dtype=pl.String),
            **result.measured.objects,
        },
        schema_overrides={"image_id": pl.String, "label": pl.String, "object_id": pl.Int64},
    )
    return frame.with_columns(pl.col(list(result.measured.objects)).fill_nan(None))


def _stamp(
    root: Path, image_ids: Sequence[str], detector: Detector | None, as_stored: bool, attributes: Sequence[own.Own]
) -> str:
    """Return a digest of all that the tables depend on."""
    total = hashlib.sha256()
    told = [remote.address(root) or str(root.resolve()), provenance.versions(), list(ATTRIBUTES), as_stored]
    told += own.fingerprint(attributes)
    if detector is not None:
        told += [detector.card.sha256, detector.card.kind, list(detector.names), detector.score_threshold]
    total.update(json.dumps(told, default=str).encode())
    stamp_of = photos.stamps(root)
    for image_id in image_ids:
        total.update(f"{image_id}\0{stamp_of(image_id)}\n".encode())
    return total.hexdigest()

"""The batch core: one decode of each photo feeds the attributes and the detector, while the next batch decodes.

Everything here works on arrays, so that the core runs wherever torch and OpenCV do; ``scan.py`` makes tables of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attributes import Measured, frames, measure, remote
from attributes.decode import DecodeError, Photo, read
from attributes.workers import CRASHES
from xai import own
from xai.detect.candidates import summarise
from xai.room import each_part
from xai.types import Boxes, Detections, Detector, Pixels, Prepared

if TYPE_CHECKING:
    from collections.abc import Collection

_NO_PIXELS: Pixels = np.empty((0, 0, 3), dtype=np.uint8)

BATCH_SIZE = 16
"""Photos that are decoded, tagged and detected together. A constant of the shard, so rows don't depend on workers."""

FORWARD_SIZE = {"cpu": 4, "cuda": BATCH_SIZE}
"""Photos a forward, by type of device. On a CPU the feature maps of more photos outgrow the caches: YOLO11n at
640 px took 95 ms a photo in fours and 142 ms in sixteens."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The annotated objects of one photo, in pixels of the displayed frame.

    Attributes:
        boxes: (n, 4).
        labels: (n,) indices into the detector's names; −1 for a class that it lacks.
        repeats: (n,) boxes that repeat another one's object: they crowd and hide nothing, and are not measured.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    repeats: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What the core found out about up to ``BATCH_SIZE`` photos.

    Attributes:
        image_ids: photos that were read, b of them, in the order asked.
        photos: their metadata; pixels are already released.
        failures: photos that could not be read, with the reason.
        measured: attributes of the photos (b,) and of all their objects, photo after photo.
        detections: per photo, or None where the detector was not asked.
        candidates: per object, columns of ``tables.CANDIDATES``; NaN where the detector was not asked.
        own: a user's own attributes, column → a value a photo (``own.measure``).
        features: (N, d) what all their objects look like to the detector (``detect.features``), NaN where it was not
            asked; d is 0 where it was asked of no photo or has no features.
    """

    image_ids: tuple[str, ...]
    photos: tuple[Photo, ...]
    failures: tuple[tuple[str, DecodeError], ...]
    measured: Measured
    detections: tuple[Detections | None, ...]
    candidates: dict[str, NDArray[np.float64]]
    features: NDArray[np.float32]
    own: dict[str, list[own.Value]]


def process(
    root: Path,
    image_ids: Sequence[str],
    *,
    label: Callable[[Sequence[str], Sequence[Photo]], Sequence[Labelled]],
    detector: Detector | None,
    detect_ids: Collection[str],
    match_iou: float,
    workers: int,
    as_stored: bool = False,
    attributes: Sequence[own.Own] = (),
    crashed: Collection[str] = (),
) -> Iterator[Batch]:
    """Decode, tag and detect photos batch by batch.

    Memory holds the pixels of two batches: the one that is worked on and the one that decodes meanwhile.

    Args:
        root: folder that the ids are relative to.
        image_ids: photos in the order in which they are to come out.
        label: gives the objects of photos once their sizes are known.
        detector: the detector, or None to tag only.
        detect_ids: photos that the detector is asked about.
        match_iou: IoU at which a candidate covers an object.
        workers: threads that decode and tag.
        as_stored: the detector sees pixels as the file holds them, without EXIF orientation; what it finds is turned
            into the displayed frame.
        attributes: a user's own.
        crashed: photos that ended the process that worked on them, twice; they are not read again.
    """
    batches = [image_ids[start : start + BATCH_SIZE] for start in range(0, len(image_ids), BATCH_SIZE)]
    with ThreadPoolExecutor(max_workers=workers) as pool, _readers(root, pool) as reading:
        upcoming = _submit(reading, root, batches[0], crashed) if batches else []
        for position, batch in enumerate(batches):
            current = upcoming
            following = batches[position + 1] if position + 1 < len(batches) else []
            upcoming = _submit(reading, root, following, crashed)
            photos: list[Photo] = []
            read_ids: list[str] = []
            failures: list[tuple[str, DecodeError]] = []
            for image_id, future in zip(batch, current, strict=True):
                try:
                    photos.append(future.result())
                    read_ids.append(image_id)
                except DecodeError as error:
                    failures.append((image_id, error))
            labelled = label(read_ids, photos)
            pixels = [photo.pixels for photo in photos]
            # Photos of a batch are tagged side by side: on a GPU the detector would wait for a single thread.
            size = -(-len(photos) // workers) or 1
            tagging = [
                pool.submit(_measure, photos[start : start + size], labelled[start : start + size])
                for start in range(0, len(photos), size)
            ]
            shown = dict(zip(read_ids, (photo.pixels for photo in photos), strict=True))
            telling = pool.submit(own.measure, attributes, shown) if attributes else None
            asked = [index for index, image_id in enumerate(read_ids) if image_id in detect_ids]
            if as_stored:
                seen = [frames.stored_pixels(photo.pixels, photo.exif_orientation) for photo in photos]
                boxes = [_stored(item, photo) for item, photo in zip(labelled, photos, strict=True)]
                found, candidates, features = _detect(detector, seen, boxes, asked, match_iou)
                detections = tuple(
                    displayed(item, photo) if item else None for item, photo in zip(found, photos, strict=True)
                )
            else:
                detections, candidates, features = _detect(detector, pixels, labelled, asked, match_iou)
            yield Batch(
                image_ids=tuple(read_ids),
                photos=tuple(replace(photo, pixels=_NO_PIXELS) for photo in photos),
                failures=tuple(failures),
                measured=_together([part.result() for part in tagging]),
                detections=detections,
                candidates=candidates,
                features=features,
                own=telling.result() if telling else {},
            )


def _measure(photos: Sequence[Photo], labelled: Sequence[Labelled]) -> Measured:
    """Measure photos and their objects; NaN for those that repeat another."""
    found = measure(
        [photo.pixels for photo in photos],
        [item.boxes[~item.repeats] for item in labelled],
        focal_px=[photo.focal_px for photo in photos],
    )
    counted = ~np.concatenate([np.empty(0, dtype=np.bool_), *(item.repeats for item in labelled)])
    objects = {name: np.full(len(counted), np.nan) for name in found.objects}
    for name, values in found.objects.items():
        objects[name][counted] = values
    return replace(found, objects=objects)


def _together(parts: Sequence[Measured]) -> Measured:
    """What was measured of the photos of a batch, part after part."""
    first, *others = parts or [measure([], [])]
    return Measured(
        images={
            name: np.concatenate([values, *(part.images[name] for part in others)])
            for name, values in first.images.items()
        },
        objects={
            name: np.concatenate([values, *(part.objects[name] for part in others)])
            for name, values in first.objects.items()
        },
    )


def displayed(detections: Detections, photo: Photo) -> Detections:
    """Turn what was found in a photo as stored into the displayed frame."""
    orientation = photo.exif_orientation or 1
    boxes = frames.displayed_boxes(detections.boxes, orientation, photo.width, photo.height)
    return replace(detections, boxes=boxes)


def _stored(labelled: Labelled, photo: Photo) -> Labelled:
    orientation = photo.exif_orientation or 1
    return replace(labelled, boxes=frames.stored_boxes(labelled.boxes, orientation, photo.width, photo.height))


def _readers(root: Path, pool: ThreadPoolExecutor) -> AbstractContextManager[ThreadPoolExecutor]:
    """Return the threads that read photos: from afar, those of a batch travel together."""
    return ThreadPoolExecutor(max_workers=BATCH_SIZE) if remote.address(root) else nullcontext(pool)


def _submit(
    pool: ThreadPoolExecutor, root: Path, batch: Sequence[str], crashed: Collection[str]
) -> list[Future[Photo]]:
    return [pool.submit(_refuse if image_id in crashed else read, root / image_id, within=root) for image_id in batch]


def _refuse(path: Path, *, within: Path) -> Photo:
    raise DecodeError(CRASHES, f"expected a photo, got one that ended the process that worked on it, twice: {path}")


def _detect(
    detector: Detector | None,
    pixels: Sequence[Pixels],
    labelled: Sequence[Labelled],
    asked: Sequence[int],
    match_iou: float,
) -> tuple[tuple[Detections | None, ...], dict[str, NDArray[np.float64]], NDArray[np.float32]]:
    """Run the detector on the photos at ``asked``; reduce candidates and feature maps to a row per annotated object."""
    detections: list[Detections | None] = [None] * len(pixels)
    counts = np.array([len(item.boxes) for item in labelled], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    columns: dict[str, NDArray[np.float64]] = {}
    features = np.full((int(starts[-1]), 0), np.nan, dtype=np.float32)
    if detector is None or not asked:
        return tuple(detections), columns, features
    import torch

    from xai.detect.features import object_features

    def see(prepared: Prepared) -> None:
        nonlocal features
        indices = [asked[index] for index in prepared.indices]
        found = detector.forward(prepared.inputs)
        for index, result in zip(indices, detector.select(found, prepared), strict=True):
            detections[index] = result
        summary = summarise(
            found,
            prepared,
            [labelled[index].boxes for index in indices],
            [labelled[index].labels for index in indices],
            match_iou,
            complete=detector.sees_candidates,
        )
        rows = np.concatenate([np.arange(starts[index], starts[index + 1]) for index in indices])
        for name, values in summary.items():
            columns.setdefault(name, np.full(int(starts[-1]), np.nan))[rows] = values
        seen = np.concatenate(object_features(found, prepared, [labelled[index].boxes for index in indices]))
        if not features.shape[1]:
            features = np.full((len(features), seen.shape[1]), np.nan, dtype=np.float32)
        features[rows] = seen

    with torch.no_grad():
        groups = detector.prepare([pixels[index] for index in asked])
        each_part(detector, groups, FORWARD_SIZE.get(groups[0].inputs.device.type, BATCH_SIZE), see)
    return tuple(detections), columns, features

"""Write the demo's photos to disk in the layout of PASCAL VOC, with the truth about what was planted beside them."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from xai.demo.conditions import HARMLESS, NONE, Photo, make
from xai.exceptions import RequestError
from xai.types import Progress, no_progress

JPEG_QUALITY = 92

TRAINING_PHOTOS = 360

EVALUATION: Mapping[str, int] = {
    NONE: 98,
    "glare": 38,
    "darkness": 11,
    "sideways": 10,
    "tilt": 34,
    "small": 8,
    "crowding": 32,
    "shifted_label": 22,
    HARMLESS: 28,
}
"""Evaluation photos by planted condition."""

_EVALUATION_SEED = 5_000_000
_TRAINING_CYCLE = (NONE, NONE, NONE, "small", NONE, NONE, "crowding", NONE, NONE, NONE, "small", NONE, "crowding")


def training_scene(index: int) -> Photo:
    """Render one scene of the endless training stream: of thirteen, two with far objects and two with a crowd."""
    return make(index, _TRAINING_CYCLE[index % len(_TRAINING_CYCLE)])


def evaluation_scene(index: int) -> Photo:
    """Render one photo of the evaluation set; conditions follow each other as in ``EVALUATION``."""
    conditions = list(itertools.chain.from_iterable([name] * count for name, count in EVALUATION.items()))
    return make(_EVALUATION_SEED + index, conditions[index])


def write(root: Path, *, share: float = 1.0, progress: Progress = no_progress) -> None:
    """Write ``train/`` and ``eval/`` as PASCAL VOC folders, and ``truth.csv``, below a folder.

    ``truth.csv`` has a row for each object of the evaluation set: ``image_id object_id condition``, the identifiers as
    in a run's tables. Photos that are there already are not touched.

    Args:
        root: the folder.
        share: of the photos of each condition and of training that are written, above 0 to 1.
        progress: told after each photo.

    Raises:
        RequestError: the folder holds photos of another share, or others.
    """
    training = range(math.ceil(share * TRAINING_PHOTOS))
    evaluation = _evaluated(share)
    total = len(training) + len(evaluation)
    _write_split(root / "train", training_scene, training, lambda done: progress("render", done, total))
    truth = _write_split(
        root / "eval",
        evaluation_scene,
        evaluation,
        lambda done: progress("render", len(training) + done, total),
    )
    with (root / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image_id", "object_id", "condition"])
        table.writerows(
            (image_id, object_id, condition)
            for image_id, photo in truth
            for object_id, condition in enumerate(photo.planted)
        )


def _evaluated(share: float) -> list[int]:
    """Return the first scenes of each condition."""
    starts = itertools.accumulate(EVALUATION.values(), initial=0)
    parts = [
        range(start, start + math.ceil(share * count))
        for start, count in zip(starts, EVALUATION.values(), strict=False)
    ]
    return list(itertools.chain.from_iterable(parts))


def _write_split(
    folder: Path, scene: Callable[[int], Photo], indices: Iterable[int], done: Callable[[int], None]
) -> list[tuple[str, Photo]]:
    indices = list(indices)
    names = {f"{index + 1:06d}" for index in indices}
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        others = [file.name for file in (folder / kind).iterdir() if file.stem not in names]
        if others:
            raise RequestError(
                f"expected {folder / kind} to be empty or of the same share of the demo, found {len(others)} other "
                f"files such as {min(others)}: choose another folder"
            )

    def one(index: int) -> tuple[str, Photo]:
        photo = scene(index)
        name = f"{index + 1:06d}"
        write_photo(folder, name, photo)
        return f"JPEGImages/{name}.jpg", photo

    written = []
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(one, indices):
            written.append(result)
            done(len(written))
    return written


def write_photo(folder: Path, name: str, photo: Photo) -> None:
    """Write one photo and its annotation into an existing VOC folder."""
    encoded = cv2.imencode(".jpg", photo.pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    annotation = ElementTree.tostring(_annotation(name, photo), encoding="utf-8", xml_declaration=True)
    for file, told in (
        (folder / "JPEGImages" / f"{name}.jpg", encoded.tobytes()),
        (folder / "Annotations" / f"{name}.xml", annotation),
    ):
        # A run takes a file that was written anew for another one, and reads it again.
        if not file.is_file() or file.read_bytes() != told:
            file.write_bytes(told)


def _annotation(name: str, photo: Photo) -> ElementTree.Element:
    """Describe a photo as the VOC devkit does: pixels are counted from 1 and the last one is included."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = f"{name}.jpg"
    height, width = photo.pixels.shape[:2]
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", width), ("height", height), ("depth", 3)):
        ElementTree.SubElement(size, key).text = str(value)
    corners = np.concatenate([np.floor(photo.boxes[:, :2]) + 1, np.ceil(photo.boxes[:, 2:])], axis=1).astype(int)
    for label, box, difficult, truncated in zip(
        photo.labels, corners.tolist(), photo.difficult, photo.truncated, strict=True
    ):
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = label
        ElementTree.SubElement(item, "truncated").text = str(int(truncated))
        ElementTree.SubElement(item, "difficult").text = str(int(difficult))
        corner = ElementTree.SubElement(item, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(corner, key).text = str(value)
    ElementTree.indent(root)
    return root

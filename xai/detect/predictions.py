"""Detections from a COCO results file, for detectors that cannot be opened here.

The file may be larger than memory: it is read as a stream, and what is kept is bounded by the deployed detections of
the data set's own photos, 48 bytes each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import ijson
import numpy as np
from numpy.typing import NDArray

from xai.config import DetectorConfig
from xai.detect import digest
from xai.exceptions import DetectorError
from xai.types import Boxes, Detections, ModelCard, PredictedOnly

BATCH_ROWS = 20_000
"""Rows that are checked together; as Python objects they take some 20 MB."""

_ROW = 'a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'


class _Rows(NamedTuple):
    """Rows as arrays: photos (n,) positions in the data set, boxes (n, 4), scores (n,) and labels (n,)."""

    photos: NDArray[np.int64]
    boxes: Boxes
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]

    def where(self, wanted: NDArray[np.bool_] | NDArray[np.int64]) -> _Rows:
        return _Rows(self.photos[wanted], self.boxes[wanted], self.scores[wanted], self.labels[wanted])


def load(config: DetectorConfig, image_ids: Sequence[str]) -> PredictedOnly:
    """Read a results file: a list of ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}``.

    Boxes are pixels of the displayed photo. ``annotations`` names a COCO file whose ``images`` and ``categories`` tell
    file names and class names. Without it, ``image_id`` is a file name, with or without folder and suffix (or the
    number in it, as in COCO's own ``000000397133.jpg``), and ``category_id`` an index into ``names``.

    Detections of photos that aren't in the data set are left out; ``card.details`` counts them.

    Args:
        config: the ``detector`` section; ``weights`` is the results file.
        image_ids: photos of the data set.

    Raises:
        DetectorError: a file cannot be read or isn't in the format, a photo's name is ambiguous, a class is not named,
            or no detection belongs to any photo of the data set.
    """
    path = Path(str(config.weights))
    images, classes = _annotations(config.annotations) if config.annotations else (None, _indexed(config, path))
    codes = {category: code for code, category in enumerate(classes)}
    photo_of = _photo_finder(images, image_ids, path)
    parts = []
    count = matched = 0
    first = None
    for start, raw in _batches(path):
        boxes, scores, categories = _checked(raw, start, path)
        unknown = sorted(set(categories.tolist()) - codes.keys())
        if unknown:
            where = config.annotations or "detector.names"
            raise DetectorError(f"{path}: expected the category_id of a class in {where}, got {unknown[:5]}")
        labels = np.array([codes[category] for category in categories.tolist()], dtype=np.int64)
        photos = np.array([photo_of(_id(row["image_id"])) for row in raw], dtype=np.int64)
        known = photos >= 0
        parts.append(_Rows(photos, boxes, scores, labels).where(known & (scores >= config.score_threshold)))
        first = raw[0]["image_id"] if first is None else first
        count += len(raw)
        matched += int(known.sum())
    if count and not matched and image_ids:
        raise DetectorError(
            f"{path}: expected detections of photos such as {image_ids[0]!r}, but none of its image_id names a photo "
            f"of the data set (the first is {first!r}); name a COCO file that maps them as detector.annotations"
        )
    by_image = _by_image(parts, image_ids)
    return PredictedOnly(
        names=tuple(classes.values()),
        card=ModelCard(
            kind=config.kind,
            file=str(config.weights),
            sha256=digest.sha256(path),
            details={
                "detections": count,
                "of_unknown_photos": count - matched,
                "below_threshold": matched - sum(map(len, by_image.values())),
            },
        ),
        score_threshold=config.score_threshold,
        by_image=by_image,
    )


def _batches(path: Path) -> Iterator[tuple[int, list[Any]]]:
    """Read the elements of the list, and with each batch the number of those before it."""
    with _opened(path, "a COCO results file") as file:
        opening = _opening(file)
        if opening not in (b"[", b""):
            raise DetectorError(
                f"{path}: expected {_ROW}, but the file begins with {opening.decode(errors='replace')!r}"
            )
        start = 0
        rows: list[Any] = []
        try:
            for row in ijson.items(file, "item", use_float=True):
                rows.append(row)
                if len(rows) == BATCH_ROWS:
                    yield start, rows
                    start, rows = start + len(rows), []
        except ijson.JSONError as error:
            raise DetectorError(
                f"{path}: expected {_ROW}, but it is not valid JSON in row {start + len(rows)} (the first is 0) or "
                f"behind it: {_reason(error)}"
            ) from error
    if rows:
        yield start, rows


def _opened(path: Path, what: str) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DetectorError(f"expected {what} at {path}, could not read it: {error.strerror}") from error


def _opening(file: BinaryIO) -> bytes:
    """Skip a byte order mark, and look at the first character that is no space."""
    start = 3 if file.read(3) == b"\xef\xbb\xbf" else 0
    file.seek(start)
    opening = file.read(1)
    while opening.isspace():
        opening = file.read(1)
    file.seek(start)
    return opening


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _checked(raw: Sequence[Any], start: int, path: Path) -> tuple[Boxes, NDArray[np.float64], NDArray[np.int64]]:
    """Boxes, scores and categories of rows, the first of which is the file's row ``start``."""
    try:
        return _arrays(raw)
    except (KeyError, TypeError, ValueError) as error:
        bad = next(index for index, row in enumerate(raw) if not _is_sound(row))
        raise DetectorError(
            f"{path}: expected {_ROW} with finite boxes and scores in 0–1; row {start + bad} is {raw[bad]!r}"
        ) from error


def _is_sound(row: Any) -> bool:
    try:
        _arrays([row])
    except (KeyError, TypeError, ValueError):
        return False
    return True


def _arrays(raw: Sequence[Any]) -> tuple[Boxes, NDArray[np.float64], NDArray[np.int64]]:
    boxes = np.array([row["bbox"] for row in raw], dtype=np.float64)
    scores = np.array([row["score"] for row in raw], dtype=np.float64)
    categories = np.array([row["category_id"] for row in raw], dtype=np.float64)
    whole = np.isfinite(categories) & (categories == np.round(categories))
    if boxes.shape != (len(raw), 4) or not whole.all() or any(row["image_id"] is None for row in raw):
        raise ValueError("a row that isn't complete")
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] >= 0).all() and ((scores >= 0) & (scores <= 1)).all()):
        raise ValueError("a row that cannot be")
    boxes[:, 2:] += boxes[:, :2]
    return boxes, scores, categories.astype(np.int64)


def _annotations(path: Path) -> tuple[dict[str, str], dict[int, str]]:
    """File names by image id and class names by category id; the annotations themselves are passed over."""
    expected = "'images' with id and file_name and 'categories' with id and name"
    images: dict[str, str] = {}
    classes: dict[int, str] = {}
    with _opened(path, "a COCO annotation file") as file:
        _opening(file)
        start = file.tell()
        try:
            images.update(
                (_id(item["id"]), str(item["file_name"])) for item in ijson.items(file, "images.item", use_float=True)
            )
            file.seek(start)
            classes.update(
                (int(item["id"]), str(item["name"])) for item in ijson.items(file, "categories.item", use_float=True)
            )
        except ijson.JSONError as error:
            raise DetectorError(f"{path}: expected {expected}, but it is not valid JSON: {_reason(error)}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise DetectorError(f"{path}: expected {expected}; {error!r}") from error
    if not images or not classes:
        raise DetectorError(f"{path}: expected {expected}; got {len(images)} images and {len(classes)} categories")
    return images, dict(sorted(classes.items()))


def _id(value: Any) -> str:
    """Return an id as text; table programs write whole numbers as 42.0."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _indexed(config: DetectorConfig, path: Path) -> dict[int, str]:
    if not config.names:
        raise DetectorError(f"detector.names: expected the class names of {path}, or detector.annotations to tell them")
    return dict(enumerate(config.names))


def _photo_finder(images: Mapping[str, str] | None, image_ids: Sequence[str], path: Path) -> Callable[[str], int]:
    """Return what turns the file's ``image_id`` into a position in ``image_ids``; −1 for one that isn't among them."""
    ways: list[dict[str, list[int]]] = [{}, {}, {}, {}]
    for position, image_id in enumerate(image_ids):
        photo = PurePosixPath(image_id)
        number = str(int(photo.stem)) if photo.stem.isdecimal() else None
        for way, key in zip(ways, (image_id, photo.name, photo.stem, number), strict=True):
            if key is not None:
                way.setdefault(key, []).append(position)

    @functools.cache
    def find(image_id: str) -> int:
        named = image_id if images is None else images.get(image_id)
        if named is None:
            return -1
        name = named.replace("\\", "/").removeprefix("./")
        base = name.rpartition("/")[2]
        for way, key in zip(ways, (name, base, base, base), strict=True):
            found = way.get(key, [])
            if len(found) > 1:
                raise DetectorError(
                    f"{path}: image_id {image_id!r} could be {' or '.join(sorted(image_ids[at] for at in found)[:2])}; "
                    "name photos by their path in the data set"
                )
            if found:
                return found[0]
        return -1

    return find


def _by_image(parts: Sequence[_Rows], image_ids: Sequence[str]) -> dict[str, Detections]:
    """Sort by photo and falling score, and cut into one ``Detections`` a photo."""
    if not sum(len(part.photos) for part in parts):
        return {}
    rows = _Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    rows = rows.where(np.lexsort([-rows.scores, rows.photos]))
    photos, starts = np.unique(rows.photos, return_index=True)
    ends = [*starts[1:].tolist(), len(rows.photos)]
    return {
        image_ids[photo]: Detections(rows.boxes[start:end], rows.scores[start:end], rows.labels[start:end])
        for photo, start, end in zip(photos.tolist(), starts.tolist(), ends, strict=True)
    }

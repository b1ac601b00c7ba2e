"""Detections from a COCO results file, for detectors that cannot be opened here.

The file may be larger than memory: it is read as a stream, and what is kept is bounded by the deployed detections of
the data set's own photos, 48 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import ijson
import numpy as np
import polars as pl

from xai import tables
from xai.config import DetectorConfig
from xai.detect import digest
from xai.exceptions import DetectorError
from xai.types import Detections, ModelCard, PredictedOnly

BATCH_ROWS = 20_000
"""Rows that are checked together; as Python objects they take some 20 MB."""

_ROW = 'a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'

_SCHEMA: tables.Schema = {
    "image_id": pl.String,
    "category_id": pl.Int64,
    "bbox": pl.List(pl.Float64),
    "score": pl.Float64,
}


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
    photo_of = _photo_finder(images, image_ids, path)
    parts = []
    count = matched = 0
    first = None
    for start, raw in _batches(path):
        rows = _checked(raw, start, path)
        rows = _with_classes(rows, classes, config.annotations or "detector.names", path)
        rows = _with_photos(rows, photo_of).filter(pl.col("photo").is_not_null())
        first = str(raw[0].get("image_id")) if first is None else first
        count += len(raw)
        matched += len(rows)
        parts.append(rows.filter(pl.col("score") >= config.score_threshold))
    if count and not matched and image_ids:
        raise DetectorError(
            f"{path}: expected detections of photos such as {image_ids[0]!r}, but none of its image_id names a photo "
            f"of the data set (the first is {first!r}); name a COCO file that maps them as detector.annotations"
        )
    by_image = _by_image(pl.concat(parts), image_ids) if parts else {}
    deployed = sum(map(len, by_image.values()))
    return PredictedOnly(
        names=tuple(classes.values()),
        card=ModelCard(
            kind=config.kind,
            file=str(config.weights),
            sha256=digest.sha256(path),
            details={
                "detections": count,
                "of_unknown_photos": count - matched,
                "below_threshold": matched - deployed,
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


def _checked(raw: Sequence[Any], start: int, path: Path) -> pl.DataFrame:
    """Make a table of rows, the first of which is the file's row ``start``."""
    strange = next((index for index, row in enumerate(raw) if not isinstance(row, dict)), None)
    if strange is not None:
        raise DetectorError(f"{path}: expected {_ROW}; row {start + strange} is {raw[strange]!r}")
    try:
        rows = pl.DataFrame(raw, schema=dict(_SCHEMA), strict=False)
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise DetectorError(f"{path}: expected {_ROW}; in rows {start}–{start + len(raw) - 1}: {error}") from error
    boxes = pl.col("bbox")
    complete = pl.all_horizontal(pl.col("image_id", "category_id").is_not_null(), boxes.list.len() == 4)
    sound = pl.col("score").is_between(0, 1) & boxes.list.eval(pl.element().is_finite()).list.all()
    sides = (boxes.list.get(2, null_on_oob=True) >= 0) & (boxes.list.get(3, null_on_oob=True) >= 0)
    bad = rows.select((~(complete & sound & sides).fill_null(False)).arg_true()).to_series()
    if len(bad):
        raise DetectorError(
            f"{path}: expected {_ROW} with finite boxes and scores in 0–1; row {start + bad[0]} is {raw[bad[0]]!r}"
            + (f" ({len(bad)} such rows hereabouts)" if len(bad) > 1 else "")
        )
    return rows


def _with_classes(rows: pl.DataFrame, classes: Mapping[int, str], where: object, path: Path) -> pl.DataFrame:
    """Replace ``category_id`` by ``label``, the class's position."""
    codes = {category: code for code, category in enumerate(classes)}
    labels = rows["category_id"].replace_strict(codes, default=None, return_dtype=pl.Int32)
    unknown = rows["category_id"].filter(labels.is_null()).unique().sort().to_list()
    if unknown:
        raise DetectorError(f"{path}: expected the category_id of a class in {where}, got {unknown[:5]}")
    return rows.drop("category_id").with_columns(label=labels)


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
                (str(item["id"]), str(item["file_name"])) for item in ijson.items(file, "images.item", use_float=True)
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


def _indexed(config: DetectorConfig, path: Path) -> dict[int, str]:
    if not config.names:
        raise DetectorError(f"detector.names: expected the class names of {path}, or detector.annotations to tell them")
    return dict(enumerate(config.names))


def _photo_finder(
    images: Mapping[str, str] | None, image_ids: Sequence[str], path: Path
) -> Callable[[str], int | None]:
    """Return what turns the file's ``image_id`` into a position in ``image_ids``, by the first name that finds one."""
    ways: list[dict[str, list[int]]] = [{}, {}, {}, {}]
    for position, image_id in enumerate(image_ids):
        photo = PurePosixPath(image_id)
        number = photo.stem.lstrip("0") if photo.stem.isdigit() else None
        for way, key in zip(ways, (image_id, photo.name, photo.stem, number), strict=True):
            if key is not None:
                way.setdefault(key, []).append(position)

    def find(image_id: str) -> int | None:
        named = image_id if images is None else images.get(image_id)
        if named is None:
            return None
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
        return None

    return find


def _with_photos(rows: pl.DataFrame, find: Callable[[str], int | None]) -> pl.DataFrame:
    """Replace ``image_id`` by ``photo``, the position in the data set, null where it isn't in it."""
    found = {image_id: find(image_id) for image_id in rows["image_id"].unique(maintain_order=True)}
    return rows.with_columns(photo=pl.col("image_id").replace_strict(found, return_dtype=pl.Int32)).drop("image_id")


def _by_image(rows: pl.DataFrame, image_ids: Sequence[str]) -> dict[str, Detections]:
    """Cut the table, sorted by photo and falling score, into one ``Detections`` a photo."""
    if not len(rows):
        return {}
    rows = rows.sort("photo", "score", descending=[False, True], maintain_order=True)
    boxes = rows["bbox"].explode().to_numpy().reshape(-1, 4).copy()
    boxes[:, 2:] += boxes[:, :2]
    scores, labels = rows["score"].to_numpy(), rows["label"].cast(pl.Int64).to_numpy()
    photos, starts = np.unique(rows["photo"].to_numpy(), return_index=True)
    ends = [*starts[1:].tolist(), len(rows)]
    return {
        image_ids[photo]: Detections(boxes[start:end], scores[start:end], labels[start:end])
        for photo, start, end in zip(photos.tolist(), starts.tolist(), ends, strict=True)
    }

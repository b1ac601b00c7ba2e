"""COCO: one JSON file with lists of images, annotations and categories.

``bbox`` is ``[x, y, width, height]`` in pixels from the photo's upper left corner. Crowds (``iscrowd``) are not scored,
nor is what a converter marked ``ignore`` or ``difficult``. ``segmentation`` and ``area`` are passed over. Every other
scalar of an annotation and of its ``attributes`` becomes a column ``label_*``.

The images that the file lists are the data set: one without annotations is a photo without objects, and photos beside
them are no part of it (one note tells how many).

Photos are sought, in this order, in the JSON's folder, its ``images``, ``data`` and the sub-folder of the split's name
(``train2017`` for ``instances_train2017.json``), then in the folder above and the same sub-folders of that, and there
in ``images/train2017``. The first folder that holds most of the photos is taken; ``photos`` names another.

Source: the COCO data format, https://cocodataset.org/#format-data
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from xai import tables
from xai.dataset import coco_rows, codes
from xai.dataset.coco_json import elements
from xai.dataset.columns import MAX_COLUMNS
from xai.dataset.photos import is_photo, is_unicode, locate, printable, relative, siblings, walk
from xai.exceptions import ConfigError, DataError
from xai.types import Dataset

_PROBES = 50
"""Photos that are looked for in a folder to tell whether it is theirs."""


def read(path: Path, *, role: str, split: str | None = None, photos: Path | None = None) -> Dataset:
    """Read a COCO file.

    Args:
        path: the JSON file, or a folder that holds one.
        role: what the tables call the split.
        split: of a folder: the split that the JSON's name tells; left out, ``train`` for training, else ``val``, else
            the only JSON there.
        photos: the folder of the photos; sought if left out.

    Returns:
        The data set; its root is the folder of the photos and ``image_id`` the ``file_name``.

    Raises:
        ConfigError: there is no such file or folder, or several fit.
        DataError: the file is no COCO file, or names no photo that can be used.
    """
    file = find_json(path, split, role)
    rows = coco_rows.Rows()
    entries: list[Any] = []
    categories: list[Any] = []
    for section, element in elements(file):
        if section == "annotations":
            rows.add(element)
        else:
            (entries if section == "images" else categories).append(element)
    classes = _classes(categories, file)
    root = _photo_folder(file, [name for name in map(_file_name, entries) if name], photos)
    shown = relative(file, root)
    images, unusable = _images(entries, root, split=role, file=shown)
    image_ids = tuple(sorted(set(images["image_id"].drop_nulls())))
    if not image_ids:
        first = f" (first problem: {unusable['message'][0]})" if len(unusable) else ""
        raise DataError(f"{file}: expected images with id and file_name, found none that can be used{first}")
    labels, rejected = coco_rows.labels(rows.table(), images, classes, split=role, file=shown)
    notes = _not_listed(root, image_ids, role)
    if rows.left_out:
        message = f"kept the first {MAX_COLUMNS} columns of annotations, left out {rows.left_out:,} values of others"
        notes.append(codes.issue("too_many_columns", message, split=role, file=shown))
    every = tables.stack([unusable, rejected, codes.table(notes)], tables.ISSUES)
    return Dataset(role, root, image_ids, labels, every, tuple(dict.fromkeys(classes.values())), label_files=(shown,))


def find_json(path: Path, split: str | None, role: str) -> Path:
    """Return the JSON file of a split.

    Raises:
        ConfigError: there is none, or several fit; the message says what was tried.
    """
    if path.is_file():
        if split is not None:
            raise ConfigError(f"expected no split beside a JSON file, got {split!r}: {path} is one split already")
        return Path(os.path.abspath(path))
    if not path.is_dir():
        raise ConfigError(f"expected a COCO JSON file, or a folder with one, at {path}, which is not there")
    name = split or ("train" if role == "train" else "val")
    patterns = [f"annotations/instances_{name}*.json", f"annotations/{name}*.json", f"instances_{name}*.json"]
    patterns += [f"{name}*.json", f"{name}*/_annotations.coco.json"]
    if split is None:
        patterns += ["annotations/*.json", "_annotations.coco.json", "*.json"]
    for pattern in patterns:
        found = sorted(path.glob(pattern))
        if len(found) > 1:
            names = ", ".join(item.relative_to(path).as_posix() for item in found[:5])
            raise ConfigError(f"{path}: expected one COCO file, {pattern} fits {names}; name the file itself")
        if found:
            return Path(os.path.abspath(found[0]))
    raise ConfigError(
        f"{path}: expected a COCO JSON file, tried {', '.join(patterns)}; found {siblings(path)}; name the file itself"
    )


def _file_name(entry: Any) -> str | None:
    name = entry.get("file_name") if isinstance(entry, dict) else None
    return name if isinstance(name, str) and name.strip() else None


def _photo_folder(file: Path, names: Sequence[str], photos: Path | None) -> Path:
    """Return the folder that the photos are in."""
    if photos is not None:
        if not photos.is_dir():
            raise ConfigError(f"expected the folder of the photos of {file} at {photos}, which is no folder")
        return Path(os.path.abspath(photos))
    part = file.stem.removeprefix("instances_")
    beside, above = file.parent, file.parent.parent
    folders = [base / inner for base in (beside, above) for inner in ("", "images", "data", part)]
    folders.append(above / "images" / part)
    probes = names[:: max(1, len(names) // _PROBES)][:_PROBES]
    held = [sum(_is_there(name, folder) for name in probes) for folder in folders]
    if names and not any(held):
        tried = ", ".join(map(str, dict.fromkeys(folders)))
        raise ConfigError(
            f"{file}: expected its photos (such as {printable(probes[0])[:100]!r}) in one of {tried}; "
            "name their folder as 'photos'"
        )
    return folders[held.index(max(held))]


def _is_there(name: str, folder: Path) -> bool:
    image_id = locate(name, folder)
    return image_id is not None and os.path.exists(folder / image_id)


def _classes(categories: Sequence[Any], file: Path) -> dict[str, str]:
    """Return class names by category id; annotations of a category without a name are told one by one."""
    found: dict[str, str] = {}
    for item in categories:
        number = coco_rows.key(item.get("id")) if isinstance(item, dict) else None
        name = coco_rows.key(item.get("name")) if isinstance(item, dict) else None
        name = name.strip() if name else None
        if number is None or not name:
            continue
        if found.setdefault(number, name) != name:
            raise DataError(f"{file}: expected one name per category id, {number} is {found[number]!r} and {name!r}")
    return found


def _images(entries: Sequence[Any], root: Path, *, split: str, file: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return ``image image_id file_width file_height``, one row an id, and what is wrong with the list."""
    listed = pl.DataFrame(
        [_entry(entry, root) for entry in entries],
        schema={
            "image": pl.String,
            "name": pl.String,
            "unicode": pl.Boolean,
            "image_id": pl.String,
            "file_width": pl.Int64,
            "file_height": pl.Int64,
        },
        orient="row",
    ).with_row_index("place")
    # Columns of their own: a window inside another one would see only the rows of one photo.
    listed = listed.with_columns(same_id=pl.col("image").is_not_null() & (pl.col("name").n_unique().over("image") > 1))
    listed = listed.with_columns(sound=pl.all_horizontal(pl.col("image", "image_id").is_not_null(), ~pl.col("same_id")))
    first = pl.col("place") == pl.col("place").filter("sound").min().over("image_id")
    shown = pl.col("name").str.slice(0, 200)
    code, message = pl.lit(None, pl.String), pl.lit("", pl.String)
    rules: list[tuple[str, pl.Expr, pl.Expr]] = [
        ("listed_twice", ~first, pl.format("{} is listed before", shown)),
        ("duplicate_image_id", pl.col("same_id"), pl.format("{} shares the id {} with another photo", shown, "image")),
        (
            "path_leaves_root",
            pl.col("image_id").is_null(),
            pl.format("expected a path inside {}, got '{}'", pl.lit(str(root)), shown),
        ),
        ("path_not_unicode", ~pl.col("unicode"), pl.format("{} is left out", shown)),
        (
            "photo_without_name",
            pl.col("image").is_null() | pl.col("name").is_null(),
            pl.format(
                "expected id and file_name in entry {} of images, got {} and {}", "place", _none("image"), _none("name")
            ),
        ),
    ]
    for name, broken, text in rules:  # later ones are the graver ones
        code = pl.when(broken).then(pl.lit(name)).otherwise(code)
        message = pl.when(broken).then(text).otherwise(message)
    judged = listed.with_columns(code=code, message=message, file=pl.lit(file))
    usable = pl.col("code").is_null() | (pl.col("code") == "listed_twice")
    images = judged.filter(pl.col("image").is_not_null()).with_columns(image_id=pl.when(usable).then("image_id"))
    images = images.unique("image", keep="first", maintain_order=True)
    return images.select("image", "image_id", "file_width", "file_height"), codes.from_labels(judged, split=split)


def _none(column: str) -> pl.Expr:
    return pl.col(column).str.slice(0, 100).fill_null("none")


def _entry(entry: Any, root: Path) -> tuple[str | None, str | None, bool, str | None, int | None, int | None]:
    name = _file_name(entry)
    item = entry if isinstance(entry, dict) else {}
    return (
        coco_rows.key(item.get("id")),
        printable(name) if name else None,
        name is None or is_unicode(name),
        locate(name, root) if name else None,
        _side(item.get("width")),
        _side(item.get("height")),
    )


def _side(value: Any) -> int | None:
    """Return a side in pixels; 0 and nonsense are written for unknown ones."""
    return int(value) if isinstance(value, int | float) and 1 <= value < 2**31 else None


def _not_listed(root: Path, image_ids: Sequence[str], split: str) -> list[codes.Row]:
    known = {os.path.join(root, image_id) for image_id in image_ids}
    others = [file for file in walk(root) if is_photo(file) and os.fspath(file) not in known]
    if not others:
        return []
    first = printable(relative(min(others), root))
    message = f"{len(others):,} photos in {root} are not listed and are no part of the set, such as {first}"
    return [codes.issue("photo_not_listed", message, split=split)]

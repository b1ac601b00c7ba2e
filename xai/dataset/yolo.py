"""YOLO: a ``data.yaml`` that names photos and classes, one text file of rows ``class cx cy w h`` a photo.

As in ultralytics, the labels of ``.../images/a/b.jpg`` are in ``.../labels/a/b.txt`` (the last ``/images/`` counts;
without one they lie beside the photo), a photo without a file is a photo without objects, and a split is a folder, a
list of photos, or several of these. Other than there, one bad row costs that row and not its whole file, ``path`` is
relative to the ``data.yaml`` and never to the working directory, and nothing is downloaded. Polygons become the box
around them, row by row; where the ``data.yaml`` has ``kpt_shape``, key points are passed over. Lists written on another
system are read too: with backslashes, with drive letters, in UTF-16.

Source: the ultralytics documentation of detection data sets, https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from xai import tables
from xai.dataset import codes, data_yaml, rows
from xai.dataset.data_yaml import DataYaml
from xai.dataset.photos import is_photo, is_unicode, locate, printable, refuse_folder, relative, walk
from xai.dataset.text import content, decoded
from xai.exceptions import DataError
from xai.types import Dataset

_NOT_LABELS = {"classes.txt", "labels.txt", "readme.txt"}
"""Texts that labelling tools put among the label files."""


def read(path: Path, *, role: str, split: str | None = None, photos: Path | None = None) -> Dataset:
    """Read a split of a YOLO data set.

    Args:
        path: a ``data.yaml``, or a folder with one.
        role: what the tables call the split.
        split: ``train``, ``val`` or ``test``; left out, ``train`` for training, else ``val``.
        photos: not for this format.

    Returns:
        The data set; ``image_id`` is relative to the ``path`` of the ``data.yaml``, boxes are fractions of the photo.

    Raises:
        ConfigError: the file, a folder that it names or the split is not there, the class names cannot be used, or
            ``photos`` is given.
        DataError: the split has no photos, or none of them has a label file.
    """
    refuse_folder(photos, "yolo")
    declared = data_yaml.load(path, split or ("train" if role == "train" else "val"))
    found, issues = _photos(declared, role)
    if not found:
        where = ", ".join(str(source) for source in declared.sources)
        first = f" (first problem: {issues[0]['message']})" if issues else ""
        raise DataError(f"expected photos in {where}, found none{first}")
    label_files = {image_id: label_file(declared.root / image_id) for image_id in found}
    texts, unread = _texts(label_files, declared.root, role)
    if not texts:
        first_file = label_files[found[0]]
        raise DataError(f"none of {len(found)} photos has a label file; expected, for the first one, {first_file}")
    unreadable = {row["image_id"] for row in unread if row["code"] == "unreadable_label_file"}
    labels, rejected = rows.parse(texts, declared.names, split=role, key_points=declared.key_points)
    issues += unread + _orphans(label_files, declared, role)
    if len(rejected.filter(pl.col("code") == "class_out_of_range")) and declared.has_gaps:
        issues.append(_gaps(declared, role))
    image_ids = tuple(image_id for image_id in found if image_id not in unreadable)
    names = tuple(dict.fromkeys(declared.names.values()))
    every = tables.stack([codes.table(issues), rejected], tables.ISSUES)
    files = tuple(relative(_spelt(lower), declared.root) for lower in label_files.values())
    return Dataset(role, declared.root, image_ids, labels, every, names, label_files=files)


def label_file(photo: Path) -> Path:
    """Return where the labels of a photo are.

    >>> label_file(Path("/data/images/val/a.jpg")).as_posix()
    '/data/labels/val/a.txt'
    >>> label_file(Path("/data/photos/a.b.jpg")).as_posix()
    '/data/photos/a.b.txt'
    """
    head, folder, tail = photo.as_posix().rpartition("/images/")
    return Path(f"{head}/labels/{tail}" if folder else photo).with_suffix(".txt")


def _spelt(lower: Path) -> Path:
    """Return the label file as it is spelt, ``.txt`` or, where only that is there, ``.TXT``."""
    upper = lower.with_suffix(".TXT")
    return upper if not os.path.exists(lower) and os.path.exists(upper) else lower


def _gaps(declared: DataYaml, role: str) -> codes.Row:
    numbers = list(declared.names)
    message = (
        f"the names of {len(numbers)} classes are numbered {numbers[0]} to {numbers[-1]} with gaps and label rows use "
        "numbers without a name: the labels may count from 0, and then every class here has another's name"
    )
    return codes.issue("class_numbers_with_gaps", message, split=role, file=str(declared.file))


def _photos(declared: DataYaml, role: str) -> tuple[list[str], list[codes.Row]]:
    """Return the split's photos by ``image_id``, sorted, and what is wrong with its lists."""
    found: dict[str, None] = {}
    issues: list[codes.Row] = []
    for source in declared.sources:
        if source.is_dir():
            names = [relative(file, declared.root) for file in walk(source) if is_photo(file)]
            for name in names:
                if is_unicode(name):
                    found[name] = None
                else:
                    shown = printable(name)
                    issues.append(codes.issue("path_not_unicode", f"{shown} is left out", split=role, file=shown))
        else:
            issues += _listed(source, declared.root, role, found)
    return sorted(found), issues


def _listed(source: Path, root: Path, role: str, found: dict[str, None]) -> list[codes.Row]:
    """Add the photos of a list file to ``found``; those that are not there stay, for the decoder to report.

    Paths that begin with ``./`` are relative to the list's folder, others to the root, or to the list's folder if only
    there a file is found.
    """
    try:
        lines = decoded(content(source, root)).splitlines()
    except OSError as error:
        raise DataError(f"expected a list of photos in {source}, one path a line: {error}") from error
    issues: list[codes.Row] = []
    file = relative(source, root)
    for line, text in enumerate(lines, start=1):
        entry = text.strip()
        if not entry:
            continue
        at: dict[str, str] = {"split": role, "file": file}
        beside = entry.startswith(("./", ".\\"))
        image_id = locate(entry, root, [source.parent] if beside else [root, source.parent])
        if "\ufffd" in entry:
            issues.append(codes.issue("path_not_unicode", f"{entry[:200]!r} is left out", **at) | {"line": line})
        elif image_id is None:
            message = f"expected a path inside {root}, got {entry[:200]!r}; not used"
            issues.append(codes.issue("path_leaves_root", message, **at) | {"line": line})
        elif image_id in found:
            message = f"{image_id} is listed before"
            issues.append(codes.issue("listed_twice", message, **at) | {"line": line})
        else:
            found[image_id] = None
    return issues


def _texts(label_files: Mapping[str, Path], root: Path, role: str) -> tuple[list[rows.Text], list[codes.Row]]:
    """Read the label files; what is not there is a background photo, what cannot be read is an issue."""
    texts: list[rows.Text] = []
    issues: list[codes.Row] = []
    for image_id, lower in label_files.items():
        path = _spelt(lower)
        file = relative(path, root)
        at = {"split": role, "image_id": image_id, "file": file}
        try:
            texts.append(rows.Text(image_id, file, content(path, root)))
        except FileNotFoundError:
            if os.path.exists(root / image_id):
                issues.append(codes.issue("background_photo", f"no {file}: counted as a photo without objects", **at))
        except OSError as error:
            message = f"expected a readable text file: {error.strerror}; the photo is left out"
            issues.append(codes.issue("unreadable_label_file", message, **at))
    return texts, issues


def _orphans(label_files: Mapping[str, Path], declared: DataYaml, role: str) -> list[codes.Row]:
    """Report label files, beside those of the split, whose photo is not on disk."""
    expected = {os.fspath(path) for path in label_files.values()}
    lists = {os.fspath(source) for source in declared.sources}
    photo_folders: dict[Path, set[Path]] = {}
    for image_id, path in label_files.items():
        photo_folders.setdefault(path.parent, set()).add((declared.root / image_id).parent)
    issues: list[codes.Row] = []
    for folder, holders in sorted(photo_folders.items()):
        if not os.path.isdir(folder):
            continue
        with_photo = {file.stem for holder in holders for file in _files(holder) if is_photo(file)}
        for file in sorted(_files(folder)):
            skip = file.suffix.lower() != ".txt" or file.name.lower() in _NOT_LABELS or file.stem in with_photo
            if skip or {os.fspath(file)} & (expected | lists):
                continue
            shown = printable(relative(file, declared.root))
            message = f"expected a photo {file.stem}.jpg for this label file, found none; its rows are not used"
            issues.append(codes.issue("label_without_photo", printable(message), split=role, file=shown))
    return issues


def _files(folder: Path) -> Iterable[Path]:
    return list(folder.iterdir()) if os.path.isdir(folder) else []

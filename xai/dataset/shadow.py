"""Labels that lie at a URL: readers see a folder on this machine that has the label files, and a name for each photo.

No photo is fetched for it: an empty file stands for each, because readers only ask whether it is there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import polars as pl

from attributes import remote
from xai.dataset import photos
from xai.exceptions import ConfigError, XaiError
from xai.types import Dataset

_FILES = {".json", ".yaml", ".yml"}
"""Endings of the files that a data set can be named by."""

_LABELS = {*_FILES, ".xml", ".txt"}

_MOST = 4 << 30
"""Bytes of a label file."""


def read_at_url(read: Callable[[Path, Path | None], Dataset], path: Path, folder_of_photos: Path | None) -> Dataset:
    """Read a data set of which the labels, the photos or both lie at a URL.

    Args:
        read: reads it from this machine, given its path and the folder of its photos.
        path: of the data set.
        folder_of_photos: of a COCO file.

    Returns:
        The data set; its root is a URL as the photos' is.

    Raises:
        ConfigError: there is nothing at the URL, nobody answers, or ``read`` raises it.
    """
    with ExitStack() as kept:
        shadows: dict[str, str] = {}

        def local(place: Path | None) -> Path | None:
            if place is None or remote.address(place) is None:
                return place
            folder = place.parent if place.suffix.lower() in _FILES else place
            shadow = Path(os.path.realpath(kept.enter_context(tempfile.TemporaryDirectory(prefix="xai-labels-"))))
            _fill(shadow, folder)
            shadows[str(shadow)] = str(folder)
            return shadow / place.name if folder != place else shadow

        try:
            data = read(local(path) or path, local(folder_of_photos))
        except XaiError as error:
            message = str(error)
            for shadow, folder in shadows.items():
                message = message.replace(shadow, remote.address(Path(folder)) or folder)
            raise type(error)(message) from error
    root, labels, issues = str(data.root), data.labels, data.issues
    for shadow, folder in shadows.items():
        if root == shadow or root.startswith(f"{shadow}/"):
            root = folder + root.removeprefix(shadow)
        shown = remote.address(Path(folder)) or folder
        labels = labels.with_columns(pl.col("file").str.replace(shadow, shown, literal=True))
        issues = issues.with_columns(pl.col("message", "file").str.replace_all(shadow, shown, literal=True))
    # The label files were copies, which have gone with their folder.
    return replace(data, root=Path(root), labels=labels, issues=issues, label_files=())


def _fill(shadow: Path, folder: Path) -> None:
    """Lay out the files under a URL: labels as they are, photos empty, others not at all."""
    names = [name for name in photos.listed(folder) if "" not in name.split("/")]
    labels: list[str] = []
    try:
        for name in names:
            ending = Path(name).suffix.lower()
            if ending in _LABELS or photos.is_photo(Path(name)):
                place = shadow / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            if ending in _LABELS:
                labels.append(name)
        with ThreadPoolExecutor(max_workers=remote.READERS) as pool:
            contents = pool.map(lambda name: remote.content(folder / name, _MOST), labels)
            for name, content in zip(labels, contents, strict=True):
                if isinstance(content, bytes):
                    (shadow / name).write_bytes(content)
    except (OSError, remote.StoreError) as error:
        raise ConfigError(f"expected a data set at {remote.address(folder)}: {error}") from error

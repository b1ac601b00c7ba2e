"""Label files that change while a run goes on: what was read at its beginning is no longer what they say."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from attributes import remote
from xai.dataset import codes
from xai.types import Dataset


class Seen(NamedTuple):
    """Label files as they were read.

    Attributes:
        split: whose they are.
        root: the data set's folder.
        files: their names, relative to it.
        stamps: (n, 2) size and time of the last change; −1 for a file that is not there.
    """

    split: str
    root: Path
    files: pl.Series
    stamps: NDArray[np.int64]


def seen(data: Dataset) -> Seen:
    """Look at the files that the labels of a data set were read from, just after; those at a URL are not watched.

    Files without an object are looked at too, and those of photos that have none: one may come to have some.
    """
    read = pl.Series("file", data.label_files, dtype=pl.String)
    files = pl.concat([read, data.labels["file"].drop_nulls()]).unique().sort()
    if remote.address(data.root):
        files = files.clear()
    return Seen(data.split, data.root, files, _stamps(data.root, files))


def changes(before: Seen) -> pl.DataFrame:
    """Return an issue for each file that is another one now."""
    moved = (_stamps(before.root, before.files) != before.stamps).any(axis=1)
    message = "the label file changed, or went, while the run went on; the run is of what was read at its beginning"
    return codes.table(
        codes.issue("label_changed", message, split=before.split, file=file)
        for file in before.files.filter(pl.Series(moved, dtype=pl.Boolean)).to_list()
    )


def _stamps(root: Path, files: pl.Series) -> NDArray[np.int64]:
    found = np.full((len(files), 2), -1, dtype=np.int64)
    for row, file in enumerate(files):
        try:
            status = (root / file).stat()
        except OSError:
            continue
        found[row] = status.st_size, status.st_mtime_ns
    return found

"""Parts of a table that are finished, kept in a folder until all are: a process that was killed goes on behind them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from attributes import links, remote

if TYPE_CHECKING:
    import polars as pl

_STAMP, _ASIDE = "stamp", "aside"


def stamp(columns: Iterable[str], root: Path, image_ids: Iterable[str]) -> str:
    """Return a digest of what the rows depend on: columns, photos, their sizes and the times of their last change."""
    total = hashlib.sha256("\n".join([_version(), *columns, str(links.followed())]).encode())
    listed = remote.listing(root) if remote.address(root) else None
    for name in image_ids:
        told = _change(root / name) if listed is None else listed.get(name)
        total.update(f"{name}\0{told}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _version() -> str:
    try:
        return importlib.metadata.version("xai-toolkit")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _change(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


class Parts:
    """A folder of finished parts, in order."""

    def __init__(self, folder: Path, stamp: str) -> None:
        """Open the folder; what lies there under another stamp, or half written, is removed."""
        self.folder = folder
        file = folder / _STAMP
        if not file.is_file() or file.read_text(encoding="ascii") != stamp:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / _ASIDE).write_text(stamp, encoding="ascii")
            os.replace(folder / _ASIDE, file)
        (folder / _ASIDE).unlink(missing_ok=True)
        self.count = sum(path.suffix == ".parquet" for path in folder.iterdir())

    def read(self) -> list[pl.DataFrame]:
        """Return the finished parts."""
        import polars as pl

        return [pl.read_parquet(self._file(index)) for index in range(self.count)]

    def add(self, part: pl.DataFrame) -> None:
        """Keep the next part; it appears whole or not at all."""
        aside = self.folder / _ASIDE
        part.write_parquet(aside)
        os.replace(aside, self._file(self.count))
        self.count += 1

    def remove(self) -> None:
        """Remove the folder: the whole table is written."""
        shutil.rmtree(self.folder)

    def _file(self, index: int) -> Path:
        return self.folder / f"{index:06d}.parquet"

"""Parts of a table that are finished, kept in a folder until all are: a process that was killed goes on behind them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from attributes import links, remote

if TYPE_CHECKING:
    import polars as pl

_STAMP, _ASIDE = "stamp", "aside"
_OURS = re.compile(rf"{_STAMP}|{_ASIDE}|\d{{6,}}\.parquet")


def stamp(columns: Iterable[str], root: Path, image_ids: Iterable[str]) -> str:
    """Return a digest of what the rows depend on: columns, photos, their sizes and the times of their last change."""
    total = hashlib.sha256("\n".join([_version(), *columns, str(links.followed())]).encode())
    listed = remote.listing(root) if remote.address(root) else None
    for name in image_ids:
        told = change(root / name) if listed is None else listed.get(name)
        total.update(f"{name}\0{told}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _version() -> str:
    try:
        return importlib.metadata.version("xai-toolkit")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def change(path: Path) -> str:
    """Return what is another once a file has been changed, replaced, or may be read by others: not its bytes."""
    try:
        status = path.stat()
        target = os.readlink(path) if path.is_symlink() else ""
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_mode:o} {target}"


class Parts:
    """A folder of finished parts, in order."""

    def __init__(self, folder: Path, stamp: str) -> None:
        """Open the folder; parts that lie there under another stamp, or half written, are removed.

        Raises:
            ValueError: something else lies there.
        """
        self.folder = folder
        file = folder / _STAMP
        folder.mkdir(parents=True, exist_ok=True)
        if strange := [path.name for path in folder.iterdir() if not _OURS.fullmatch(path.name)]:
            raise ValueError(f"expected an empty folder for parts of a table at {folder}, it holds {strange[0]}")
        if not file.is_file() or file.read_text(encoding="ascii") != stamp:
            _empty(folder)
            (folder / _ASIDE).write_text(stamp, encoding="ascii")
            os.replace(folder / _ASIDE, file)
        (folder / _ASIDE).unlink(missing_ok=True)
        self.count = 0
        while self._is_whole(self._file(self.count)):
            self.count += 1

    def read(self) -> list[pl.DataFrame]:
        """Return the finished parts."""
        import polars as pl

        return [pl.read_parquet(self._file(index)) for index in range(self.count)]

    def add(self, part: pl.DataFrame) -> None:
        """Keep the next part; it appears whole or not at all."""
        aside = self.folder / _ASIDE
        part.write_parquet(aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())  # after a power cut a part that is there must be whole
        os.replace(aside, self._file(self.count))
        self.count += 1

    def _is_whole(self, file: Path) -> bool:
        import polars as pl

        try:
            return file.is_file() and bool(pl.read_parquet_schema(file))
        except pl.exceptions.PolarsError:
            return False

    def _file(self, index: int) -> Path:
        return self.folder / f"{index:06d}.parquet"


def remove(folder: Path) -> None:
    """Remove finished parts, once the whole table is written."""
    _empty(folder)
    folder.rmdir()


def _empty(folder: Path) -> None:
    """Remove what is the folder's own; the stamp first, so that what a kill leaves does not count."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name != _STAMP):
        if _OURS.fullmatch(path.name):
            path.unlink()

"""Finding photos: which files of a folder are photos, and what they are called in the tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attributes.extract import SUFFIXES
from xai.exceptions import ConfigError


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files under a folder, linked folders included (each once), hidden ones left out, in no order."""
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link back into the tree would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def is_photo(path: Path) -> bool:
    """Tell whether a file's ending is that of a photo."""
    return path.suffix.lower() in SUFFIXES


def is_unicode(name: str) -> bool:
    """Tell whether a file name can stand in a table; names that are not UTF-8 on disk cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def printable(name: str) -> str:
    """Return a file name with the bytes that are not UTF-8 replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def relative(path: Path, root: Path) -> str:
    """Return a path relative to the root, ``/``-separated; a path outside of it stays as it is."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def siblings(folder: Path) -> str:
    """Return what lies in a folder, for a message: up to eight names."""
    if not folder.is_dir():
        return "nothing"
    names = sorted(printable(entry.name) for entry in folder.iterdir() if not entry.name.startswith("."))
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"


def refuse_folder(folder: Path | None, format: str) -> None:
    """Refuse a photo folder for a format whose labels tell where their photos are."""
    if folder is not None:
        raise ConfigError(f"expected no 'photos' for the format {format}: it is for coco; got {folder}, leave it out")

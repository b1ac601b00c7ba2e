"""Finding photos: which files of a folder are photos, and what they are called in the tables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from attributes import remote
from attributes.extract import SUFFIXES
from attributes.kept import change
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


def listed(folder: Path) -> list[str]:
    """Return the files under a folder at a URL, hidden ones left out, relative to it and sorted.

    Raises:
        ConfigError: there is no such folder, or nobody answers.
    """
    try:
        found = remote.listing(folder, again=True)
    except (OSError, remote.StoreError) as error:
        raise ConfigError(f"expected a folder at {remote.address(folder)}: {error}") from error
    return sorted(name for name in found if not any(part.startswith(".") for part in name.split("/")))


def stamps(root: Path) -> Callable[[str], str]:
    """Return a function from a photo's name to what changes when it is mended or replaced."""
    if remote.address(root):
        told = remote.listing(root)
        return lambda image_id: told.get(image_id, "missing")
    return lambda image_id: change(root / image_id)


def is_photo(path: Path) -> bool:
    """Tell whether a file's ending is that of a photo."""
    return path.suffix.lower() in SUFFIXES


def is_unicode(name: str) -> bool:
    """Tell whether a file name can stand in a table; names that are not UTF-8 on disk cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def printable(name: str) -> str:
    """Return a text with what is not Unicode (bytes of a file name, half characters of JSON) replaced."""
    return name if name.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", name)


def relative(path: Path, root: Path) -> str:
    """Return a path relative to the root, ``/``-separated; a path outside of it stays as it is."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def locate(entry: str, root: Path, starts: Sequence[Path] = ()) -> str | None:
    r"""Return a path that a label file names, relative to the root; None where it leads out of it.

    A relative path begins in the first folder of ``starts`` that holds the file. Backslashes separate folders unless a
    file has them in its name. An absolute path that is not on this machine was written on another
    (``C:\data\images\a.jpg``): its longest tail that the root holds is taken. Links in the data set may point
    anywhere: it is what the label says that is held to the root.

    Args:
        entry: the path as it stands in the label file.
        root: absolute folder of the data set.
        starts: folders that relative paths may begin in; the root if left out.
    """
    if not entry or "\0" in entry or not is_unicode(entry):
        return None
    if "\\" in entry and not os.path.lexists(root / entry):
        entry = entry.replace("\\", "/")
    if not _ABSOLUTE.match(entry):
        places = [folder / entry for folder in starts or [root]]
        return _within(next((place for place in places if os.path.lexists(place)), places[0]), root)
    inside = _within(Path(entry), root) if entry.startswith("/") else None
    if inside is None and not os.path.lexists(entry):
        steps = PurePosixPath(entry).parts[1:]
        tails = ["/".join(steps[start:]) for start in range(len(steps))] if ".." not in steps else []
        return next((tail for tail in tails if os.path.lexists(root / tail)), None)
    return inside


_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")


def _within(place: Path, root: Path) -> str | None:
    path = Path(os.path.normpath(place))
    if path == root:
        return None
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    real, real_root = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    return real.relative_to(real_root).as_posix() if real.is_relative_to(real_root) else None


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

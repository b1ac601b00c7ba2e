"""Files that appear whole or not at all, and what is said where they cannot be written."""

from __future__ import annotations

import errno
import glob
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xai.exceptions import OutputError, RequestError

if sys.platform != "win32":
    import fcntl

_LOG = logging.getLogger("xai")

_PART = ".xai-part"
"""Ending of a file that is being written."""

_ADVICE = {
    errno.ENOSPC: "free some space or choose another folder with --out",
    errno.EDQUOT: "free some of your quota or choose another folder with --out",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f) or choose another folder with --out",
    errno.EROFS: "choose a folder with --out that can be written",
    errno.EACCES: "choose a folder with --out that you may write to",
    errno.EPERM: "choose a folder with --out that you may write to",
    errno.EIO: "look at the disk, or choose another folder with --out",
}
"""Reasons of a system that does not write, and what to do about each."""


def make_folder(path: Path, name: str = "*") -> None:
    """Make a folder to write to, with those above it, where it is not there; remove what a killed run left half made.

    Args:
        path: the folder.
        name: of the file that is to be written; all if left out.

    Raises:
        RequestError: it cannot be made; a file may lie there.
        OutputError: it may not be written to.
    """
    _writable(path)
    tidy(path, name)


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Make a folder as ``make_folder`` does, and keep every other process out of it that asks for it like this.

    The lock lies on the folder itself, so that there is no file of it, and the system lets go of it however the process
    ends. It holds on one machine: a folder that machines share is locked on each for itself. Where the file system has
    no such locks, that is said, and nobody is kept out.

    Args:
        path: the folder; it may be removed in the block.

    Raises:
        RequestError: another process has it, or as for ``make_folder``.
        OutputError: as for ``make_folder``.
    """
    if sys.platform == "win32":  # where folders cannot be locked
        make_folder(path)
        yield
        return
    handle = _locked(path)
    try:
        tidy(path)  # only now: what lies there could be another's who is at it
        yield
    finally:
        os.close(handle)


def _locked(path: Path) -> int:
    """Return an open folder that this process alone holds the lock of."""
    while True:
        try:
            with writing(path):
                _writable(path)
                handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue  # whoever had it has removed it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise RequestError(
                f"expected a folder that nobody else writes to at {path}, another process is at work in it: wait until "
                "it has ended, or choose another --out"
            ) from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            _LOG.warning("%s cannot be locked (%s): see to it that one process at a time writes to it", path, reason)
            return handle
        if path.is_dir() and os.path.samestat(os.fstat(handle), path.stat()):
            return handle
        os.close(handle)  # of a folder that whoever had it has removed


def _writable(path: Path) -> None:
    """Make a folder, with those above it, where it is not there, or say why nothing can be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if told := output_error(error, path):
            raise told from error
        reason = (error.strerror or str(error)).lower()
        raise RequestError(f"expected a folder to write to at {path}, which cannot be made: {reason}") from error
    if not os.access(path, os.W_OK | os.X_OK):  # said before the work
        number = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
        told = output_error(OSError(number, os.strerror(number)), path)
        assert told is not None
        raise told


def tidy(folder: Path, name: str = "*") -> None:
    """Remove what a killed process left of files that it was writing to a folder.

    Args:
        folder: only what lies in it itself.
        name: of the file that was being written; all if left out.
    """
    for path in folder.glob(f".{glob.escape(name) if name != '*' else name}.*{_PART}"):
        path.unlink(missing_ok=True)


_OF_ERROR = re.compile(r"[0-9a-f]{12}\..+")
"""Names of files that belong to an error of a run: they begin with its ``error_id``."""


def remove_pictures(folder: Path) -> None:
    """Remove the files of errors from a folder, and the folder if nothing else is in it: it may be the user's own."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.iterdir():
        if _OF_ERROR.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
    tidy(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a private temporary file beside ``path`` that takes its place when the block ends well.

    Readers see either the old file or the whole new one; a block that raises leaves the old one and nothing else. A
    process that is killed leaves the temporary file, which ``tidy`` removes.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp's mode is for the owner alone; a finished file may be read by whom the user's mask allows.
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            to_disk(temporary)  # after a power cut a file that is there must be whole
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until a file or the names in a folder have reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


NO_ROOM = 1_000_000
"""Bytes free below which a disk is full."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in a sentence why a file or folder cannot be written.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except Exception as error:
        told = output_error(error, path)
        if told is None:
            raise
        raise told from error


def output_error(error: Exception, path: Path | None = None) -> OutputError | None:
    """Return an error of the system that kept something from being written as one for the user, None for any other.

    Args:
        error: what was raised; polars raises errors of its own, whose text ends with the system's number.
        path: what was to be written; the error's own file if left out.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(found[1])
    # Of the end of a table that finds no room, polars says no more than this.
    if number is None and path is not None and "transport error" in str(error) and _room(path) < NO_ROOM:
        number = errno.ENOSPC
    if number not in _ADVICE:
        return None
    named = getattr(error, "filename", None)
    place = path or (Path(os.fsdecode(named)) if isinstance(named, str | bytes) else None)
    reason = os.strerror(number).lower() + _free(place, number)
    return OutputError(
        f"expected to write {place or 'a file'}, the system refused: {reason}; {_ADVICE[number]}, then run the same "
        "command again: what is done is kept"
    )


def _room(path: Path) -> int:
    """Bytes that are free where a file is to be."""
    folder = next((parent for parent in path.absolute().parents if parent.is_dir()), Path("/"))
    return shutil.disk_usage(folder).free


def _free(path: Path | None, number: int) -> str:
    """Return how much room there is, where that is the reason."""
    if path is None or number != errno.ENOSPC:
        return ""
    return f" ({_room(path) / 1e6:,.1f} MB free)"

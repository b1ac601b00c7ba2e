"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xai.exceptions import RequestError


def make_folder(path: Path) -> None:
    """Make a folder to write to, with those above it, where it is not there.

    Raises:
        RequestError: it cannot be made; a file may lie there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RequestError(f"expected a folder to write to at {path}, which cannot be made: {reason}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a private temporary file beside ``path`` that takes its place when the block ends well.

    Readers see either the old file or the whole new one; a block that raises leaves the old one and nothing else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp's mode is for the owner alone; a finished file may be read by whom the user's mask allows.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

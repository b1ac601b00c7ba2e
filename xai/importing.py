"""What a config names as ``python:MODULE.NAME``: a user's own detector or attribute."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xai.exceptions import RequestError

PREFIX = "python:"


def named(source: str, *, key: str, error: type[RequestError]) -> Any:
    """Import what a config names; the working directory can be imported from.

    ``python:__main__.NAME`` is what a notebook or script has defined itself.

    Args:
        source: ``python:MODULE.NAME``.
        key: of the config, for messages.
        error: what is raised.

    Raises:
        RequestError: of the type ``error``: there is no such module or name, or the module fails to be imported.
    """
    module_name, _, name = source.removeprefix(PREFIX).rpartition(".")
    try:
        with importable_from(Path.cwd()):
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as caught:
        if caught.name is None or not f"{module_name}.".startswith(f"{caught.name}."):
            raise error(f"{key} {source}: {module_name} could not be imported: {caught}") from caught
        raise error(
            f"{key} {source}: found no module {caught.name}; run in the folder that holds it, install it, or add "
            "its folder to PYTHONPATH"
        ) from caught
    except Exception as caught:
        raise error(f"{key} {source}: {module_name} could not be imported: {caught!r}") from caught
    if not hasattr(module, name):
        raise error(f"{key} {source}: {module_name} ({getattr(module, '__file__', None) or 'no file'}) has no {name!r}")
    return getattr(module, name)


@contextlib.contextmanager
def importable_from(folder: Path) -> Iterator[None]:
    """Import from a folder too, after everything that is installed."""
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def origin(found: Any) -> tuple[str | None, str | None]:
    """Return the source file of a callable, and a SHA-256 that changes with its code; None where there is none.

    What a notebook defines has no file: its digest is of its own source alone.
    """
    defined = found if inspect.isroutine(found) or isinstance(found, type) else type(found)
    try:
        file = Path(inspect.getsourcefile(defined) or "")
        if file.is_file():
            return str(file), hashlib.sha256(file.read_bytes()).hexdigest()
        return None, hashlib.sha256(inspect.getsource(defined).encode()).hexdigest()
    except (TypeError, OSError):  # built in, or typed at a prompt
        return None, None

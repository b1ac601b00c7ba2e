"""What a config names as ``python:MODULE.NAME``: a user's own detector or attribute."""

from __future__ import annotations

import contextlib
import functools
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

    ``python:__main__.NAME`` is what a notebook or script has defined itself. A module whose file has changed since it
    was imported is refused: its old code would run, and count as the new.

    Args:
        source: ``python:MODULE.NAME``.
        key: of the config, for messages.
        error: what is raised.

    Raises:
        RequestError: of the type ``error``: there is no such module or name, the module fails to be imported or has
            changed.
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
    file = getattr(module, "__file__", None)
    if file and module_name != "__main__" and Path(file).is_file():
        now = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        if _IMPORTED.setdefault(file, now) != now:
            raise error(
                f"{key} {source}: {file} has changed since it was imported; start Python (in a notebook: the kernel) "
                "again, so that the new code runs"
            )
    if not hasattr(module, name):
        raise error(f"{key} {source}: {module_name} ({getattr(module, '__file__', None) or 'no file'}) has no {name!r}")
    return getattr(module, name)


_IMPORTED: dict[str, str] = {}
"""File of a module that was imported here → its digest then."""


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

    What a notebook defines has no file: its digest is of its own source alone. Decorators are looked through, and the
    arguments of ``functools.partial`` count. Other modules and global values that the code uses are not followed.
    """
    bound = []
    found = inspect.unwrap(found)
    while isinstance(found, functools.partial):
        bound.append(repr((found.args, sorted(found.keywords.items()))))
        found = inspect.unwrap(found.func)
    defined = found if inspect.isroutine(found) or isinstance(found, type) else type(found)
    try:
        path = Path(inspect.getsourcefile(defined) or "")
        code = path.read_bytes() if path.is_file() else inspect.getsource(defined).encode()
    except (TypeError, OSError):  # built in, or typed at a prompt
        return None, None
    digest = hashlib.sha256(b"\0".join([code, *(text.encode() for text in bound)])).hexdigest()
    return (str(path) if path.is_file() else None), digest

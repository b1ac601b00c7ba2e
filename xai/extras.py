"""Packages that only some users have: imported when they are asked for, with an error that says how to get them."""

from __future__ import annotations

import importlib
from types import ModuleType

from xai.exceptions import RequestError


def need(module: str, extra: str) -> ModuleType:
    """Import a package of an extra.

    Args:
        module: to import.
        extra: of the toolkit that installs it.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise RequestError(
            f"expected the package {error.name}, which is not installed: pip install 'xai-toolkit[{extra}]'"
        ) from error

"""``run.json``: what a run or profile can be asked about later, written whole and read with its version checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xai.exceptions import RunError
from xai.files import replacing

SCHEMA = 1
"""Version of the run directory's layout; a run of another schema is refused with a clear message."""


def read(folder: Path) -> dict[str, Any]:
    """Read the ``run.json`` of a run or profile.

    Raises:
        RunError: it is missing, damaged or of another schema.
    """
    file = folder / "run.json"
    if not file.is_file():
        raise RunError(
            f"expected a finished run or profile at {folder}, found no {file.name}: run 'xai triage' (or "
            "'xai profile') to the end"
        )
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} is damaged ({error}): triage again") from error
    found = info.get("schema") if isinstance(info, dict) else None
    if not isinstance(info, dict) or found != SCHEMA:
        raise RunError(f"{file}: expected schema {SCHEMA}, got {found}: written by another version; triage again")
    return info


def write(info: Mapping[str, Any], folder: Path) -> None:
    """Write ``run.json`` whole or not at all, with its schema first."""
    text = json.dumps({"schema": SCHEMA, **info}, indent=2, default=str, ensure_ascii=False)
    with replacing(folder / "run.json") as temporary:
        temporary.write_text(text, encoding="utf-8")

"""Short recipes for what goes wrong often: what to check first, what fixes it, what it costs.

One Markdown file each: a cause that a verdict names, or a failure of the toolkit itself. A team edits them by putting
files of the same names into a folder of its own and naming that in the environment variable ``XAI_RECIPES``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from xai.exceptions import ConfigError, DataError, DetectorError, OutputError, RequestError, RunError, XaiError

PACKAGED = Path(__file__).parent
OWN = "XAI_RECIPES"

_ERRORS: Mapping[type[XaiError], str] = {
    ConfigError: "config",
    DetectorError: "detector",
    RunError: "run",
    OutputError: "output",
    DataError: "data",
}
"""Kind of error → the recipe that its message ends with."""

_CODES: Mapping[str, str] = {
    "boxes_as_fractions": "boxes_off_photo",
    "class_not_in_detector": "class_never_detected",
    "label_frame_stored": "exif_mismatch",
}
"""Issue codes whose recipe has another name; others have one of their own name or none."""


def names() -> list[str]:
    """Return the names of all recipes, the team's own included."""
    folders = [folder for folder in (_own(), PACKAGED) if folder is not None]
    return sorted({path.stem for folder in folders for path in folder.glob("*.md")})


def path(name: str) -> Path:
    """Return the file of a recipe: the team's own where there is one, else the packaged one.

    Raises:
        RequestError: there is none.
    """
    for folder in (_own(), PACKAGED):
        if folder is not None and name in {item.stem for item in folder.glob("*.md")}:
            return folder / f"{name}.md"
    close = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(names())}"
    raise RequestError(f"expected the name of a recipe, got {name!r}{hint}")


def text(name: str) -> str:
    """Return a recipe as Markdown.

    Raises:
        RequestError: there is none, or it is no text.
    """
    file = path(name)
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"expected a recipe in UTF-8 at {file}: {error}") from error


def of_cause(cause: str) -> str:
    """Return the name of the recipe for a verdict's cause.

    >>> of_cause("glare"), of_cause("label_weather:fog")
    ('glare', 'column')
    """
    return cause if ":" not in cause and cause in names() else "column" if ":" in cause else "unexplained"


def of_issue(code: str) -> str | None:
    """Return the name of the recipe for an issue code, None where there is none."""
    name = _CODES.get(code, code)
    return name if name in names() else None


def of_error(error: XaiError) -> str | None:
    """Return the name of the recipe for an error, None where there is none.

    >>> of_error(DataError("3 of 4 photos cannot be used"))
    'data'
    """
    return next((_ERRORS[kind] for kind in type(error).__mro__ if kind in _ERRORS), None)


def _own() -> Path | None:
    folder = os.environ.get(OWN)
    return Path(folder).expanduser() if folder else None

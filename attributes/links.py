"""Links that lead out of a folder: what a data set names must not bring in what lies beside it."""

from __future__ import annotations

import os
from pathlib import Path

FOLLOW = "XAI_FOLLOW_LINKS"
"""Environment variable; 1 where the links in a folder are one's own and may lead anywhere."""

CODE = "path_leaves_root"
"""Code and status of what a link leads out to."""

MESSAGE = f"expected a file inside of the folder, got a link that leads out of it (where links are yours: {FOLLOW}=1)"


def followed() -> bool:
    """Tell whether links may lead anywhere."""
    return os.environ.get(FOLLOW) == "1"


def leaves(path: Path, root: Path) -> bool:
    """Tell whether a path in a folder lies outside of it once links are followed; never where they may lead anywhere.

    The folder itself may be a link.
    """
    if followed():
        return False
    real, base = os.path.realpath(path), os.path.realpath(root)
    return real != base and not real.startswith(base.rstrip(os.sep) + os.sep)

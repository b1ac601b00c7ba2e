"""Why did the detector miss it? Evidence for every missed object.

``xai.triage(config)`` does the whole job and returns a ``Run``; ``Run(path)`` opens one that was made before.
Importing the package is light: torch is loaded when a detector is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xai import lazy

if TYPE_CHECKING:
    from xai.after.collecting import collect
    from xai.after.comparing import compare
    from xai.after.histories import history
    from xai.checking import check
    from xai.explaining import explain
    from xai.pipeline import profile, sample, triage
    from xai.run import Run

__all__ = ["Run", "check", "collect", "compare", "explain", "history", "profile", "sample", "triage"]

_HOMES = {
    "Run": "xai.run",
    "check": "xai.checking",
    "collect": "xai.after.collecting",
    "compare": "xai.after.comparing",
    "explain": "xai.explaining",
    "history": "xai.after.histories",
    "profile": "xai.pipeline",
    "sample": "xai.sampling",
    "triage": "xai.pipeline",
}


__getattr__ = lazy.names(__name__, _HOMES)

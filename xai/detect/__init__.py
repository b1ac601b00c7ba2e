"""Detectors behind one protocol, matching of their detections, and the mechanism of every miss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xai import lazy

if TYPE_CHECKING:
    from xai.detect.candidates import summarise
    from xai.detect.error_rows import errors
    from xai.detect.matching import match
    from xai.detect.mechanism import mechanisms
    from xai.detect.memory import load

__all__ = ["errors", "load", "match", "mechanisms", "summarise"]

_HOMES = {
    "errors": "xai.detect.error_rows",
    "load": "xai.detect.memory",
    "match": "xai.detect.matching",
    "mechanisms": "xai.detect.mechanism",
    "summarise": "xai.detect.candidates",
}

__getattr__ = lazy.names(__name__, _HOMES)

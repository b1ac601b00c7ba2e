"""Data sets: photos and labels from disk into tables, and every problem of theirs into ``issues``."""

from __future__ import annotations

from xai.dataset.classes import map_classes, rename_classes, spell
from xai.dataset.codes import CODES
from xai.dataset.identity import digest, duplicates, leaks
from xai.dataset.naming import misnamed
from xai.dataset.reader import READERS, guess_format, read
from xai.dataset.validate import resolve

__all__ = [
    "CODES",
    "READERS",
    "digest",
    "duplicates",
    "guess_format",
    "leaks",
    "map_classes",
    "misnamed",
    "read",
    "rename_classes",
    "resolve",
    "spell",
]

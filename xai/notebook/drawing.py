"""Drawings that a notebook shows as they are: SVG for charts, PNG for photos."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

_LINKS = re.compile(r"</?a\b[^>]*>")
"""Links within the report's page; a notebook has no such places."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the report. Text takes the notebook's own colour, so that it can be read in dark mode.

    Attributes:
        svg: an ``<svg>`` element.
    """

    svg: str

    @classmethod
    def of(cls, svg: str | None) -> Chart:
        """Take one of the report's charts out of the page, or say that there is nothing to draw."""
        return cls(_LINKS.sub("", svg) if svg else _NOTHING)

    def save(self, path: str | Path) -> Path:
        """Write the chart as an SVG file."""
        file = Path(path)
        # What the page sets for the whole of it, a file must say itself.
        file.write_text(self.svg.replace("<svg ", '<svg color="#222" ', 1), encoding="utf-8")
        return file

    def _repr_html_(self) -> str:
        return self.svg


_NOTHING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="24"><text x="4" y="16" fill="currentColor">'
    "nothing to draw</text></svg>"
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo with what is drawn on it.

    Attributes:
        png: the file's bytes.
    """

    png: bytes

    def save(self, path: str | Path) -> Path:
        """Write the picture as a PNG file."""
        file = Path(path)
        file.write_bytes(self.png)
        return file

    def tag(self, words: str = "") -> str:
        """Return an HTML element that holds the picture; ``words`` is its description, already escaped."""
        data = base64.b64encode(self.png).decode("ascii")
        return f'<img alt="{words}" style="max-width:100%" src="data:image/png;base64,{data}">'

    def _repr_png_(self) -> bytes:
        return self.png

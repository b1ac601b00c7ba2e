"""Small pieces of HTML: every text is escaped here, and nowhere else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def text(value: object) -> str:
    """Escape a text that may come from data.

    >>> text("<b>"), text(None)
    ('&lt;b&gt;', '–')
    """
    return "–" if value is None else html.escape(str(value))


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[int] = ()) -> str:
    """Return a table; ``numbers`` are the columns that stand to the right. A cell of the type ``Raw`` is HTML."""
    sides = ["right" if place in numbers else "left" for place in range(len(header))]
    head = "".join(f'<th style="text-align:{side}">{text(name)}</th>' for name, side in zip(header, sides, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:{side}">{cell if isinstance(cell, Raw) else text(cell)}</td>'
            for cell, side in zip(row, sides, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Raw(str):
    """A text that is HTML already."""

    __slots__ = ()

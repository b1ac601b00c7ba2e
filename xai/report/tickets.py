"""Data problems as people file them: one ticket per issue code, as plain text or Markdown.

Names of files and classes come from data that nobody vouches for: what would steer a terminal or make Markdown of a
file name is shown, not obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from xai.report.format import count, plural, share
from xai.text import printable

MAX_EXAMPLES = 20
"""Places that a ticket names."""

SHOWN = 3
"""Of these, how many the terminal shows."""

Unit = Literal["label rows", "photos", "files", "entries", "classes", "data set"]


@dataclass(frozen=True, slots=True)
class Example:
    """One place where a problem occurs; ``file`` and ``line`` are None where it has no place."""

    file: str | None
    line: int | None
    message: str

    @property
    def place(self) -> str:
        """The place as editors write it, ``labels/a.txt:4``."""
        return "" if self.file is None else self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Ticket:
    """All problems of one code.

    Attributes:
        code: the issue code.
        severity: ``error``, ``warning`` or ``info``.
        meaning: what was found.
        advice: what to do about it.
        count: how many of ``unit`` have it.
        unit: what is counted.
        total: how many there are in all; None where that is no number to compare with.
        photos: photos concerned.
        examples: the first places.
    """

    code: str
    severity: str
    meaning: str
    advice: str
    count: int
    unit: Unit
    total: int | None
    photos: int
    examples: tuple[Example, ...]

    def figures(self) -> dict[str, Any]:
        """Return the ticket as plain values."""
        return asdict(self)

    @property
    def extent(self) -> str:
        """How much of the data has it.

        >>> Ticket("a", "info", "", "", 12, "label rows", 929, 9, ()).extent
        '12 of 929 label rows (1.3%), in 9 photos'
        """
        if self.unit == "data set":
            return "the data set"
        noun = _one(self.unit) if (self.total or self.count) == 1 else self.unit
        if self.total is None:
            return f"{count(self.count)} {noun}"
        text = f"{count(self.count)} of {count(self.total)} {noun} ({share(self.count / max(self.total, 1))})"
        return f"{text}, in {plural(self.photos, 'photo')}" if self.unit == "label rows" and self.photos else text


def lines(tickets: Sequence[Ticket]) -> list[str]:
    """Write tickets for a terminal, the first examples with each."""
    result = []
    for ticket in tickets:
        result += ["", f"{ticket.severity}: {ticket.code}: {ticket.extent}", f"  {_sentence(ticket.meaning)}"]
        result += [f"    {printable(_example(item))}" for item in ticket.examples[:SHOWN]]
        rest = ticket.count - SHOWN
        if rest > 0 and len(ticket.examples) > SHOWN:
            result.append(f"    ... and {count(rest)} more")
        result.append(f"  To do: {ticket.advice}.")
    return result


def markdown(tickets: Sequence[Ticket], *, title: str, summary: Sequence[str], again: str, renamed: str = "") -> str:
    """Write tickets as one Markdown document, a section each, for whoever owns the data.

    Args:
        tickets: in the order in which they are to stand.
        title: heading of the document.
        summary: paragraphs above the tickets.
        again: the command that checks the data again.
        renamed: YAML lines that map renamed classes, shown with their ticket.
    """
    parts = [f"# {escaped(title)}", *[escaped(text) for text in summary]]
    for ticket in tickets:
        places = [
            f"- {code(item.place)}: {escaped(item.message)}" if item.place else f"- {escaped(item.message)}"
            for item in ticket.examples
        ]
        rest = "" if ticket.count <= len(places) else f" (the first {len(places)})"
        told = [
            f"## {escaped(_sentence(ticket.meaning).removesuffix('.'))}",
            f"**Code:** `{ticket.code}` ({ticket.severity})  \n**Extent:** {ticket.extent}",
            f"**What it means:** {_OF_CLASSES if ticket.unit == 'classes' else _MEANS[ticket.severity]}",
            f"**What to do:** {escaped(_sentence(ticket.advice))}",
        ]
        if ticket.code == "class_renamed" and renamed:
            told.append(f"Or keep the names and say so in the config:\n\n```yaml\n{renamed.rstrip()}\n```")
        told += [f"**Where**{rest}:\n\n" + "\n".join(places)] if places else []
        told.append(f"**Check again:** {code(again)}: this section should be gone.")
        parts.append("\n\n".join(told))
    return "\n\n".join(parts) + "\n"


_MEANS: Mapping[str, str] = {
    "error": "It is not used: neither training nor evaluation sees it.",
    "warning": "It is used, changed, or left out on purpose; somebody should look.",
    "info": "It is legal and worth knowing.",
}


_OF_CLASSES = "Objects are learned, found and compared by the name of their class; under a wrong one they are lost."


def _example(item: Example) -> str:
    return f"{item.place}: {item.message}" if item.place else item.message


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _one(unit: str) -> str:
    return {"classes": "class", "entries": "entry"}.get(unit, unit.removesuffix("s"))


def escaped(text: str) -> str:
    r"""Write text so that Markdown and HTML leave it as it is.

    >>> escaped("<b>*a*_b_")
    '&lt;b&gt;\\*a\\*\\_b\\_'
    """
    safe = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", safe)


def code(text: str) -> str:
    """Write text as code, with a fence that does not occur in it.

    >>> code("a.txt:4"), code("a`b")
    ('`a.txt:4`', '`` a`b ``')
    """
    shown = printable(text)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    return f"`{shown}`" if not longest else f"{'`' * (longest + 1)} {shown} {'`' * (longest + 1)}"

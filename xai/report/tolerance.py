"""What the detector stands: the recall of found objects as a condition is added in rising doses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xai.report import words
from xai.report.format import known, sentence
from xai.report.source import Source

TURNS = "rotation"
"""The condition whose doses are no axis, but three turns each judged alone."""

STARTS = {"small_object": 1.0}
"""The dose that changes nothing, where it is not 0: once as small."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One condition's doses, mildest first.

    Attributes:
        condition: as causes are named.
        words: what the dose is of, capitalised: "Tilt".
        unit: of the dose.
        doses: rows of ``tables.BESIDE["stress"]``.
        breaks: the dose from which fewer stay found than promised; None where that never happens or doses are no axis.
    """

    condition: str
    words: str
    unit: str
    doses: tuple[Mapping[str, Any], ...]
    breaks: float | None

    @property
    def is_axis(self) -> bool:
        """Whether the doses can be drawn as a line."""
        return self.condition != TURNS

    @property
    def start(self) -> float:
        """The dose at which a photo is as it was."""
        return STARTS.get(self.condition, 0.0)

    @property
    def strongest(self) -> float:
        """The largest dose that was tried."""
        return max(float(row["dose"]) for row in self.doses)

    @property
    def place(self) -> float:
        """Where on its axis the promise breaks, 0 to 1; above 1 where it never does."""
        return 2.0 if self.breaks is None else (self.breaks - self.start) / (self.strongest - self.start)


def tolerance(source: Source) -> tuple[Curve, ...]:
    """Return the curves of a run, those that break at the mildest part of their axis first; empty without stress."""
    if not (source.path / "stress.parquet").is_file():  # runs of earlier versions
        return ()
    table = source.table("stress")
    curves = []
    for (condition,), part in table.group_by("condition", maintain_order=True):
        rows = tuple(part.sort("dose").rows(named=True))
        limit = rows[0]["breaks"]
        name = words.STRESSES.get(str(condition), str(condition).replace("_", " "))
        curves.append(
            Curve(str(condition), sentence(name), str(rows[0]["unit"]), rows, limit if known(limit) else None)
        )
    return tuple(sorted(curves, key=lambda curve: (not curve.is_axis, curve.place)))

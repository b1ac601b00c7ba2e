"""What an earlier run kept and lost of its data, to stand beside this one's funnel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xai import run_json
from xai.exceptions import RunError
from xai.report.source import Source

Step = tuple[str, str, str]
"""Split, name of the step and unit of what is counted."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier run's funnel.

    Attributes:
        when: "of 2026-10-01 12:00", or "of an unknown time".
        counts: photos or objects left after each step.
    """

    when: str
    counts: Mapping[Step, int]

    def left(self, split: str, step: Mapping[str, Any]) -> int | None:
        """What was left then after a step of this run's funnel; None where that run has no such step."""
        return self.counts.get((split, step["step"], step["unit"]))

    def kept(self, split: str, step: Mapping[str, Any]) -> float | None:
        """The share of what was found then that was left after a step; None where that is unknown."""
        found = self.counts.get((split, "found", step["unit"]))
        left = self.left(split, step)
        return left / found if found and left is not None else None


def earlier(source: Source) -> Earlier | str | None:
    """Read the run that ``report.earlier`` names.

    Returns:
        Its funnel; why it could not be read, so that the page says so; None where no run is named.
    """
    named = (source.config.get("report") or {}).get("earlier")
    if not named:
        return None
    try:
        info = run_json.read(Path(named))
    except RunError as error:
        return str(error)
    counts = {
        (split, step["step"], step["unit"]): int(step["count"])
        for split, steps in (info.get("funnel") or {}).items()
        for step in steps or ()
    }
    finished = str(info.get("finished_at") or "")[:16].replace("T", " ")
    return Earlier(f"of {finished}" if finished else "of an unknown time", counts)


def kept(steps: list[Mapping[str, Any]], step: Mapping[str, Any]) -> float | None:
    """Return the share of what was found that is left after a step of a funnel; None where nothing was found.

    >>> steps = [{"step": "found", "unit": "photos", "count": 200}, {"step": "read", "unit": "photos", "count": 190}]
    >>> kept(steps, steps[1])
    0.95
    """
    found = next((item["count"] for item in steps if (item["step"], item["unit"]) == ("found", step["unit"])), 0)
    return step["count"] / found if found else None

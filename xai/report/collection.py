"""What to collect, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attributes import ATTRIBUTES
from xai.report import format as fmt
from xai.report import words
from xai.report.sentences import environment
from xai.text import printable

if TYPE_CHECKING:
    from xai.after.collecting import Collected

SHOWN = 6
"""Gaps of each kind that the terminal names."""


def lines(collected: Collected) -> list[str]:
    """Return what was found as lines of plain text."""
    gaps = [_told(row) for row in collected.gaps.iter_rows(named=True)]
    searched = [gap for gap in gaps if gap["untold"] is None]
    risky = [gap for gap in searched if gap["source"] != "uncovered"]
    patterns = [gap for gap in searched if gap["source"] == "uncovered"]
    untold = Counter(gap["untold"] for gap in gaps if gap["untold"] is not None)
    text = environment(autoescape=False).get_template("collect.txt.j2").render(
        c=collected,
        photos=len(collected.photos),
        sections=[("Missed more often, and rare in training", risky), ("Hardly shown in training", patterns)],
        shown=SHOWN,
        n_gaps=len(gaps),
        filled=sum(gap["unfilled"] == 0 for gap in searched),
        part=sum(0 < gap["unfilled"] < gap["needed"] for gap in searched),
        absent=[gap for gap in searched if gap["in_pool"] == 0],
        untold=untold.most_common(),
        first=[(row["image_id"], row["why"].split("; ")[0], row["gaps"].count(" | ")) for row in
               collected.photos.head(3).iter_rows(named=True)],
    )  # fmt: skip
    return [printable(line.rstrip()) for line in text.splitlines() if line.strip()]


def reason(conditions: Sequence[str], row: Mapping[str, Any]) -> str:
    """Say which gap a photo serves, with the values that put it there.

    >>> reason(["roll=right"], {"roll": 14.23})
    'camera tilted right (roll 14.2)'
    >>> reason(["object_size=tiny", "label=car"], {"object_size": 0.0312, "label": "car"})
    'tiny object (object size 0.0312), class “car”'
    """
    parts = []
    for condition in conditions:
        attribute, _, name = condition.partition("=")
        if attribute == "label":
            parts.append(f"class “{name}”")
        else:
            value = row.get(attribute)
            told = f"{value:.3g}".replace("-", "−") if isinstance(value, float) else str(value)
            parts.append(f"{words.condition(attribute, name)} ({words.name(attribute)} {told})")
    return ", ".join(parts)


def spell(conditions: Sequence[str]) -> str:
    """Say a gap in words."""
    return " and ".join(
        f"class “{part.removeprefix('label=')}”" if part.startswith("label=") else words.pattern(part)
        for part in conditions
    )


def bounds(conditions: Sequence[str]) -> str:
    """Say a gap by the bounds of its bins.

    >>> bounds(["roll=right"]), bounds(["object_size=small", "label=car"])
    ('roll ≥ 10', '0.05 ≤ object size < 0.15 and class “car”')
    """
    parts = []
    for condition in conditions:
        attribute, _, name = condition.partition("=")
        found = [part for part in ATTRIBUTES[attribute].bins if part.name == name] if attribute in ATTRIBUTES else []
        if not found or attribute == "rotation":  # its values are the names of its bins
            parts.append(f"class “{name}”" if attribute == "label" else f"{words.name(attribute)} {name}")
            continue
        low, high = found[0].low, found[0].high
        text = words.name(attribute)
        if low is not None and high is not None:
            text = f"{low:g} ≤ {text} < {high:g}"
        elif low is not None:
            text = f"{text} ≥ {low:g}"
        elif high is not None:
            text = f"{text} < {high:g}"
        parts.append(text.replace("-", "−"))
    return " and ".join(parts)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    noun = "photo" if row["unit"] == "photos" else "object"
    return {
        **row,
        "words": fmt.sentence(spell(row["conditions"])),
        "bounds": bounds(row["conditions"]),
        "noun": noun,
        "file": str(row["pipeline"] or "").rpartition("/")[2],
    }

"""A comparison of two runs in words: lines for a terminal, Markdown to be passed on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl
from jinja2 import Environment

from xai.causes import CAUSES
from xai.report import format as fmt
from xai.report import words
from xai.report.sentences import environment
from xai.report.tickets import escaped
from xai.text import printable

if TYPE_CHECKING:
    from xai.after.comparing import Comparison

SURE = 0.05
"""Largest q-value, or p-value over all objects, of a change that is said to be more than chance."""

SHOWN = 8
"""Conditions of each direction that the terminal names."""


def lines(comparison: Comparison) -> list[str]:
    """Return a comparison as lines of plain text."""
    text = _environment().get_template("compare.txt.j2").render(**_told(comparison))
    return [printable(line.rstrip()) for line in text.splitlines() if line.strip()]


def markdown(comparison: Comparison) -> str:
    """Return a comparison as Markdown; names that came from data are escaped."""
    told = _told(comparison, every=True)
    text = _environment().get_template("compare.md.j2").render(**told)
    return text.strip() + "\n"


def _environment() -> Environment:
    made = environment(autoescape=False)
    made.filters |= {"md": lambda value: escaped(str(value)), "points": points}
    return made


def points(value: float | None) -> str:
    """Write a difference of shares in percentage points with its sign.

    >>> points(-0.0834), points(0.012), points(0.0), points(None)
    ('−8.3', '+1.2', '0.0', '–')
    """
    if value is None or not math.isfinite(value):
        return fmt.UNKNOWN
    text = f"{100 * value:+.1f}".replace("-", "−")
    return text[1:] if float(f"{100 * value:.1f}") == 0 else text


def _told(comparison: Comparison, *, every: bool = False) -> dict[str, Any]:
    """Choose what is said: conditions that changed more than chance explains, most net change first, no set twice."""
    cells = comparison.cells.filter((pl.col("q_value") <= SURE) & pl.col("same_as").is_null())
    net = (pl.col("fixed") - pl.col("broken")).abs()
    cells = cells.with_columns(net=net).sort(["net", "p_value", "name"], descending=[True, False, False])
    rows = [_named(row) for row in cells.iter_rows(named=True)]
    better = [row for row in rows if row["difference"] < 0]
    worse = [row for row in rows if row["difference"] > 0]
    tested = comparison.cells["q_value"].is_not_null().sum()
    own = comparison.cells.filter(pl.col("kind").is_in(["slice_a", "slice_b"]))
    causes = comparison.cells.filter((pl.col("kind") == "cause") & (pl.col("named") > 0)).sort("named", descending=True)
    return {
        "c": comparison,
        "all": comparison.overall,
        "better": better if every else better[:SHOWN],
        "worse": worse if every else worse[:SHOWN],
        "n_better": len(better),
        "n_worse": len(worse),
        "tested": int(tested),
        "broken_most": _most_broken(comparison),
        "causes": [_named(row) for row in causes.iter_rows(named=True)],
        "own": [_named(row) for row in own.iter_rows(named=True)],
        "sure": SURE,
    }


def _most_broken(comparison: Comparison) -> Mapping[str, Any] | None:
    """Return the condition, not the usual state, in which most objects broke, where none is shown to be worse."""
    half = comparison.overall["objects"] / 2
    cells = comparison.cells.filter(pl.col("kind").is_in(["cause", "label"]) & (pl.col("broken") > 0))
    cells = cells.filter(pl.col("objects") <= half).sort(["broken", "name"], descending=[True, False])
    return _named(cells.row(0, named=True)) if len(cells) else None


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "words": _words(str(row["kind"]), str(row["name"]))}


def _words(kind: str, name: str) -> str:
    """Say a condition in words, to stand after "of": misses of it.

    >>> _words("cause", "glare"), _words("label", "label=car"), _words("slice", "glare=strong & label=car")
    ('strong glare', 'class “car”', 'strong glare in the photo and class “car”')
    """
    if kind == "cause":
        return CAUSES[name].condition
    parts = name.split(" & ")
    return " and ".join(
        f"class “{part.removeprefix('label=')}”" if part.startswith("label=") else words.pattern(part) for part in parts
    )

"""A history of runs in words and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import altair as alt
import polars as pl
import vl_convert

from xai.report import format as fmt
from xai.report import words
from xai.report.sentences import environment
from xai.text import printable

if TYPE_CHECKING:
    from xai.after.histories import History

SURE = 0.05
"""Largest q-value of a share that is said to have moved."""

SHOWN = 10
"""Moves that the terminal names."""

DRAWN = 6
"""Shares that moved most, which the picture shows."""

_POINT, _PROMISE = "#0072B2", "#D55E00"


def lines(history: History) -> list[str]:
    """Return a history as lines of plain text."""
    said = moves(history)
    text = (
        environment(autoescape=False)
        .get_template("history.txt.j2")
        .render(
            notes=history.notes,
            runs=[_figures(row, history.shares) for row in history.runs.iter_rows(named=True)],
            moves=[{**row, "through": _through(history, row)} for row in said[:SHOWN]],
            n_moves=len(said),
            tested=history.moves.filter(pl.col("q_value").is_not_null()).select("attribute", "bin").n_unique(),
        )
    )
    return [printable(line.rstrip()) for line in text.splitlines() if line.strip()]


def moves(history: History) -> list[dict[str, Any]]:
    """Return the shares that moved more than chance explains, the surest first, each with its words and surest step."""
    near = (pl.col("later") - pl.col("earlier")).alias("near")
    found = history.moves.filter(pl.col("q_value") <= SURE).with_columns(near)
    found = found.sort("q_value", "p_value", "near", "attribute", "bin").unique(
        ["attribute", "bin"], keep="first", maintain_order=True
    )
    return [{**row, "words": _words(str(row["attribute"]), str(row["bin"]))} for row in found.iter_rows(named=True)]


def _through(history: History, move: Mapping[str, Any]) -> str:
    """Write a share in all runs, in their order."""
    rows = history.shares.filter((pl.col("attribute") == move["attribute"]) & (pl.col("bin") == move["bin"]))
    told = dict(rows.select("run", "share").iter_rows())
    return " → ".join(fmt.share(told.get(run)) for run in history.runs["run"])


def png(history: History, *, width: int = 640) -> bytes:
    """Draw recall with its bounds and the promise, and below the shares that moved most, as PNG."""
    panels = [panel for panel in (_recall(history, width), _shares(history, width)) if panel is not None]
    chart: Any = alt.vconcat(*panels) if panels else _empty(width)
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    drawn: bytes = vl_convert.vegalite_to_png(
        chart.configure(background="white").to_dict(), vl_version=version, scale=2, allowed_base_urls=[]
    )
    return io.BytesIO(drawn).getvalue()


def _recall(history: History, width: int) -> Any:
    rows = [
        {"run": _label(row), **{name: row[name] for name in ("recall", "recall_low", "recall_high", "recall_target")}}
        for row in history.runs.iter_rows(named=True)
        if row["recall"] is not None
    ]
    if not rows:
        return None
    base = alt.Chart(alt.Data(values=rows), width=width, height=160, title="Recall and the promise")
    base = base.encode(x=alt.X("run:N", sort=None, title=None, axis=alt.Axis(labelAngle=0)))
    axis = alt.Axis(format="%", title="recall")
    scale = alt.Scale(zero=False)
    span = base.mark_rule(color=_POINT).encode(y=alt.Y("recall_low:Q", axis=axis, scale=scale), y2="recall_high:Q")
    dots = base.mark_point(filled=True, size=60, color=_POINT, opacity=1).encode(y=alt.Y("recall:Q", scale=scale))
    promised = base.mark_tick(color=_PROMISE, thickness=2, width=40).encode(y=alt.Y("recall_target:Q", scale=scale))
    return span + dots + promised


def _shares(history: History, width: int) -> Any:
    chosen = list(dict.fromkeys((str(row["attribute"]), str(row["bin"])) for row in moves(history)))[:DRAWN]
    labels = {row["run"]: _label(row) for row in history.runs.iter_rows(named=True)}
    rows = [
        {"run": labels[row["run"]], "what": _words(row["attribute"], row["bin"]), "share": row["share"],
         "low": row["low"], "high": row["high"]}
        for row in history.shares.iter_rows(named=True)
        if (row["attribute"], row["bin"]) in chosen
    ]  # fmt: skip
    if not rows:
        return None
    base = alt.Chart(alt.Data(values=rows), width=width, height=200, title="Shares that moved more than chance")
    base = base.encode(
        x=alt.X("run:N", sort=None, title=None, axis=alt.Axis(labelAngle=0)),
        color=alt.Color("what:N", title=None, legend=alt.Legend(orient="bottom", columns=2, labelLimit=300)),
    )
    axis = alt.Axis(format="%", title="share")
    line = base.mark_line(point=True).encode(y=alt.Y("share:Q", axis=axis))
    return line + base.mark_rule(opacity=0.6).encode(y=alt.Y("low:Q", axis=axis), y2="high:Q")


def _empty(width: int) -> Any:
    told = alt.Chart(alt.Data(values=[{"text": "No recall was promised, and no share moved."}]), width=width, height=60)
    return told.mark_text().encode(text="text:N")


def _label(row: Mapping[str, Any]) -> str:
    """Name a run by its number and day."""
    return f"{row['run'] + 1}: {str(row['started_at'] or 'unknown')[:10]}"


def _figures(row: Mapping[str, Any], shares: pl.DataFrame) -> dict[str, Any]:
    told = shares.filter((pl.col("attribute") == "miss rate") & (pl.col("run") == row["run"]))["share"]
    rate = told[0] if len(told) else None
    return {**row, "day": str(row["started_at"] or "unknown time")[:16].replace("T", " "), "miss_rate": rate}


def _words(attribute: str, bin_name: str) -> str:
    """Say what has a share.

    >>> _words("miss rate", "missed"), _words("label", "car"), _words("glare", "strong")
    ('miss rate', 'class “car”', 'strong glare in the photo')
    """
    if attribute == "miss rate":
        return attribute
    return f"class “{bin_name}”" if attribute == "label" else words.condition(attribute, bin_name)

"""The cross-talk matrix and the curve over box sizes as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import accuracy_tones as tones
import altair as alt
import numpy as np
import polars as pl
from PIL import Image

from attributes.catalog import ALIKE


def cross_talk(moved: tones.Moved, path: Path) -> None:
    """Write the movement of every attribute under every planted change as a PNG, with the Spearman correlation."""
    share, correlation = tones.shares(moved), tones.over_photos(moved.correlation)
    rows = [
        {
            "change": name,
            "attribute": attribute,
            "moved": float(share[row, column]),
            "text": f"{share[row, column]:.2f}  ({correlation[row, column]:+.2f})".replace("(+nan)", ""),
            "kind": "own"
            if tones.CHANGES[name].attribute == attribute
            else ("alike" if tones.grouped(name, attribute) else "other"),
        }
        for row, name in enumerate(tones.CHANGES)
        for column, attribute in enumerate(tones.MEASURED)
    ]
    frame = pl.DataFrame(rows)
    base = alt.Chart(frame).encode(
        x=alt.X(
            "attribute:N",
            sort=list(tones.MEASURED),
            title="attribute",
            scale=alt.Scale(paddingInner=0.05),
            axis=alt.Axis(labelAngle=-30),
        ),
        y=alt.Y("change:N", sort=list(tones.CHANGES), title="planted change", scale=alt.Scale(paddingInner=0.08)),
    )
    cells = base.mark_rect(strokeWidth=2).encode(
        color=alt.Color(
            "moved:Q",
            scale=alt.Scale(range=["#fbf7f2", "#d9772b"], domain=[0, 1], clamp=True, interpolate="rgb"),
            title="share of range",
        ),
        stroke=alt.Stroke(
            "kind:N",
            scale=alt.Scale(domain=["own", "alike", "other"], range=["#222222", "#5555cc", "#ffffff"]),
            title="frame",
            legend=alt.Legend(symbolFillColor="#ffffff"),
        ),
    )
    text = base.mark_text(fontSize=11).encode(text="text:N")
    groups = "; ".join(f"{name}: {', '.join(sorted(parts))}" for name, parts in ALIKE.items())
    title = alt.TitleParams(
        "How far each attribute moves under each planted change (Spearman with its strength)",
        subtitle=f"median over photos, share of the attribute's range. Alike — {groups}",
    )
    _save(alt.layer(cells, text).properties(width=820, height=330, title=title), path)


def box_size(by_side: Mapping[int, Sequence[float]], path: Path) -> None:
    """Write the sharpness of boxes over that of their photo, by the side of the box, as a PNG."""
    rows = [
        dict(zip(("side", "low", "middle", "high"), (side, *np.percentile(values, [10, 50, 90])), strict=True))
        for side, values in by_side.items()
        if len(values) >= 30
    ]
    side = alt.X("side:Q", scale=alt.Scale(type="log", base=2), title="side of the box, px at 640 px longest side")
    base = alt.Chart(pl.DataFrame(rows)).encode(x=side)
    level = alt.Y("middle:Q", title="object_sharpness / sharpness", scale=alt.Scale(domain=[0, 2]))
    band = base.mark_area(opacity=0.25, color="#d9772b").encode(y=alt.Y("low:Q", title=""), y2="high:Q")
    line = base.mark_line(color="#b3541e", point=True).encode(y=level)
    one = alt.Chart(pl.DataFrame({"y": [1.0]})).mark_rule(strokeDash=[4, 4]).encode(y="y:Q")
    title = alt.TitleParams("A small box is not called blurred because it is small", subtitle="median and 80% of boxes")
    _save(alt.layer(band, one, line).properties(width=420, height=200, title=title), path)


def _save(chart: alt.LayerChart, path: Path) -> None:
    """Save with few colours, which takes a fifth of the bytes."""
    chart.save(str(path), scale_factor=1.25)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)

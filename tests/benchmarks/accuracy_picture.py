"""The cross-talk matrix as a picture."""

from __future__ import annotations

from pathlib import Path

import accuracy_tones as tones
import altair as alt
import polars as pl


def draw(moved: tones.Moved, path: Path) -> None:
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
            "moved:Q", scale=alt.Scale(range=["#ffffff", "#d9772b"], domain=[0, 1], clamp=True), title="share of range"
        ),
        stroke=alt.Stroke(
            "kind:N",
            scale=alt.Scale(domain=["own", "alike", "other"], range=["#222222", "#5555cc", "#ffffff"]),
            title="frame",
        ),
    )
    text = base.mark_text(fontSize=11).encode(text="text:N")
    groups = "; ".join(f"{name}: {', '.join(sorted(parts))}" for name, parts in tones.GROUPS.items())
    title = alt.TitleParams(
        "How far each attribute moves under each planted change (Spearman with its strength)",
        subtitle=f"median over photos, share of the attribute's range. Alike — {groups}",
    )
    alt.layer(cells, text).properties(width=820, height=330, title=title).save(str(path), scale_factor=1.5)

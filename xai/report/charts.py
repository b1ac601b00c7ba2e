"""Charts as static SVG: drawn by Altair, rendered by vl-convert, themed by the page.

Static rather than interactive: the page stays small, prints as it looks, needs no expression interpreter under a
Content-Security-Policy without ``unsafe-eval``, and text in ``currentColor`` follows light and dark mode. Every figure
in a chart is also in a table, which is where sorting and filtering happen.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

from xai.report import format as fmt
from xai.report.sections import ClassRecall
from xai.report.summarize import CauseLine

MISSES, EVALUATION, TRAINING, NEUTRAL = "#D55E00", "#0072B2", "#009E73", "#0072B2"
"""Okabe and Ito's colours, told apart with every common colour blindness; 3:1 on white and on the dark page."""

WIDE, NARROW = 900, 340
"""Widths in pixels of the two renderings; the page shows the one that fits."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_NARROW_GUTTER = 112
_MAX_CAUSES = 8
MAX_CLASSES = 20


def shares(causes: Sequence[CauseLine], reference: str | None, misses: str, compared: str, width: int) -> str | None:
    """Draw the shares of misses, of what they are compared with and of training that show each cause's condition.

    Args:
        causes: in the order of the chart; those without shares are left out.
        reference: "training set" or "reference set"; None leaves its bars out.
        misses: what is explained: "misses" or "reported misses".
        compared: what it is compared with: "evaluation set" or "production photos".
        width: of the whole drawing, pixels.

    Returns:
        An ``<svg>`` element, or None where there is nothing to draw.
    """
    drawn = [line for line in causes if line.miss_share is not None][:_MAX_CAUSES]
    if not drawn:
        return None
    series = [(f"of {misses}", "miss_share", MISSES), (f"of {compared}", "eval_share", EVALUATION)]
    if reference:
        series.append((f"of {reference}", "train_share", TRAINING))
    gutter = _gutter(width)
    rows = [
        {
            "cause": _wrap(fmt.sentence(line.words), gutter),
            "series": name,
            "share": getattr(line, column),
            "text": fmt.share(getattr(line, column)) + (f" {name}" if place == 0 or width > NARROW else ""),
        }
        for place, line in enumerate(drawn)
        for name, column, _ in series
    ]
    known = [row["share"] for row in rows if row["share"] is not None]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=_categories("cause", gutter),
        yOffset=alt.YOffset("series:N", sort=None, scale=alt.Scale(paddingInner=0.12)),
        x=alt.X("share:Q", axis=None, scale=alt.Scale(domain=[0, max(known) * _headroom(width)], nice=False)),
    )
    colours = alt.Scale(domain=[name for name, _, _ in series], range=[colour for _, _, colour in series])
    bars = base.mark_bar().encode(color=alt.Color("series:N", scale=colours, legend=None))
    text = base.mark_text(align="left", dx=5).encode(text="text:N", x=alt.X("share:Q"))
    return _svg(bars + text, width - gutter, 22 * len(series) * len(drawn) + 14 * len(drawn))


def recall(classes: Sequence[ClassRecall], promised: float | None, width: int) -> str | None:
    """Draw the recall of each class with its 95% interval, and the promise as a line.

    Args:
        classes: most objects first; the first ``MAX_CLASSES`` are drawn.
        promised: recall that the team promises, or None.
        width: of the whole drawing, pixels.
    """
    if not classes:
        return None
    gutter = _gutter(width)
    rows = [
        {
            "label": _wrap(line.label, gutter),
            "recall": line.recall,
            "low": line.low,
            "high": line.high,
            "text": f"{fmt.share(line.recall)} ({line.found} of {line.objects})",
        }
        for line in classes[:MAX_CLASSES]
    ]
    room = 1.28 if width > NARROW else 1.75
    scale = alt.Scale(domain=[0, room], nice=False)
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format="%", title=None, grid=True, tickSize=0, domain=False)
    base = alt.Chart(alt.Data(values=rows)).encode(y=_categories("label", gutter))
    span = base.mark_rule(color=NEUTRAL, strokeWidth=2).encode(x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q")
    dot = base.mark_point(filled=True, size=60, color=NEUTRAL, opacity=1).encode(x=alt.X("recall:Q", scale=scale))
    text = base.mark_text(align="left", dx=6).encode(x=alt.datum(1.0, scale=scale), text="text:N")
    layers = span + dot + text
    if promised is not None:
        line = alt.Chart(alt.Data(values=[{"promised": promised}])).mark_rule(color=MISSES, strokeDash=[4, 3])
        layers = line.encode(x=alt.X("promised:Q", scale=scale)) + layers
    return _svg(layers, width - gutter, 24 * len(rows))


def _categories(field: str, gutter: int) -> Any:
    axis = alt.Axis(
        title=None,
        ticks=False,
        domain=False,
        labelExpr="split(datum.label, '\\n')",
        labelFontSize=13 if gutter > _NARROW_GUTTER else 12,
        labelLimit=gutter,
        labelPadding=10,
        minExtent=gutter,
        maxExtent=gutter,
    )
    return alt.Y(f"{field}:N", sort=None, axis=axis, scale=alt.Scale(paddingInner=0.22, paddingOuter=0.1))


def _gutter(width: int) -> int:
    """Return the pixels kept for the category names."""
    return 230 if width > NARROW else _NARROW_GUTTER


def _headroom(width: int) -> float:
    """Return the part of the axis that the text after the longest bar needs."""
    return 1.3 if width > NARROW else 1.9


def _wrap(text: str, gutter: int) -> str:
    return "\n".join(textwrap.wrap(text, gutter // 8)[:3]) or "–"


def _svg(chart: Any, width: int, height: int) -> str:
    themed = (
        chart.properties(width=width, height=height, autosize=alt.AutoSizeParams(type="pad", contains="padding"))
        .configure(font=_FONT, background="transparent", padding=4)
        .configure_view(stroke=None)
        .configure_axis(labelColor="currentColor", gridColor="currentColor", gridOpacity=0.15)
        .configure_text(color="currentColor", fontSize=12.5)
    )
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    svg: str = vl_convert.vegalite_to_svg(themed.to_dict(), vl_version=version, allowed_base_urls=[])
    return svg

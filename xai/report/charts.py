"""Charts as static SVG: drawn by Altair, rendered by vl-convert, themed by the page.

Static rather than interactive: the page stays small, prints as it looks, needs no expression interpreter under a
Content-Security-Policy without ``unsafe-eval``, and text in ``currentColor`` follows light and dark mode. Every figure
in a chart is also in a table, which is where sorting and filtering happen.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

from xai.report import format as fmt
from xai.report import words
from xai.report.causes import CauseLine
from xai.report.detector import Band, Recall
from xai.report.links import filter_link
from xai.report.sections import Difference
from xai.report.tolerance import Curve

MISSES, EVALUATION, TRAINING, NEUTRAL = "#D55E00", "#0072B2", "#009E73", "#0072B2"
"""Okabe and Ito's colours, told apart with every common colour blindness; 3:1 on white and on the dark page."""

WIDE, NARROW = 900, 340
"""Widths in pixels of the two renderings; the page shows the one that fits."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_NARROW_GUTTER = 112
_MAX_CAUSES = 8
MAX_CLASSES = 20
MAX_DIFFERENCES = 12


def shares(causes: Sequence[CauseLine], reference: str | None, misses: str, compared: str, width: int) -> str | None:
    """Draw the shares of misses, of what they are compared with and of training that show each cause's condition.

    Lines across the ends of bars are 95% intervals; each cause links to its misses.

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
            "cause": _named(line, gutter),
            "series": name,
            "share": getattr(line, column),
            "low": line.bounds.get(column, (None, None))[0],
            "high": line.bounds.get(column, (None, None))[1],
            "end": max(getattr(line, column) or 0, line.bounds.get(column, (0, 0))[1]),
            "text": fmt.share(getattr(line, column)) + (f" {name}" if place == 0 or width > NARROW else ""),
            "link": filter_link(cause=line.cause),
        }
        for place, line in enumerate(drawn)
        for name, column, _ in series
    ]
    longest = max(row["end"] for row in rows) or 1.0
    scale = alt.Scale(domain=[0, longest * _headroom(width)], nice=False)
    axis = alt.X("share:Q", axis=None, scale=scale)
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=_categories("cause", gutter),
        yOffset=alt.YOffset("series:N", sort=None, scale=alt.Scale(paddingInner=0.12)),
    )
    colours = alt.Scale(domain=[name for name, _, _ in series], range=[colour for _, _, colour in series])
    bars = base.mark_bar().encode(x=axis, color=alt.Color("series:N", scale=colours, legend=None))
    spans = base.mark_rule(color="currentColor", strokeWidth=1.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    text = base.mark_text(align="left", dx=6).encode(text="text:N", x=alt.X("end:Q", scale=scale))
    # What is clicked is the whole row, not the bar alone.
    whole = base.mark_bar(opacity=0).encode(x=alt.datum(longest * _headroom(width), scale=scale), href="link:N")
    # The name of a cause takes up to five lines beside its bars on a narrow screen.
    height = 22 * len(series) + 14 if width > NARROW else max(22 * len(series) + 14, 96)
    return _svg(bars + spans + text + whole, width - gutter, height * len(drawn))


def recall(classes: Sequence[Recall], promised: float | None, width: int) -> str | None:
    """Draw the recall of each class or size with its 95% interval, and the promise as a line.

    Args:
        classes: the first ``MAX_CLASSES`` are drawn.
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


def reliability(bands: Sequence[Band], width: int) -> str | None:
    """Draw how often detections match an object, by score, with 95% intervals; on the dashed line scores are right.

    Args:
        bands: by rising score.
        width: of the whole drawing, pixels.
    """
    if not bands:
        return None
    rows = [
        {"score": band.score, "share": band.share, "low": band.share_low, "high": band.share_high} for band in bands
    ]
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    unit = alt.Scale(domain=[0, 1], nice=False)
    down = alt.X("score:Q", scale=unit, axis=alt.Axis(values=ticks, title="score", grid=True, tickSize=0))
    up = alt.Y(
        "share:Q", scale=unit, axis=alt.Axis(values=ticks, format="%", title="match an object", grid=True, tickSize=0)
    )
    base = alt.Chart(alt.Data(values=rows)).encode(x=down)
    ideal = alt.Chart(alt.Data(values=[{"score": 0, "share": 0}, {"score": 1, "share": 1}]))
    diagonal = ideal.mark_line(color="currentColor", strokeDash=[4, 3], strokeWidth=1).encode(x=down, y=up)
    spans = base.mark_rule(color=NEUTRAL, strokeWidth=2).encode(y=alt.Y("low:Q", scale=unit), y2="high:Q")
    dots = base.mark_point(filled=True, size=60, color=NEUTRAL, opacity=1).encode(y=up)
    return _svg(diagonal + spans + dots, min(width - 60, 420), 300)


def distributions(differences: Sequence[Difference], reference: str, width: int) -> str | None:
    """Draw the shares of evaluation and training set, with 95% intervals, of the conditions that differ most.

    Args:
        differences: most different first; the first ``MAX_DIFFERENCES`` are drawn.
        reference: "training set" or "reference set".
        width: of the whole drawing, pixels.
    """
    drawn = [item.row for item in differences[:MAX_DIFFERENCES]]
    if not drawn:
        return None
    gutter = _gutter(width)
    series = [("evaluation set", "eval_share", EVALUATION), (reference, "train_share", TRAINING)]
    rows = [
        {
            "condition": _wrap(fmt.sentence(words.condition(row["attribute"], row["bin"])), gutter),
            "series": name,
            "share": row[column],
            "low": row.get(f"{column}_low"),
            "high": row.get(f"{column}_high"),
        }
        for row in drawn
        for name, column, _ in series
    ]
    axis = alt.Axis(format="%", title=None, grid=True, tickSize=0, domain=False, tickCount=5)
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=_categories("condition", gutter),
        yOffset=alt.YOffset("series:N", sort=None, scale=alt.Scale(paddingInner=0.2)),
        color=alt.Color(
            "series:N",
            scale=alt.Scale(domain=[name for name, _, _ in series], range=[colour for _, _, colour in series]),
            legend=None,
        ),
    )
    spans = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", axis=axis), x2="high:Q")
    dots = base.mark_point(filled=True, size=55, opacity=1).encode(
        x=alt.X("share:Q", axis=axis), shape=alt.Shape("series:N", legend=None)
    )
    return _svg(spans + dots, width - gutter - 20, 36 * len(drawn))


def tolerance(curves: Sequence[Curve], promised: float, width: int) -> str | None:
    """Draw the recall of found objects against the dose of each condition, with 95% intervals, one panel each.

    The dashed line is the share that has to stay found; a vertical line stands where the curve falls below it.

    Args:
        curves: panels in this order; those whose doses are no axis are left out.
        promised: recall that has to be kept, 0 to 1.
        width: of the whole drawing, pixels.
    """
    axes = [curve for curve in curves if curve.is_axis]
    if not axes:
        return None
    columns = 4 if width > NARROW else 2
    names = _level([textwrap.wrap(curve.words, 24 if width > NARROW else 16) for curve in axes])
    panels = [f"{name}\n({curve.unit})" for name, curve in zip(names, axes, strict=True)]
    rows = [
        {"panel": panel, "dose": dose, "recall": share, "low": low, "high": high, "limit": curve.breaks}
        for panel, curve in zip(panels, axes, strict=True)
        for dose, share, low, high in [
            (curve.start, 1.0, 1.0, 1.0),
            *((row["dose"], row["recall"], row["recall_low"], row["recall_high"]) for row in curve.doses),
        ]
    ]
    percent = alt.Axis(values=[0, 0.5, 1], format="%", title=None, grid=True, tickSize=0, domain=False)
    unit = alt.Scale(domain=[0, 1], nice=False)
    down = alt.X("dose:Q", axis=alt.Axis(title=None, grid=False, tickCount=4), scale=alt.Scale(nice=False, zero=False))
    base = alt.Chart().encode(x=down)
    band = base.mark_area(color=NEUTRAL, opacity=0.2).encode(y=alt.Y("low:Q", scale=unit, axis=percent), y2="high:Q")
    line = base.mark_line(color=NEUTRAL, strokeWidth=2, point=alt.OverlayMarkDef(color=NEUTRAL, size=25)).encode(
        y=alt.Y("recall:Q", scale=unit, axis=percent)
    )
    kept = alt.Chart().mark_rule(color=MISSES, strokeDash=[4, 3]).encode(y=alt.datum(promised, scale=unit))
    broken = alt.Chart().mark_rule(color=MISSES, strokeWidth=1.5).encode(x="min(limit):Q")
    panel = alt.layer(band, kept, line, broken).properties(width=width / columns - 62, height=90)
    header = alt.Header(
        title=None,
        labelExpr="split(datum.label, '\\n')",
        labelColor="currentColor",
        labelFontSize=12.5,
        labelAnchor="start",
    )
    facets = panel.facet(
        facet=alt.Facet("panel:N", sort=panels, header=header), columns=columns, data=alt.Data(values=rows)
    )
    return _rendered(facets.resolve_scale(x="independent").resolve_axis(x="independent"))


def _level(names: Sequence[Sequence[str]]) -> list[str]:
    """Write names in equally many lines, so that the panels below them stand level."""
    most = max(len(lines) for lines in names)
    return ["\n".join([" "] * (most - len(lines)) + list(lines)) for lines in names]


def _named(line: CauseLine, gutter: int) -> str:
    name = _wrap(fmt.sentence(line.words), gutter)
    return f"{name}\n{_wrap(line.gain, gutter)}" if line.gain else name


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
    sized = chart.properties(width=width, height=height, autosize=alt.AutoSizeParams(type="pad", contains="padding"))
    return _rendered(sized)


def _rendered(chart: Any) -> str:
    themed = (
        chart.configure(font=_FONT, background="transparent", padding=4)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor="currentColor",
            titleColor="currentColor",
            titleFontWeight="normal",
            gridColor="currentColor",
            gridOpacity=0.15,
        )
        .configure_text(color="currentColor", fontSize=12.5)
    )
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    svg: str = vl_convert.vegalite_to_svg(themed.to_dict(), vl_version=version, allowed_base_urls=[])
    return _LINK.sub(r'<a tabindex="-1" href="#\1"', svg)


_LINK = re.compile(r'<a xlink:href="[^"#]*#([^"]*)"')
"""Links within the page, which the renderer makes absolute; the keyboard finds them in the table of the chart."""

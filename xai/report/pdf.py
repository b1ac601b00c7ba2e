"""Two pages for management as PDF: the answer, the chart, what to do, three examples, where it came from.

Laid out by ReportLab, without a browser and without fonts of the system: DejaVu Sans comes with Matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, PageBreak, SimpleDocTemplate, Spacer, Table, TableStyle

from xai.files import replacing
from xai.report import format as fmt
from xai.report import gallery, sections, words
from xai.report.pdf_parts import (
    COLUMNS,
    FRAME,
    HEIGHT,
    LINE,
    MARGIN,
    PLAIN,
    SOFT,
    WIDTH,
    Shares,
    boxed,
    columns_of,
    fitted,
    framed_photo,
    height_of,
    load_fonts,
    style_of,
    text_of,
    with_logo,
)
from xai.report.sentences import environment
from xai.report.source import Source, open_run
from xai.report.summarize import Summary, summarize_source

PAGES = 2
_CAUSES = (5, 4, 3, 2)
"""Causes in the chart, as many as the page has room for."""

_TONES = {
    "inside": ("#00674e", "#e6f4ef", "Inside the promise"),
    "broken": ("#a63d00", "#fceee4", "Promise broken"),
    "not_shown": ("#6b5300", "#faf3dc", "Not shown"),
    None: ("#56626f", "#edf0f3", "No promise set"),
}


def render_pdf(run_dir: Path) -> Path:
    """Write ``report.pdf`` into a finished run.

    Raises:
        RunError: the run is missing, incomplete, damaged or from another version.
    """
    source = open_run(Path(run_dir))
    summary = summarize_source(source)
    load_fonts()
    path = source.path / "report.pdf"
    with replacing(path) as temporary:
        document = SimpleDocTemplate(
            str(temporary),
            pagesize=A4,
            leftMargin=MARGIN - FRAME,
            rightMargin=MARGIN - FRAME,
            topMargin=MARGIN - FRAME,
            bottomMargin=MARGIN + 8 * mm - FRAME,
            title=summary.title,
            author="xai",
            subject="Detector miss report",
            invariant=1,
        )
        firsts = (_first(source, summary, causes) for causes in _CAUSES)
        first = next((story for story in firsts if height_of(story) < HEIGHT), _first(source, summary, _CAUSES[-1]))
        story = [fitted(first), PageBreak(), fitted(_second(source, summary))]
        foot = _foot(source)
        document.build(story, onFirstPage=foot, onLaterPages=foot)
    return path


def _say(name: str, summary: Summary, *values: Any) -> str:
    """Return a sentence of ``sentences.j2``."""
    made = environment(autoescape=False).get_template("sentences.j2").make_module({"s": summary})
    return " ".join(str(getattr(made, name)(*values)).split())


def _first(source: Source, summary: Summary, causes: int) -> list[Flowable]:
    dark, pale, state = _TONES[summary.answer]
    when = str(source.info.get("finished_at") or "")[:10]
    about = " · ".join(part for part in (sections.model_name(source), when) if part)
    answer: list[Flowable] = [
        text_of(state, style_of(8.5, bold=True, color=colors.HexColor(dark), after=5)),
        text_of(_say("headline", summary, summary), style_of(14, bold=True, lead=1.3, after=6)),
        text_of(
            " ".join(
                [
                    *(str(promise["sentence"]) for promise in summary.promises),
                    _say("misses", summary, summary),
                ]
            ),
            style_of(9.5, after=5),
        ),
    ]
    causes_told = " ".join(_say(name, summary, summary) for name in ("top_causes", "elevated")).strip()
    answer += [text_of(causes_told, style_of(9.5, after=5))] if causes_told else []
    unknowns = _say("unknowns", summary, summary)
    answer += [text_of(unknowns, style_of(8.5, color=SOFT))] if unknowns else []
    head: list[Flowable] = [
        text_of("Detector miss report", style_of(8, bold=True, color=SOFT)),
        text_of(summary.title, style_of(20, bold=True, lead=1.2, after=3)),
        text_of(about, style_of(8.5, color=SOFT, after=10)),
    ]
    story: list[Flowable] = [with_logo(head, source.logo)] if source.logo else head
    for doubt in summary.doubts:
        story.append(
            boxed([text_of(f"Doubtful: {doubt}.", style_of(8.5, color=colors.HexColor("#a63d00")))], "#fceee4")
        )
    story += [boxed(answer, pale, rule=dark), Spacer(1, 8), _tiles(summary), Spacer(1, 12)]
    drawn = [line for line in summary.actions if line.miss_share is not None][:causes]
    nouns = summary.nouns
    if drawn:
        bars = [f"of {nouns['misses']}", f"of {nouns['compared']}"]
        bars += [f"of {summary.reference}"] if summary.reference else []
        note = f"Shares {', '.join(bars[:-1])} and {bars[-1]} that show each condition, in order of what to do first"
        story += [
            text_of("Causes", style_of(12, bold=True, after=2)),
            text_of(
                f"{note}. Lines are 95% intervals over photos.",
                style_of(8.5, color=SOFT, after=6),
            ),
            Shares(drawn, summary),
            Spacer(1, 8),
        ]
    if summary.causes:
        story += [text_of("What to do first", style_of(12, bold=True, after=6)), _actions(summary)]
    return story


def _mechanism(name: str, amount: int, misses: int) -> list[Flowable]:
    title, meaning = words.MECHANISMS.get(name, (name, ""))
    counted = f"{fmt.count(amount)} ({fmt.share(amount / misses)})"
    return [
        text_of(title, style_of(8.5, bold=True)),
        text_of(counted, style_of(8.5)),
        text_of(meaning, style_of(8.5, color=SOFT)),
    ]


def _actions(summary: Summary) -> Flowable:
    cells = []
    for place, line in enumerate(summary.actions[:COLUMNS], start=1):
        gain = _say("avoidable", summary, line, summary) if line.avoidable else ""
        told = " ".join([_say("to_do", summary, line, summary), _say("repaired", summary, line)])
        cells.append(
            [
                text_of(f"{place}. {fmt.sentence(line.words)}", style_of(9.5, bold=True, after=3)),
                text_of(gain, style_of(8.5, bold=True, after=3)),
                text_of(told, style_of(8.5)),
            ]
        )
    return columns_of(cells)


def _second(source: Source, summary: Summary) -> list[Flowable]:
    story: list[Flowable] = []
    if summary.mechanisms:
        rows = [_mechanism(name, amount, summary.misses) for name, amount in summary.mechanisms.items()]
        table = Table(rows, colWidths=[32 * mm, 30 * mm, WIDTH - 62 * mm])
        table.setStyle(TableStyle([*PLAIN, ("LINEABOVE", (0, 0), (-1, -1), 0.5, LINE)]))
        story += [
            text_of("Where in the detector they were lost", style_of(12, bold=True, after=4)),
            table,
            Spacer(1, 12),
        ]
    examples = _examples(source, summary)
    if examples:
        story += [text_of("Examples", style_of(12, bold=True, after=6)), columns_of(examples), Spacer(1, 14)]
    groups = sections.provenance(source)
    rows = [
        [text_of(title, style_of(8, bold=True)), text_of(_told(pairs), style_of(7.5, color=SOFT))]
        for title, pairs in groups
    ]
    rows.append(
        [text_of("Again", style_of(8, bold=True)), text_of(str(source.info.get("command") or "unknown"), style_of(7.5))]
    )
    table = Table(rows, colWidths=[28 * mm, WIDTH - 28 * mm])
    table.setStyle(TableStyle([*PLAIN, ("LINEABOVE", (0, 0), (-1, -1), 0.5, LINE)]))
    return [*story, text_of("Provenance", style_of(12, bold=True, after=4)), table]


def _told(pairs: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{name}: {value if len(value) <= 70 else value[:67] + '…'}" for name, value in pairs)


def _examples(source: Source, summary: Summary) -> list[list[Flowable]]:
    """Return the strongest miss of each of the first causes with its photo, others where causes are few."""
    wanted = [line.cause for line in summary.actions]
    misses = gallery.ordered(source.misses, wanted)
    chosen: list[dict[str, Any]] = []
    for row in misses.sort("turn", "place").rows(named=True):
        if len(chosen) < COLUMNS and (source.path / "gallery" / f"{row['error_id']}.jpg").is_file():
            chosen.append(row)
    width = (WIDTH - 2 * 8) / COLUMNS - 12
    return [
        [
            framed_photo(source.path / "gallery" / f"{row['error_id']}.jpg", row, width),
            Spacer(1, 5),
            text_of(str(row["label"]), style_of(9.5, bold=True, after=2)),
            text_of(row["sentence"] or "No verdict.", style_of(8.5, after=3)),
            text_of(f"{row['image_id']}, object {row['object_id']}", style_of(7, color=SOFT)),
        ]
        for row in chosen
    ]


def _tiles(summary: Summary) -> Flowable:
    rate = f" ({fmt.share(summary.miss_rate)})" if summary.miss_rate is not None else ""
    base = fmt.plural(summary.reports, "report") if summary.reported else f"{fmt.count(summary.objects)} objects{rate}"
    suspected = f", {fmt.count(summary.suspected)} only suspected" if summary.suspected else ""
    tiles = [
        ("Reported misses" if summary.reported else "Missed objects", summary.misses, f"of {base}"),
        ("Photos", summary.photos, f"{fmt.count(summary.miss_photos)} with a miss"),
        ("A cause stands out", summary.explained, f"of {fmt.plural(summary.misses, 'miss', 'misses')}{suspected}"),
        ("Unexplained or chance", summary.unexplained + summary.chance + summary.unjudged, "no cause is named"),
    ]
    cells = [
        [
            text_of(name, style_of(7.5, color=SOFT)),
            text_of(fmt.count(value), style_of(15, bold=True, lead=1.3)),
            text_of(note, style_of(7.5, color=SOFT)),
        ]
        for name, value, note in tiles
    ]
    table = Table([cells], colWidths=[WIDTH / len(cells)] * len(cells))
    table.setStyle(TableStyle([*PLAIN, ("LEFTPADDING", (0, 0), (-1, -1), 12), ("GRID", (0, 0), (-1, -1), 0.6, LINE)]))
    return table


def _foot(source: Source) -> Any:
    version = str(source.info.get("version") or "unknown")

    def draw(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont("Sans", 7)
        canvas.setFillColor(SOFT)
        canvas.drawString(
            MARGIN, 11 * mm, f"Made by xai {version}. Every figure is in the tables of the run directory."
        )
        canvas.drawRightString(A4[0] - MARGIN, 11 * mm, f"{document.page} of {PAGES}")
        canvas.restoreState()

    return draw

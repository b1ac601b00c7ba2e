"""Two pages for management as PDF: the answer, the chart, what to do, three examples, where it came from.

Laid out by ReportLab, without a browser and without fonts of the system: DejaVu Sans comes with Matplotlib.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageOps
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    Flowable,
    KeepInFrame,
    PageBreak,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus import Image as Picture

from xai.files import replacing
from xai.report import charts, gallery, sections, words
from xai.report import format as fmt
from xai.report.causes import CauseLine
from xai.report.pictures import embed_logo
from xai.report.sentences import environment
from xai.report.source import Source, open_run
from xai.report.summarize import Summary, summarize_source

PAGES = 2
EXAMPLES = 3
_CAUSES = (5, 4, 3, 2)
"""Causes in the chart, as many as the page has room for."""

_MARGIN = 16 * mm
_WIDTH, _HEIGHT = A4[0] - 2 * _MARGIN, A4[1] - 2 * _MARGIN - 8 * mm

_FRAME = 6
"""ReportLab pads its frames by so many points."""

_INK, _SOFT, _LINE = (colors.HexColor(code) for code in ("#18212b", "#56626f", "#dfe4e9"))
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
    _fonts()
    path = source.path / "report.pdf"
    with replacing(path) as temporary:
        document = SimpleDocTemplate(
            str(temporary),
            pagesize=A4,
            leftMargin=_MARGIN - _FRAME,
            rightMargin=_MARGIN - _FRAME,
            topMargin=_MARGIN - _FRAME,
            bottomMargin=_MARGIN + 8 * mm - _FRAME,
            title=summary.title,
            author="xai",
            subject="Detector miss report",
            invariant=1,
        )
        firsts = (_first(source, summary, causes) for causes in _CAUSES)
        first = next((story for story in firsts if _height(story) < _HEIGHT), _first(source, summary, _CAUSES[-1]))
        story = [_fit(first), PageBreak(), _fit(_second(source, summary))]
        foot = _foot(source)
        document.build(story, onFirstPage=foot, onLaterPages=foot)
    return path


def _fonts() -> None:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name, file in (("Sans", "DejaVuSans.ttf"), ("Sans-Bold", "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))
    pdfmetrics.registerFontFamily("Sans", normal="Sans", bold="Sans-Bold", italic="Sans", boldItalic="Sans-Bold")


def _style(
    size: float, *, bold: bool = False, color: Any = _INK, lead: float = 1.42, after: float = 0
) -> ParagraphStyle:
    return ParagraphStyle(
        "text",
        fontName="Sans-Bold" if bold else "Sans",
        fontSize=size,
        leading=size * lead,
        textColor=color,
        spaceAfter=after,
        splitLongWords=True,
    )


def _text(text: str, style: ParagraphStyle) -> Paragraph:
    """Make a paragraph of a text that is no markup."""
    return Paragraph(html.escape(" ".join(text.split())), style)


def _fit(story: Sequence[Flowable]) -> Flowable:
    """Shrink what does not fit the page: it is one page whatever the data says."""
    return KeepInFrame(_WIDTH, _HEIGHT - 2, list(story), mode="shrink")


def _height(story: Sequence[Flowable]) -> float:
    """Return the height in points that a column of these takes."""
    return float(sum(item.wrap(_WIDTH, _HEIGHT)[1] + item.getSpaceBefore() + item.getSpaceAfter() for item in story))


def _say(name: str, summary: Summary, *values: Any) -> str:
    """Return a sentence of ``sentences.j2``."""
    made = environment(autoescape=False).get_template("sentences.j2").make_module({"s": summary})
    return " ".join(str(getattr(made, name)(*values)).split())


def _first(source: Source, summary: Summary, causes: int) -> list[Flowable]:
    dark, pale, state = _TONES[summary.answer]
    when = str(source.info.get("finished_at") or "")[:10]
    about = " · ".join(part for part in (sections.model_name(source), when) if part)
    answer: list[Flowable] = [
        _text(state, _style(8.5, bold=True, color=colors.HexColor(dark), after=5)),
        _text(_say("headline", summary, summary), _style(14, bold=True, lead=1.3, after=6)),
        _text(
            " ".join(
                [
                    *(str(promise["sentence"]) for promise in summary.promises),
                    _say("misses", summary, summary),
                    _say("lost", summary, summary),
                    _say("top_causes", summary, summary),
                    _say("elevated", summary, summary),
                ]
            ),
            _style(9.5, after=5),
        ),
    ]
    unknowns = _say("unknowns", summary, summary)
    answer += [_text(unknowns, _style(8.5, color=_SOFT))] if unknowns else []
    head: list[Flowable] = [
        _text("Detector miss report", _style(8, bold=True, color=_SOFT)),
        _text(summary.title, _style(20, bold=True, lead=1.2, after=3)),
        _text(about, _style(8.5, color=_SOFT, after=10)),
    ]
    story: list[Flowable] = [_with_logo(head, source.logo)] if source.logo else head
    for doubt in summary.doubts:
        story.append(_box([_text(f"Doubtful: {doubt}.", _style(8.5, color=colors.HexColor("#a63d00")))], "#fceee4"))
    story += [_box(answer, pale, rule=dark), Spacer(1, 8), _tiles(summary), Spacer(1, 12)]
    drawn = [line for line in summary.actions if line.miss_share is not None][:causes]
    nouns = summary.nouns
    if drawn:
        bars = [f"of {nouns['misses']}", f"of {nouns['compared']}"]
        bars += [f"of {summary.reference}"] if summary.reference else []
        note = f"Shares {', '.join(bars[:-1])} and {bars[-1]} that show each condition, in order of what to do first"
        story += [
            _text("Causes", _style(12, bold=True, after=2)),
            _text(
                f"{note}. Lines are 95% intervals over photos.",
                _style(8.5, color=_SOFT, after=6),
            ),
            _Shares(drawn, summary),
            Spacer(1, 8),
        ]
    if summary.causes:
        story += [_text("What to do first", _style(12, bold=True, after=6)), _actions(summary)]
    return story


def _mechanism(name: str, amount: int, misses: int) -> list[Flowable]:
    title, meaning = words.MECHANISMS.get(name, (name, ""))
    counted = f"{fmt.count(amount)} ({fmt.share(amount / misses)})"
    return [_text(title, _style(8.5, bold=True)), _text(counted, _style(8.5)), _text(meaning, _style(8.5, color=_SOFT))]


def _actions(summary: Summary) -> Flowable:
    cells = []
    for place, line in enumerate(summary.actions[:EXAMPLES], start=1):
        gain = _say("avoidable", summary, line, summary) if line.avoidable else ""
        told = " ".join([_say("to_do", summary, line, summary), _say("repaired", summary, line)])
        cells.append(
            [
                _text(f"{place}. {fmt.sentence(line.words)}", _style(9.5, bold=True, after=3)),
                _text(gain, _style(8.5, bold=True, after=3)),
                _text(told, _style(8.5)),
            ]
        )
    return _columns(cells)


def _second(source: Source, summary: Summary) -> list[Flowable]:
    story: list[Flowable] = []
    if summary.mechanisms:
        rows = [_mechanism(name, amount, summary.misses) for name, amount in summary.mechanisms.items()]
        table = Table(rows, colWidths=[32 * mm, 30 * mm, _WIDTH - 62 * mm])
        table.setStyle(TableStyle([*_PLAIN, ("LINEABOVE", (0, 0), (-1, -1), 0.5, _LINE)]))
        story += [_text("Where in the detector they were lost", _style(12, bold=True, after=4)), table, Spacer(1, 12)]
    examples = _examples(source, summary)
    if examples:
        story += [_text("Examples", _style(12, bold=True, after=6)), _columns(examples), Spacer(1, 14)]
    groups = sections.provenance(source)
    rows = [
        [_text(title, _style(8, bold=True)), _text(_told(pairs), _style(7.5, color=_SOFT))] for title, pairs in groups
    ]
    rows.append(
        [_text("Again", _style(8, bold=True)), _text(str(source.info.get("command") or "unknown"), _style(7.5))]
    )
    table = Table(rows, colWidths=[28 * mm, _WIDTH - 28 * mm])
    table.setStyle(TableStyle([*_PLAIN, ("LINEABOVE", (0, 0), (-1, -1), 0.5, _LINE)]))
    return [*story, _text("Provenance", _style(12, bold=True, after=4)), table]


def _told(pairs: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{name}: {value if len(value) <= 70 else value[:67] + '…'}" for name, value in pairs)


def _examples(source: Source, summary: Summary) -> list[list[Flowable]]:
    """Return the strongest miss of each of the first causes with its photo, others where causes are few."""
    wanted = [line.cause for line in summary.actions]
    misses = gallery.ordered(source.misses, wanted)
    chosen: list[dict[str, Any]] = []
    for row in misses.sort("turn", "place").rows(named=True):
        if len(chosen) < EXAMPLES and (source.path / "gallery" / f"{row['error_id']}.jpg").is_file():
            chosen.append(row)
    width = (_WIDTH - 2 * 8) / EXAMPLES - 12
    return [
        [
            _photo(source.path / "gallery" / f"{row['error_id']}.jpg", row, width),
            Spacer(1, 5),
            _text(str(row["label"]), _style(9.5, bold=True, after=2)),
            _text(row["sentence"] or "No verdict.", _style(8.5, after=3)),
            _text(f"{row['image_id']}, object {row['object_id']}", _style(7, color=_SOFT)),
        ]
        for row in chosen
    ]


def _photo(file: Path, row: dict[str, Any], width: float) -> Flowable:
    """Return a photo with its object framed, on a canvas of 4 : 3."""
    with Image.open(file) as opened:
        photo = opened.convert("RGB")
    if row["x1"] is not None and row["width"]:
        scale = photo.width / row["width"]
        box = [row[side] * scale for side in ("x1", "y1", "x2", "y2")]
        pen = ImageDraw.Draw(photo)
        pen.rectangle(box, outline="#ffffff", width=6)
        pen.rectangle(box, outline=charts.MISSES, width=3)
    framed = ImageOps.pad(photo, (520, 390), color="#edf0f3")
    buffer = io.BytesIO()
    framed.save(buffer, "JPEG", quality=82)
    buffer.seek(0)
    return Picture(buffer, width, width * 0.75)


def _with_logo(head: list[Flowable], file: Path) -> Flowable:
    logo = embed_logo(file)
    width, height = logo.size
    scale = min(110 / width, 42 / height)
    picture = Picture(io.BytesIO(base64.b64decode(logo.uri.partition(",")[2])), width * scale, height * scale)
    table = Table([[head, picture]], colWidths=[_WIDTH - 120, 120])
    table.setStyle(TableStyle([*_PLAIN, ("RIGHTPADDING", (0, 0), (-1, -1), 0), ("ALIGN", (1, 0), (1, 0), "RIGHT")]))
    return table


_PLAIN = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 6),
    ("TOPPADDING", (0, 0), (-1, -1), 3),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
]


def _box(story: list[Flowable], fill: str, rule: str | None = None) -> Flowable:
    table = Table([[story]], colWidths=[_WIDTH])
    style = [("BACKGROUND", (0, 0), (-1, -1), colors.HexColor(fill)), ("LEFTPADDING", (0, 0), (-1, -1), 12)]
    style += [("RIGHTPADDING", (0, 0), (-1, -1), 12), ("TOPPADDING", (0, 0), (-1, -1), 10)]
    style += [("BOTTOMPADDING", (0, 0), (-1, -1), 10)]
    line = [("LINEABOVE", (0, 0), (-1, 0), 2.5, colors.HexColor(rule))] if rule else []
    table.setStyle(TableStyle([*style, *line]))
    return table


def _columns(cells: Sequence[list[Flowable]]) -> Flowable:
    gap = 8
    width = (_WIDTH - (EXAMPLES - 1) * gap) / EXAMPLES
    row: list[Any] = []
    widths: list[float] = []
    style: list[tuple[Any, ...]] = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 6)]
    style += [("LEFTPADDING", (0, 0), (-1, -1), 6), ("RIGHTPADDING", (0, 0), (-1, -1), 6)]
    style += [("BOTTOMPADDING", (0, 0), (-1, -1), 8)]
    for place, cell in enumerate(cells):
        if place:
            row.append("")
            widths.append(gap)
        style.append(("BOX", (len(row), 0), (len(row), 0), 0.6, _LINE))
        row.append(cell)
        widths.append(width)
    table = Table([row], colWidths=widths, hAlign="LEFT")
    table.setStyle(TableStyle(style))
    return table


def _tiles(summary: Summary) -> Flowable:
    rate = f" ({fmt.share(summary.miss_rate)})" if summary.miss_rate is not None else ""
    base = fmt.plural(summary.reports, "report") if summary.reported else f"{fmt.count(summary.objects)} objects{rate}"
    tiles = [
        ("Reported misses" if summary.reported else "Missed objects", summary.misses, f"of {base}"),
        ("Photos", summary.photos, f"{fmt.count(summary.miss_photos)} with a miss"),
        ("A cause stands out", summary.explained, f"of {fmt.plural(summary.misses, 'miss', 'misses')}"),
        ("Unexplained or chance", summary.unexplained + summary.chance + summary.unjudged, "no cause is named"),
    ]
    cells = [
        [
            _text(name, _style(7.5, color=_SOFT)),
            _text(fmt.count(value), _style(15, bold=True, lead=1.3)),
            _text(note, _style(7.5, color=_SOFT)),
        ]
        for name, value, note in tiles
    ]
    table = Table([cells], colWidths=[_WIDTH / len(cells)] * len(cells))
    table.setStyle(TableStyle([*_PLAIN, ("LEFTPADDING", (0, 0), (-1, -1), 12), ("GRID", (0, 0), (-1, -1), 0.6, _LINE)]))
    return table


class _Shares(Flowable):  # type: ignore[misc]
    """The chart of three shares with intervals, as ``charts.shares`` has it."""

    _BAR, _GAP, _GUTTER, _TEXT = 10.0, 9.0, 150.0, 120.0

    def __init__(self, causes: Sequence[CauseLine], summary: Summary) -> None:
        super().__init__()
        nouns = summary.nouns
        self.causes = causes
        self.series = [("miss_share", f"of {nouns['misses']}", charts.MISSES)]
        self.series.append(("eval_share", f"of {nouns['compared']}", charts.EVALUATION))
        if summary.reference:
            self.series.append(("train_share", f"of {summary.reference}", charts.TRAINING))
        ends = [line.bounds.get(name, (0, 0))[1] for line in causes for name, _, _ in self.series]
        self.most = max([*ends, *(getattr(line, name) or 0 for line in causes for name, _, _ in self.series)]) or 1.0

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        """Return the size that the chart takes."""
        self.width = width
        self.height = len(self.causes) * (len(self.series) * self._BAR + self._GAP)
        return width, self.height

    def draw(self) -> None:
        """Draw onto the canvas, whose origin is the chart's lower left corner."""
        pen = self.canv
        per_share = (self.width - self._GUTTER - self._TEXT) / self.most
        top = self.height
        for line in self.causes:
            name = _text(fmt.sentence(line.words), _style(8.5, bold=True, lead=1.25))
            gain = f"{fmt.about(line.avoidable.misses)} avoidable" if line.avoidable else ""
            note = _text(gain, _style(7.5, color=_SOFT))
            _, high = name.wrap(self._GUTTER - 10, 100)
            name.drawOn(pen, 0, top - high)
            _, low = note.wrap(self._GUTTER - 10, 100)
            note.drawOn(pen, 0, top - high - low)
            for column, series, colour in self.series:
                share, bounds = getattr(line, column), line.bounds.get(column)
                top -= self._BAR
                end = share or 0.0
                pen.setFillColor(colors.HexColor(colour))
                pen.rect(self._GUTTER, top + 1, end * per_share, self._BAR - 2, stroke=0, fill=1)
                if bounds:
                    pen.setStrokeColor(_INK)
                    pen.setLineWidth(0.8)
                    middle = top + self._BAR / 2
                    pen.line(self._GUTTER + bounds[0] * per_share, middle, self._GUTTER + bounds[1] * per_share, middle)
                    end = max(end, bounds[1])
                pen.setFillColor(_INK)
                pen.setFont("Sans", 7.5)
                pen.drawString(self._GUTTER + end * per_share + 5, top + 2.2, f"{fmt.share(share)} {series}")
            top -= self._GAP


def _foot(source: Source) -> Any:
    version = str(source.info.get("version") or "unknown")

    def draw(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont("Sans", 7)
        canvas.setFillColor(_SOFT)
        canvas.drawString(
            _MARGIN, 11 * mm, f"Made by xai {version}. Every figure is in the tables of the run directory."
        )
        canvas.drawRightString(A4[0] - _MARGIN, 11 * mm, f"{document.page} of {PAGES}")
        canvas.restoreState()

    return draw

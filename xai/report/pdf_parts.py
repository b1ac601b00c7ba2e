"""What the pages of the PDF are laid out of: styles, boxes, columns, pictures and the chart, in ReportLab's terms."""

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
from reportlab.platypus import Flowable, KeepInFrame, Paragraph, Table, TableStyle
from reportlab.platypus import Image as Picture

from xai.report import charts
from xai.report import format as fmt
from xai.report.causes import CauseLine
from xai.report.pictures import embed_logo
from xai.report.summarize import Summary

COLUMNS = 3
"""Columns side by side."""

MARGIN = 16 * mm
WIDTH, HEIGHT = A4[0] - 2 * MARGIN, A4[1] - 2 * MARGIN - 8 * mm

FRAME = 6
"""ReportLab pads its frames by so many points."""

INK, SOFT, LINE = (colors.HexColor(code) for code in ("#18212b", "#56626f", "#dfe4e9"))
PLAIN = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 6),
    ("TOPPADDING", (0, 0), (-1, -1), 3),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
]


def load_fonts() -> None:
    """Register the fonts, which come with Matplotlib."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name, file in (("Sans", "DejaVuSans.ttf"), ("Sans-Bold", "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))
    pdfmetrics.registerFontFamily("Sans", normal="Sans", bold="Sans-Bold", italic="Sans", boldItalic="Sans-Bold")


def style_of(
    size: float, *, bold: bool = False, color: Any = INK, lead: float = 1.42, after: float = 0
) -> ParagraphStyle:
    """Return the style of a paragraph: size in points, ``lead`` its line height in sizes, ``after`` in points."""
    return ParagraphStyle(
        "text",
        fontName="Sans-Bold" if bold else "Sans",
        fontSize=size,
        leading=size * lead,
        textColor=color,
        spaceAfter=after,
        splitLongWords=True,
    )


def text_of(text: str, style: ParagraphStyle) -> Paragraph:
    """Make a paragraph of a text that is no markup."""
    return Paragraph(html.escape(" ".join(text.split())), style)


def fitted(story: Sequence[Flowable]) -> Flowable:
    """Shrink what does not fit the page: it is one page whatever the data says."""
    return KeepInFrame(WIDTH, HEIGHT - 2, list(story), mode="shrink")


def height_of(story: Sequence[Flowable]) -> float:
    """Return the height in points that a column of these takes."""
    return float(sum(item.wrap(WIDTH, HEIGHT)[1] + item.getSpaceBefore() + item.getSpaceAfter() for item in story))


def framed_photo(file: Path, row: dict[str, Any], width: float) -> Flowable:
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


def with_logo(head: list[Flowable], file: Path) -> Flowable:
    """Put the logo to the right of the title."""
    logo = embed_logo(file)
    width, height = logo.size
    scale = min(110 / width, 42 / height)
    picture = Picture(io.BytesIO(base64.b64decode(logo.uri.partition(",")[2])), width * scale, height * scale)
    table = Table([[head, picture]], colWidths=[WIDTH - 120, 120])
    table.setStyle(TableStyle([*PLAIN, ("RIGHTPADDING", (0, 0), (-1, -1), 0), ("ALIGN", (1, 0), (1, 0), "RIGHT")]))
    return table


def boxed(story: list[Flowable], fill: str, rule: str | None = None) -> Flowable:
    """Put a story on a coloured ground, below a coloured rule where one is given."""
    table = Table([[story]], colWidths=[WIDTH])
    style = [("BACKGROUND", (0, 0), (-1, -1), colors.HexColor(fill)), ("LEFTPADDING", (0, 0), (-1, -1), 12)]
    style += [("RIGHTPADDING", (0, 0), (-1, -1), 12), ("TOPPADDING", (0, 0), (-1, -1), 10)]
    style += [("BOTTOMPADDING", (0, 0), (-1, -1), 10)]
    line = [("LINEABOVE", (0, 0), (-1, 0), 2.5, colors.HexColor(rule))] if rule else []
    table.setStyle(TableStyle([*style, *line]))
    return table


def columns_of(cells: Sequence[list[Flowable]]) -> Flowable:
    """Put up to ``COLUMNS`` stories side by side, each in a frame."""
    gap = 8
    width = (WIDTH - (COLUMNS - 1) * gap) / COLUMNS
    row: list[Any] = []
    widths: list[float] = []
    style: list[tuple[Any, ...]] = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 6)]
    style += [("LEFTPADDING", (0, 0), (-1, -1), 6), ("RIGHTPADDING", (0, 0), (-1, -1), 6)]
    style += [("BOTTOMPADDING", (0, 0), (-1, -1), 8)]
    for place, cell in enumerate(cells):
        if place:
            row.append("")
            widths.append(gap)
        style.append(("BOX", (len(row), 0), (len(row), 0), 0.6, LINE))
        row.append(cell)
        widths.append(width)
    table = Table([row], colWidths=widths, hAlign="LEFT")
    table.setStyle(TableStyle(style))
    return table


class Shares(Flowable):  # type: ignore[misc]
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
            name = text_of(fmt.sentence(line.words), style_of(8.5, bold=True, lead=1.25))
            note = text_of(line.gain, style_of(7.5, color=SOFT))
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
                    pen.setStrokeColor(INK)
                    pen.setLineWidth(0.8)
                    middle = top + self._BAR / 2
                    pen.line(self._GUTTER + bounds[0] * per_share, middle, self._GUTTER + bounds[1] * per_share, middle)
                    end = max(end, bounds[1])
                pen.setFillColor(INK)
                pen.setFont("Sans", 7.5)
                pen.drawString(self._GUTTER + end * per_share + 5, top + 2.2, f"{fmt.share(share)} {series}")
            top -= self._GAP

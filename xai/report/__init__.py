"""The report: measure (``summarize``), draw (``charts``), render (``html``). Works on tables alone."""

from collections.abc import Iterable
from pathlib import Path

from xai.report.export import FORMATS, ReportFormat, parse_formats, render_csv, render_markdown
from xai.report.html import render
from xai.report.miss import miss_lines
from xai.report.summarize import Summary, summarize

__all__ = ["FORMATS", "Summary", "miss_lines", "parse_formats", "render", "render_as", "summarize"]


def render_as(run_dir: Path, formats: Iterable[ReportFormat]) -> list[Path]:
    """Write the report of a finished run in several forms; return the files.

    Raises:
        RunError: the run is missing, incomplete, damaged or from another version.
    """
    written: list[Path] = []
    for name in formats:
        if name == "html":
            written.append(render(run_dir))
        elif name == "md":
            written.append(render_markdown(run_dir))
        elif name == "csv":
            written += render_csv(run_dir)
        else:
            from xai.report.pdf import render_pdf  # a tenth of a second that only those pay who want a PDF

            written.append(render_pdf(run_dir))
    return written

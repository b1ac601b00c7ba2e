"""The report: measure (``summarize``), draw (``charts``), render (``html``). Works on tables alone."""

from xai.report.html import render
from xai.report.miss import miss_lines
from xai.report.summarize import Summary, summarize

__all__ = ["Summary", "miss_lines", "render", "summarize"]

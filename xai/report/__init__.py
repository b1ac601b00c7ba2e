"""The report: measure (``summarize``), draw (``charts``), render (``html``). Works on tables alone."""

from xai.report.html import render
from xai.report.summarize import Summary, summarize

__all__ = ["Summary", "render", "summarize"]

"""The template engine, and the answer as plain text.

All sentences live in ``templates/sentences.j2``; the page escapes them, the command line prints them as they are.
"""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xai.report import format as fmt
from xai.report import words
from xai.report.links import filter_link

if TYPE_CHECKING:
    from xai.report.summarize import Summary

TEMPLATES = Path(__file__).with_name("templates")


def answer_lines(summary: Summary) -> list[str]:
    """Return the sentences that open the report, as plain text, one a line."""
    text = environment(autoescape=False).get_template("answer.txt.j2").render(s=summary)
    return [line.strip() for line in text.splitlines() if line.strip()]


def environment(*, autoescape: bool) -> Environment:
    """Return a template engine that knows the report's figures and words.

    Args:
        autoescape: True for HTML, False for plain text.
    """
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= _FILTERS
    made.globals |= _GLOBALS
    made.tests["figure"] = fmt.known
    return made


def packed(text: str) -> str:
    """Compress a text for the page: gzip as base64, the same every time."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


_FILTERS: dict[str, Any] = {
    "about": words.about,
    "around": fmt.about,
    "count": fmt.count,
    "money": fmt.money,
    "number": fmt.number,
    "packed": packed,
    "percent": fmt.percent,
    "plural": fmt.plural,
    "ratio": fmt.ratio,
    "seconds": fmt.seconds,
    "sentence": fmt.sentence,
    "share": fmt.share,
    "signed": fmt.signed,
    "words": words.name,
}

_GLOBALS: dict[str, Any] = {
    "assessments": words.ASSESSMENTS,
    "cause": words.cause,
    "condition": words.condition,
    "filter_link": filter_link,
    "evidence_kinds": words.EVIDENCE,
    "ignored": words.IGNORED,
    "kinds": words.KINDS,
    "losses": words.LOSSES,
    "ledger_groups": words.LEDGER,
    "mechanisms": words.MECHANISMS,
    "pattern": words.pattern,
    "ratio_interval": fmt.ratio_interval,
    "parts": words.PARTS,
    "saliency": words.SALIENCY,
    "short": words.short,
    "share_interval": fmt.share_interval,
    "verdicts": words.VERDICTS,
}

"""Render: the summary and the sections as one self-contained page.

No request leaves the page and nothing from data runs: the Content-Security-Policy allows pictures as ``data:`` and the
one script by its hash, and every value is escaped by the template engine. Charts come as static SVG that has been
escaped by its renderer.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from xai.catalog import CATALOG
from xai.files import replacing
from xai.report import cards, charts, detector, gallery, sections
from xai.report.earlier import Earlier, earlier, kept
from xai.report.pictures import embed_logo
from xai.report.relabel import labels_to_look_at
from xai.report.sentences import TEMPLATES, environment
from xai.report.source import Source, open_run
from xai.report.summarize import Summary, summarize_source
from xai.report.tolerance import tolerance


def render(run_dir: Path) -> Path:
    """Write ``report.html`` into a finished run, whole or not at all.

    Args:
        run_dir: the run directory with its tables, ``run.json`` and, where misses were explained, ``gallery/``.

    Returns:
        The page's path.

    Raises:
        RunError: the run is missing, incomplete, damaged or from another version.
    """
    source = open_run(Path(run_dir))
    summary = summarize_source(source)
    page = environment(autoescape=True).get_template("report.html.j2").render(_context(source, summary))
    with replacing(summary.report) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return summary.report


def _context(source: Source, summary: Summary) -> dict[str, Any]:
    classes, sizes = detector.recall_by_class(source), detector.recall_by_size(source)
    bands, differences = detector.calibration(source), sections.differences(source)
    promised = next((answer["target"] for answer in summary.promises if answer["metric"] == "recall"), None)
    coverage, curves = sections.coverage(source), tolerance(source)
    stays = promised or 0.9  # what the stress itself asks for where nothing is promised
    before = earlier(source)
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    named = {row["attribute"] for row in coverage.overall}
    slices = sections.slices(source)
    shown = gallery.build(source, summary, slices)
    return {
        "s": summary,
        "info": source.info,
        "style": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
        "logo": embed_logo(source.logo) if source.logo else None,
        "model_name": sections.model_name(source),
        "finished": str(source.info.get("finished_at") or "")[:16].replace("T", " "),
        "shares_chart": _both_widths(
            charts.shares, summary.actions, summary.reference, summary.nouns["misses"], summary.nouns["compared"]
        ),
        "recall_chart": _both_widths(charts.recall, classes, promised),
        "size_chart": _both_widths(charts.recall, sizes, promised),
        "reliability_chart": _both_widths(charts.reliability, bands),
        "before": before if isinstance(before, Earlier) else None,
        "before_gone": before if isinstance(before, str) else None,
        "kept": kept,
        "curves": curves,
        "stays": stays,
        "tolerance_chart": _both_widths(charts.tolerance, curves, stays),
        "distribution_chart": _both_widths(charts.distributions, differences, summary.reference or "training set"),
        "promised": promised,
        "promise_parts": sections.promise_parts(source),
        "plan": source.info.get("plan") or [],
        "sizes": sizes,
        "bands": bands,
        "miscalibration": detector.miscalibration(bands),
        "overconfident": detector.spans(bands, "too much"),
        "underconfident": detector.spans(bands, "too little"),
        "differences": differences,
        "drawn_differences": charts.MAX_DIFFERENCES,
        "to_collect": sections.to_collect(source),
        "drawn_classes": charts.MAX_CLASSES,
        "classes": classes,
        "covered": coverage,
        "slices": slices,
        "uncovered": sections.uncovered(source),
        "gallery": shown,
        "gallery_index": gallery.index(shown),
        "strengths": cards.STRENGTHS,
        "image_sources": "data: 'self'" if shown.beside else "data:",
        "issues": sections.issues(source),
        "relabel": labels_to_look_at(source),
        "provenance": sections.provenance(source),
        "config_text": yaml.safe_dump(source.config, sort_keys=False, allow_unicode=True),
        "split_names": sections.split_names(source),
        "definitions": {
            name: attribute.definition for name, attribute in CATALOG.items() if name in named or not coverage.overall
        },
    }


def _both_widths(draw: Any, *arguments: Any) -> dict[str, Markup] | None:
    """Draw a chart for wide and narrow screens; the page shows the one that fits."""
    wide, narrow = draw(*arguments, charts.WIDE), draw(*arguments, charts.NARROW)
    # The renderer escapes every text of the chart; tests hold it to that.
    return {"wide": Markup(wide), "narrow": Markup(narrow)} if wide and narrow else None

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import HOSTILE_LABEL

from xai import report
from xai.report import charts
from xai.report import format as fmt
from xai.report.sections import ClassRecall

SVG = "{http://www.w3.org/2000/svg}"


def _texts(svg: str) -> list[str]:
    return [text for text in ET.fromstring(svg).itertext() if text.strip()]


@pytest.mark.parametrize("width", [charts.WIDE, charts.NARROW])
def test_shares_carry_their_figures_and_fit(run_dir: Path, width: int) -> None:
    summary = report.summarize(run_dir)
    svg = charts.shares(summary.causes, summary.reference, "misses", "evaluation set", width)
    assert svg is not None
    texts = " ".join(_texts(svg))
    for line in summary.causes:
        assert line.miss_share is not None
        for share in (line.miss_share, line.eval_share, line.train_share):
            assert fmt.share(share) in texts
    assert float(ET.fromstring(svg).attrib["width"]) <= width + 8
    assert "currentColor" in svg


def test_nothing_to_draw() -> None:
    assert charts.shares([], "training set", "misses", "evaluation set", charts.WIDE) is None
    assert charts.recall([], 0.9, charts.WIDE) is None


def test_names_are_escaped() -> None:
    lines = [ClassRecall(HOSTILE_LABEL, 3, 4, 2, 0.75, 0.3, 0.95)]
    svg = charts.recall(lines, None, charts.WIDE)
    assert svg is not None
    tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "path", "text", "tspan", "line", "rect", "defs"}
    assert "script" in " ".join(_texts(svg))
    assert not any(name.startswith("on") for element in ET.fromstring(svg).iter() for name in element.attrib)

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import HOSTILE_LABEL

from xai import report
from xai.report import charts
from xai.report import format as fmt
from xai.report.detector import Band, Recall
from xai.report.sections import differences
from xai.report.source import open_run

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
    lines = [Recall(HOSTILE_LABEL, 3, 4, 2, 0.75, 0.3, 0.95)]
    svg = charts.recall(lines, None, charts.WIDE)
    assert svg is not None
    tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "path", "text", "tspan", "line", "rect", "defs"}
    assert "script" in " ".join(_texts(svg))
    assert not any(name.startswith("on") for element in ET.fromstring(svg).iter() for name in element.attrib)


def test_each_cause_links_to_its_misses(run_dir: Path) -> None:
    summary = report.summarize(run_dir)
    svg = charts.shares(summary.actions, summary.reference, "misses", "evaluation set", charts.WIDE)
    assert svg is not None
    links = [element.attrib for element in ET.fromstring(svg).iter(f"{SVG}a")]
    assert {link["href"] for link in links} == {f"#gallery?cause={line.cause}" for line in summary.causes}
    assert all(link["tabindex"] == "-1" for link in links), "the keyboard finds them in the table"
    assert "http" not in svg.replace("http://www.w3.org/", "")


@pytest.mark.parametrize("width", [charts.WIDE, charts.NARROW])
def test_reliability_and_distributions_fit(run_dir: Path, width: int) -> None:
    bands = [Band(0.3, 0.4, 0.35, 3, 9, 8, 1 / 3, 0.1, 0.6), Band(0.4, 0.5, 0.45, 4, 9, 8, 4 / 9, 0.2, 0.8)]
    drawn = [charts.reliability(bands, width), charts.distributions(differences(open_run(run_dir)), "x", width)]
    for svg in drawn:
        assert svg is not None
        assert float(ET.fromstring(svg).attrib["width"]) <= width + 8
        assert "NaN" not in svg
    assert charts.reliability([], width) is None
    assert charts.distributions([], "x", width) is None

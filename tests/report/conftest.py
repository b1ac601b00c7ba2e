from __future__ import annotations

from pathlib import Path

import pytest
from make_run import make_run

from xai import report

HOSTILE_LABEL = "</script><script>alert(1)</script>"
HOSTILE_NAME = "\"><img src=x onerror='alert(1)'>{:04d}.jpg"


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plausible run of 40 photos."""
    return make_run(tmp_path_factory.mktemp("run"), photos=40, gallery=12)


@pytest.fixture(scope="session")
def page(run_dir: Path) -> str:
    """Its report."""
    return report.render(run_dir).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every miss has a picture."""
    return make_run(tmp_path_factory.mktemp("full"), photos=40, gallery=None)


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run whose class and file names carry script."""
    labels = (HOSTILE_LABEL, "ünï\u202eçödé 車", "a & b <c> \"d\" 'e' {{ 7 * 7 }}")
    run = make_run(tmp_path_factory.mktemp("hostile"), photos=30, labels=labels, image_name=HOSTILE_NAME, gallery=6)
    return report.render(run).read_text(encoding="utf-8")

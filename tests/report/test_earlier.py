from __future__ import annotations

import json
from pathlib import Path

from make_run import make_run

from xai import report
from xai.report.earlier import Earlier, earlier
from xai.report.source import open_run


def _funnel(found: int, read: int) -> dict[str, object]:
    return {
        "eval": [
            {"step": "found", "count": found, "unit": "photos", "lost": {}},
            {"step": "read", "count": read, "unit": "photos", "lost": {"truncated": found - read}},
        ]
    }


def _told(run: Path, **changes: object) -> None:
    file = run / "run.json"
    info = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**info, **changes}), encoding="utf-8")


def _after(run: Path, before: Path) -> None:
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    config = info.get("config") or {}
    shown = {**(config.get("report") or {}), "earlier": str(before)}
    _told(run, funnel=_funnel(200, 150), config={**config, "report": shown})


def test_the_funnel_stands_beside_the_earlier_one(tmp_path: Path) -> None:
    before, run = make_run(tmp_path / "before", photos=12), make_run(tmp_path / "after", photos=12)
    _told(before, funnel=_funnel(100, 98), finished_at="2026-10-01T12:00:30+00:00")
    _after(run, before)
    found = earlier(open_run(run))
    assert isinstance(found, Earlier)
    step = {"step": "read", "unit": "photos"}
    assert found.left("eval", step) == 98
    assert found.kept("eval", step) == 0.98
    assert found.left("train", step) is None
    page = report.render(run).read_text(encoding="utf-8")
    assert "the run of 2026-10-01 12:00" in page
    assert "75.0%" in page
    assert "98.0%" in page


def test_an_earlier_run_that_is_gone_is_said(tmp_path: Path) -> None:
    run = make_run(tmp_path / "after", photos=12)
    _after(run, tmp_path / "nowhere")
    page = report.render(run).read_text(encoding="utf-8")
    assert "could not be read: expected a finished run" in page
    assert ">Earlier<" not in page


def test_without_one_nothing_is_said(run_dir: Path) -> None:
    assert earlier(open_run(run_dir)) is None
    assert ">Earlier<" not in report.render(run_dir).read_text(encoding="utf-8")

"""The commands that look at finished runs, at the terminal: prose, JSON lines, exit codes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_comparing import write_run
from test_histories import dated
from typer.testing import CliRunner

from xai import cli, config, run_json
from xai.exceptions import RequestError


def xai(*arguments: object) -> str:
    done = CliRunner().invoke(cli.app, [str(part) for part in arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    dark = np.arange(60) % 4 == 0
    a = rng.random(240) < np.where(np.repeat(dark, 4), 0.6, 0.1)
    b = a & (rng.random(240) < 0.4)
    return dated(tmp_path / "a", 1, a, dark=dark), dated(tmp_path / "b", 2, b, dark=dark)


def test_compare(runs: tuple[Path, Path]) -> None:
    said = xai("compare", *runs)
    assert said.startswith("B is better: it misses ")
    assert "comparison.md" in said
    events = [json.loads(line) for line in xai("compare", *runs, "--json").splitlines()]
    assert {event["event"] for event in events[:-1]} == {"cell"}
    assert events[-1]["event"] == "done"
    assert events[-1]["broken"] == 0
    assert Path(events[-1]["changes"]).is_file()


def test_history(runs: tuple[Path, Path], tmp_path: Path) -> None:
    said = xai("history", *reversed(runs), "--out", tmp_path / "out")
    assert said.index("2026-03-01") < said.index("2026-03-02")
    assert "Miss rate: " in said
    assert "history.png" in said
    events = [json.loads(line) for line in xai("history", *runs, "--json").splitlines()]
    assert [event["event"] for event in events] == ["run", "run", "move", "done"]


def test_collect(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run = runs[0]
    info = run_json.read(run)
    results = tmp_path / "results.json"
    results.write_text("[]")
    settings = {
        "data": {"eval": {"path": "eval", "format": "voc"}},
        "detector": {"kind": "predictions", "annotations": str(results), "weights": str(results)},
    }
    info |= {"config": config.from_dict(settings, where="test").model_dump(mode="json"), "seed": 0}
    info["data"]["train"] = {"path": "train"}
    run_json.write(info, run)
    pool = tmp_path / "pool"
    pool.mkdir()
    cv2.imwrite(str(pool / "grey.png"), np.full((60, 80, 3), 120, dtype=np.uint8))
    said = xai("collect", run, pool, "--quiet")
    assert "cannot be asked about other photos" in said
    assert "no gap to fill" in said
    events = [json.loads(line) for line in xai("collect", run, pool, "--json").splitlines()]
    assert events[-1]["event"] == "done"
    assert events[-1]["searched"] == 1


def test_refusals_are_for_people(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", np.zeros(8, dtype=bool))
    with pytest.raises(RequestError, match="two or more different runs"):
        CliRunner().invoke(cli.app, ["history", str(run)], catch_exceptions=False)

"""The job file for CI: its commands are run as they stand, and end as it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendered import write_config, write_world

FILE = Path(__file__).resolve().parents[1] / "configs" / "ci" / "triage-check.yml"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world")).parent


def job() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["jobs"]["promise"]
    return made


def step(name: str, folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does: ``bash -e`` in the checkout."""
    command = next(item["run"] for item in job()["steps"] if item.get("name") == name)
    environment = {
        **os.environ,
        **job()["env"],
        "CONFIG": str(config),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-e", "-c", command], cwd=folder, env=environment, text=True, capture_output=True, timeout=300
    )


def test_a_broken_promise_fails_the_job_and_is_told(world: Path, tmp_path: Path) -> None:
    config = write_config(world / "broken.yaml", promise={"recall": 0.999}, explain={"budget": 0})
    done = step("Triage", tmp_path, config)
    assert done.returncode == 4, done.stderr
    last = json.loads((tmp_path / "triage.jsonl").read_text().splitlines()[-1])
    assert [answer["answer"] for answer in last["promise"]] == ["broken"]
    told = step("Tell the pull request", tmp_path, config)
    assert told.returncode == 0, told.stderr
    assert last["promise"][0]["sentence"] in (tmp_path / "summary.md").read_text()
    kept = next(item for item in job()["steps"] if item.get("name") == "Keep the report")["with"]["path"].split()
    assert all((tmp_path / name).is_file() for name in kept)


def test_a_config_that_is_wrong_fails_the_job(world: Path, tmp_path: Path) -> None:
    config = write_config(world / "wrong.yaml", promise={"recall": 95})
    done = step("Triage", tmp_path, config)
    assert done.returncode == 2
    assert "did you mean 0.95?" in done.stderr
    assert step("Tell the pull request", tmp_path, config).returncode == 0
    assert not (tmp_path / "summary.md").exists()


def test_the_exit_codes_that_it_states() -> None:
    from xai.cli.runs import PROMISE_BROKEN
    from xai.exceptions import DataError, RequestError

    stated = dict(re.findall(r"^#   (\d)  (.*)$", FILE.read_text(), flags=re.MULTILINE))
    assert set(stated) == {"0", str(RequestError.exit_code), str(DataError.exit_code), str(PROMISE_BROKEN)}
    assert "broken" in stated[str(PROMISE_BROKEN)]

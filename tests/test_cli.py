"""The command line: exit codes, messages of one or two lines, JSON lines."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from rendered import write_world
from rich.text import Text

from xai.cli import voice


def xai(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xai", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=300)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world")).parent


def test_triage_as_json_with_a_broken_promise(world: Path) -> None:
    done = xai(
        "triage", world / "world.yaml", "--out", world / "run", "--json", "--enforce-promise",
        "--set", "promise.recall=0.999", "--set", "explain.budget=0",
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "done"
    assert events[-1]["report"].endswith("report.html")
    assert {event["event"] for event in events[:-1]} == {"stage"}
    again = xai("report", world / "run", "--quiet")
    assert again.returncode == 0, again.stderr
    assert "report.html" in again.stdout


def test_a_typo_in_the_config_is_one_line_and_exit_2(world: Path) -> None:
    text = (world / "world.yaml").read_text().replace("score_threshold", "score_treshold")
    (world / "typo.yaml").write_text(text)
    done = xai("triage", world / "typo.yaml")
    assert done.returncode == 2
    assert "did you mean 'score_threshold'" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert "Traceback" not in done.stderr


def test_unusable_data_is_exit_3(world: Path, tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "JPEGImages").mkdir()
    done = xai("triage", world / "world.yaml", "--set", f"data.eval.path={tmp_path}", "--out", tmp_path / "run")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_of_commands_is_in_whole_sentences() -> None:
    listed = xai("--help").stdout.partition("Commands:")[2]
    assert "Check photos and labels alone: what is broken, what looks wrong, which classes changed." in " ".join(
        listed.split()
    )
    assert "..." not in listed


def test_tagging_nothing_is_exit_3_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = xai("tag", tmp_path / "empty", "--out", tmp_path / "tags.csv", "--quiet")
    assert done.returncode == 3
    assert "found none" in done.stderr
    assert not (tmp_path / "tags.csv").exists()


def test_tag_writes_null_for_what_it_cannot_read(world: Path, tmp_path: Path) -> None:
    (world / "eval" / "JPEGImages" / "kaputt ü.jpg").write_bytes(b"\xff\xd8\xff")
    try:
        done = xai("tag", world / "eval" / "JPEGImages", "--out", tmp_path / "tags.parquet")
    finally:
        (world / "eval" / "JPEGImages" / "kaputt ü.jpg").unlink()
    assert done.returncode == 0, done.stderr
    assert "13 photos tagged (1 of them unreadable)" in done.stdout
    frame = pl.read_parquet(tmp_path / "tags.parquet")
    assert frame.filter(pl.col("status") != "ok").select("brightness", "glare").row(0) == (None, None)


def test_texts_from_data_steer_no_terminal() -> None:
    text = "marked “weather: \x1b[2J[red]rain”\nsecond line"
    assert Text.from_markup(voice.shown(text)).plain == "marked “weather: \\x1b[2J[red]rain”\nsecond line"


def test_tag_lists_the_catalog() -> None:
    done = xai("tag", "--list", "--json")
    names = [json.loads(line)["name"] for line in done.stdout.splitlines()]
    assert {"glare", "roll", "rotation", "object_size", "crowding"} <= set(names)
    shown = xai("tag", "--list").stdout
    assert all(name in shown for name in names)
    assert max(map(len, shown.splitlines())) <= 100
    assert xai("tag", "--list", "--format", "md").stdout.startswith("# Attributes\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tag", ".", "--out", "tags.xlsx"], "FILE.parquet or FILE.csv"),
        (["tag", ".", "--out", "tags.csv", "--device", "gpu"], "expected auto, cpu, cuda or cuda:INDEX, got 'gpu'"),
        (["tag", "nowhere", "--out", "tags.csv"], "found nothing at nowhere"),
        (["tag", "--list", "--format", "html"], "expected --format text or md, got 'html'"),
        (["tag", ".", "--out", "file/tags.csv"], "expected a folder to write to at file"),
        (["demo", "--out", "file"], "expected a folder to write to at file"),
        (["report", "nowhere"], "expected a finished run"),
        (["triage", "nowhere.yaml"], "expected a YAML config at"),
        (["profile", "nowhere", "--out", "profile"], "nowhere"),
    ],
)
def test_wrong_requests_are_exit_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "file").touch()
    done = xai(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_a_run_that_is_told_to_end_closes_what_is_under_way(tmp_path: Path) -> None:
    """SIGTERM, as from a batch system, leaves no mark of a killed process: no photo is to blame."""
    code = (
        "import os, pathlib, signal, sys\n"
        "from xai import cli, recipes\n"
        "def told_to_end():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        signal.pause()\n"
        "    finally:\n"
        "        pathlib.Path('closed').touch()\n"
        "recipes.names = told_to_end\n"
        "cli.main()\n"
    )
    command = [sys.executable, "-c", code, "recipe"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
    assert (done.returncode, (tmp_path / "closed").exists()) == (143, True), done.stderr

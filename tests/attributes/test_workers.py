"""Tagging in processes: the same rows as in threads, photos that end a process, and processes that end themselves."""

import os
import signal
import sys
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest

from attributes import extract, tag, workers
from attributes.workers import CRASHES, READY, Worker, WorkerError

NAMES = ["brightness", "sharpness", "glare"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of a folder whose name is no ASCII, and a file that is none."""
    root = tmp_path / "фото é"
    root.mkdir()
    generator = np.random.default_rng(0)
    for index in range(20):
        coarse = generator.integers(0, 256, (6, 8, 3)).astype(np.float32)
        photo = cv2.resize(coarse, (90 + index % 2, 60), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
        (root / f"{index:02d} ü.jpg").write_bytes(cv2.imencode(".jpg", photo)[1].tobytes())
    (root / "07 ü.jpg").write_bytes(b"no photo")
    return root


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_EACH", 1)
    monkeypatch.setattr(extract, "BATCH_SIZE", 6)


@pytest.mark.usefixtures("apart")
def test_rows_are_those_of_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    started: list[int] = []
    original = Worker._started

    def counted(worker: Worker) -> object:
        started.append(id(worker))
        return original(worker)

    monkeypatch.setattr(Worker, "_started", counted)
    in_processes = tag(folder, workers=2, progress=lambda *at: told.append(at))
    assert len(set(started)) == 2
    assert told[-1] == (20, 20)
    assert tag(folder, workers=1).equals(in_processes)
    assert len(started) == 4, "one worker needs no process"
    assert in_processes["status"].value_counts(sort=True).rows() == [("ok", 19), ("photo_unreadable", 1)]


def test_few_photos_start_no_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "_started", lambda _: pytest.fail("a process was started"))
    assert tag(folder, workers=2, names=NAMES).height == 20


def test_a_process_that_is_killed_is_replaced(folder: Path) -> None:
    worker = Worker()
    try:
        assert len(worker.ask((str(folder), NAMES, ["00 ü.jpg", "07 ü.jpg"]))) == 2
        assert worker._process is not None
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match="expected an answer, the process ended"):
            worker.ask((str(folder), NAMES, ["00 ü.jpg"]))
        assert worker.ask((str(folder), NAMES, ["00 ü.jpg"]))[0]["status"] == "ok"
    finally:
        worker.close()
    assert worker.close() is None


def test_only_the_photo_that_ends_processes_is_set_aside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The process is made to end at one photo, as a decoder with a fault would.
    poisoned = (
        "import json, os, sys; print('a start that talks', flush=True); sys.path[:] = json.loads(sys.argv[1]); "
        "from attributes import extract, serve; read = extract.read; "
        "extract.read = lambda path: os.abort() if '03' in path.name else read(path); serve.serve()"
    )
    monkeypatch.setattr(workers, "_START", poisoned)
    names = sorted(path.name for path in folder.iterdir())[:5]
    with workers.workers(1) as tag_some:
        rows = tag_some(str(folder), NAMES, names)
        after = tag_some(str(folder), NAMES, names[:1])
    assert [row["image_id"] for row in rows] == names
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", CRASHES, "ok"]
    assert after[0]["brightness"] == rows[0]["brightness"]


def test_a_process_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_START", "raise SystemExit(7)")
    with pytest.raises(RuntimeError, match=rf"expected a process that tags photos, {sys.executable} ended with 7"):
        Worker().ask(("", NAMES, []))
    monkeypatch.setattr(workers, "_START", "import time; time.sleep(60)")
    monkeypatch.setattr(workers, "STARTING", 0.1)
    with pytest.raises(RuntimeError, match=f"ended with {-signal.SIGKILL}"):
        Worker().ask(("", NAMES, []))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(RuntimeError, match="expected to start /nowhere/python"):
        Worker().ask(("", NAMES, []))


def test_when_every_photo_ends_its_process_none_is_blamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST_CRASHES", 2)
    monkeypatch.setattr(
        workers, "_START", f"import sys; sys.stdout.buffer.write({READY!r}); sys.stdout.flush(); sys.stdin.readline()"
    )
    with (
        workers.workers(1) as tag_some,
        pytest.raises(RuntimeError, match=r"each of 2 in a row ended its process, the last b\.jpg"),
    ):
        tag_some(str(folder), NAMES, ["a.jpg", "b.jpg", "c.jpg"])


def test_what_a_task_raises_is_raised_as_without_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, folder])  # no path that Python takes, and none that JSON does
    worker = Worker()
    try:
        with pytest.raises(ValueError, match=r"^expected names of image attributes, got 'glitter'"):
            worker.ask((str(folder), ["glitter"], ["00 ü.jpg"]))
        assert worker.ask((str(folder), NAMES, ["00 ü.jpg"]))[0]["status"] == "ok"
    finally:
        worker.close()


@pytest.mark.usefixtures("apart")
def test_photos_of_a_store_need_no_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "_started", lambda _: pytest.fail("a process was started"))
    store = fsspec.filesystem("memory")
    store.put(f"{folder}/", "/tagged/", recursive=True)
    assert tag(Path("memory:/tagged"), workers=2, names=NAMES)["status"].to_list().count("ok") == 19

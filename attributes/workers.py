"""Processes that tag photos side by side: threads of one process take turns at all that is Python.

They are plain interpreters that answer on a pipe. `multiprocessing` would run the caller's script again in each, which
fails in scripts that do not expect it, or copy a process whose threads hold locks.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Timer
from typing import Any

Row = dict[str, object]
Task = tuple[str, list[str], list[str]]
"""Folder, names of attributes, paths of photos in the folder."""

READY = b"\0photos can be tagged\n"
"""How a process's answers begin, after whatever its start may have printed."""

CRASHES = "photo_crashes"
"""Status of a photo that ended two processes."""

STARTING, ENDING = 60.0, 5.0
"""Seconds that a process may take to start, and to end once it is told to."""

MOST_CRASHES = 8
"""Photos in a row that end their process from which on photos are hardly the reason."""

# An interrupt from the keyboard reaches all processes of a terminal; the caller alone decides what ends.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import json, sys; "
    "sys.path[:] = json.loads(sys.argv[1]); from attributes.serve import serve; serve()"
)


class WorkerError(Exception):
    """A process ended instead of answering."""


class Worker:
    """A process that answers one task after another; it is started with the first, and again where it has ended."""

    def __init__(self, start: str | None = None, within: float = STARTING) -> None:
        """Start nothing yet.

        Args:
            start: Python code that calls ``attributes.serve.serve``; tags photos if left out.
            within: seconds that starting may take.
        """
        self._start = start
        self._within = within
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, task: object) -> Any:
        """Return the answer to a task, of one that tags (``Task``) the rows of its photos.

        Raises:
            WorkerError: the process ended, and will be started again by the next task.
            RuntimeError: it cannot be started.
            Exception: whatever the task raised.
        """
        process = self._started()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(pickle.dumps(task))
            process.stdin.flush()
            answer = pickle.load(process.stdout)  # written by ``attributes.serve`` alone
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            how = self.close()
            raise WorkerError(f"expected an answer, the process ended ({how})") from error
        except BaseException:
            self.close()  # the next task must not be given what is still to be read
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> int | None:
        """End the process.

        Returns:
            How it ended, negative for a signal; None where there was none.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin
        assert process.stdout
        with contextlib.suppress(OSError):  # it may have ended
            # Told in words: a process that was forked from this one meanwhile may hold the pipe open.
            process.stdin.write(pickle.dumps(None))
            process.stdin.flush()
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        try:
            return process.wait(ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            path = [entry for entry in sys.path if isinstance(entry, str)]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", self._start or _START, json.dumps(path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            except OSError as error:
                raise RuntimeError(f"expected to start {sys.executable}, {error}; workers=1 needs none") from error
            if not _is_ready(self._process, self._within):
                code = self.close()
                raise RuntimeError(
                    f"expected a process that tags photos, {sys.executable} ended with {code}; workers=1 needs none"
                )
        return self._process


def possible() -> bool:
    """Whether this interpreter can be started again: not where it is a part of another program."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


@contextmanager
def workers(count: int) -> Iterator[Callable[[str, Sequence[str], Sequence[str]], list[Row]]]:
    """Give a function that tags photos in one of ``count`` processes; as many threads may call it at once.

    A photo that ends a process is tried alone once more, and where that ends it too has a row that says so.

    Raises:
        RuntimeError: from the function given: ``MOST_CRASHES`` photos in a row ended their process.
    """
    idle: SimpleQueue[Worker] = SimpleQueue()
    everyone = [Worker() for _ in range(count)]
    for worker in everyone:
        idle.put(worker)
    crashes: list[str] = []  # in a row

    def alone(worker: Worker, root: str, names: Sequence[str], image_id: str) -> list[Row]:
        try:
            rows: list[Row] = worker.ask((root, [*names], [image_id]))
        except WorkerError as error:
            crashes.append(image_id)
            if len(crashes) >= MOST_CRASHES:
                raise RuntimeError(
                    f"expected photos that can be read, each of {len(crashes)} in a row ended its process, the last "
                    f"{image_id}: {error}. A library or too little memory is the reason rather than the photos"
                ) from error
            return [{"image_id": image_id, "status": CRASHES}]
        crashes.clear()
        return rows

    def tag(root: str, names: Sequence[str], image_ids: Sequence[str]) -> list[Row]:
        worker = idle.get()
        try:
            rows: list[Row] = worker.ask((root, [*names], [*image_ids]))
        except WorkerError:
            return [row for image_id in image_ids for row in alone(worker, root, names, image_id)]
        finally:
            idle.put(worker)
        crashes.clear()
        return rows

    try:
        yield tag
    finally:
        for worker in everyone:
            worker.close()


def _is_ready(process: subprocess.Popen[Any], within: float) -> bool:
    """Read what a process prints until it can be asked; it is ended if that takes longer than so many seconds."""
    limit = Timer(within, process.kill)
    limit.start()
    try:
        return any(line.endswith(READY) for line in iter(process.stdout.readline, b""))  # type: ignore[union-attr]
    finally:
        limit.cancel()

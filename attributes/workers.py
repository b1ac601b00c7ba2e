"""Processes that tag photos side by side: threads of one process take turns at all that is Python.

They are plain interpreters that answer on a pipe. `multiprocessing` would run the caller's script again in each, which
fails in scripts that do not expect it, or copy a process whose threads hold locks.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

Row = dict[str, object]
Task = tuple[str, list[str], list[str]]
"""Folder, names of attributes, paths of photos in the folder."""

READY = "ready"
"""What a process answers first."""

CRASHES = "photo_crashes"
"""Status of a photo that ended two processes."""

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from attributes.serve import serve; serve()"


class WorkerError(Exception):
    """A process ended instead of answering."""


class Worker:
    """A process that answers one task after another; it is started with the first, and again where it has ended."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, task: Task) -> list[Row]:
        """Return the rows of the task's photos.

        Raises:
            WorkerError: the process ended, and will be started again by the next task.
            RuntimeError: it cannot be started, or the task raised what the message tells.
        """
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(pickle.dumps(task))
            process.stdin.flush()
            answer: list[Row] | str = _next(process)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise WorkerError(f"expected rows of {len(task[2])} photos, the process ended ({self.close()})") from error
        if isinstance(answer, str):
            raise RuntimeError(f"expected rows of {len(task[2])} photos, a process that tags raised\n{answer}")
        return answer

    def close(self) -> int | None:
        """End the process.

        Returns:
            How it ended, negative for a signal; None where there was none.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except BrokenPipeError:  # what was still to be written has no reader any more
                continue
        return process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-c", _START, json.dumps(sys.path)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            try:
                ready = _next(self._process)
            except (EOFError, pickle.UnpicklingError):
                ready = None
            if ready != READY:
                code = self.close()
                raise RuntimeError(
                    f"expected a process that tags photos, {sys.executable} ended with {code}; workers=1 needs none"
                )
        return self._process


@contextmanager
def workers(count: int) -> Iterator[Callable[[str, Sequence[str], Sequence[str]], list[Row]]]:
    """Give a function that tags photos in one of ``count`` processes; as many threads may call it at once.

    A photo that ends a process is tried alone once more, and where that ends it too has a row that says so.
    """
    idle: SimpleQueue[Worker] = SimpleQueue()
    everyone = [Worker() for _ in range(count)]
    for worker in everyone:
        idle.put(worker)

    def tag(root: str, names: Sequence[str], image_ids: Sequence[str]) -> list[Row]:
        worker = idle.get()
        try:
            return worker.ask((root, [*names], [*image_ids]))
        except WorkerError:
            return [row for image_id in image_ids for row in _alone(worker, root, names, image_id)]
        finally:
            idle.put(worker)

    try:
        yield tag
    finally:
        for worker in everyone:
            worker.close()


def _alone(worker: Worker, root: str, names: Sequence[str], image_id: str) -> list[Row]:
    try:
        return worker.ask((root, [*names], [image_id]))
    except WorkerError:
        return [{"image_id": image_id, "status": CRASHES}]


def _next(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    return pickle.load(process.stdout)  # written by ``attributes.serve`` alone

"""What a process of ``attributes.workers`` does."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any

import cv2

from attributes.extract import tag_batch
from attributes.workers import READY, Row


def serve(work: Callable[[Any], Any] | None = None) -> None:
    """Answer tasks from standard input until None comes or it ends.

    Args:
        work: task → answer; tags photos if left out.
    """
    cv2.setNumThreads(1)
    try:
        os.fstat(2)
    except OSError:  # closed, as of a daemon: the next file opened would take its place and be written to as errors
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints must not end among the answers
        try:
            answers.write(READY)
            answers.flush()
            while (task := pickle.load(sys.stdin.buffer)) is not None:
                answers.write(_answer(work or _tag, task))
                answers.flush()
        except (EOFError, BrokenPipeError):
            return  # the caller has gone


def _tag(task: tuple[str, list[str], list[str]]) -> list[Row]:
    return tag_batch(*task)


def _answer(work: Callable[[Any], Any], task: Any) -> bytes:
    """What the work returns, or what it raised, for the caller to raise it."""
    try:
        return pickle.dumps(work(task))
    except Exception as error:
        try:
            return pickle.dumps(pickle.loads(pickle.dumps(error)))
        except Exception:  # an exception that cannot be sent
            return pickle.dumps(RuntimeError(f"a process that works on photos raised\n{traceback.format_exc()}"))

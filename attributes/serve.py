"""What a process of ``attributes.workers`` does."""

from __future__ import annotations

import os
import pickle
import sys
import traceback

import cv2

from attributes.extract import tag_batch
from attributes.workers import READY, Row


def serve() -> None:
    """Answer tasks from standard input until None comes or it ends."""
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
                answers.write(_answer(task))
                answers.flush()
        except (EOFError, BrokenPipeError):
            return  # the caller has gone


def _answer(task: tuple[str, list[str], list[str]]) -> bytes:
    """Rows, or what was raised, for the caller to raise it."""
    try:
        rows: list[Row] = tag_batch(*task)
        return pickle.dumps(rows)
    except Exception as error:
        try:
            return pickle.dumps(pickle.loads(pickle.dumps(error)))
        except Exception:  # an exception that cannot be sent
            return pickle.dumps(RuntimeError(f"a process that tags raised\n{traceback.format_exc()}"))

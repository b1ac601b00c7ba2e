"""What a process of ``attributes.workers`` does."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from typing import BinaryIO

import cv2

from attributes.extract import tag_batch
from attributes.workers import READY, Row


def serve() -> None:
    """Answer tasks from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller closes the pipe once it has stopped
    cv2.setNumThreads(1)
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints must not end among the answers
        _answer(READY, answers)
        while True:
            try:
                task = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            try:
                told: list[Row] | str = tag_batch(*task)
            except Exception:  # a fault of the code, not of a photo: the caller raises it
                told = traceback.format_exc()
            _answer(told, answers)


def _answer(value: object, answers: BinaryIO) -> None:
    answers.write(pickle.dumps(value))
    answers.flush()

"""Commands in children that are watched, hindered and killed; and what is compared of what they leave.

Children come from a process that has the imports and has not used them: threads do not survive a fork.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import polars as pl
import torch

import attributes.decode
import xai.report
from attributes import extract
from xai import cli, experiments, pipeline, scan, tables
from xai.evidence import spend, tilted

SHARD = 4
"""Photos a shard here, so that a small world has several; and those that a killed ``xai tag`` may tag again."""

START = "start"
"""What comes before the first stage: the command is understood, modules are imported."""

CHILDREN = get_context("forkserver")
CHILDREN.set_forkserver_preload(["xai.pipeline", "xai.detect.torchvision", "xai.cli", "albumentations"])

TABLES = [*tables.TABLES, *tables.BESIDE]
PICTURES = ("gallery", "maps", "repairs", "alike")

Hindrance = Callable[[], None]
"""What is done in a child before its command; picklable."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code, negative for a signal.
        told: what it wrote to standard error.
        stages: when each stage began, in seconds after the command's begin.
        decoded: photos that it decoded.
        seconds: from the command's begin to its end.
    """

    code: int
    told: str
    stages: tuple[tuple[float, str], ...]
    decoded: int
    seconds: float

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def stage(self) -> str:
        return self.stages[-1][1] if self.stages else START

    def spans(self) -> dict[str, float]:
        """Stages in order, each with the seconds from its first word to the first word of the next."""
        firsts = {START: 0.0}
        for at, name in self.stages:
            firsts.setdefault(name, at)
        ends = [*list(firsts.values())[1:], self.seconds]
        return {name: end - at for (name, at), end in zip(firsts.items(), ends, strict=True)}

    def says(self, *words: str) -> bool:
        """Whether all words were said, in at most three lines and without a traceback."""
        lines = [line for line in self.told.splitlines() if line.strip()]
        return all(word in self.told for word in words) and "Traceback" not in self.told and len(lines) <= 3


class Child:
    """A command of the toolkit in a process of its own."""

    def __init__(self, command: Sequence[str | Path], log: Path, hindrance: Hindrance | None = None) -> None:
        self.log = log
        log.write_text("")
        arguments = ([str(part) for part in command], log, hindrance)
        self.process: BaseProcess = CHILDREN.Process(target=_run, args=arguments)
        self.process.start()

    def entries(self) -> list[tuple[float, str]]:
        """Lines of the log that are whole: seconds after the begin, what."""
        lines = self.log.read_text().split("\n")[:-1]
        return [(float(at), what) for at, _, what in (line.partition(" ") for line in lines)]

    def reached(self, stage: str) -> bool:
        """Wait for a stage; False where the command ends without it."""
        if stage == START:
            return True
        while not any(what == f"stage {stage}" for _, what in self.entries()):
            if not self.process.is_alive():
                return False
            time.sleep(0.002)
        return True

    def end(self, after: float | None = None) -> Ended:
        """Wait for its end, or kill it after so many seconds."""
        self.process.join(after)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        entries = self.entries()
        stages = tuple((at, what.removeprefix("stage ")) for at, what in entries if what.startswith("stage "))
        told = self.log.with_suffix(".err").read_text() if self.log.with_suffix(".err").exists() else ""
        code = self.process.exitcode
        self.process.close()
        return Ended(
            -99 if code is None else code,
            told,
            stages,
            sum(what == "decoded" for _, what in entries),
            entries[-1][0] if entries else 0.0,
        )


LIMIT = 600.0
"""Seconds after which a command hangs, and is killed."""


def run(command: Sequence[str | Path], log: Path, hindrance: Hindrance | None = None) -> Ended:
    """Run a command to its end."""
    return Child(command, log, hindrance).end(LIMIT)


def _run(command: list[str], log: Path, hindrance: Hindrance | None) -> None:
    # The folder of the tests has folders that are named like the packages, which further processes would import.
    sys.path[:] = [place for place in sys.path if Path(place).resolve().name != "tests"]
    torch.set_num_threads(1)
    scan.SHARD_SIZE = SHARD
    extract._ROWS_APART, extract.BATCH_SIZE = SHARD, 1
    begun = time.monotonic()
    told = os.open(log, os.O_WRONLY | os.O_APPEND)
    said = os.open(log.with_suffix(".err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def tell(what: str) -> None:
        os.write(told, f"{time.monotonic() - begun:.4f} {what}\n".encode())

    decode, render, clock = attributes.decode.decode, xai.report.render, pipeline._Clock.__call__

    def counted(data: bytes, *, name: str = "photo") -> attributes.decode.Photo:
        tell("decoded")
        return decode(data, name=name)

    def rendering(folder: Path) -> Path:
        tell("stage report")
        return render(folder)

    def clocked(self: pipeline._Clock, stage: str) -> object:
        tell(f"stage {stage}")
        return clock(self, stage)

    attributes.decode.decode = counted
    xai.report.render = rendering  # type: ignore[assignment]
    pipeline._Clock.__call__ = clocked  # type: ignore[method-assign, assignment]
    # Progress is told behind the work: what is done before the first word of a stage is of the stage as well.
    for module, name, stage in BEGINNINGS:
        setattr(module, name, partial(_begin, getattr(module, name), partial(tell, f"stage {stage}")))
    watch_progress(lambda stage, done, total: tell(f"stage {stage}"))
    if hindrance is not None:
        hindrance()
    sys.argv = ["xai", *command]
    try:
        cli.main()
    finally:
        tell("end")


BEGINNINGS = (
    (experiments, "which_way_up", "which way up"),
    (tilted, "how_level", "how level"),
    (spend, "run_experiments", "experiment"),
    (spend, "explain_maps", "heat maps"),
)
"""Where stages within one of the pipeline begin."""


def _begin(work: Callable[..., object], say: Callable[[], None], *given: object, **named: object) -> object:
    say()
    return work(*given, **named)


def watch_progress(watch: Callable[[str, int, int], None]) -> None:
    """Have a function told of all progress that a command makes."""
    from xai import types
    from xai.cli import voice

    silent = types.no_progress

    def progress(stage: str, done: int, total: int) -> None:
        silent(stage, done, total)
        watch(stage, done, total)

    voice.types.no_progress = types.no_progress = progress  # type: ignore[assignment]


def same(left: Path, right: Path, *, off: float = 0.0) -> bool:
    """Whether two runs have the same tables and pictures; figures may be off by so much, then pictures are left out."""
    for name in TABLES:
        one, other = tables.read(left, name), tables.read(right, name)
        if off:
            numbers = [column for column in one.columns if one[column].dtype.is_float()]
            near = one.shape == other.shape and all(
                ((one[column] - other[column]).abs().fill_nan(None).max() or 0) <= off
                and (one[column].is_null() == other[column].is_null()).all()
                for column in numbers
            )
            if not near or not one.drop(numbers).equals(other.drop(numbers)):
                return False
        elif not one.equals(other):
            return False
    return bool(off) or pictures(left) == pictures(right)


def pictures(run: Path) -> dict[str, bytes]:
    """The pictures and heat maps of a run."""
    files = (file for name in PICTURES for file in (run / name).glob("*.*"))
    return {file.relative_to(run).as_posix(): file.read_bytes() for file in files}


def leftovers(folder: Path) -> list[Path]:
    """Files that were being written, and marks of shards that were being made."""
    return [*folder.rglob(".*"), *folder.rglob("*.begun"), *folder.rglob("*.parts")]


def issues(run: Path, code: str) -> pl.DataFrame:
    """The issues of a code."""
    return tables.read(run, "issues").filter(pl.col("code") == code)

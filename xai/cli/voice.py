"""What all commands share: their options, and how they speak."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from xai import types
from xai.text import printable

Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:i; default: the config's, else auto")]
Workers = Annotated[int | None, typer.Option(min=1, help="threads that decode and tag; default: all cores")]
Seed = Annotated[int | None, typer.Option(help="seed of everything that is drawn at random")]
Quiet = Annotated[bool, typer.Option("--quiet", help="print the result only")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object a line instead of prose")]

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Voice:
    """How a command speaks: prose with bars, prose alone, or JSON lines."""

    quiet: bool
    json: bool

    @contextmanager
    def progress(self) -> Iterator[types.Progress]:
        """Yield a callback that draws bars, or prints an event whenever a stage is finished."""
        try:
            yield from self._progress()
        except KeyboardInterrupt:
            Console(stderr=True).print("stopped; the same command resumes where it was")
            raise typer.Exit(INTERRUPTED) from None

    def _progress(self) -> Iterator[types.Progress]:
        if self.json:
            yield _Events(self).tell
            return
        if self.quiet:
            yield types.no_progress
            return
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, Any] = {}

            def draw(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total)
                bars.update(tasks[stage], completed=done, total=total)

            yield draw

    def emit(self, event: Mapping[str, Any]) -> None:
        """Print one JSON line."""
        sys.stdout.write(json.dumps(event, default=str, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class _Events:
    """Tells each finished stage once, as a JSON line."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.told: set[str] = set()

    def tell(self, stage: str, done: int, total: int) -> None:
        """Take a ``types.Progress`` call."""
        if done >= total and stage not in self.told:
            self.told.add(stage)
            self.voice.emit({"event": "stage", "stage": stage, "count": total})


class _Rate(ProgressColumn):
    """Things per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f}/s" if speed else "", style="progress.data.speed")


def overrides_of(device: str | None, workers: int | None, seed: int | None) -> list[str]:
    """Turn the shared options into config overrides."""
    given = {"device": device, "workers": workers, "seed": seed}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def command_line() -> str:
    """Return the command as the user typed it, for the run's record."""
    return shlex.join(["xai", *sys.argv[1:]])


def summarise(path: Path, voice: Voice) -> None:
    """Say what came out: the promise, the misses, the top causes and where the report is."""
    from xai import report as reports

    summary = reports.summarize(path)
    if voice.json:
        voice.emit({"event": "done", **summary.figures(), "report": str(path / "report.html")})
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in summary.lines():
        console.print(shown(line))
    console.print(f"report: {shown(path / 'report.html')}")


def shown(value: object) -> str:
    """Write a text that may come from data, line by line, so that it steers neither the terminal nor its colours."""
    return escape("\n".join(printable(line) for line in str(value).split("\n")))

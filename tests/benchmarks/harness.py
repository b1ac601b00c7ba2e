"""What the benchmarks share: JSON lines, the table at the end, threads and interleaving."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


@dataclass(frozen=True)
class Figure:
    """One measured figure beside its target."""

    benchmark: str
    metric: str
    value: float
    target: float | None
    better: Literal["higher", "lower"]
    note: str = ""
    met: bool | None = field(init=False)

    def __post_init__(self) -> None:
        met = None
        if self.target is not None:
            met = bool(self.value >= self.target if self.better == "higher" else self.value <= self.target)
        object.__setattr__(self, "met", met)


class Ledger:
    """Prints each figure as a JSON line when it comes, and all of them as a table at the end."""

    def __init__(self, benchmark: str) -> None:
        self.benchmark = benchmark
        self.figures: list[Figure] = []

    def add(
        self, metric: str, value: float, target: float | None, better: Literal["higher", "lower"], note: str = ""
    ) -> None:
        figure = Figure(self.benchmark, metric, round(float(value), 6), target, better, note)
        self.figures.append(figure)
        print(json.dumps(asdict(figure)), flush=True)

    def table(self) -> None:
        print(f"\n{self.benchmark} on {platform.machine()}, Python {platform.python_version()}")
        width = max((len(figure.metric) for figure in self.figures), default=6)
        for figure in self.figures:
            sign = "≥" if figure.better == "higher" else "≤"
            target = f"{sign} {figure.target:g}" if figure.target is not None else ""
            met = {True: "met", False: "MISSED", None: ""}[figure.met]
            print(f"{figure.metric:<{width}}  {figure.value:>10.4g}  {target:>10}  {met:<6}  {figure.note}")


def interleave(
    tasks: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Run the tasks in turn, `rounds` times, after one unmeasured round; return the median seconds of each.

    Interleaving spreads whatever else the machine does over all tasks alike. With ``time.process_time`` the seconds are
    those that the processor worked for this process, which on one core are those of a machine that does nothing else.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            start = clock()
            task()
            if turn:
                seconds[name].append(clock() - start)
    return {name: median(values) for name, values in seconds.items()}


def chunks(items: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [items[start : start + size] for start in range(0, len(items), size)]

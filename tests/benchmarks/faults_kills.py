"""Kills at random instants: of each stage of a command in turn, so that the short ones are hit as well."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from faults_child import SHARD, TABLES, Child, Ended, leftovers, run, same
from harness import Ledger


@dataclass(frozen=True)
class Command:
    """A command that is killed.

    Attributes:
        name: of the command.
        words: the command, given where it writes to.
        same: whether two results are the same.
        share: of the kills.
    """

    name: str
    words: Callable[[Path], list[str | Path]]
    same: Callable[[Path, Path], bool]
    share: float


def commands(config: Path) -> list[Command]:
    """The commands that work through photos, on a rendered world."""
    photos, folder = config.parent / "train" / "JPEGImages", config.parent
    return [
        Command("triage", lambda out: ["triage", config, "--out", out, "--quiet"], same, 0.8),
        Command(
            "profile",
            lambda out: ["profile", folder / "train", "--out", out, "--detector", config, "--quiet"],
            _same_profile,
            0.1,
        ),
        Command(
            "tag",
            lambda out: ["tag", photos, "--out", out / "tags.parquet", "--workers", "1", "--quiet"],
            lambda left, right: _equal(left / "tags.parquet", right / "tags.parquet"),
            0.1,
        ),
    ]


def _same_profile(left: Path, right: Path) -> bool:
    names = ("images", "objects", "predictions", "issues", "features")
    return all(_equal(left / f"{name}.parquet", right / f"{name}.parquet") for name in names)


def _equal(left: Path, right: Path) -> bool:
    return pl.read_parquet(left).equals(pl.read_parquet(right))


def kills(
    ledger: Ledger,
    count: int,
    folder: Path,
    config: Path,
    rng: np.random.Generator,
    names: Sequence[str] | None = None,
    stages: Sequence[str] | None = None,
) -> None:
    """Kill commands, each stage in turn, run them again, and compare with a run that nobody killed."""
    log = folder / "log"
    run(["recipe"], log)  # starts the process that the children come from
    hits: Counter[str] = Counter()
    aimed: set[str] = set()
    equal = clean = resumed = written = 0
    redone: list[int] = []
    lasted = 0.0
    chosen = [command for command in commands(config) if names is None or command.name in names]
    for command in chosen:
        whole = run(command.words(folder / f"whole-{command.name}"), log)
        if whole.code:
            raise SystemExit(f"xai {command.name} fails without being killed: {whole.told}")
        lasted = max(lasted, whole.seconds)
        spans = whole.spans()
        wanted = max(1, round(count * command.share / sum(other.share for other in chosen)))
        aims = _aims([name for name in spans if stages is None or name in stages], wanted)
        aimed.update(f"{command.name}: {stage}" for stage in aims)
        for stage in aims:
            out = folder / "killed"
            first = _killed(command.words(out), out, log, stage, spans[stage], rng)
            if first is None:
                print(f"{command.name} was not hit in {stage}, {TRIES} times", file=sys.stderr, flush=True)
                continue
            # Nothing was left to do but to remove the parts: the same command makes such tags anew, as ever.
            late = command.name == "tag" and (out / "tags.parquet").exists()
            written += late
            second = run(command.words(out), log)
            hits[f"{command.name}: {first.stage}"] += 1
            redone.append(0 if late else first.decoded + second.decoded - whole.decoded)
            resumed += second.code == 0
            agrees = second.code == 0 and command.same(folder / f"whole-{command.name}", out)
            left = leftovers(out)
            equal += agrees
            clean += not left
            well = not (second.code or not agrees or left or redone[-1] > SHARD)
            what = "as if nothing had been" if well else f"{second.code} {second.told[-500:]!r} {agrees} {left}"
            when = f"{command.name} killed in {first.stage} after {first.seconds:.2f} s"
            print(f"{when}, {redone[-1]} photos again: {what}", file=sys.stderr, flush=True)
    done = hits.total()
    where = ", ".join(f"{name} {number}" for name, number in hits.items())
    ledger.add("kills", done, count, "higher", f"of runs of up to {lasted:.1f} s; in {where}")
    missing = ", ".join(sorted(aimed - hits.keys()))
    ledger.add("stages hit", len(aimed & hits.keys()), len(aimed), "higher", f"not in {missing}" if missing else "")
    share = 1 / max(done, 1)
    ledger.add("resumed after a kill", resumed * share, 1, "higher")
    ledger.add("same tables and pictures after a kill", equal * share, 1, "higher", f"{len(TABLES)} tables of a triage")
    ledger.add("no temporary file left", clean * share, 1, "higher")
    more = ", ".join(f"{photos}: {times}" for photos, times in sorted(Counter(redone).items()))
    note = f"most of {done}, at {SHARD} photos a shard and a part of tags; kills by photos: {more}"
    note += f"; {written} of a tag that had written its table, left out" * (written > 0)
    ledger.add("photos decoded again after a kill", max(redone, default=0), SHARD, "lower", note)


def _aims(stages: Sequence[str], count: int) -> list[str]:
    """Return the stages of so many kills: each in turn, or spread over them where there are more stages than kills."""
    if count < len(stages):
        return [stages[turn * len(stages) // count] for turn in range(count)]
    return [stages[turn % len(stages)] for turn in range(count)]


TRIES = 30
"""Times that a kill may come too late for a short stage, or too early."""


def _killed(
    words: list[str | Path], out: Path, log: Path, stage: str, span: float, rng: np.random.Generator
) -> Ended | None:
    """Start a command anew and kill it at an instant of a stage; None where each try ended in another one."""
    for _ in range(TRIES):
        shutil.rmtree(out, ignore_errors=True)
        child = Child(words, log)
        child.reached(stage)
        ended = child.end(float(rng.uniform(0, span)))
        if ended.killed and ended.stage == stage:
            return ended
        span *= 0.8  # what waits for its word comes late
    return None

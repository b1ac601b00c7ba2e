"""Kills at random instants: half of them anywhere in a command, half in a stage that is drawn first."""

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
) -> None:
    """Kill commands, run them again, and compare with a run that nobody killed."""
    log = folder / "log"
    run(["recipe"], log)  # starts the process that the children come from
    places: Counter[str] = Counter()
    equal = clean = resumed = done = 0
    redone: list[int] = []
    lasted = 0.0
    chosen = [command for command in commands(config) if names is None or command.name in names]
    for command in chosen:
        wanted = max(1, round(count * command.share / sum(other.share for other in chosen)))
        whole = run(command.words(folder / f"whole-{command.name}"), log)
        if whole.code:
            raise SystemExit(f"xai {command.name} fails without being killed: {whole.told}")
        lasted = max(lasted, whole.seconds)
        killed = 0
        while killed < wanted:
            out = folder / "killed"
            shutil.rmtree(out, ignore_errors=True)
            first = _killed(command.words(out), log, whole, rng)
            if not first.killed:
                continue  # it was done before its instant came
            second = run(command.words(out), log)
            killed += 1
            places[first.stage if command.name == "triage" else command.name] += 1
            redone.append(first.decoded + second.decoded - whole.decoded)
            resumed += second.code == 0
            agrees = second.code == 0 and command.same(folder / f"whole-{command.name}", out)
            left = leftovers(out)
            equal += agrees
            clean += not left
            well = not (second.code or not agrees or left or redone[-1] > SHARD)
            what = "as if nothing had been" if well else f"{second.code} {second.told[-500:]!r} {agrees} {left}"
            when = f"{command.name} killed in {first.stage} after {first.seconds:.1f} s"
            print(f"{when}, {redone[-1]} photos again: {what}", file=sys.stderr, flush=True)
        done += killed
    where = ", ".join(f"{name} {number}" for name, number in places.most_common())
    ledger.add("kills", done, None, "higher", f"at instants of runs of up to {lasted:.1f} s; in {where}")
    ledger.add("resumed after a kill", resumed / done, 1, "higher")
    ledger.add("same tables and pictures after a kill", equal / done, 1, "higher", f"{len(TABLES)} tables of a triage")
    ledger.add("no temporary file left", clean / done, 1, "higher")
    ledger.add("photos decoded twice", max(redone), SHARD, "lower", f"most of {done}, at {SHARD} photos a shard")


def _killed(words: list[str | Path], log: Path, whole: Ended, rng: np.random.Generator) -> Ended:
    """Start a command and kill it at an instant of its run, or of one of its stages."""
    firsts = {name: at for at, name in reversed(whole.stages)}
    if not firsts or rng.random() < 0.5:
        return Child(words, log).end(float(rng.uniform(0, whole.seconds + 0.1)))
    stage = str(rng.choice(sorted(firsts)))
    following = min((at for at in firsts.values() if at > firsts[stage]), default=whole.seconds)
    child = Child(words, log)
    child.reached(stage)
    return child.end(float(rng.uniform(0, max(following - firsts[stage], 0.01))))

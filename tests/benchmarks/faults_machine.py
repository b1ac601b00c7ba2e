"""What goes wrong around a run: full and read-only disks, photos and labels that change, killed workers, a full GPU.

Each ends with a message and an exit code or with an issue, and the same command afterwards ends with the tables of a
run that nothing disturbed.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from faults_child import SHARD, issues, leftovers, run, same, watch_progress
from harness import Ledger

import attributes.decode
import attributes.workers
import xai.scan
from attributes import extract
from attributes.decode import Photo
from attributes.workers import CRASHES
from xai import batch, files, tables
from xai.detect.torchvision import Torchvision

Fault = Callable[[Path, Path, Path, np.random.Generator], list[str]]
"""(world's config, undisturbed run, empty folder, generator) → what went wrong, nothing where all is well."""


def faults(
    ledger: Ledger,
    count: int,
    folder: Path,
    config: Path,
    rng: np.random.Generator,
    names: Sequence[str] | None = None,
) -> None:
    """Try each fault ``count`` times and count those that are told and that the same command resumes from."""
    log = folder / "log"
    whole = folder / "whole"
    ended = run(_triage(config, whole), log)
    if ended.code:
        raise SystemExit(f"the run fails without a fault: {ended.told}")
    for name in names or FAULTS:
        fault = FAULTS[name]
        wrong: list[str] = []
        for _ in range(count):
            place = folder / "fault"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            world = place / "world"
            shutil.copytree(config.parent, world)
            wrong += fault(world / config.name, whole, place, rng)[:1]
        for problem in wrong:
            print(f"{name}: {problem}")
        ledger.add(f"{name}: told, and resumed from", 1 - len(wrong) / count, 1, "higher", f"{count} of it")


def _triage(config: Path, out: Path) -> list[str | Path]:
    return ["triage", config, "--out", out, "--quiet", "--set", "data.max_bad=0.6"]


def _again(config: Path, whole: Path, out: Path, *, off: float = 0.0) -> list[str]:
    """Run the same command again; return what is not as in an undisturbed run."""
    ended = run(_triage(config, out), out.parent / "log")
    wrong = [f"the second run ended with {ended.code}: {ended.told[-500:]}"] * (ended.code != 0)
    wrong += ["other tables"] * (not ended.code and not same(whole, out, off=off))
    return wrong + [f"left behind: {left}" for left in leftovers(out)[:1]]


# disks


class _Full:
    """A disk that is full at the n-th file."""

    def __init__(self, at: int, number: int) -> None:
        self.at, self.number = at, number

    def __call__(self) -> None:
        writing = files.writing
        seen = 0

        @contextmanager
        def short(path: Path) -> Iterator[None]:
            nonlocal seen
            seen += 1
            with writing(path):
                yield
                if seen >= self.at:
                    raise OSError(self.number, os.strerror(self.number), str(path))

        files.writing = short
        for module in (xai.scan, __import__("xai.journal").journal, __import__("xai.begun").begun):
            module.writing = short


def disk_full(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """A random write finds no room; on a real small disk where one can be mounted, else simulated."""
    out = place / "run"
    needed = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file())
    with _small_disk(place / "disk", int(needed * rng.uniform(0.05, 0.9))) as grow:
        if grow is not None:
            out = place / "disk" / "run"
        hindrance = None if grow else _Full(int(rng.integers(1, 60)), errno.ENOSPC)
        ended = run(_triage(config, out), place / "log", hindrance)
        wrong = [f"ended with {ended.code}: {ended.told[-800:]}"] * (ended.code != 2)
        wrong += [f"said {ended.told[-800:]}"] * (
            not ended.says("error: expected to write", "no space left", "free some")
        )
        left = [path for path in leftovers(out) if path.suffix != ".begun"] if out.exists() else []
        wrong += [f"left behind: {path}" for path in left[:1]]
        if grow is not None:
            grow()
        return wrong + _again(config, whole, out)


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[Callable[[], None] | None]:
    """Mount a disk of so many bytes and yield what makes it larger; None where nothing may be mounted."""
    folder.mkdir(parents=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield lambda: _remount(folder, "size=500m")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def read_only(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """The output may not be written: a disk that is mounted so where that can be done, else a folder of that mode."""
    wrong = []
    with _small_disk(place / "disk", 500_000_000) as grow:
        disk = place / "disk"
        out = disk / "run"
        out.mkdir()
        if grow is not None:
            _remount(disk, "ro")
        elif os.geteuid() == 0:
            return []  # every folder may be written
        else:
            out.chmod(0o500)
        for command in (
            _triage(config, out),
            ["profile", config.parent / "train", "--out", out, "--quiet"],
            ["tag", config.parent / "train", "--out", out / "tags.parquet", "--quiet"],
        ):
            ended = run(command, place / "log")
            if ended.code != 2 or not ended.says("error: expected to write", "choose a folder with --out"):
                wrong.append(f"{command[0]} ended with {ended.code}: {ended.told[-800:]}")
            wrong += [f"{command[0]} read {ended.decoded} photos before it said so"] * (ended.decoded > 0)
        if grow is not None:
            _remount(disk, "rw")
        out.chmod(0o700)
        return wrong + _again(config, whole, out)


# data that changes


class _At:
    """Something that happens once a stage is so far."""

    def __init__(self, stage: str, done: int, what: Callable[[], None]) -> None:
        self.stage, self.done, self.what = stage, done, what
        self.over = False

    def __call__(self) -> None:
        watch_progress(self.see)

    def see(self, stage: str, done: int, total: int) -> None:
        if stage == self.stage and done >= self.done and not self.over:
            self.over = True
            self.what()


def photo_vanishes_early(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """A photo goes before the scan comes to it: an issue, and it is read once it is back."""
    photos = sorted((config.parent / "eval" / "JPEGImages").iterdir())
    photo = photos[int(rng.integers(2 * SHARD, len(photos)))]
    return _vanishes(config, whole, place, photo, _At("scan eval", SHARD, partial(_move, photo)), "photo_missing")


def photo_vanishes_late(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """A photo with misses goes after the scan, before the detector is to see it again."""
    missed = tables.read(whole, "errors").filter(pl.col("object_id").is_not_null())["image_id"].unique().sort()
    photo = config.parent / "eval" / missed[int(rng.integers(len(missed)))]
    photos = len(tables.read(whole, "images").filter(pl.col("split") == "eval"))
    return _vanishes(config, whole, place, photo, _At("scan eval", photos, partial(_move, photo)), "photo_changed")


def _vanishes(config: Path, whole: Path, place: Path, photo: Path, hindrance: _At, code: str) -> list[str]:
    out = place / "run"
    ended = run(_triage(config, out), place / "log", hindrance)
    if ended.code:
        return [f"ended with {ended.code}: {ended.told[-500:]}"]
    named = issues(out, code)["image_id"].to_list()
    wrong = [f"issues {code} of {named}"] * (named != [f"JPEGImages/{photo.name}"])
    _move(photo, back=True)
    return wrong + _again(config, whole, out)


def _move(photo: Path, *, back: bool = False) -> None:
    aside = photo.with_suffix(".away")
    (aside if back else photo).rename(photo if back else aside)


def label_changes(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """A label file loses an object while the run goes on: an issue, and the next run is of the new labels."""
    labels = sorted((config.parent / "eval" / "Annotations").iterdir())
    label = labels[int(rng.integers(len(labels)))]
    out = place / "run"
    ended = run(_triage(config, out), place / "log", _At("scan eval", SHARD, partial(_drop_object, label)))
    if ended.code:
        return [f"ended with {ended.code}: {ended.told[-500:]}"]
    named = issues(out, "label_changed")["file"].to_list()
    wrong = [f"issues of {named}"] * (named != [f"Annotations/{label.name}"])
    counts = [len(tables.read(folder, "objects")) for folder in (out, whole)]
    wrong += [f"{counts[0]} objects, not the {counts[1]} that were read"] * (counts[0] != counts[1])
    fresh = place / "fresh"
    run(_triage(config, fresh), place / "log")
    return wrong + _again(config, fresh, out)


def _drop_object(label: Path) -> None:
    head, _, rest = label.read_text().partition("<object>")
    label.write_text(head + rest.partition("</object>")[2])


# processes


def tagging_worker_killed(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """One of two processes that tag is killed: its photos are tagged by another."""
    photos = config.parent / "train" / "JPEGImages"
    command = ["tag", photos, "--out", place / "calm.parquet", "--workers", "2", "--quiet"]
    run(command, place / "log", _apart)
    command[3] = place / "killed.parquet"
    ended = run(command, place / "log", partial(_kill_worker, float(rng.uniform(0, 0.3))))
    if ended.code:
        return [f"ended with {ended.code}: {ended.told[-500:]}"]
    calm, killed = (pl.read_parquet(place / name) for name in ("calm.parquet", "killed.parquet"))
    return ["other rows"] * (not calm.equals(killed))


def _apart() -> None:
    extract._EACH = 1


def _kill_worker(delay: float) -> None:
    """Kill the first process that tags, soon after it was started."""
    _apart()
    started = attributes.workers.Worker._started
    over = threading.Event()

    def watched(self: attributes.workers.Worker) -> subprocess.Popen[bytes]:
        process = started(self)
        if not over.is_set():
            over.set()
            threading.Timer(delay, lambda: os.kill(process.pid, signal.SIGKILL)).start()
        return process

    attributes.workers.Worker._started = watched  # type: ignore[method-assign]


POISON = (
    "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]); from attributes import extract, serve; "
    "read = extract.read; extract.read = lambda path, **more: os.abort() if path.name == {name!r} else "
    "read(path, **more); serve.serve()"
)
"""A process that tags and ends at one photo, as at a fault of a decoder."""


def poisoned_photo(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """A photo ends the process that reads it: the third run sets it aside, and all else is as without it."""
    photos = sorted((config.parent / "eval" / "JPEGImages").iterdir())
    photo = photos[int(rng.integers(len(photos)))]
    out, log = place / "run", place / "log"
    ended = [run(_triage(config, out), log, partial(_poison, photo.name)) for _ in range(3)]
    if [one.code for one in ended] != [-signal.SIGABRT, -signal.SIGABRT, 0]:
        return [f"three runs ended with {[one.code for one in ended]}, the last: {ended[2].told[-500:]}"]
    named = issues(out, CRASHES)["image_id"].to_list()
    wrong = [f"issues of {named}"] * (named != [f"JPEGImages/{photo.name}"])
    rest = pl.col("image_id") != f"JPEGImages/{photo.name}"
    for name in ("images", "objects", "predictions"):
        one, other = (tables.read(folder, name).filter(rest) for folder in (out, whole))
        wrong += [f"other {name}"] * (not one.equals(other))
    wrong += [f"left behind: {left}" for left in leftovers(out)[:1]]
    photo.write_bytes(photo.read_bytes())  # saved anew, as the issue says
    return wrong + _again(config, whole, out)


def _poison(name: str) -> None:
    read = batch.read

    def poisoned(path: Path, **more: Path) -> Photo:
        if path.name == name:
            os.abort()
        return read(path, **more)

    batch.read = poisoned  # type: ignore[assignment]
    attributes.workers._START = POISON.format(name=name)


# the GPU


def gpu_out_of_memory(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """The GPU has room for few photos: batches are halved, which is said once for each halving."""
    out = place / "run"
    ended = run(_triage(config, out), place / "log", partial(_short_of_memory, int(rng.integers(1, SHARD))))
    wrong = [f"ended with {ended.code}: {ended.told[-500:]}"] * (ended.code != 0)
    wrong += [f"said {ended.told[-500:]}"] * (not ended.says("the GPU is out of memory", "at once from here on"))
    wrong += ["other tables"] * (not ended.code and not same(whole, out, off=1e-3))
    ended = run(_triage(config, place / "none"), place / "log", partial(_short_of_memory, 0))
    wrong += [f"ended with {ended.code}: {ended.told[-500:]}"] * (ended.code != 2)
    wrong += [f"said {ended.told[-500:]}"] * ("expected room for one photo on the GPU" not in ended.told)
    return wrong + _again(config, whole, place / "none")


def _short_of_memory(room: int) -> None:
    forward = Torchvision.forward

    def short(self: Torchvision, inputs: torch.Tensor) -> object:
        if len(inputs) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (simulated)")
        return forward(self, inputs)

    Torchvision.forward = short  # type: ignore[assignment, method-assign]


FAULTS: dict[str, Fault] = {
    "disk full": disk_full,
    "read-only output": read_only,
    "photo that vanishes before it is read": photo_vanishes_early,
    "photo that vanishes before it is shown again": photo_vanishes_late,
    "label changed during the run": label_changes,
    "tagging process killed": tagging_worker_killed,
    "photo that ends its process": poisoned_photo,
    "GPU out of memory (simulated)": gpu_out_of_memory,
}
"""Name of a fault → what tries it."""

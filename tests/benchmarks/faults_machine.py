"""What goes wrong around a run: full and read-only disks, a second run, photos and labels that change, killed workers.

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
from faults_child import LIMIT, SHARD, Child, issues, leftovers, run, same, watch_progress
from harness import Ledger

import attributes.decode
import attributes.workers
import xai.scan
from attributes import extract
from attributes.decode import Photo
from attributes.workers import CRASHES
from xai import alone, batch, experiments, files, tables
from xai.detect.torchvision import Torchvision
from xai.evidence import drise
from xai.loading import Load
from xai.types import Candidates, Pixels, Prepared

Fault = Callable[[Path, Path, Path, np.random.Generator], list[str]]
"""(world's config, undisturbed run, empty folder, generator) → what went wrong, nothing where all is well.

Raises ``NotTriedError`` where this machine does not let it happen.
"""


class NotTriedError(Exception):
    """A fault cannot be made here."""


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
        tried, note = 0, ""
        for _ in range(count):
            place = folder / "fault"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            world = place / "world"
            shutil.copytree(config.parent, world)
            try:
                wrong += fault(world / config.name, whole, place, rng)[:1]
            except NotTriedError as error:
                note = f"; not tried {count - tried} times: {error}"
                break
            tried += 1
        for problem in wrong:
            print(f"{name}: {problem}")
        well = (tried - len(wrong)) / max(tried, 1)
        ledger.add(f"{name}: told, and resumed from", well, 1, "higher", f"{tried} of it{note}")


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
            raise NotTriedError("root may write everywhere, and nothing can be mounted")
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


def second_run(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """Another run is begun in the same folder: it is refused, and the first ends as if nothing had been."""
    out = place / "run"
    first = Child(_triage(config, out), place / "first")
    stage = str(rng.choice(["read", "scan train", "scan eval"]))
    first.reached(stage)
    refused = run(_triage(config, out), place / "log")
    if not first.process.is_alive():
        return [f"the first run had ended before the second was refused, in {stage}"]
    wrong = [f"the second ended with {refused.code}: {refused.told[-500:]}"] * (refused.code != 2)
    wrong += [f"said {refused.told[-500:]}"] * (not refused.says("another process is at work in it", "--out"))
    ended = first.end(LIMIT)
    wrong += [f"the first ended with {ended.code}: {ended.told[-500:]}"] * (ended.code != 0)
    wrong += ["other tables"] * (not ended.code and not same(whole, out))
    return wrong + [f"left behind: {left}" for left in leftovers(out)[:1]]


def tagging_worker_killed(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """One of two processes that tag is killed at its work: its photos are tagged by another."""
    photos = config.parent / "train" / "JPEGImages"
    command = ["tag", photos, "--out", place / "calm.parquet", "--workers", "2", "--quiet"]
    run(command, place / "log", _apart)
    command[3] = place / "killed.parquet"
    for _ in range(HITS):
        (place / "killed.parquet").unlink(missing_ok=True)
        ended = run(command, place / "log", partial(_kill_worker, float(rng.uniform(0, 0.1)), place / "hit"))
        if (place / "hit").exists():
            break
    else:
        return [f"no process was hit at its work, {HITS} times"]
    if ended.code:
        return [f"ended with {ended.code}: {ended.told[-500:]}"]
    calm, killed = (pl.read_parquet(place / name) for name in ("calm.parquet", "killed.parquet"))
    return ["other rows"] * (not calm.equals(killed))


HITS = 20
"""Times that a process may be done before it is killed."""


def _apart() -> None:
    extract._EACH = 1


def _kill_worker(delay: float, hit: Path) -> None:
    """Kill the first process that tags, soon after it was started; make a file where it had not answered yet."""
    _apart()
    started, ask = attributes.workers.Worker._started, attributes.workers.Worker.ask
    over = threading.Event()

    def told(self: attributes.workers.Worker, task: object) -> object:
        try:
            return ask(self, task)
        except attributes.workers.WorkerError as error:
            if f"({-signal.SIGKILL})" in str(error):
                hit.touch()
            raise

    def watched(self: attributes.workers.Worker) -> subprocess.Popen[bytes]:
        process = started(self)
        if not over.is_set():
            over.set()
            threading.Timer(delay, lambda: os.kill(process.pid, signal.SIGKILL)).start()
        return process

    attributes.workers.Worker._started = watched  # type: ignore[method-assign]
    attributes.workers.Worker.ask = told  # type: ignore[method-assign]


POISON = (
    "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]); from attributes import extract, serve; "
    "read = extract.read; extract.read = lambda path, **more: os.abort() if str(path) == {photo!r} else "
    "read(path, **more); serve.serve()"
)
"""A process that tags and ends at one photo, as at a fault of a decoder."""


def poisoned_photo(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """A photo ends the process that reads it: the third run sets it aside, and all else is as without it."""
    photos = sorted((config.parent / "eval" / "JPEGImages").iterdir())
    photo = photos[int(rng.integers(len(photos)))]
    rest = pl.col("image_id") != f"JPEGImages/{photo.name}"
    return _set_aside(config, whole, place, photo, partial(_poison, photo), rest)


def poisoned_in_the_detector(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """A photo ends the process that shows it to the detector, as at a fault of CUDA: as above."""
    photos = sorted((config.parent / "eval" / "JPEGImages").iterdir())
    photo = photos[int(rng.integers(len(photos)))]
    rest = pl.col("image_id") != f"JPEGImages/{photo.name}"
    return _set_aside(config, whole, place, photo, partial(_poison_detector, photo, apart=True), rest)


def poisoned_in_an_experiment(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """A photo ends the process that shows it to the detector again: the third run leaves its experiments out."""
    missed = tables.read(whole, "errors").filter(pl.col("object_id").is_not_null())["image_id"].unique().sort()
    photo = config.parent / "eval" / missed[int(rng.integers(len(missed)))]
    return _set_aside(config, whole, place, photo, partial(_poison_experiments, photo), pl.lit(True))


def _set_aside(
    config: Path, whole: Path, place: Path, photo: Path, poison: Callable[[], None], rest: pl.Expr
) -> list[str]:
    """Run until a photo that ends the process is set aside; all other rows are those of an undisturbed run."""
    out, log = place / "run", place / "log"
    ended = [run(_triage(config, out), log, poison) for _ in range(3)]
    if [one.code for one in ended] != [-signal.SIGABRT, -signal.SIGABRT, 0]:
        return [f"three runs ended with {[one.code for one in ended]}, the last: {ended[2].told[-500:]}"]
    named = issues(out, CRASHES)["image_id"].to_list()
    wrong = [f"issues of {named}"] * (named != [f"JPEGImages/{photo.name}"])
    for name in ("images", "objects", "predictions"):
        one, other = (tables.read(folder, name).filter(rest) for folder in (out, whole))
        wrong += [f"other {name}"] * (not one.equals(other))
    wrong += [f"left behind: {left}" for left in leftovers(out)[:1]]
    photo.write_bytes(photo.read_bytes())  # saved anew, as the issue says
    return wrong + _again(config, whole, out)


def _poison_detector(photo: Path, *, apart: bool = False) -> None:
    """End the process that prepares a photo for the detector; ``apart`` also the one that looks for such photos."""
    prepare = Torchvision.prepare
    poison = attributes.decode.decode(photo.read_bytes()).pixels

    def poisoned(self: Torchvision, photos: Sequence[Pixels]) -> list[Prepared]:
        if any(np.array_equal(pixels, poison) for pixels in photos):
            os.abort()
        return prepare(self, photos)

    Torchvision.prepare = poisoned  # type: ignore[method-assign]
    if apart:
        alone._START = POISON_ALONE.format(photo=str(photo))


POISON_ALONE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from pathlib import Path; import faults_machine; "
    "faults_machine._poison_detector(Path({photo!r})); from xai.alone import serve; serve()"
)
"""A process that does all that a scan does, and ends at one photo."""


def _poison_experiments(photo: Path) -> None:
    loaders = experiments.loaders

    def poisoned(root: Path, images: pl.DataFrame) -> tuple[Load, Load]:
        def load(image_id: str) -> Pixels:
            if root / image_id == photo:
                os.abort()
            return whole(image_id)

        whole, stored = loaders(root, images)
        return load, stored

    experiments.loaders = poisoned


def _poison(photo: Path) -> None:
    read = batch.read

    def poisoned(path: Path, **more: Path) -> Photo:
        if path == photo:  # training has photos of the same names
            os.abort()
        return read(path, **more)

    batch.read = poisoned  # type: ignore[assignment]
    attributes.workers._START = POISON.format(photo=str(photo))


# the GPU


def gpu_out_of_memory(config: Path, whole: Path, place: Path, rng: np.random.Generator) -> list[str]:
    """The GPU has room for few photos: batches are halved, which is said once for each halving."""
    out = place / "run"
    step = str(rng.choice(["forward", "select"]))
    ended = run(_triage(config, out), place / "log", partial(_short_of_memory, int(rng.integers(1, SHARD)), step))
    wrong = [f"ended with {ended.code}: {ended.told[-500:]}"] * (ended.code != 0)
    wrong += [f"said {ended.told[-500:]}"] * (not ended.says("the GPU is out of memory", "at once from here on"))
    wrong += ["other tables"] * (not ended.code and not same(whole, out, off=1e-3))
    ended = run(_triage(config, place / "none"), place / "log", partial(_short_of_memory, 0, step))
    wrong += [f"ended with {ended.code}: {ended.told[-500:]}"] * (ended.code != 2)
    wrong += [f"said {ended.told[-500:]}"] * (not ended.says("expected room for one photo on the GPU", "image_size"))
    ended = run(_triage(config, place / "none"), place / "log", _no_room_for_maps)
    wrong += [f"ended with {ended.code}: {ended.told[-500:]}"] * (ended.code != 2)
    said = ended.says("expected room for the stage 'explain' on the GPU", "device: cpu")
    wrong += [f"said {ended.told[-500:]}"] * (not said)
    return wrong + _again(config, whole, place / "none")


_FULL = "CUDA out of memory. Tried to allocate 2.00 GiB (simulated)"


def _short_of_memory(room: int, step: str) -> None:
    """Let the device have room for so many photos in ``forward``, or in what follows of it, ``select``."""
    whole = getattr(Torchvision, step)

    def short(self: Torchvision, photos: torch.Tensor | Candidates, *rest: Prepared) -> object:
        if len(photos if isinstance(photos, torch.Tensor) else photos.scores) > room:
            raise torch.OutOfMemoryError(_FULL)
        return whole(self, photos, *rest)

    setattr(Torchvision, step, short)


def _no_room_for_maps() -> None:
    """Let the device have no room for what is made of masks before photos are put through the detector."""

    def none(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError(_FULL)

    drise.mask_pairs = none  # type: ignore[assignment]


FAULTS: dict[str, Fault] = {
    "disk full": disk_full,
    "read-only output": read_only,
    "second run in the same folder": second_run,
    "photo that vanishes before it is read": photo_vanishes_early,
    "photo that vanishes before it is shown again": photo_vanishes_late,
    "label changed during the run": label_changes,
    "tagging process killed": tagging_worker_killed,
    "photo that ends the process that reads it": poisoned_photo,
    "photo that ends the process in the detector": poisoned_in_the_detector,
    "photo that ends the process in an experiment": poisoned_in_an_experiment,
    "GPU out of memory (simulated)": gpu_out_of_memory,
}
"""Name of a fault → what tries it."""

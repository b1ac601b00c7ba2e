"""What grows with the data and what does not: memory, throughput, tables of ten million objects, work done again.

    python tests/benchmarks/scale.py [--photos 20000] [--objects 10000000] [--only photos workers tables again]

Photos are hard links to some real ones (``--data``; rendered ones without it), reduced to ``--side`` pixels so that
many can be tagged in minutes. Linux: the peak of resident memory comes from ``/proc``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from unittest.mock import patch

import cv2
import numpy as np
import polars as pl
from harness import DATA, Ledger, interleave
from planted_run import ATTRIBUTES, write_run

GROWN = 10
"""Times as many photos that memory and throughput are compared at."""

WARM = 64
"""Photos before the measured ones: imports, threads and caches are not what grows."""

GIGABYTES = 4.0


def detect(photos: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Find three objects in every photo: a detector that costs nothing."""
    found = []
    for photo in photos:
        height, width = photo.shape[:2]
        corner = np.array([[0.1, 0.1], [0.4, 0.3], [0.6, 0.6]]) * (width, height)
        found.append((np.hstack([corner, corner + 0.3 * width]), np.array([0.9, 0.6, 0.3]), np.array([0, 1, 0])))
    return found


detect.names = ("car", "person")  # type: ignore[attr-defined]


def peak() -> float:
    """Return the most memory that was resident since ``count_from_here``, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def count_from_here() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@contextmanager
def timed(told: dict[str, float]) -> Iterator[None]:
    start, busy = time.perf_counter(), time.process_time()
    yield
    told |= {"seconds": time.perf_counter() - start, "cpu": time.process_time() - busy}


def child(*arguments: object, threads: int = 1) -> dict[str, float]:
    """Run one measurement in a process of its own, on as many threads."""
    count = str(threads)
    limits = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS"), count)
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **limits})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_tag(folder: str) -> dict[str, float]:
    """Tag a folder in this process."""
    from attributes import tag

    cv2.setNumThreads(1)
    tag(sorted(Path(folder, "images").iterdir())[:WARM], workers=1)
    count_from_here()
    told: dict[str, float] = {}
    with timed(told):
        table = tag(Path(folder, "images"), workers=1)
    return {**told, "mb": peak(), "rows": len(table), "table mb": table.estimated_size() / 2**20}


def measure_scan(folder: str, warm: str) -> dict[str, float]:
    """Tag a data set and run the detector on it, as for a profile: shards on disk, then tables of all."""
    import torch

    import xai
    from xai.config import Config

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = Config.model_validate(
        {"data": {"eval": {"path": folder, "format": "yolo"}}, "detector": {"kind": "python:scale.detect"}}
    )
    shards = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal shards
        shards = peak()

    xai.profile(warm, out=f"{warm}/profile", format="yolo", config=config, workers=1, progress=progress)
    count_from_here()
    told: dict[str, float] = {}
    with timed(told):
        split = xai.profile(folder, out=f"{folder}/profile", format="yolo", config=config, workers=1, progress=progress)
    return {**told, "mb": shards, "all mb": peak(), "rows": len(split.images)}


@dataclasses.dataclass(frozen=True)
class Tables:
    images: pl.LazyFrame
    objects: pl.LazyFrame


def measure_cover(folder: str) -> dict[str, float]:
    """Compare the two sides of a run on disk, and write what was found beside them."""
    from xai import coverage, tables

    sides = [
        Tables(*(tables.scan(Path(folder), name).filter(pl.col("split") == split) for name in ("images", "objects")))
        for split in ("train", "eval")
    ]
    told: dict[str, float] = {}
    with timed(told):
        found = coverage.analyse(*sides, train_detected=True)
        for name in ("coverage", "slices", "uncovered"):
            tables.write(getattr(found, name), Path(folder) / f"{name}.parquet")
    rows = {name: len(getattr(found, name)) for name in ("coverage", "slices", "uncovered", "bins")}
    return {**told, "mb": peak(), **rows}


def measure_report(folder: str) -> dict[str, float]:
    """Render the page of a run on disk."""
    from xai import report

    told: dict[str, float] = {}
    with timed(told):
        size = report.render(Path(folder)).stat().st_size
    return {**told, "mb": peak(), "page": size / 2**20}


def measure_write(folder: str, objects: str) -> dict[str, float]:
    """Write the tables that the others read."""
    told: dict[str, float] = {}
    with timed(told):
        write_run(Path(folder), int(objects))
    return {**told, "mb": peak()}


CHILDREN: dict[str, Callable[..., dict[str, float]]] = {
    "tag": measure_tag, "scan": measure_scan, "cover": measure_cover, "report": measure_report, "write": measure_write
}  # fmt: skip


def reduced(data: Path, folder: Path, side: int) -> list[Path]:
    """Write some photos, real ones where the folder is there, none longer than ``side`` pixels (0: as they are)."""
    folder.mkdir(parents=True)
    found = sorted((data / "coco").rglob("*.jpg"))
    if not found:
        from xai.demo import dataset

        # No photo of the first 64 shows anything but a plain scene.
        dataset._write_split(folder / "drawn", dataset.training_scene, range(WARM), lambda done: None)
        found = sorted((folder / "drawn").rglob("*.jpg"))
    paths = []
    for index, path in enumerate(found):
        paths.append(folder / f"{index:03d}.jpg")
        photo = cv2.imread(str(path))
        scale = side / max(photo.shape[:2]) if side else 1.0
        if scale < 1:
            cv2.imwrite(str(paths[-1]), cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        else:
            shutil.copyfile(path, paths[-1])
    return paths


def linked(paths: Sequence[Path], folder: Path, count: int) -> Path:
    """Make a data set of hard links, each photo with two labels."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    (folder / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [car, person]\n")
    for index in range(count):
        os.link(paths[index % len(paths)], folder / "images" / f"{index:06d}.jpg")
        (folder / "labels" / f"{index:06d}.txt").write_text("0 0.25 0.3 0.3 0.3\n1 0.6 0.6 0.2 0.3\n")
    return folder


def photos(ledger: Ledger, paths: Sequence[Path], folder: Path, many: int) -> None:
    """Memory and throughput at many photos against a tenth of them, the few measured before and after the many."""
    few = many // GROWN
    sets = {count: linked(paths, folder / str(count), count) for count in (few, many)}
    warm = linked(paths, folder / "warm", WARM)
    for what, rest in (("tag", []), ("scan", [warm])):
        runs = []
        for count in (few, many, few):
            shutil.rmtree(sets[count] / "profile", ignore_errors=True)
            runs.append(child(what, sets[count], *rest))
        grown, base = runs[1], {key: (runs[0][key] + runs[2][key]) / 2 for key in runs[0]}
        before = max(runs[0]["mb"], runs[2]["mb"])
        sizes = f"{before:.0f} MB at {few:,} photos, {grown['mb']:.0f} at {many:,}"
        told = f"{sizes}; shards on disk"
        if what == "tag":
            told = (
                f"{sizes}; the table that is returned included, {grown['table mb'] - base['table mb']:.1f} MB of this"
            )
        ledger.add(f"{what}: peak memory", grown["mb"] / before, 1.05, "lower", told)
        if what == "scan":
            note = "once its tables are read at the end: these are of all photos"
            ledger.add("scan: peak memory, with tables", grown["all mb"] / base["all mb"], None, "lower", note)
        rates = [many / grown["cpu"], few / base["cpu"]]
        said = f"{rates[0]:.0f} against {rates[1]:.0f} photos a second of a core; by the clock "
        said += f"{many / grown['seconds'] / (few / base['seconds']):.2f}"
        ledger.add(f"{what}: throughput", rates[0] / rates[1], 0.97, "higher", said)


def workers(ledger: Ledger, paths: Sequence[Path], count: int, rounds: int) -> None:
    """Two workers against one, and two threads that only decode against one, by the clock: needs two idle cores."""
    from attributes import read, tag

    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        print("one core only: two workers are not measured", file=sys.stderr)
        return
    many = [paths[index % len(paths)] for index in range(count)]

    def decode(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda part: [read(path) for path in part] and None, np.array_split(many, threads)):
                pass

    cv2.setNumThreads(1)
    tasks: dict[str, Callable[[], object]] = {f"tag {n}": lambda n=n: tag(many, workers=n) for n in (1, 2)}
    tasks |= {f"decode {n}": lambda n=n: decode(n) for n in (1, 2)}
    seconds = interleave(tasks, rounds)
    limit = seconds["decode 1"] / seconds["decode 2"]
    note = f"{count:,} photos, {cores} cores at hand, on which two threads that only decode gain {limit:.2f}"
    ledger.add("tag: two workers / one", seconds["tag 1"] / seconds["tag 2"], 1.8, "higher", note)


def tables_of_many(ledger: Ledger, folder: Path, objects: int) -> None:
    """Cover and report of tables that are larger than the memory allowed."""
    child("write", folder, objects, threads=2)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
    for what in ("cover", "report"):
        told = child(what, folder, threads=2)
        work = f"{told['seconds']:.0f} s, {told['cpu']:.0f} s of a core, two at most"
        if what == "cover":
            rows = ", ".join(f"{told[name]:,.0f} {name}" for name in ("coverage", "slices", "uncovered"))
            note = f"GB; {objects:,} × {ATTRIBUTES} a side, {size:.1f} GB on disk; {rows} rows; {work}"
        else:
            note = f"GB; page of {told['page']:.1f} MB; {work}"
        ledger.add(f"{what}: peak memory", told["mb"] / 1024, GIGABYTES, "lower", note)


def again(ledger: Ledger, folder: Path) -> None:
    """Change the promise, the report and a bin of a finished run, and count the photos that are decoded again."""
    # Only now, as the folder of the tests has folders that are named like the packages.
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from rendered import write_world

    import xai
    from attributes import decode
    from xai import pipeline
    from xai.catalog import CATALOG

    config = write_world(folder / "world")
    decoded: list[str] = []
    plain = decode.decode

    def counted(data: bytes, *, name: str = "photo") -> decode.Photo:
        decoded.append(name)
        return plain(data, name=name)

    def run(*changes: str) -> int:
        decoded.clear()
        xai.triage(pipeline.load(config, list(changes)), out=folder / "run")
        return len(decoded)

    def moved(name: str) -> dict[str, object]:
        """The attribute with its first bin a quarter longer, as if its row of the catalog were edited."""
        first, second, *rest = CATALOG[name].bins
        edge = float(first.high or 0) * 1.25
        bins = (dataclasses.replace(first, high=edge), dataclasses.replace(second, low=edge), *rest)
        return {name: dataclasses.replace(CATALOG[name], bins=bins)}

    with patch.object(decode, "decode", counted):
        ledger.add("decoded by the first run", run(), None, "lower", "photos of a small rendered world")
        ledger.add("decoded again: the promise", run("promise.recall=0.5"), 0, "lower")
        ledger.add("decoded again: the report", run("promise.recall=0.5", "report.title=again"), 0, "lower")
        for name in ("brightness", "object_size"):
            with patch.dict(cast("dict[str, object]", CATALOG), moved(name)):
                again = run("promise.recall=0.5", "report.title=again")
            ledger.add(f"decoded again: a bin of {name}", again, 0, "lower")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with coco; rendered photos without it")
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=320, help="longest side of the photos; 0: as they are")
    parser.add_argument(
        "--objects", type=int, default=10_000_000, help="of the evaluation set, and as many of training"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=["photos", "workers", "tables", "again"])
    parser.add_argument("--small", action="store_true", help="a fiftieth of photos and objects, to try it out")
    parser.add_argument("--folder", type=Path, help="where the data are made, several GB; a temporary one if left out")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, *arguments = options.child
        print(json.dumps(CHILDREN[what](*arguments)))
        return
    wanted = options.only or ["photos", "workers", "tables", "again"]
    less = 50 if options.small else 1
    ledger = Ledger("scale")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if {"photos", "workers"} & {*wanted}:
            paths = reduced(options.data, folder / "some", options.side)
        if "photos" in wanted:
            photos(ledger, paths, folder, options.photos // less)
        if "workers" in wanted:
            workers(ledger, paths, options.photos // GROWN // less, options.rounds)
        if "tables" in wanted:
            tables_of_many(ledger, folder / "tables", options.objects // less)
        if "again" in wanted:
            again(ledger, folder)
    ledger.table()


if __name__ == "__main__":
    main()

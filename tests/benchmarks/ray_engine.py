"""Ray with two workers on this machine, one of them killed in the middle: its tables beside those of a local run.

Needs ray (``pip install "xai-toolkit[ray]"``) and ``--data``, a VOC folder; without one of them it says so and measures
nothing. Times count from the first shard that is done, so that the start of Ray, of its workers and of the detector is
left out; the start of the worker that takes the killed one's place is not.

    python tests/benchmarks/ray_engine.py [--photos 250] [--shard 16]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from harness import DATA, Ledger

from xai import config, dataset, engines, reference, scan
from xai import own as own_attributes
from xai.detect import load
from xai.types import Dataset, Detector, PredictedOnly

TABLES = ("images", "objects", "predictions", "issues", "features")
TOLERANCE = 1e-4

NOTES = """
import os
from pathlib import Path

def seen(photo):
    with (Path(__file__).parent / "seen.txt").open("a") as file:
        file.write(f"{os.getpid()}\\n")
"""
"""An attribute without a value that writes down which process looked at a photo."""


@dataclass(frozen=True)
class Made:
    """A scan, and how it went: photos a second from the first shard on, processes by the photos that they looked at."""

    split: scan.Split
    rate: float
    looks: Counter[int]
    killed: int | None


def scanned(
    asked: config.Config, data: Dataset, detector: Detector | PredictedOnly, folder: Path, *, kill: bool
) -> Made:
    """Scan a split; with ``kill`` end one of the processes that do it once a quarter of the photos is done."""
    notes = folder.parent / "seen.txt"
    notes.write_text("")
    marks: list[tuple[float, int]] = []
    killed: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if done >= scan.SHARD_SIZE and (not marks or done > marks[-1][1]):
            marks.append((time.perf_counter(), done))
        if kill and not killed and total / 4 <= done < total:
            looked = [int(pid) for pid in notes.read_text().split()]
            assert looked[-1] != os.getpid(), "a worker looks at photos, not this process"
            os.kill(looked[-1], signal.SIGKILL)  # raises where there is no such process
            killed.append(looked[-1])

    split = scan.scan(
        data,
        detector=detector,
        detect_ids=frozenset(data.image_ids),
        match_iou=asked.match.iou,
        fingerprint=reference.fingerprint(asked, detector),
        folder=folder,
        workers=2,
        progress=progress,
        attributes=own_attributes.load(asked.data.attributes),
        engine=engines.engine(asked, detector),
    )
    (start, first), (end, last) = marks[0], marks[-1]
    looks = Counter(map(int, notes.read_text().split()))
    if kill:
        assert killed, "no worker was killed: the photos were done before"
        _wait_for_end(killed[0])
    return Made(split, (last - first) / (end - start), looks, killed[0] if killed else None)


def _wait_for_end(pid: int) -> None:
    """Wait until a process that was killed is gone, so that it is known to have been."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} was killed and is still there")


def differing(one: pl.DataFrame, other: pl.DataFrame) -> int:
    """Return how many rows of two tables differ by more than rounding."""
    if one.schema != other.schema or len(one) != len(other):
        return max(len(one), len(other), 1)
    same = pl.Series([True] * len(one))
    for name, dtype in one.schema.items():
        a, b = one[name], other[name]
        if dtype.is_float():
            same &= ((a - b).abs() <= TOLERANCE).fill_null(False) | (a.is_null() & b.is_null())
        elif dtype == pl.Array:
            same &= ((a.explode() - b.explode()).abs() <= 1e-2).all() if len(a) else True
        else:
            same &= a.eq_missing(b)
    return int((~same).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA / "voc/eval")
    parser.add_argument("--weights", type=Path, default=DATA / "weights/yolo11n_coco.pt")
    parser.add_argument("--photos", type=int, default=250)
    parser.add_argument("--shard", type=int, default=16)
    arguments = parser.parse_args()
    if importlib.util.find_spec("ray") is None:
        sys.stdout.write("left out: no ray (pip install 'xai-toolkit[ray]')\n")
        return
    if not arguments.data.is_dir():
        sys.stdout.write(f"left out: no photos at {arguments.data}\n")
        return
    with tempfile.TemporaryDirectory(prefix="ray-engine-") as name:
        folder = Path(name)
        (folder / "notes.py").write_text(NOTES)
        sys.path.insert(0, name)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [name, os.environ.get("PYTHONPATH")]))
        measure(arguments, folder)


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    import ray  # not everybody has it

    scan.SHARD_SIZE = arguments.shard
    asked = config.from_dict(
        {
            "data": {
                "eval": {"path": str(arguments.data), "format": "voc"},
                "classes": {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch"},
                "attributes": ["python:notes.seen"],
            },
            "detector": {"kind": "ultralytics", "weights": str(arguments.weights)},
            "device": "cpu",
        }
    )
    data = dataset.read(arguments.data, "voc", role="eval")
    kept = data.image_ids[: arguments.photos]
    data = replace(data, image_ids=kept, labels=data.labels.filter(pl.col("image_id").is_in(kept)))
    detector = load(asked.detector, asked.device)
    data = reference.name_as_detector(data, asked.data.classes, detector.names)
    local = scanned(asked, data, detector, folder / "local", kill=False)
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False, object_store_memory=200_000_000)
    asked = asked.model_copy(update={"engine": "ray"})
    whole = scanned(asked, data, detector, folder / "whole", kill=False)
    broken = scanned(asked, data, detector, folder / "broken", kill=True)
    ray.shutdown()
    ledger = Ledger("ray_engine")
    rows = sum(len(getattr(local.split, name)) for name in TABLES)
    note = f"{len(kept)} photos in shards of {arguments.shard}, {rows:,} rows, floats within {TOLERANCE:g}"
    for title, made in (("one worker killed", broken), ("none killed", whole)):
        wrong = sum(differing(getattr(local.split, name), getattr(made.split, name)) for name in TABLES)
        ledger.add(f"rows that differ from a local run's, {title}", wrong, 0, "lower", note)
    again = sum(broken.looks.values()) - len(kept)
    workers = ", ".join(
        f"{count} by {'the killed one' if pid == broken.killed else 'another'}" for pid, count in broken.looks.items()
    )
    ledger.add("photos looked at again after the kill", again, arguments.shard, "lower", f"looked at: {workers}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    note = f"{cores} cores; local {local.rate:.2f} photos/s with 2 threads, Ray {whole.rate:.2f}"
    ledger.add("photos/s on Ray over those of a local run", whole.rate / local.rate, None, "higher", note)
    ledger.add("photos/s with one worker killed over those with none", broken.rate / whole.rate, None, "higher")
    ledger.table()


if __name__ == "__main__":
    main()

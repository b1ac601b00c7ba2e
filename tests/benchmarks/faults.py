"""What a run survives: kills at random instants, damaged labels, damaged photos.

Kills need Linux or macOS. Photos are rendered here, so that no data folder is needed:

    python tests/benchmarks/faults.py [--kills 100] [--labels 100000] [--photos 20000] [--only kills labels photos]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
import torch
from harness import Ledger
from PIL import Image

import xai
from attributes.decode import DecodeError, decode
from xai import dataset, scan, tables
from xai.exceptions import XaiError

SHARD = 4
"""Photos a shard here, so that a small world has several."""

SLOW = 10.0
"""Seconds after which a reader counts as hanging."""

FOLDER = 500
"""Damaged label files that are read as one data set, and damaged photos that are decoded in one child."""

CHILDREN = get_context("forkserver")
"""Children come from a process that has the imports and has not used them: threads do not survive a fork."""

TABLES = [*tables.TABLES, *tables.BESIDE]


@dataclass(frozen=True)
class Ended:
    """How a forked run ended: the stage that it was in, photos decoded, whether it was killed or failed."""

    stage: str
    decoded: int
    killed: bool
    failed: bool


def run(config: Path, out: Path, log: Path, after: float | None) -> Ended:
    """Triage in a child, which is killed after so many seconds if it still runs."""
    log.write_text("")
    child = CHILDREN.Process(target=_triage, args=(config, out, log))
    child.start()
    child.join(after)
    if child.is_alive():
        child.kill()
        child.join()
    lines = log.read_text().split("\n")
    stages = [line.removeprefix("stage ") for line in lines if line.startswith("stage ")]
    decoded = sum(int(line.removeprefix("decoded ")) for line in lines if line.startswith("decoded "))
    killed = child.exitcode == -signal.SIGKILL
    return Ended(stages[-1] if stages else "start", decoded, killed, child.exitcode not in (0, -signal.SIGKILL))


def _triage(config: Path, out: Path, log: Path) -> None:
    torch.set_num_threads(1)
    scan.SHARD_SIZE = SHARD
    process = scan.batch.process
    with log.open("a") as told:

        def counted(root: Path, ids: list[str], **rest: object) -> Iterator[object]:
            for batch in process(root, ids, **rest):  # type: ignore[arg-type]
                told.write(f"decoded {len(batch.image_ids) + len(batch.failures)}\n")
                told.flush()
                yield batch

        def progress(stage: str, done: int, total: int) -> None:
            told.write(f"stage {stage}\n")
            told.flush()

        scan.batch.process = counted  # type: ignore[assignment]
        xai.triage(config, out=out, progress=progress)


def kills(ledger: Ledger, count: int, folder: Path, rng: np.random.Generator) -> None:
    """Kill runs at random instants, resume them, and compare with a run that nobody killed."""
    # Only now, as the folder of the tests has folders that are named like the packages.
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from rendered import write_world

    CHILDREN.set_forkserver_preload(["xai.pipeline", "xai.detect.torchvision", "albumentations"])
    config = write_world(folder / "world")
    run(config, folder / "first", folder / "log", None)  # starts the process that the children come from
    start = time.monotonic()
    whole = run(config, folder / "whole", folder / "log", None)
    lasted = time.monotonic() - start
    if whole.failed:
        raise SystemExit("the run fails without being killed")
    stages: Counter[str] = Counter()
    equal = clean = resumed = 0
    redone: list[int] = []
    while len(redone) < count:
        out = folder / "killed"
        shutil.rmtree(out, ignore_errors=True)
        first = run(config, out, folder / "log", float(rng.uniform(0, lasted)))
        if not first.killed:
            continue  # it was done before its instant came
        second = run(config, out, folder / "log", None)
        stages[first.stage] += 1
        redone.append(first.decoded + second.decoded - whole.decoded)
        resumed += not second.failed
        equal += not second.failed and _same(folder / "whole", out)
        clean += not [path for path in out.rglob(".*")]
    places = ", ".join(f"{name} {number}" for name, number in stages.most_common())
    ledger.add("kills", count, None, "higher", f"at instants of a run of {lasted:.1f} s; in {places}")
    ledger.add("resumed after a kill", resumed / count, 1, "higher")
    ledger.add("same tables after a kill", equal / count, 1, "higher", f"{len(TABLES)} tables")
    ledger.add("no temporary file left", clean / count, 1, "higher")
    ledger.add("photos decoded twice", max(redone), SHARD, "lower", f"most of {count}, at {SHARD} photos a shard")


def _same(left: Path, right: Path) -> bool:
    return all(tables.read(left, name).equals(tables.read(right, name)) for name in TABLES)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, cut, repeat, insert or overwrite a part of a file."""
    kind = int(rng.integers(5))
    raw = bytearray(data)
    place, length = int(rng.integers(len(raw))), int(rng.integers(1, 24))
    if kind == 0:
        for at in rng.integers(len(raw), size=int(rng.integers(1, 12))).tolist():
            raw[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del raw[place:]
    elif kind == 2:
        raw[place:place] = raw[place : place + length]
    elif kind == 3:
        raw[place:place] = rng.bytes(length)
    else:
        raw[place : place + length] = rng.bytes(length)
    return bytes(raw)


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def labels(ledger: Ledger, count: int, folder: Path, rng: np.random.Generator) -> None:
    """Read damaged label files of all formats, a data set of ``FOLDER`` at a time; COCO files one by one."""
    outcome: Counter[str] = Counter()
    for name, write, share in (("voc", _voc, 0.6), ("yolo", _yolo, 0.39), ("coco", _coco, 0.01)):
        left = max(int(count * share), 1)
        while left:
            files = 1 if name == "coco" else min(FOLDER, left)
            left -= files
            root = folder / name
            shutil.rmtree(root, ignore_errors=True)
            told = write(root, files, rng)
            try:
                with limit(SLOW * files if files > 1 else SLOW):
                    read = dataset.read(root, format=name, role="eval")
            except XaiError:
                outcome["refused with a message"] += files
            except TimeoutError:
                outcome["hang"] += files
            except Exception as error:  # whatever it is, it is a crash
                outcome["crash"] += files
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            else:
                outcome["read"] += files
                outcome["lost or invented"] += told is not None and _unaccounted(read, told)
    ledger.add("damaged label files", count, None, "higher", ", ".join(f"{k} {v}" for k, v in outcome.items()))
    ledger.add("crashes of label readers", outcome["crash"], 0, "lower")
    ledger.add("label readers that hang", outcome["hang"], 0, "lower", f"over {SLOW:.0f} s a file")
    ledger.add(
        "label rows lost or invented", outcome["lost or invented"], 0, "lower", "of YOLO lines, which can be counted"
    )


def _unaccounted(read: object, rows: int) -> int:
    """Lines that became neither an object nor an issue, or that nobody wrote."""
    found = read.labels.height + read.issues.filter(pl.col("line").is_not_null()).height  # type: ignore[attr-defined]
    both = read.issues.filter(pl.col("object_id").is_not_null() & pl.col("line").is_not_null())  # type: ignore[attr-defined]
    kept = read.labels.select("image_id", "object_id")  # type: ignore[attr-defined]
    return abs(found - both.join(kept, on=["image_id", "object_id"], how="semi").height - rows)


_XML = """<annotation><filename>{name}.jpg</filename><size><width>64</width><height>48</height><depth>3</depth></size>
<object><name>car</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>4</xmin><ymin>5</ymin><xmax>30.5</xmax><ymax>40</ymax></bndbox></object>
<object><name>person</name><bndbox><xmin>8</xmin><ymin>9</ymin><xmax>20</xmax><ymax>33</ymax></bndbox></object>
</annotation>
"""


def _photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 120, 60)).save(file, "JPEG")
    return file.getvalue()


def _voc(root: Path, count: int, rng: np.random.Generator) -> None:
    (root / "Annotations").mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    for index in range(count):
        (root / "JPEGImages" / f"{index}.jpg").write_bytes(_photo())
        (root / "Annotations" / f"{index}.xml").write_bytes(damaged(_XML.format(name=index).encode(), rng))


def _yolo(root: Path, count: int, rng: np.random.Generator) -> int:
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    (root / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [car, person]\n")
    rows = 0
    for index in range(count):
        text = "".join(
            f"{rng.integers(2)} " + " ".join(f"{value:.4f}" for value in rng.uniform(0.1, 0.5, 4)) + "\n"
            for _ in range(3)
        )
        raw = damaged(text.encode(), rng)
        (root / "images" / f"{index}.jpg").write_bytes(_photo())
        (root / "labels" / f"{index}.txt").write_bytes(raw)
        rows += sum(bool(line.strip()) for line in raw.replace(b"\r", b"\n").split(b"\n"))
    return rows


def _coco(root: Path, count: int, rng: np.random.Generator) -> None:
    root.mkdir(parents=True)
    images = [{"id": index, "file_name": f"{index}.jpg", "width": 64, "height": 48} for index in range(4)]
    boxes = [{"id": index, "image_id": index % 4, "category_id": 1, "bbox": [4, 5, 20, 30]} for index in range(12)]
    told = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "car"}]}
    for image in images:
        (root / image["file_name"]).write_bytes(_photo())
    (root / "labels.json").write_bytes(damaged(json.dumps(told).encode(), rng))


def photos(ledger: Ledger, count: int, rng: np.random.Generator) -> None:
    """Decode damaged photos of all formats, in children, so that a crash of a codec is seen."""
    outcome: Counter[str] = Counter()
    sources = _sources(rng)
    for start in range(0, count, FOLDER):
        size, seed = min(FOLDER, count - start), int(rng.integers(2**32))
        outcome += _in_child(partial(_decode_all, sources, size, seed), size)
    ledger.add("damaged photos", count, None, "higher", ", ".join(f"{k} {v}" for k, v in outcome.items()))
    ledger.add("crashes of decoders", outcome["crash"] + outcome["died"], 0, "lower")
    ledger.add("decoders that hang", outcome["hang"], 0, "lower", f"over {SLOW:.0f} s")


def _sources(rng: np.random.Generator) -> list[bytes]:
    """Photos of every format, with EXIF where a format has it."""
    picture = Image.fromarray(np.kron(rng.integers(0, 256, (24, 32, 3)), np.ones((4, 4, 1))).astype(np.uint8))
    told = Image.Exif()
    told[274], told[36867], told[271] = 6, "2026:10:01 12:00:00", "maker"
    made = []
    for form, options in (
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 60, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {}),
        ("BMP", {}),
    ):
        file = io.BytesIO()
        picture.save(file, form, **(options if form == "BMP" else {**options, "exif": told}))
        made.append(file.getvalue())
    return made


def _decode_all(sources: list[bytes], count: int, seed: int) -> Counter[str]:
    rng = np.random.default_rng(seed)
    outcome: Counter[str] = Counter()
    for _ in range(count):
        data = damaged(sources[int(rng.integers(len(sources)))], rng)
        if rng.random() < 0.1:  # the header of another format
            data = sources[int(rng.integers(len(sources)))][:64] + data[64:]
        try:
            with limit(SLOW):
                decode(data)
            outcome["read"] += 1
        except DecodeError as error:
            outcome[error.code] += 1
        except TimeoutError:
            outcome["hang"] += 1
        except Exception as error:  # whatever it is, it is a crash
            outcome["crash"] += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return outcome


def _in_child(task: Callable[[], Counter[str]], size: int) -> Counter[str]:
    """Run a task in a forked child; all its photos count as ``died`` if the child dies."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.write(writer, json.dumps(task()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return Counter(json.loads(told)) if told else Counter(died=size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="+", choices=["kills", "labels", "photos"], default=["photos", "labels", "kills"]
    )
    asked = parser.parse_args()
    ledger, rng = Ledger("faults"), np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        if "photos" in asked.only:
            photos(ledger, asked.photos, rng)
        if "labels" in asked.only:
            labels(ledger, asked.labels, Path(folder) / "labels", rng)
        if "kills" in asked.only:
            kills(ledger, asked.kills, Path(folder), rng)
    ledger.table()


if __name__ == "__main__":
    main()

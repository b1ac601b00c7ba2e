"""Damaged label files and photos in bulk: read by the readers of data sets, decoded in children."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from harness import Ledger
from PIL import Image

from attributes.decode import DecodeError, decode
from xai import config, dataset
from xai.exceptions import ConfigError, XaiError

SLOW = 10.0
"""Seconds after which a reader counts as hanging."""

FOLDER = 500
"""Damaged label files that are read as one data set, and damaged photos that are decoded in one child."""


def damaged(data: bytes, rng: np.random.Generator, within: int | None = None) -> bytes:
    """Flip bits, cut, repeat, insert or overwrite a part of a file, or of its first bytes."""
    kind = int(rng.integers(5))
    raw = bytearray(data)
    reach = min(len(raw), within or len(raw))
    place, length = int(rng.integers(reach)), int(rng.integers(1, 24))
    if kind == 0:
        for at in rng.integers(reach, size=int(rng.integers(1, 12))).tolist():
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
                with limit(SLOW):
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
    ledger.add(
        "label readers that hang",
        outcome["hang"],
        0,
        "lower",
        f"over {SLOW:.0f} s for up to {FOLDER} files: all of them count",
    )
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


CONFIG = """# Seven out of ten keys
data:
  train: {path: train, format: voc, is_training_set: false, detect: 20, label_frame: auto}
  eval: {path: eval, format: yolo, split: val}
  classes: {aeroplane: airplane, "tv": tvmonitor}
  max_bad: 0.05
  attributes: ["python:mine.warmth"]
detector: {kind: torchvision, weights: w.pt, score_threshold: 0.25, nms_iou: 0.7, image_size: 640, exif: apply}
match: {iou: 0.5}
promise: {recall: 0.90, confidence: 0.95}
explain: {budget: 40, maps: 20, repairs: true, stress: 0}
report: &title
  title: "Why?"
  cost_per_miss: 12.5
seed: 7
"""
"""A config with most kinds of values."""


def configs(ledger: Ledger, count: int, folder: Path, rng: np.random.Generator) -> None:
    """Load damaged configs one by one."""
    outcome: Counter[str] = Counter()
    folder.mkdir(parents=True)
    file = folder / "config.yaml"
    for _ in range(count):
        file.write_bytes(damaged(CONFIG.encode(), rng))
        try:
            with limit(SLOW):
                config.load(file)
            outcome["loaded"] += 1
        except ConfigError as error:
            outcome["refused with a message" if len(str(error)) < 3000 else "endless message"] += 1
        except TimeoutError:
            outcome["hang"] += 1
        except Exception as error:  # whatever it is, it is a crash
            outcome["crash"] += 1
            print(f"config: {type(error).__name__}: {error}", file=sys.stderr)
    ledger.add("damaged configs", count, None, "higher", ", ".join(f"{k} {v}" for k, v in outcome.items()))
    wrong = outcome["crash"] + outcome["hang"] + outcome["endless message"]
    ledger.add("configs that crash, hang or are told at length", wrong, 0, "lower")


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


def _decode_all(sources: list[bytes], count: int, seed: int, sign: Callable[[], object] = lambda: None) -> Counter[str]:
    rng = np.random.default_rng(seed)
    outcome: Counter[str] = Counter()
    for _ in range(count):
        # A third of the damage lies where headers and EXIF are.
        within = 300 if rng.random() < 1 / 3 else None
        data = damaged(sources[int(rng.integers(len(sources)))], rng, within)
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
        sign()
    return outcome


def _in_child(task: Callable[[Callable[[], object]], Counter[str]], size: int) -> Counter[str]:
    """Run a task in a forked child; all its photos count as ``died`` if the child dies, as ``hang`` if it goes silent.

    A codec that hangs does not hear the alarm of its own process, so that the parent waits for a sign of each photo.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            counted = task(lambda: os.write(writer, b"."))
            os.write(writer, json.dumps(counted).encode())
        finally:
            os._exit(0)
    os.close(writer)
    told, part = b"", b"."
    while part and select.select([reader], [], [], 2 * SLOW)[0]:
        part = os.read(reader, 4096)
        told += part
    os.kill(child, signal.SIGKILL)  # where it has ended, this is of a process that nobody has waited for
    os.close(reader)
    os.waitpid(child, 0)
    answer = told.lstrip(b".")
    return Counter(json.loads(answer)) if answer else Counter(**{"hang" if part else "died": size})

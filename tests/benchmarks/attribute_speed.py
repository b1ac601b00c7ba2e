"""How fast the attributes are, as ratios measured in one run on 640×480 photos of JPEG quality 90.

Everything but the two workers runs on one core, and seconds there are those that the core worked for the task, so that
other processes hardly matter. Against cleanvision, where another Python has it:

    python -m venv peer && peer/bin/pip install cleanvision==0.3.7
    python tests/benchmarks/attribute_speed.py --cleanvision peer/bin/python

`--profile` prints instead what each attribute costs alone, as the catalog states it.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import process_time

import cv2
import numpy as np
import simplejpeg
from harness import DATA, Ledger, interleave
from PIL import Image

from attributes import ATTRIBUTES, measure, read, tag
from attributes.extract import BATCH_SIZE

SIZE = (640, 480)
QUALITY = 90
IMAGE = [name for name, attribute in ATTRIBUTES.items() if attribute.level == "image"]
PHOTOMETRIC = [name for name in IMAGE if name not in ("rotation", "roll", "pitch")]
BOXES = 8
_MANY_TAGGED = 3000  # starting two processes costs some 0.45 s, a tenth of a thousand photos

# Exact and near duplicates are left out: they compare photos with each other, which is no property of a photo.
PEER = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[2])})
from cleanvision import Imagelab
kinds = ("light", "dark", "blurry", "grayscale", "low_information", "odd_aspect_ratio", "odd_size")
start = time.process_time()
Imagelab(data_path=sys.argv[1]).find_issues({kind: {} for kind in kinds}, n_jobs=1, verbose=False)
print("seconds", time.process_time() - start)
"""

# The peaks of the process that tags and of those that it starts. Of each alone: what getrusage tells includes the peak
# of the process that started it.
MEMORY = """
import os, sys
from pathlib import Path
from attributes import tag

peaks = {}

def look(done, total):
    pid = os.getpid()
    tasks = Path(f"/proc/{pid}/task")
    for process in {pid}.union(*(map(int, (task / "children").read_text().split()) for task in tasks.iterdir())):
        status = Path(f"/proc/{process}/status").read_text()
        peaks[process] = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

table = tag(Path(sys.argv[1]), workers=2, progress=look)
assert table["status"].eq("ok").all()
look(0, 0)
print(len(peaks), "processes: kilobytes", sum(peaks.values()))
"""


def make_photos(data: Path, folder: Path, count: int) -> list[Path]:
    """Write photos of the size and quality measured, from landscape photos at hand, or drawn ones where there are none.

    Args:
        data: folder with york and coco.
        folder: to write to.
        count: of photos.
    """
    paths: list[Path] = []
    sources = sorted(data.glob("york/*.jpg")) + sorted(data.glob("coco/images/**/*.jpg"))
    for source in sources:
        image = Image.open(source).convert("RGB")
        if image.width >= SIZE[0] and image.height >= 424 and len(paths) < count:
            path = folder / f"{len(paths):05d}.jpg"
            image.resize(SIZE, Image.Resampling.LANCZOS).save(path, quality=QUALITY)
            paths.append(path)
    for seed in range(len(paths), count if not paths else len(paths)):
        path = folder / f"{seed:05d}.jpg"
        Image.fromarray(_drawn(seed)).save(path, quality=QUALITY)
        paths.append(path)
    return paths


def _drawn(seed: int) -> np.ndarray:
    """Texture of all scales, as fine as a photo's."""
    generator = np.random.default_rng(seed)
    photo = np.full((SIZE[1], SIZE[0], 3), 120.0)
    for step in (1, 2, 4, 8, 16, 32, 64):
        grain = generator.normal(0, 3 * step**0.6, (-(-SIZE[1] // step), -(-SIZE[0] // step), 3))
        photo += cv2.resize(grain, SIZE, interpolation=cv2.INTER_CUBIC)
    return photo.clip(0, 255).astype(np.uint8)


def decoders(paths: Sequence[Path]) -> dict[str, Callable[[], object]]:
    """Decoders at hand that give the exact pixels, each reading all files to RGB."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    torch.set_num_threads(1)

    def pillow(path: Path) -> object:
        return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))

    def opencv(path: Path) -> object:
        return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)

    each: dict[str, Callable[[Path], object]] = {
        "simplejpeg": lambda path: simplejpeg.decode_jpeg(path.read_bytes(), "RGB"),
        "OpenCV": opencv,
        "Pillow": pillow,
        "torchvision": lambda path: decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB),
    }
    return {name: lambda one=one: _for_each(one, paths) for name, one in each.items()}


def _for_each(work: Callable[[Path], object], paths: Sequence[Path]) -> None:
    for path in paths:  # each photo is dropped before the next one comes, whose memory is then at hand
        work(path)


@contextmanager
def one_core() -> Iterator[int]:
    """Keep this process on one core; gives the core's number."""
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


def throughput(ledger: Ledger, paths: Sequence[Path], peer: Path | None, rounds: int) -> None:
    """End to end from files on one core: against decoding alone, and against the peer."""
    tasks = decoders(paths)
    tasks["photometric"] = lambda: tag(paths, workers=1, names=PHOTOMETRIC)
    tasks["everything"] = lambda: tag(paths, workers=1)
    with one_core() as core:
        seconds = interleave(tasks, rounds, process_time)
        # Started here, so that the two share what the machine does meanwhile.
        against = min(_peer(peer, paths[0].parent, core) for _ in range(2)) if peer is not None else None
    fastest = min(("simplejpeg", "OpenCV", "Pillow", "torchvision"), key=seconds.__getitem__)
    note = f"{fastest} {_rate(paths, seconds[fastest])}; " + ", ".join(
        f"{name} {_rate(paths, seconds[name])}" for name in tasks if name != fastest
    )
    for name, least in (("photometric", 0.6), ("everything", 0.2)):
        ledger.add(f"{name} / decoding alone", seconds[fastest] / seconds[name], least, "higher", note)
    if against is None:
        print("no --cleanvision given: that comparison is left out", file=sys.stderr)
        return
    for name, least in (("photometric", 10), ("everything", 4)):
        note = f"cleanvision {_rate(paths, against)}, without its comparison of photos with each other"
        ledger.add(f"{name} / cleanvision", against / seconds[name], least, "higher", note)


def _rate(paths: Sequence[Path], seconds: float) -> str:
    return f"{len(paths) / seconds:.0f}/s"


def importing(ledger: Ledger, rounds: int) -> None:
    """What a process waits for before its first photo, on one core, beside the libraries that every photo needs."""
    code = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
    modules = ("attributes", "cv2, numpy, simplejpeg")
    each: dict[str, list[float]] = {names: [] for names in modules}
    with one_core():
        for _ in range(max(rounds, 3)):
            for names in modules:
                each[names].append(_number([sys.executable, "-c", code.format(names)]))
    seconds, libraries = (min(each[names]) for names in modules)
    note = f"{seconds / libraries:.2f} times its libraries alone"
    ledger.add("import attributes, seconds", seconds, 0.3, "lower", note)


def _peer(python: Path, folder: Path, core: int) -> float:
    return _number([str(python), "-c", PEER, str(folder), str(core)])


def _number(command: Sequence[str]) -> float:
    """The number at the end of a script's output."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"expected {command[0]} to measure, got {done.stderr.strip()[-2000:]}")
    return float(done.stdout.split()[-1])


def _measure_all(paths: Sequence[Path], boxes: Sequence[np.ndarray] | None, names: Sequence[str] | None) -> None:
    for start in range(0, len(paths), BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        photos = [read(path).pixels for path in paths[batch]]
        measure(photos, None if boxes is None else boxes[batch], names=names)


def drawn_boxes(count: int) -> list[np.ndarray]:
    """Boxes of all sizes for each photo, as detection data sets have them."""
    generator = np.random.default_rng(0)
    boxes = []
    for _ in range(count):
        side = 10 ** generator.uniform(1.2, 2.4, (BOXES, 2))
        corner = generator.uniform(0, 1, (BOXES, 2)) * (np.array(SIZE) - side)
        boxes.append(np.concatenate([corner, corner + side], axis=1))
    return boxes


def objects(ledger: Ledger, paths: Sequence[Path], rounds: int) -> None:
    """What the attributes of objects add to those of photos, decoding included."""
    boxes = drawn_boxes(len(paths))
    tasks: dict[str, Callable[[], object]] = {
        "photos": lambda: _measure_all(paths, None, IMAGE),
        "both": lambda: _measure_all(paths, boxes, None),
    }
    with one_core():
        seconds = interleave(tasks, rounds, process_time)
    added = 1000 * (seconds["both"] - seconds["photos"]) / len(paths)
    note = f"{added:.2f} ms for {BOXES} boxes a photo, on {1000 * seconds['photos'] / len(paths):.2f} ms"
    ledger.add("added by objects", seconds["both"] / seconds["photos"] - 1, 0.15, "lower", note)


def workers(ledger: Ledger, paths: Sequence[Path], rounds: int) -> None:
    """Two workers against one, where there are two cores, on so many photos that starting them hardly counts."""
    if len(os.sched_getaffinity(0)) < 2:
        print("one core only: two workers are not measured", file=sys.stderr)
        return
    paths = [*paths] * -(-_MANY_TAGGED // len(paths))
    tasks: dict[str, Callable[[], object]] = {
        f"{count} {kind}": lambda count=count, names=names: tag(paths, workers=count, names=names)
        for kind, names in (("photometric", PHOTOMETRIC), ("everything", None))
        for count in (1, 2)
    }
    # What the machine allows: two cores may share their caches, or be two threads of one.
    tasks |= {f"{count} decoding": lambda count=count: _decode_all(paths, count) for count in (1, 2)}
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    seconds = interleave(tasks, rounds)
    cv2.setNumThreads(threads)
    limit = seconds["1 decoding"] / seconds["2 decoding"]
    for kind in ("everything", "photometric"):
        gain = seconds[f"1 {kind}"] / seconds[f"2 {kind}"]
        note = f"{len(os.sched_getaffinity(0))} cores at hand, on which two threads that only decode gain {limit:.2f}"
        ledger.add(f"two workers / one, {kind}", gain, 1.8, "higher", note)


def _decode_all(paths: Sequence[Path], count: int) -> None:
    """Decode all files in some threads, without holding Python's lock."""
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(_for_each, read, paths[start::count]) for start in range(count)]:
            done.result()


def memory(ledger: Ledger, paths: Sequence[Path], folder: Path, many: int) -> None:
    """Peak memory of tagging many photos, which are hard links to a few, against that of a thousand."""
    peaks = []
    for count in (1000, many):
        links = folder / f"links_{count}"
        links.mkdir()
        for index in range(count):
            os.link(paths[index % len(paths)], links / f"{index:06d}.jpg")
        peaks.append(_number([sys.executable, "-c", MEMORY, str(links)]) / 1024)
        shutil.rmtree(links)
    note = f"{peaks[0]:.0f} MiB for 1,000 photos, {peaks[1]:.0f} MiB for {many:,}, two workers, the table included"
    ledger.add(f"peak memory, {many:,} / 1,000 photos", peaks[1] / peaks[0], 1.1, "lower", note)


def profile(paths: Sequence[Path], rounds: int) -> None:
    """Print what each attribute costs alone: what others need too included, decoding not."""
    photos = [read(path).pixels for path in paths]
    boxes = drawn_boxes(len(photos))
    batches = [slice(start, start + BATCH_SIZE) for start in range(0, len(photos), BATCH_SIZE)]
    groups = {name: [name] for name in ATTRIBUTES} | {"photometric": PHOTOMETRIC, "image": IMAGE}
    tasks: dict[str, Callable[[], object]] = {
        group: lambda names=names: [measure(photos[part], boxes[part], names=names) for part in batches] and None
        for group, names in groups.items()
    }
    with one_core():
        seconds = interleave(tasks, rounds, process_time)
    for group, value in seconds.items():
        print(f"{group:<18} {1000 * value / len(photos):8.3f} ms")


def main() -> None:
    """Make the photos, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with york and coco; drawn photos without it")
    parser.add_argument("--cleanvision", type=Path, help="a Python that has cleanvision 0.3.7")
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--many", type=int, default=20_000, help="photos of which memory is measured; 0 for none")
    parser.add_argument("--profile", action="store_true", help="print what each attribute costs, and stop")
    arguments = parser.parse_args()
    ledger = Ledger("attribute_speed")
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        paths = make_photos(arguments.data, photos, arguments.photos)
        if arguments.profile:
            profile(paths, arguments.rounds)
            return
        importing(ledger, arguments.rounds)
        throughput(ledger, paths, arguments.cleanvision, arguments.rounds)
        objects(ledger, paths, arguments.rounds)
        workers(ledger, paths, min(arguments.rounds, 3))
        if arguments.many:
            memory(ledger, paths, Path(folder), arguments.many)
    ledger.table()


if __name__ == "__main__":
    main()

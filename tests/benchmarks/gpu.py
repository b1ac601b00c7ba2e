"""What runs on a GPU and how fast, with the limits beside it: one command, its own photos, a few minutes.

Needs torch, torchvision or torchcodec, NumPy, OpenCV, Pillow and simplejpeg; no data, no network.

    python tests/benchmarks/gpu.py [--device cuda] [--photos 2048] [--parts tagging]
    python tests/benchmarks/gpu.py --device cpu --photos 64     # proves that it runs, where there is no GPU

Its figures on a CPU say nothing: there the same attributes come from arrays, many times faster.

A part is a function of a `Bench` in `PARTS`; each prints its figures when it has them, so that a run that is cut short
loses only what was still to come.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from harness import Ledger
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from attributes.decode import decode
from attributes.extract import in_order, measure
from attributes.tensors.jpeg import decode_jpegs, gpu_decoder
from attributes.tensors.measure import PHOTOMETRIC, photometric, photometric_of_arrays
from attributes.tensors.stream import stream

HEIGHT, WIDTH, QUALITY = 480, 640, 90
DISTINCT = 64
"""Photos that are drawn; more are the same files again, which no step here can tell."""

BATCH = {"cuda": 64, "cpu": 16}
ROUNDS = {"cuda": 5, "cpu": 1}
TARGET = 5000.0
"""Photos a second end to end on an H200."""


@dataclass(frozen=True)
class Bench:
    """What the parts share.

    Attributes:
        ledger: takes the figures.
        device: where to measure.
        files: bytes of the photos.
        workers: threads.
    """

    ledger: Ledger
    device: torch.device
    files: Sequence[bytes]
    workers: int

    @property
    def batches(self) -> list[Sequence[bytes]]:
        """The files in batches."""
        size = BATCH[self.device.type]
        return [self.files[start : start + size] for start in range(0, len(self.files), size)]

    def wait(self) -> None:
        """Wait until the device has done what it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, task: Callable[[], object], most: int = 5) -> float:
        """Median wall seconds of a task, the device's work included, after one unmeasured run on a GPU."""
        found = []
        rounds, unmeasured = min(most, ROUNDS[self.device.type]), int(self.device.type == "cuda")
        for _ in range(unmeasured + rounds):
            self.wait()
            start = time.perf_counter()
            task()
            self.wait()
            found.append(time.perf_counter() - start)
        return median(found[unmeasured:])

    def add(self, metric: str, value: float, note: str = "", target: float | None = None) -> None:
        """Take a figure of which more is better; its target holds on a GPU only."""
        self.ledger.add(metric, value, target if self.device.type == "cuda" else None, "higher", note)


def draw_photos(count: int) -> list[bytes]:
    """JPEG files of textures of all scales with edges, lights and noise in them."""
    files = []
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    for seed in range(min(count, DISTINCT)):
        generator = np.random.default_rng(seed)
        photo = np.full((HEIGHT, WIDTH, 3), generator.uniform(60, 160), np.float32)
        for step in (1, 2, 4, 8, 16, 32, 64):
            grain = generator.normal(0, 3 * step**0.6, (-(-HEIGHT // step), -(-WIDTH // step), 3)).astype(np.float32)
            photo += cv2.resize(grain, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        for _ in range(20):
            corner, side = generator.uniform(0, 0.9, 2) * [WIDTH, HEIGHT], generator.uniform(10, 150, 2)
            (left, top), (right, bottom) = corner.astype(int).tolist(), (corner + side).astype(int).tolist()
            photo[top:bottom, left:right] += generator.uniform(-70, 70, 3).astype(np.float32)
        light = np.hypot(x - generator.uniform(0, WIDTH), y - generator.uniform(0, HEIGHT))
        photo += (generator.uniform(0, 200) * np.exp(-light / 60))[..., None]
        levels = photo.clip(0, 255).astype(np.uint8)
        files.append(cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
    return [files[index % len(files)] for index in range(count)]


def bandwidth(bench: Bench) -> float:
    """Bytes a second that the device reads and writes when it copies memory."""
    source = torch.empty(256 << 20 if bench.device.type == "cuda" else 32 << 20, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    copies = 20
    seconds = bench.seconds(lambda: [target.copy_(source) for _ in range(copies)])
    bench.add("memory: copied, GB/s", 2 * copies * len(source) / seconds / 1e9, "read and written")
    return 2 * copies * len(source) / seconds


def tagging(bench: Bench) -> None:
    """Photometric attributes: same values as arrays, each step alone, end to end, and what limits it."""
    pixels = [decode(file).pixels for file in bench.batches[0]]
    agreement(bench, pixels)
    n_photos, n_bytes = len(bench.files), HEIGHT * WIDTH * 3
    speed = bandwidth(bench)
    host = torch.from_numpy(np.stack(pixels))
    if bench.device.type == "cuda":
        host = host.pin_memory()
        seconds = bench.seconds(lambda: host.to(bench.device, non_blocking=True))
        bench.add("one transfer, photos/s", len(pixels) / seconds, f"{host.numel() / seconds / 1e9:.1f} GB/s, pinned")
    photos = host.to(bench.device).movedim(-1, 1).contiguous()
    seconds = bench.seconds(lambda: photometric(photos))
    limit = speed / n_bytes
    note = (
        f"{limit:,.0f}/s would read each photo once at the speed of memory: {len(pixels) / seconds / limit:.1%} of it"
    )
    bench.add("measuring decoded photos, photos/s", len(pixels) / seconds, note)

    def decode_on_cpu() -> None:
        with ThreadPoolExecutor(bench.workers) as pool:
            for _ in in_order(
                pool, lambda batch: [decode(file) for file in batch], bench.batches, ahead=2 * bench.workers
            ):
                pass

    def decode_on_device() -> None:
        with ThreadPoolExecutor(bench.workers) as pool:
            work = lambda batch: len(decode_jpegs(batch, bench.device))  # noqa: E731
            for _ in in_order(pool, work, bench.batches, ahead=2 * bench.workers):
                pass

    def from_cpu() -> None:
        def work(batch: Sequence[bytes]) -> object:
            return photometric_of_arrays([decode(file).pixels for file in batch], bench.device)

        with ThreadPoolExecutor(bench.workers) as pool:
            for _ in in_order(pool, work, bench.batches, ahead=2 * bench.workers):
                pass

    how = f"{bench.workers} threads"
    decoder = gpu_decoder() if bench.device.type == "cuda" else None
    name = getattr(decoder, "__module__", "none") if decoder else "none at hand"
    cpu_only = n_photos / bench.seconds(decode_on_cpu, 2)
    bench.add("decoding alone on the CPU, photos/s", cpu_only, how)
    device_only = n_photos / bench.seconds(decode_on_device, 2)
    bench.add("decoding alone on the device, photos/s", device_only, f"{how}; decoder of the GPU: {name}")
    mixed = n_photos / bench.seconds(from_cpu, 2)
    bench.add(
        "decoded on the CPU, measured on the device, photos/s", mixed, f"{mixed / cpu_only:.2f} of decoding alone"
    )
    whole = n_photos / bench.seconds(lambda: [*stream(bench.batches, bench.device, workers=bench.workers)], 2)
    note = f"{whole / device_only:.2f} of decoding alone on the device; {how}"
    bench.add(
        "files to attributes, photos/s", max(whole, mixed), f"the faster of both ways; on the device {note}", TARGET
    )
    profile(bench, photos)


def agreement(bench: Bench, pixels: Sequence[np.ndarray]) -> None:
    """Largest difference between tensors and arrays from the same pixels."""
    expected = measure(pixels, names=[*PHOTOMETRIC]).images
    found = photometric_of_arrays(pixels, bench.device)
    worst = {}
    for name, values in expected.items():
        if (np.isnan(values) != np.isnan(found[name])).any():
            worst[name] = float("inf")
        else:
            worst[name] = float(np.nanmax(np.abs(values - found[name]), initial=0.0))
    name = max(worst, key=lambda item: worst[item])
    bench.ledger.add("largest difference to arrays", worst[name], 1e-3, "lower", f"{name}; {len(pixels)} photos")


def profile(bench: Bench, photos: Tensor) -> None:
    """Print where the device's time goes, attribute by attribute and kernel by kernel."""
    print("\nmilliseconds a photo, each attribute alone:")
    for name in PHOTOMETRIC:
        seconds = bench.seconds(lambda name=name: photometric(photos, names=[name]), 3)
        print(f"  {name:<14} {1000 * seconds / len(photos):.4f}")
    cuda = bench.device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU] + ([torch.profiler.ProfilerActivity.CUDA] if cuda else [])
    photometric(photos)
    bench.wait()
    start = time.perf_counter()
    with torch.profiler.profile(activities=kinds) as found:
        photometric(photos)
        bench.wait()
    wall = time.perf_counter() - start
    by = "self_device_time_total" if cuda else "self_cpu_time_total"
    events = found.key_averages()
    print(events.table(sort_by=by, row_limit=15, max_name_column_width=60))
    busy = sum(getattr(event, by) for event in events) / 1e6
    launches = sum(event.count for event in events if "aunchKernel" in event.key)
    print(f"busy {busy * 1000:.2f} ms of {wall * 1000:.2f} ms under the profiler, {launches} kernels launched\n")


PARTS: dict[str, Callable[[Bench], None]] = {"tagging": tagging}


def main() -> None:
    """Draw the photos, run the parts, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--photos", type=int, help="default: 2048 on a GPU, else 64")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("expected a CUDA device, found none; --device cpu runs the same code without one")
    n_photos = arguments.photos or (2048 if device.type == "cuda" else 64)
    cv2.setNumThreads(1)
    bench = Bench(Ledger("gpu"), device, draw_photos(n_photos), arguments.workers)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    print(f"{name}, torch {torch.__version__}, {n_photos} photos of {WIDTH}×{HEIGHT}, quality {QUALITY}")
    start = time.perf_counter()
    for part in arguments.parts:
        PARTS[part](bench)
    bench.ledger.add("seconds", time.perf_counter() - start, 480, "lower")
    bench.ledger.table()


if __name__ == "__main__":
    main()

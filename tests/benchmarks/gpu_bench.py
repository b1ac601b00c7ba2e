"""What the parts of ``gpu.py`` share: photos that are drawn, clocks, the table."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from harness import Ledger

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the project is not installed

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

    def profile(self, task: Callable[[], object], rows: int = 15) -> None:
        """Print where a task's time goes, kernel by kernel, and how much of it the device works."""
        cuda = self.device.type == "cuda"
        kinds = [torch.profiler.ProfilerActivity.CPU] + ([torch.profiler.ProfilerActivity.CUDA] if cuda else [])
        task()
        self.wait()
        start = time.perf_counter()
        with torch.profiler.profile(activities=kinds) as found:
            task()
            self.wait()
        wall = time.perf_counter() - start
        by = "self_device_time_total" if cuda else "self_cpu_time_total"
        events = found.key_averages()
        print(events.table(sort_by=by, row_limit=rows, max_name_column_width=60))
        busy = sum(getattr(event, by) for event in events) / 1e6
        launches = sum(event.count for event in events if "aunchKernel" in event.key)
        waits = sum(event.count for event in events if "Synchronize" in event.key or event.key == "aten::item")
        print(f"busy {busy * 1000:.2f} ms of {wall * 1000:.2f} ms under the profiler, ", end="")
        print(f"{launches} kernels launched, {waits} waits for the device\n")


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

"""What runs on a GPU and how fast, with the limits beside it: one command, its own photos, a few minutes.

Needs torch, torchvision, NumPy, OpenCV, Pillow and simplejpeg; torchcodec, where it is there, decodes on the GPU, and
heat maps need captum. No data, no network, no installation.

    python tests/benchmarks/gpu.py [--device cuda] [--photos 2048] [--parts tagging triage explaining]
    python tests/benchmarks/gpu.py --device cpu --photos 64     # proves that it runs, where there is no GPU

Tagging on a CPU says nothing: there the same attributes come from arrays, many times faster.

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
from importlib.util import find_spec

import cv2
import numpy as np
import torch
from gpu_bench import HEIGHT, QUALITY, TARGET, WIDTH, Bench, draw_photos
from gpu_detecting import explaining, triage
from harness import Ledger
from torch import Tensor

from attributes.decode import decode
from attributes.extract import in_order, measure
from attributes.tensors.jpeg import decode_jpegs, gpu_decoder
from attributes.tensors.measure import PHOTOMETRIC, photometric, photometric_of_arrays
from attributes.tensors.stream import stream


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
    bench.profile(lambda: photometric(photos))


PARTS: dict[str, Callable[[Bench], None]] = {"tagging": tagging, "triage": triage, "explaining": explaining}


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
        if part == "explaining" and find_spec("captum") is None:
            print("captum is not installed: heat maps are left out", file=sys.stderr)
            continue
        PARTS[part](bench)
    bench.ledger.add("seconds", time.perf_counter() - start, 480, "lower")
    bench.ledger.table()


if __name__ == "__main__":
    main()

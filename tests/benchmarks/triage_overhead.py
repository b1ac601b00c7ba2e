"""What a triage costs beyond plain batched inference of the same detector on the same photos.

Plain inference: decode, preprocess, forward, threshold and non-maximum suppression in batches of the same size, with
the next batch decoding meanwhile. Triage: everything from labels to report; the reference set comes as a profile and
experiments are off, as both depend on what is asked for. Runs take turns; threads are those of a default run.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from harness import Ledger, chunks, interleave

from attributes.decode import read
from xai import config, detect, pipeline, question
from xai.batch import BATCH_SIZE, FORWARD_SIZE
from xai.types import Detector

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "voc.yaml"
TARGET = 0.25


def plain_inference(detector: Detector, paths: list[Path]) -> int:
    """Detect objects in photos, batch by batch; return how many."""
    count = 0
    with ThreadPoolExecutor() as pool, torch.no_grad():
        batches = chunks(paths, BATCH_SIZE)
        upcoming = [pool.submit(read, path) for path in batches[0]]
        for position in range(len(batches)):
            current = upcoming
            following = batches[position + 1] if position + 1 < len(batches) else []
            upcoming = [pool.submit(read, path) for path in following]
            groups = detector.prepare([future.result().pixels for future in current])
            size = FORWARD_SIZE[groups[0].inputs.device.type]
            for prepared in (part for group in groups for part in group.parts(size)):
                found = detector.select(detector.forward(prepared.inputs), prepared)
                count += sum(map(len, found))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    wanted = config.load(arguments.config, ["explain.repairs=false", "explain.maps=0", "explain.budget=0"])
    data = question.read(wanted).data
    paths = [data.root / image_id for image_id in data.image_ids]
    detector = detect.load(wanted.detector, wanted.device)
    folder = Path(tempfile.mkdtemp())
    try:
        pipeline.profile(
            wanted.data.train.path, out=folder / "profile", format=wanted.data.train.format,
            split=wanted.data.train.split, config=wanted,
        )  # fmt: skip
        train = wanted.data.train.model_copy(update={"path": None, "format": None, "profile": folder / "profile"})
        wanted = wanted.model_copy(update={"data": wanted.data.model_copy(update={"train": train})})

        def triage() -> None:
            shutil.rmtree(folder / "run", ignore_errors=True)
            pipeline.triage(wanted, out=folder / "run")

        seconds = interleave(
            {"plain": lambda: plain_inference(detector, paths), "triage": triage}, rounds=arguments.rounds
        )
    finally:
        shutil.rmtree(folder)
    ledger = Ledger("triage_overhead")
    note = (
        f"{len(paths)} photos, {torch.get_num_threads()} torch threads: plain {seconds['plain']:.1f} s, "
        f"triage {seconds['triage']:.1f} s, median of {arguments.rounds}"
    )
    ledger.add("triage / plain inference - 1", seconds["triage"] / seconds["plain"] - 1, TARGET, "lower", note)
    ledger.table()


if __name__ == "__main__":
    main()

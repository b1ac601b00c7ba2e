"""How accurate the attributes are: against known angles, drawn masks, planted changes and annotators' flags.

Photos are split into two halves by name. Thresholds and heads were tuned on the halves named "tune" (and on `voc/train`
for quarter turns); every figure here is of the halves named "report". Seeds are fixed, samples are named in the notes.

    python tests/benchmarks/attribute_accuracy.py [--data ../shared/data] [--pictures FOLDER] [--no-detector]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import accuracy_angles as angles
import accuracy_glare as glares
import accuracy_objects as objects
import accuracy_tones as tones
import cv2
from harness import DATA, Ledger


def main() -> None:
    """Measure everything on one core and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with voc, coco, york, glare and weights")
    parser.add_argument("--pictures", type=Path, help="folder for cross_talk.png and box_size.png")
    parser.add_argument("--no-detector", action="store_true", help="leave out what needs xai and a checkpoint")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    start = time.perf_counter()
    ledger = Ledger("attribute_accuracy")
    parts = [
        angles.roll,
        angles.pitch,
        angles.rotation,
        glares.against_masks,
        glares.severity,
        glares.planted,
        objects.truncations,
        tones.bin_errors,
    ]
    for part in parts:
        part(ledger, arguments.data)
    by_side = objects.small_boxes(ledger, arguments.data)
    moved = tones.follow(arguments.data)
    tones.report(ledger, moved)
    if arguments.pictures is not None:
        import accuracy_picture

        accuracy_picture.cross_talk(moved, arguments.pictures / "cross_talk.png")
        accuracy_picture.box_size(by_side, arguments.pictures / "box_size.png")
    if not arguments.no_detector:
        import accuracy_detector
        import torch

        torch.set_num_threads(1)
        detector = accuracy_detector.load(arguments.data)
        accuracy_detector.rotation(ledger, arguments.data, detector)
        accuracy_detector.label_frames(ledger, arguments.data, detector)
    ledger.add("seconds", time.perf_counter() - start, 360, "lower", "one core")
    ledger.table()


if __name__ == "__main__":
    main()

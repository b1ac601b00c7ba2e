"""How well heat maps tell what a detector uses, on found objects and on misses, beside plain D-RISE.

Plain D-RISE (Petsiuk et al., CVPR 2021): independent cells of a 16×16 grid, each shown or not, a pixel's weight the
mean of the target over the masks that show it; written here from the paper as a peer. Both hide behind the blurred
photo, so that only the masks and the estimate differ. Maps are judged by insertion − deletion of overlap × score over
candidates, in 12 steps on the blurred photo. At most one found object and one miss are of the same photo; intervals are
of paired differences (bootstrap).

    python tests/benchmarks/attribution.py [--data ../shared/data] [--objects 20] [--side 320] [--device cpu]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import attribution_work as work
import numpy as np
import torch
from harness import DATA, Ledger

OURS_FEW, OURS, PLAIN = 100, 400, 1000
SEEDS = 10
"""Objects on which two seeds are compared."""

AGREEMENT = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with voc and weights")
    parser.add_argument("--objects", type=int, default=20, help="found objects, and as many misses")
    parser.add_argument("--side", type=int, default=320, help="input size of the detector in px")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ledger = Ledger("attribution")
    detector = work.load(arguments.data, arguments.side, arguments.device)
    found, missed = work.choose(arguments.data, detector, arguments.objects)
    quality(ledger, detector, found, missed)
    agreement(ledger, detector, [*found[: SEEDS // 2], *missed[: SEEDS // 2]])
    suppressors(ledger, detector, found)
    costs(ledger, arguments.data, detector)
    ledger.table()


def quality(ledger: Ledger, detector: work.Detector, found: list[work.Item], missed: list[work.Item]) -> None:
    """Insertion − deletion of our maps and of plain D-RISE's, on found objects and on misses."""
    judged: dict[str, list[list[float]]] = {"found": [], "missed": []}
    undefined = 0
    for kind, items in (("found", found), ("missed", missed)):
        for item in items:
            shown = work.prepare(detector, item)
            plain, deployed = work.plain_drise(shown, PLAIN, seed=0)
            maps = torch.stack([work.ours(shown, OURS_FEW), work.ours(shown, OURS), plain, deployed])
            undefined += int(not torch.isfinite(maps[1]).all())
            judged[kind].append(work.judge(shown, maps).tolist())
    for kind, rows in judged.items():
        few, many, plain, deployed = np.array(rows).T
        note = f"{len(rows)} {kind} objects; insertion − deletion {few.mean():.3f}, plain {plain.mean():.3f}"
        difference, low, high = work.paired(few - plain)
        target = 0.0 if kind == "found" else None
        note += f"; difference in {low:+.3f}–{high:+.3f}"
        ledger.add(f"{kind}: {OURS_FEW} forwards minus plain with {PLAIN}", difference, target, "higher", note)
        difference, low, high = work.paired(many - plain)
        note = f"insertion − deletion {many.mean():.3f}; difference in {low:+.3f}–{high:+.3f}"
        target = 0.04 if kind == "found" else None
        ledger.add(f"{kind}: {OURS} forwards minus plain with {PLAIN}", difference, target, "higher", note)
        if kind == "missed":
            difference, low, high = work.paired(many - deployed)
            note = f"on deployed detections {deployed.mean():.3f}; difference in {low:+.3f}–{high:+.3f}"
            ledger.add("missed: minus plain D-RISE on deployed detections", difference, 0.05, "higher", note)
    ledger.add("maps that are not finite", undefined, 0, "lower", "of all")


def agreement(ledger: Ledger, detector: work.Detector, items: list[work.Item]) -> None:
    """Forwards until maps of two seeds have a rank correlation of 0.9, as a share of plain D-RISE's."""
    needed: dict[str, list[float]] = {"ours": [], "plain": []}
    for item in items:
        shown = work.prepare(detector, item)
        for name, curve in work.agreement_curves(shown).items():
            needed[name].append(work.first_above(curve, AGREEMENT))
    middle = {name: float(np.median(values)) for name, values in needed.items()}
    note = f"medians of {len(items)} objects, extrapolated: {middle['ours']:.0f} and {middle['plain']:.0f}"
    ledger.add(
        "forwards until two seeds agree, of plain D-RISE's", middle["ours"] / middle["plain"], 0.2, "lower", note
    )


def suppressors(ledger: Ledger, detector: work.Detector, found: list[work.Item]) -> None:
    """A textured patch on or beside a found object loses it: is the most suppressing place in the patch?"""
    hits: list[tuple[bool, bool]] = []
    for index, item in enumerate(found):
        planted = work.plant(detector, item, seed=index)
        if planted is None:
            continue
        shown, patch = planted
        plain, _ = work.plain_drise(shown, OURS, seed=0)
        hits.append((work.deepest_inside(work.ours(shown, OURS), patch), work.deepest_inside(plain, patch)))
    ours, plain = np.mean(hits, axis=0) if hits else (np.nan, np.nan)
    note = f"{len(hits)} objects that a patch has lost, {OURS} forwards; plain D-RISE with as many: {plain:.2f}"
    ledger.add("planted suppressors: deepest place in the patch", float(ours), 0.8, "higher", note)


def costs(ledger: Ledger, data: Path, detector: work.Detector) -> None:
    """What all objects of a photo cost beside one, and what is spent outside of the detector's forward."""
    one, every, count = work.time_objects(data, detector)
    ledger.add("time for all objects of a photo / for one", every / one, 1.1, "lower", f"{count} objects, 100 forwards")
    whole, forward = work.time_outside(data, detector)
    ledger.add("time outside of the forward", 1 - forward / whole, 0.1, "lower", "of DRISE with 200 masks, one object")


if __name__ == "__main__":
    main()

"""How well heat maps tell what a detector uses, on found objects and on misses, beside plain D-RISE.

Ours is what a detector that passes gradients gets (``ExtremalPerturbation``), with a masked copy and its gradient
counted as three forwards; beside it stands what black boxes get (``DRISE``). All hide behind the blurred photo.
Maps are judged by insertion − deletion of overlap × score over candidates, in 12 steps on the blurred photo, and on its
mean colour too, which no map was made with. At most one found object and one miss are of the same photo; intervals are
of paired differences (bootstrap). It takes long on a CPU: ``--only`` measures some parts, and what ``--keep`` keeps is
not measured again.

    python tests/benchmarks/attribution.py [--data ../shared/data] [--objects 20] [--side 320] [--device cpu]
        [--only found] [--keep rows.jsonl] [--package-python peer/bin/python]
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import attribution_plain as plain
import attribution_work as work
import numpy as np
import torch
from harness import DATA, Ledger

from xai.types import Boxes, Detector

OURS_FEW, OURS, PLAIN = 100, 400, 1000
PARTS = ("found", "missed", "seeds", "suppressors", "cost", "package")
AGREEMENT = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with voc and weights")
    parser.add_argument("--objects", type=int, default=20, help="found objects, and as many misses")
    parser.add_argument("--side", type=int, default=320, help="input size of the detector in px")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure")
    parser.add_argument("--keep", type=Path, help="file of measured objects; those in it are not measured again")
    parser.add_argument("--package-python", type=Path, help="Python that has vision-explanation-methods 0.1.1")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ledger, kept = Ledger("attribution"), work.Kept(arguments.keep)
    detector = work.load(arguments.data, arguments.side, arguments.device)
    found, missed = work.choose(arguments.data, detector, arguments.objects)
    few = max(1, arguments.objects // 4)
    tasks = {
        "found": lambda: found_objects(ledger, detector, found, kept),
        "missed": lambda: misses(ledger, detector, missed, kept),
        "seeds": lambda: seeds(ledger, detector, [*found[:few], *missed[:few]], kept),
        "suppressors": lambda: suppressors(ledger, detector, found, kept),
        "cost": lambda: costs(ledger, arguments.data, detector),
        "package": lambda: package(ledger, detector, found[0], arguments.package_python, arguments.data),
    }
    for part in arguments.only:
        tasks[part]()
    ledger.table()


def found_objects(ledger: Ledger, detector: Detector, items: list[work.Item], kept: work.Kept) -> None:
    """Insertion − deletion of our maps and of plain D-RISE's, on found objects."""

    def peers(shown: work.Shown) -> list[float]:
        return work.judge_twice(shown, torch.stack(plain.plain_drise(shown, PLAIN, seed=0)))

    def mine(shown: work.Shown) -> list[float]:
        maps = [make(shown, forwards) for make in (work.ours, work.masked) for forwards in (OURS_FEW, OURS)]
        return work.judge_twice(shown, torch.stack(maps))

    peer, peer_elsewhere = kept.column("found plain", items, detector, peers).T
    rows = kept.column("found by gradient", items, detector, mine)
    for column, forwards, target in ((0, OURS_FEW, 0.0), (1, OURS, 0.04)):
        difference, low, high = work.paired(rows[:, column] - peer)
        note = f"{len(rows)} objects: {rows[:, column].mean():.3f} against {peer.mean():.3f}; {low:+.3f} to {high:+.3f}"
        ledger.add(f"found: {forwards} forwards minus plain with {PLAIN}", difference, target, "higher", note)
        difference, low, high = work.paired(rows[:, column + 2] - peer)
        note = f"{rows[:, column + 2].mean():.3f}; {low:+.3f} to {high:+.3f}"
        ledger.add(f"found: the same of masks alone, {forwards} forwards", difference, None, "higher", note)
        difference, low, high = work.paired(rows[:, column + 4] - peer_elsewhere)
        note = f"{rows[:, column + 4].mean():.3f} against {peer_elsewhere.mean():.3f}; {low:+.3f} to {high:+.3f}"
        ledger.add(f"found: the same judged on the mean colour, {forwards} forwards", difference, None, "higher", note)


def misses(ledger: Ledger, detector: Detector, items: list[work.Item], kept: work.Kept) -> None:
    """The same on misses, where plain D-RISE sees deployed detections or, as we do, candidates."""

    def peers(shown: work.Shown) -> list[float]:
        maps = torch.stack(plain.plain_drise(shown, OURS, seed=0, deployed=True))
        return [*work.judge_twice(shown, maps), float(maps[1].max() <= maps[1].min())]

    def own(shown: work.Shown) -> list[float]:
        maps = torch.stack([work.ours(shown, OURS), work.masked(shown, OURS)])
        return [*work.judge_twice(shown, maps), float(torch.isfinite(maps).all())]

    candidates, deployed, _, deployed_elsewhere, flat = kept.column("missed plain", items, detector, peers).T
    mine, masked, mine_elsewhere, _, finite = kept.column("missed by gradient", items, detector, own).T
    difference, low, high = work.paired(mine - deployed)
    note = f"{len(mine)} misses, {OURS} forwards each: {mine.mean():.3f} against {deployed.mean():.3f}; "
    note += f"{low:+.3f} to {high:+.3f}; {int(flat.sum())} maps of deployed detections are flat"
    ledger.add("missed: minus plain D-RISE on deployed detections", difference, 0.05, "higher", note)
    difference, low, high = work.paired(mine_elsewhere - deployed_elsewhere)
    note = f"{mine_elsewhere.mean():.3f} against {deployed_elsewhere.mean():.3f}; {low:+.3f} to {high:+.3f}"
    ledger.add("missed: the same judged on the mean colour", difference, None, "higher", note)
    difference, low, high = work.paired(masked - deployed)
    note = f"{masked.mean():.3f} against {deployed.mean():.3f}; {low:+.3f} to {high:+.3f}"
    ledger.add("missed: the same of masks alone", difference, None, "higher", note)
    difference, low, high = work.paired(mine - candidates)
    note = f"{mine.mean():.3f} against {candidates.mean():.3f}; {low:+.3f} to {high:+.3f}"
    ledger.add("missed: minus plain D-RISE on candidates", difference, None, "higher", note)
    ledger.add("missed: maps that are not finite", len(mine) - finite.sum(), 0, "lower")


def seeds(ledger: Ledger, detector: Detector, items: list[work.Item], kept: work.Kept) -> None:
    """Forwards until two seeds' maps of masks alone have a rank correlation of 0.9, as a share of plain D-RISE's."""
    rows = {name: kept.column(f"seeds {name}", items, detector, plain.AGREEMENTS[name]) for name in plain.AGREEING}
    mine, peer = (
        float(np.median([plain.forwards_until(AGREEMENT, count, value) for value in rows[name][:, 0]]))
        for name, count in plain.AGREEING.items()
    )
    note = f"medians of {len(items)} objects, extrapolated from {plain.AGREEING}: {mine:.0f} and {peer:.0f}; "
    note += f"correlations {rows['ours'].mean():.2f} and {rows['plain'].mean():.2f}"
    ledger.add("masks alone: forwards until two seeds agree, of plain D-RISE's", mine / peer, 0.2, "lower", note)
    agreeing = kept.column("seeds by gradient", items, detector, plain.agreement_by_gradient)
    for count, values in zip(plain.AGREEING_BY_GRADIENT, agreeing.T, strict=True):
        note = f"{len(items)} objects, {count} forwards each; least {values.min():.2f}"
        ledger.add(
            f"rank correlation of two seeds by gradient, {count} forwards", float(values.mean()), None, "higher", note
        )


def suppressors(ledger: Ledger, detector: Detector, items: list[work.Item], kept: work.Kept) -> None:
    """A textured patch on or beside a found object loses it: is the most suppressing place in the patch?"""

    @functools.cache
    def planted(index: int) -> tuple[work.Shown, Boxes] | None:
        return work.plant(detector, items[index], seed=index)

    def hits(index: int, explain: Callable[[work.Shown], torch.Tensor]) -> list[float]:
        if (found := planted(index)) is None:
            return [np.nan] * 3
        shown, patch = found
        place = work.deepest(explain(shown))
        square = np.array([*place, *place]) + max(shown.inputs.shape[-2:]) / 16 * np.array([-1, -1, 1, 1])
        return [float(work.inside(place, patch)), *work.gains(shown, np.stack([patch, square]))]

    methods = {
        "suppressors by gradient": lambda shown: work.ours(shown, OURS),
        "suppressors": lambda shown: work.masked(shown, OURS),
        "suppressors plain": lambda shown: plain.plain_drise(shown, OURS, seed=0)[0],
    }
    rows = [
        [kept.measure(part, item, functools.partial(hits, index, explain)) for part, explain in methods.items()]
        for index, item in enumerate(items)
    ]
    lost = np.array([row for row in rows if np.isfinite(row[0][0])]).reshape(-1, 3, 3)
    (mine, patch, place), (masked, *_), (peer, *_) = lost.mean(0) if len(lost) else np.full((3, 3), np.nan)
    note = f"{len(lost)} objects that a patch has lost, {OURS} forwards; with as many masks alone: {masked:.2f}, "
    note += f"plain D-RISE: {peer:.2f}"
    ledger.add("planted suppressors: deepest place in the patch", float(mine), 0.8, "higher", note)
    outside = lost[lost[:, 0, 0] == 0, 0]
    as_much = int((outside[:, 2] >= outside[:, 1]).sum())
    note = f"in {as_much} of {len(outside)} deepest places outside of the patch a square around it gains as much; "
    note += f"means of all {patch:.2f} for the patch, {place:.2f} for the square"
    ledger.add("planted suppressors: painted over, gain of the patch", float(patch), None, "higher", note)


def costs(ledger: Ledger, data: Path, detector: Detector) -> None:
    """What all objects of a photo cost beside one, and what is spent outside of the detector's forward."""
    for name, explain in (("masks alone", work.by_masks), ("as a run makes them", work.as_triage)):
        one, every, count = work.time_objects(data, detector, explain)
        note = f"{count} objects, {one:.1f} s for one"
        ledger.add(f"time for all objects of a photo / for one, {name}", every / one, 1.1, "lower", note)
    whole, forward = work.time_outside(data, detector)
    ledger.add("time outside of the forward", 1 - forward / whole, 0.1, "lower", "of DRISE with 200 masks, one object")


def package(ledger: Ledger, detector: Detector, item: work.Item, python: Path | None, data: Path) -> None:
    """Time against vision-explanation-methods with the same detector, photo, number of masks, device and threads."""
    shown = work.prepare(detector, item)
    target = 10.0 if shown.inputs.is_cuda else 1.5
    if python is None:
        note = "not measured: name its Python with --package-python (attribution_package.py says how to make it)"
        ledger.add("time of vision-explanation-methods 0.1.1 / ours", np.nan, None, "higher", note)
        return
    weights = data / "weights/yolo11n_coco.pt"
    mine, theirs = plain.time_package(python, weights, shown, n_masks=100, rounds=3)
    note = f"100 masks: {theirs:.2f} s against {mine:.2f} s, one thread"
    ledger.add("time of vision-explanation-methods 0.1.1 / ours", theirs / mine, target, "higher", note)


if __name__ == "__main__":
    main()

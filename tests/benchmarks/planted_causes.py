"""Do verdicts name the true cause? Conditions are planted into real photos, and triage is asked why objects are missed.

Photos are split into two halves by their names; the weights of the verdicts were fitted on the half ``tune``
(``train_verdict.py``), and what is reported is the other half. Every world draws anew which photo gets which condition;
its figures are pooled. Truth is known of objects that were found before and are missed after.

    planted_causes.py --data FOLDER:FORMAT ... --detector KEY=VALUE ... --worlds 2
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import planted_measure as measure
import planted_peers
import planted_world as worlds
import polars as pl
import yaml
from harness import DATA, Ledger

from xai import detect, pipeline

VOC_NAMES = {
    "aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle",
    "pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv",
}  # fmt: skip


class Counter:
    """Counts the photos that the experiments put through a detector."""

    def __init__(self) -> None:
        self.forwards = 0
        self._load = detect.load
        self.counting = False

    def install(self) -> None:
        """Count in the stages that explain: what the scan needs is no cost of an explanation."""

        def load(*arguments: Any, **named: Any) -> Any:
            return _Counted(self._load(*arguments, **named), self)

        def counted(stage: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any, **named: Any) -> Any:
                self.counting = True
                try:
                    return stage(*arguments, **named)
                finally:
                    self.counting = False

            return run

        detect.load = load
        for name in ("ask_upright", "ask_level", "experiment"):
            if hasattr(pipeline, name):
                setattr(pipeline, name, counted(getattr(pipeline, name)))


class _Counted:
    """A detector that tells a counter of every forward."""

    def __init__(self, detector: Any, counter: Counter) -> None:
        self._detector = detector
        self._counter = counter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def forward(self, inputs: Any) -> Any:
        if self._counter.counting:
            self._counter.forwards += len(inputs)
        return self._detector.forward(inputs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    both = [f"{DATA / 'voc/train'}:voc", f"{DATA / 'voc/eval'}:voc"]
    parser.add_argument("--data", nargs="+", default=both, help="FOLDER:FORMAT with format voc, coco or yolo")
    parser.add_argument("--detector", nargs="*", default=[], help="KEY=VALUE of the config's section detector")
    parser.add_argument("--classes", type=yaml.safe_load, default=VOC_NAMES, help="YAML: data set name: detector name")
    parser.add_argument("--conditions", nargs="+", default=list(worlds.ACCEPTED), choices=list(worlds.ACCEPTED))
    parser.add_argument("--pairs", action="store_true", help="plant two conditions at a time; nothing else is measured")
    parser.add_argument("--half", default="report", choices=["tune", "report"])
    parser.add_argument("--worlds", type=int, default=2, help="how often conditions are planted anew")
    parser.add_argument("--planted", type=float, default=0.6, help="share of the evaluation photos with a condition")
    parser.add_argument("--design", default="mixed", choices=["mixed", "rare", "held"])
    parser.add_argument("--most", type=int, help="photos of the half at most")
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--peer-python", default="", help="Python that holds sliceline and scikit-learn (planted_peers)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/planted_causes"), help="picture, tables and cache")
    parser.add_argument("--keep", action="store_true", help="keep the planted photos and runs, and go on from them")
    parser.add_argument("--build-only", action="store_true", help="plant, keep, and triage at the next call")
    return parser.parse_args()


def section(pairs: list[str]) -> dict[str, Any]:
    """The config's section ``detector``: the default one with what was asked."""
    default = {
        "kind": "ultralytics", "weights": str((DATA / "weights/yolo11n_coco.pt").resolve()),
        "image_size": 480, "score_threshold": 0.25,
    }  # fmt: skip
    asked = {name: yaml.safe_load(value) for name, _, value in (pair.partition("=") for pair in pairs)}
    return {**default, **asked}


def main() -> None:
    asked = parse()
    detector = section(asked.detector)
    asked.out.mkdir(parents=True, exist_ok=True)
    sources = []
    for item in asked.data:
        path, _, form = item.rpartition(":")
        sources.append(worlds.clean(Path(path).resolve(), form, detector, asked.classes, asked.out))
    counter = Counter()
    counter.install()
    conditions = [worlds.PLUS.join(pair) for pair in worlds.PAIRS] if asked.pairs else asked.conditions
    name = f"{asked.half}-pairs" if asked.pairs else asked.half
    parts, natural, forwards = [], [], 0
    started = time.perf_counter()
    for number in range(asked.worlds):
        seed = asked.seed + number
        folder = asked.out / f"{name}-{seed}" if asked.keep else Path(tempfile.mkdtemp())
        world = worlds.kept(folder)
        if world is None:
            shutil.rmtree(folder, ignore_errors=True)
            world = worlds.build(
                sources, (folder / "data").resolve(), part=asked.half, seed=seed,
                conditions=conditions, planted=asked.planted, most=asked.most, design=asked.design,
                explain={"budget": asked.budget, "maps": 0, "repairs": True}, detector=detector,
            )  # fmt: skip
            if asked.keep:
                worlds.save(world, folder)
        if asked.build_only:
            continue
        run = folder / "run"
        if not (run / "forwards.json").is_file():
            counter.forwards = 0
            pipeline.triage(world.config, out=run)
            (run / "forwards.json").write_text(json.dumps(counter.forwards))
        forwards += json.loads((run / "forwards.json").read_text())
        found = measure.known_misses(run, world.truth)
        natural.append(measure.prevalence(run, world.truth))
        for baseline in measure.BASELINES.values():
            found = found.join(baseline(run), on="error_id", how="left")
        if asked.peer_python:
            found = found.join(planted_peers.blame(run, asked.peer_python), on="error_id", how="left")
        parts.append(found.with_columns(world=pl.lit(number)))
        if not asked.keep:
            shutil.rmtree(folder)
    if asked.build_only:
        return
    misses = pl.concat(parts)
    misses.write_parquet(asked.out / f"misses-{name}.parquet")
    ledger = Ledger("planted_causes")
    note = f"half {asked.half}, {asked.worlds} worlds, {asked.design}, {time.perf_counter() - started:.0f} s"
    if asked.pairs:
        measure.judge_pairs(ledger, misses, note)
        ledger.table()
        return
    measure.judge(ledger, misses, pl.concat(natural), note)
    measure.compare(ledger, misses)
    if not asked.peer_python:
        print("sliceline and the boosted predictor are left out: give --peer-python", file=sys.stderr)
    ledger.add("detector forwards a miss", forwards / len(misses), 40, "lower", f"{len(misses)} misses")
    measure.draw(misses.filter("known"), asked.out / f"confusion-{asked.half}.png", f"Planted causes, {note}")
    ledger.table()


if __name__ == "__main__":
    main()

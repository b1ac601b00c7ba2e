"""What a run survives: kills at random instants, faults of the machine, damaged labels, damaged photos.

Kills need Linux or macOS. Photos are rendered here, so that no data folder is needed:

    python tests/benchmarks/faults.py [--kills 100] [--faults 5] [--labels 100000] [--photos 20000] [--only kills ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from harness import Ledger

KINDS = ["photos", "labels", "configs", "machine", "kills"]


def world(folder: Path) -> Path:
    """Render a small world whose misses are repaired, mapped and stressed; return its config."""
    # Only now, as the folder of the tests has folders that are named like the packages.
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from rendered import write_config, write_world

    config = write_world(folder)
    for split, kept in (("train", 8), ("eval", 10)):
        for files in ("JPEGImages", "Annotations"):
            for path in sorted((folder / split / files).iterdir())[kept:]:
                path.unlink()
    explain = {"budget": 20, "maps": 1, "stress": 64}
    return write_config(config, explain=explain, detector={"image_size": 160})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--faults", type=int, default=5, help="tries of each fault of the machine")
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--configs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", help="commands to kill: triage profile tag; all if left out")
    parser.add_argument("--stages", nargs="+", help="stages to kill them in; all if left out")
    parser.add_argument("--tries", nargs="+", help="faults of the machine to try; all if left out")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    asked = parser.parse_args()
    ledger, rng = Ledger("faults"), np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if {"photos", "labels", "configs"} & set(asked.only):
            import faults_damage

            if "photos" in asked.only:
                faults_damage.photos(ledger, asked.photos, rng)
            if "labels" in asked.only:
                faults_damage.labels(ledger, asked.labels, folder / "labels", rng)
            if "configs" in asked.only:
                faults_damage.configs(ledger, asked.configs, folder / "configs", rng)
        if {"machine", "kills"} & set(asked.only):
            import faults_kills
            import faults_machine

            config = world(folder / "world")
            if "machine" in asked.only:
                faults_machine.faults(ledger, asked.faults, folder, config, rng, asked.tries)
            if "kills" in asked.only:
                faults_kills.kills(ledger, asked.kills, folder, config, rng, asked.commands, asked.stages)
    ledger.table()


if __name__ == "__main__":
    main()

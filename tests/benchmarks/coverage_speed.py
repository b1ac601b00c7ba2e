"""How long coverage takes: the slice search beside sliceline, a million objects, growth with rows, patterns.

    python tests/benchmarks/coverage_speed.py [--small] [--sliceline PYTHON] [--only sliceline|million|patterns|equal]

``--sliceline`` is the Python of an environment that holds the peer, which wants other versions than the toolkit:
``python -m venv peer && peer/bin/pip install sliceline==0.3.0 numba``. Both search the same 50,000 × 10 bins for
slices of up to three; ours includes clustered intervals of the 1,000 most promising, by any measure the same tables.
Each side runs in a process of its own, so that its peak memory is its own; imports, drawing and one small warm-up
(numba compiles there) are left out of the time, and what is resident before the search out of the memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from harness import Ledger
from planted_tables import Item, Planted, catalog, codes, prepared, tables
from planted_tables import Side as Tables

from xai.coverage.gaps import uncovered
from xai.coverage.intervals import Floats
from xai.coverage.joint import Codes, count_pairs, count_triples
from xai.coverage.members import within_parents
from xai.coverage.onehot import conditions
from xai.coverage.sample import Sample, Side
from xai.coverage.search import search
from xai.coverage.slices import slices
from xai.coverage.table import tabulate

ALPHA, TOP, SUPPORT = 0.95, 1000, 30

PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from sliceline.slicefinder import NUMBA_AVAILABLE, Slicefinder
data = np.load(sys.argv[1])
codes, miss = data["codes"], data["miss"].astype(float)
def fit(rows):
    finder = Slicefinder(alpha=ALPHA, k=TOP, max_l=3, min_sup=SUPPORT, verbose=False)
    return finder.fit(codes[:rows], miss[:rows])
fit(400)
def resident(what):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = resident("VmRSS")
start, busy = time.perf_counter(), time.process_time()
finder = fit(len(codes))
seconds, cpu = time.perf_counter() - start, time.process_time() - busy
top = [[[place, int(code)] for place, code in enumerate(row) if code is not None] for row in finder.top_slices_]
told = {"seconds": seconds, "cpu": cpu, "mb": resident("VmHWM") - before, "top": top, "numba": NUMBA_AVAILABLE}
print(json.dumps(told))
"""


def world(objects: int, attributes: int, seed: int = 0) -> Tables:
    slice_ = Planted({"a01": "mid", f"a{attributes - 2:02d}": "high"}, 3.0, 0.03)
    return tables(seed, objects // 8, catalog(attributes), planted=[slice_])


def resident(what: str) -> float:
    """Return VmRSS, what is resident, or VmHWM, the most that was, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def search_all(part: Sample, known: dict[str, Item]) -> Floats:
    """Search all objects, as the peer does, and give the 1,000 greatest by z their clustered intervals."""
    side = Side.of(part)
    grid = conditions(side.asked, known, {})
    members = grid.members(side.asked, known, {})
    found = search(members.codes, grid.sizes(), side.asked.miss, 3, SUPPORT)
    top = found.take(np.argsort(-found.z(1.0), kind="stable")[:TOP])
    arguments = side.asked.draw, side.asked.miss, side.correlation
    ratios, _ = within_parents(members, top.combination, top.parent, *arguments)
    return ratios.low


def measure(what: str, objects: int, attributes: int) -> dict[str, float]:
    """Time one part in this process; memory is what it adds to the tables that it works on."""
    known = catalog(attributes)
    sides = [prepared(world(objects, attributes, seed), known) for seed in ((0,) if what == "search" else (0, 1))]
    small = [prepared(world(8000, attributes, seed), known) for seed in (0, 1)]
    parts = {
        "search": lambda part: search_all(part[0], known),
        "all slices": lambda part: slices(part[1], part[0], known, {}),
        "patterns": lambda part: uncovered(part[1], part[0], known, {}),
        "table": lambda part: tabulate(part[1], part[0], known, {}),
    }
    parts[what](small)
    most = resident("VmHWM")
    Path("/proc/self/clear_refs").write_text("5")  # the most that is resident counts from here
    before = resident("VmRSS")
    start, busy = time.perf_counter(), time.process_time()
    found = parts[what](sides)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    peak = resident("VmHWM")
    return {"seconds": seconds, "cpu": cpu, "mb": peak - before, "all mb": max(peak, most), "rows": len(found)}


def apart(what: str, objects: int, attributes: int) -> dict[str, float]:
    """Return ``measure`` from a process of its own."""
    command = [sys.executable, __file__, "--measure", what, str(objects), str(attributes)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def best_by_score(matrix: Codes, sizes: np.ndarray, miss: np.ndarray) -> set[frozenset[tuple[int, int]]]:
    """Return the slices with the 1,000 best of sliceline's scores (Sagadeeva & Boehm, SIGMOD 2021) from our counts."""
    rows, errors = len(miss), miss.mean()
    starts = np.cumsum(sizes) - sizes

    def score(size: Floats, lost: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = ALPHA * (lost / size / errors - 1) - (1 - ALPHA) * (rows / size - 1)
        return np.where((size >= SUPPORT) & (lost > 0), value, -np.inf)

    names: list[frozenset[tuple[int, int]]] = []
    scores: list[float] = []
    pairs = count_pairs(matrix, sizes, miss)
    single = score(*np.diagonal(pairs, axis1=1, axis2=2))
    for a, size in enumerate(sizes):
        names += [frozenset([(a, code)]) for code in range(size)]
        scores += single[starts[a] : starts[a] + size].tolist()
    for a, b in combinations(range(len(sizes)), 2):
        table = score(*pairs[:, starts[a] : starts[a] + sizes[a], starts[b] : starts[b] + sizes[b]])
        names += [frozenset(zip((a, b), place, strict=True)) for place in np.ndindex(table.shape)]
        scores += table.ravel().tolist()
    for group, table in count_triples(matrix, sizes, miss):
        value = score(*table)
        names += [frozenset(zip(group, place, strict=True)) for place in np.ndindex(value.shape)]
        scores += value.ravel().tolist()
    values = np.array(scores)
    # The peer keeps slices that score above nothing, and all that tie with the last.
    positive = np.sort(values[values > 0])[::-1]
    bound = positive[min(TOP, len(positive)) - 1] if len(positive) else np.inf
    return {names[place] for place in np.flatnonzero(values >= bound - 1e-9)}


def beside_sliceline(ledger: Ledger, python: str, objects: int, rounds: int) -> None:
    attributes = 10
    known = catalog(attributes)
    side = world(objects, attributes)
    matrix, miss = codes(side, known)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bins.npz"
        np.savez(path, codes=matrix, miss=miss)
        program = PEER.replace("ALPHA", str(ALPHA)).replace("TOP", str(TOP)).replace("SUPPORT", str(SUPPORT))
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(apart("search", objects, attributes))
            done = subprocess.run([python, "-c", program, str(path)], check=True, capture_output=True, text=True)
            theirs.append(json.loads(done.stdout))
    seconds = [float(np.median([one["seconds"] for one in part])) for part in (ours, theirs)]
    busy = [float(np.median([one["cpu"] for one in part])) for part in (ours, theirs)]
    memory = [float(np.median([one["mb"] for one in part])) for part in (ours, theirs)]
    numba = "with numba" if theirs[0]["numba"] else "without numba"
    ledger.add(
        "slice search",
        seconds[0],
        None,
        "lower",
        f"s, {objects:,} × {attributes}, {TOP} with intervals; {busy[0]:.2f} s of a core",
    )
    ledger.add("sliceline 0.3.0", seconds[1], None, "lower", f"s, k = {TOP}, {numba}; {busy[1]:.2f} s of a core")
    ledger.add("times faster", seconds[1] / seconds[0], 25, "higher", f"median of {rounds}, interleaved")
    ledger.add("times less work of a core", busy[1] / busy[0], None, "higher", "what other work on the machine spares")
    ledger.add("peak memory of the search", memory[0], None, "lower", "MB above what is resident before")
    ledger.add("peak memory of sliceline", memory[1], None, "lower", "MB, likewise")
    ledger.add("memory over sliceline's", memory[0] / memory[1], 0.2, "lower")
    grid = conditions(prepared(side, known), known, {})
    part = grid.codes_of(prepared(side, known), known, {})[:attributes]
    best = best_by_score(part, grid.sizes()[:attributes], miss)
    peer = {frozenset((place, code) for place, code in row) for row in theirs[0]["top"]}
    same = len(best & peer) / max(len(best | peer), 1)
    ledger.add("same top slices", same, 1.0, "higher", f"{len(peer)} by sliceline's own score")


def million(ledger: Ledger, objects: int) -> None:
    attributes = 20
    sizes = [objects // 4, objects // 2, objects]
    found = [apart("all slices", size, attributes) for size in sizes]
    note = f"{objects:,} × {attributes} a side, with training figures; {found[-1]['cpu']:.1f} s of a core"
    ledger.add("slices of 1–3 conditions", found[-1]["seconds"], 30, "lower", f"s, {note}")
    ledger.add("memory of the whole process", found[-1]["all mb"] / 1024, 3, "lower", "GB, both sides' tables included")
    for size, one in zip(sizes, found, strict=True):
        ledger.add(f"seconds at {size:,}", one["seconds"], None, "lower", f"{one['cpu']:.1f} s of a core")
    # Of a core's seconds, since other work makes those of the clock no measure of growth; they spread by some percent.
    slope = np.polyfit(np.log(sizes), np.log([one["cpu"] for one in found]), 1)[0]
    ledger.add("growth: exponent of rows", float(slope), 1.05, "lower", "1 is linear")
    table = apart("table", objects, attributes)
    said = f"s, over all and by 3 labels; {table['cpu']:.1f} s of a core"
    ledger.add("coverage table", table["seconds"], None, "lower", said)


def patterns(ledger: Ledger, objects: int) -> None:
    found = apart("patterns", objects, 12)
    ledger.add(
        "uncovered patterns",
        found["seconds"],
        10,
        "lower",
        f"s, {objects:,} × 12 a side; {found['cpu']:.1f} s of a core",
    )


def equal_to_brute_force(ledger: Ledger, runs: int) -> None:
    """Compare with every combination counted one by one, on random small tables of 5 attributes."""
    known = catalog(5)
    equal = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        train, evaluation = (
            prepared(tables(2 * seed + part, int(rng.integers(3, 30)), known, per_photo=int(rng.integers(1, 9))), known)
            for part in (0, 1)
        )
        threshold = int(rng.integers(1, 15))
        table = uncovered(train, evaluation, known, {}, threshold=threshold)
        got = {
            frozenset(pattern): tuple(counts)
            for pattern, *counts in table.select("pattern", "train_count", "eval_count", "miss_count").iter_rows()
        }
        equal += got == one_by_one(train.named(), evaluation.named(), evaluation.miss, threshold)
    ledger.add("tables with the patterns of brute force", equal / runs, 1.0, "higher", f"{runs} random small tables")


def one_by_one(
    train: pl.DataFrame, evaluation: pl.DataFrame, miss: np.ndarray, threshold: int
) -> dict[frozenset[str], tuple[int, int, int]]:
    def rows(frame: pl.DataFrame) -> list[frozenset[str]]:
        return [
            frozenset(f"{name}={value}" for name, value in row.items())
            for row in frame.drop("image_id", "object_id").iter_rows(named=True)
        ]

    held, shown = rows(train), rows(evaluation)
    several = evaluation["label"].n_unique() > 1
    names = sorted({name for row in shown for name in row if several or not name.startswith("label=")})

    def count(pattern: frozenset[str]) -> int:
        return sum(pattern <= row for row in held)

    counts = {frozenset(): len(held)}
    found = {}
    for size in (1, 2, 3):
        for group in combinations(names, size):
            pattern = frozenset(group)
            if len({name.split("=")[0] for name in pattern}) < size:
                continue
            parts = [pattern - {name} for name in pattern]
            if size > 1 and any(counts.get(part, 0) < threshold for part in parts):
                continue
            counts[pattern] = count(pattern)
            visits = [pattern <= row for row in shown]
            if counts[pattern] < threshold and any(visits):
                lost = sum(bool(one) for one, visit in zip(miss, visits, strict=True) if visit)
                found[pattern] = (counts[pattern], sum(visits), lost)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a twentieth of the objects and runs, to try it out")
    parser.add_argument("--sliceline", default="", help="Python that holds sliceline 0.3.0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["sliceline", "million", "patterns", "equal"])
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, objects, attributes = options.measure
        print(json.dumps(measure(what, int(objects), int(attributes))))
        return
    scale = 20 if options.small else 1
    ledger = Ledger("coverage_speed")
    if options.only in (None, "equal"):
        equal_to_brute_force(ledger, 200 // scale)
    if options.only in (None, "patterns"):
        patterns(ledger, 1_000_000 // scale)
    if options.only in (None, "million"):
        million(ledger, 1_000_000 // scale)
    if options.only in (None, "sliceline"):
        if options.sliceline:
            beside_sliceline(ledger, options.sliceline, 50_000 // scale, options.rounds)
        else:
            print("sliceline is left out: give --sliceline PYTHON of an environment that holds it", file=sys.stderr)
    ledger.table()


if __name__ == "__main__":
    main()

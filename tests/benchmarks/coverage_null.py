"""Nothing planted, nothing found: how often data without any cause report a slice or a gap.

Each run draws a training and an evaluation set in which misses depend on the photo alone (intraclass correlation .1)
and on none of the 12 attributes, and makes all tables from them. Half of the runs are small, searched and tested on
the same photos, half are large enough to be searched on one half and tested on the other.

    python tests/benchmarks/coverage_null.py [--runs 1000] [--first 0]
"""

from __future__ import annotations

import argparse
from collections import Counter

import polars as pl
from harness import Ledger
from planted_tables import catalog, prepared, tables

from xai.coverage.slices import slices
from xai.coverage.table import tabulate

SMALL, LARGE = 250, 1200


def alarms(seed: int, photos: int, attributes: int) -> set[str]:
    """Return what one run without any cause reports."""
    known = catalog(attributes)
    evaluation = prepared(tables(2 * seed + 1, photos, known), known)
    found = slices(None, evaluation, known, {})
    coverage = tabulate(None, evaluation, known, {})
    if coverage["assessment"].eq("hard").any():
        # Training tells gaps from what is hard among elevated bins, and makes none elevated.
        train = prepared(tables(2 * seed, photos, known), known)
        coverage = tabulate(train, evaluation, known, {})
    over_all = pl.col("label").is_null()
    told = {
        "slice": len(found),
        "gap over all labels": len(coverage.filter(over_all, pl.col("assessment") == "coverage_gap")),
        "gap of a label": len(coverage.filter(~over_all, pl.col("assessment") == "coverage_gap")),
        "hard over all labels": len(coverage.filter(over_all, pl.col("assessment") == "hard")),
        "hard of a label": len(coverage.filter(~over_all, pl.col("assessment") == "hard")),
    }
    return {name for name, count in told.items() if count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--attributes", type=int, default=12)
    options = parser.parse_args()
    ledger = Ledger("coverage_null")
    seen: Counter[str] = Counter()
    reported = elevated = 0
    for seed in range(options.first, options.first + options.runs):
        told = alarms(seed, LARGE if seed % 2 else SMALL, options.attributes)
        seen.update(told)
        reported += bool({name for name in told if name.startswith(("slice", "gap"))})
        elevated += bool(told)
    note = f"{options.runs} runs, {options.attributes} attributes"
    ledger.add("runs with any slice or gap", reported / options.runs, 0.05, "lower", note)
    ledger.add("runs with any slice, gap or hard bin", elevated / options.runs, 0.05, "lower", note)
    for name, count in sorted(seen.items()):
        ledger.add(f"runs with {name}", count / options.runs, None, "lower")
    ledger.table()


if __name__ == "__main__":
    main()

"""A shortened `make bench-faults`: whatever it measures is what it says it measures."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """Import modules of the benchmark by name."""
    sys.path.insert(0, str(BENCHMARKS))
    known = set(sys.modules)

    def load(name: str) -> ModuleType:
        return __import__(name)

    yield load
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def missed(ledger: Any) -> list[str]:
    """What is not as it should be, of what this machine lets happen; whether a kill comes in time is the machine's."""
    figures = [figure for figure in ledger.figures if figure.met is False and "; not tried" not in figure.note]
    figures = [figure for figure in figures if figure.metric not in ("kills", "stages hit")]
    return [f"{figure.metric}: {figure.value} ({figure.note})" for figure in figures]


def test_damaged_files(bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, ledger = bench("faults_damage"), bench("harness").Ledger("faults")
    rng = np.random.default_rng(1)
    damage.labels(ledger, 120, tmp_path / "labels", rng)
    damage.configs(ledger, 40, tmp_path / "configs", rng)
    told = damage._decode_all(damage._sources(rng), 150, 1)
    assert not told["crash"] + told["hang"]
    assert told["read"] > 20 < sum(told.values()) - told["read"]
    assert missed(ledger) == []
    assert "damaged label files" in capsys.readouterr().out


@pytest.mark.slow
def test_faults_and_kills(bench: Any, tmp_path: Path) -> None:
    ledger = bench("harness").Ledger("faults")
    config = bench("faults").world(tmp_path / "world")
    rng = np.random.default_rng(1)
    bench("faults_machine").faults(ledger, 1, tmp_path, config, rng)
    bench("faults_kills").kills(ledger, 3, tmp_path, config, rng)
    assert missed(ledger) == []
    assert len(ledger.figures) == len(bench("faults_machine").FAULTS) + 6

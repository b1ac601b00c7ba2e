"""The benchmark of scale, shortened: that it runs, and what does not depend on the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "scale.py"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_scale_in_small(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--photos", "200", "--objects", "40000", "--folder", str(tmp_path)]
    done = subprocess.run([*command, "--only", "photos", "tables", "again"], capture_output=True, text=True, check=True)
    figures = {line["metric"]: line for line in map(json.loads, filter(_is_json, done.stdout.splitlines()))}
    assert figures["tag: peak memory"]["met"]
    assert figures["scan: peak memory"]["met"]
    assert figures["cover: peak memory"]["met"]
    assert figures["report: peak memory"]["met"]
    again = [figure for name, figure in figures.items() if name.startswith("decoded again")]
    assert len(again) == 4
    assert all(figure["met"] for figure in again)
    assert figures["decoded by the first run"]["value"] > 0
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def _is_json(line: str) -> bool:
    return line.startswith("{")

"""The notebooks are kept without outputs and run from the first cell to the last in a kernel of their own."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = [
    "01_first_triage",
    "02_attributes",
    "03_coverage_and_slices",
    "04_why_this_miss",
    "05_compare_two_models",
    "06_your_own_attribute_and_detector",
]

HAS_KERNEL = all(importlib.util.find_spec(name) for name in ("nbclient", "nbformat", "ipykernel"))
executes = [
    pytest.mark.skipif(not HAS_KERNEL, reason="no nbclient, nbformat or ipykernel: pip install 'xai-toolkit[dev]'"),
    pytest.mark.filterwarnings("ignore"),  # of Jupyter's own packages; in the kernel the toolkit's are outputs
]


def read(name: str) -> dict[str, Any]:
    book: dict[str, Any] = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return book


def test_these_are_the_notebooks() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_no_outputs_are_kept(name: str) -> None:
    cells = [cell for cell in read(name)["cells"] if cell["cell_type"] == "code"]
    assert cells
    for cell in cells:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert set(cell["metadata"]) <= {"tags"}


def execute(name: str, folder: Path, **parameters: object) -> list[Any]:
    """Run a notebook in a folder and return the outputs of its code cells; ``parameters`` replace its own."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    for cell in book.cells:
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    client = NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.create_kernel_manager()
    assert client.km is not None
    # The kernel of this interpreter, whatever kernels the user has installed.
    client.km.kernel_spec.argv[0] = sys.executable
    client.execute(env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(FOLDER.parent)})
    return [cell.outputs for cell in book.cells if cell.cell_type == "code"]


def html(outputs: list[Any]) -> str:
    return "".join(
        output.data.get("text/html", "")
        for cell in outputs
        for output in cell
        if output.output_type in ("display_data", "execute_result")
    )


def check(outputs: list[Any]) -> None:
    """Nothing is written to error streams, no warning shows, and no script is in what is shown."""
    streams = [output.text for cell in outputs for output in cell if output.output_type == "stream"]
    assert not [text for text in streams if "Warning" in text or "Traceback" in text], streams
    assert not [output for cell in outputs for output in cell if output.get("name") == "stderr"]
    assert "<script" not in html(outputs)


class TestQuick:
    pytestmark = executes

    def test_the_first_notebook(self, tmp_path: Path) -> None:
        outputs = execute("01_first_triage", tmp_path, SHARE=0.05)
        check(outputs)
        shown = html(outputs)
        assert "scan eval" in shown  # progress, as lines that are finished
        assert "<progress" not in shown
        assert "misses explained" in shown
        assert "<svg" in shown
        assert (tmp_path / "runs" / "demo" / "run" / "report.html").is_file()


@pytest.mark.slow
class TestAll:
    pytestmark = executes

    def test_all_in_order_on_one_demo(self, tmp_path: Path) -> None:
        check(execute("01_first_triage", tmp_path, SHARE=0.2))
        shown = {name: execute(name, tmp_path) for name in NAMES[1:]}
        for outputs in shown.values():
            check(outputs)
        assert "Gap" in html(shown["03_coverage_and_slices"])
        assert any("image/png" in output.get("data", {}) for cell in shown["04_why_this_miss"] for output in cell)
        assert "fixed" in html(shown["05_compare_two_models"])
        assert "warmth: warm" in html(shown["06_your_own_attribute_and_detector"])

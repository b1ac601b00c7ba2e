"""The arrows of the design, read from the imports: data flows one way, and sibling stages do not know each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

STAGES = ["dataset", "detect", "coverage", "evidence", "verdict", "report"]
GROUND = {
    "xai.types",
    "xai.tables",
    "xai.causes",
    "xai.config",
    "xai.exceptions",
    "xai.files",
    "xai.lazy",
    "xai.rules",
    "xai.run_json",
    "xai.text",
    "xai",
}
TOP = {"xai.pipeline", "xai.cli", "xai.__main__", "xai.demo"}
TORCH_FREE = ["coverage", "verdict", "report"]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "templates" not in path.parts)


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports; annotation-only imports left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return names


def stage_of(path: Path) -> str | None:
    relative = path.relative_to(ROOT / "xai")
    first = relative.parts[0].removesuffix(".py")
    return first if first in STAGES else None


def reaches(names: set[str], package: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for name in names)


@pytest.mark.parametrize("path", modules("attributes"), ids=relative)
def test_attributes_know_nothing_of_detectors(path: Path) -> None:
    names = imported(path)
    assert not reaches(names, "xai")
    # The twins on tensors are the only part that needs torch, and nothing imports them before a device is asked for.
    assert "tensors" in path.parts or not reaches(names, "torch")


@pytest.mark.parametrize("path", [path for path in modules("xai") if stage_of(path)], ids=relative)
def test_sibling_stages_do_not_import_each_other(path: Path) -> None:
    names = imported(path)
    for other in STAGES:
        if other != stage_of(path):
            assert not reaches(names, f"xai.{other}"), f"{path} reaches into the stage {other}"
    for top in TOP:
        assert not reaches(names, top), f"{path} reaches up to {top}"


@pytest.mark.parametrize("path", [path for path in modules("xai") if stage_of(path) in TORCH_FREE], ids=relative)
def test_tables_are_judged_without_torch(path: Path) -> None:
    names = imported(path)
    assert not any(reaches(names, package) for package in ("torch", "torchvision", "captum", "ultralytics"))


@pytest.mark.parametrize(
    "path", [ROOT / f"{name.replace('.', '/')}.py" for name in sorted(GROUND) if name != "xai"], ids=relative
)
def test_ground_stands_on_nothing_of_ours_but_ground(path: Path) -> None:
    ours = {name for name in imported(path) if name.startswith("xai.")}
    assert all(any(name == ground or name.startswith(f"{ground}.") for ground in GROUND - {"xai"}) for name in ours)


@pytest.mark.parametrize(
    "path",
    [path for path in modules("xai") if path.parent.name != "cli" and path.name not in {"__main__.py", "train.py"}],
    ids=relative,
)
def test_only_the_command_line_prints_or_exits(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    assert not names & {"print", "exit", "quit"}
    assert not any(isinstance(call, ast.Attribute) and ast.unparse(call) == "sys.exit" for call in calls)


def test_every_module_is_seen() -> None:
    assert len(modules("attributes")) > 5
    assert len(modules("xai")) > 20
    assert sys.version_info >= (3, 11)


@pytest.mark.parametrize("module", ["xai.batch", "xai.detect.torchvision", "xai.evidence.drise"])
def test_the_batch_core_runs_where_there_are_no_tables(module: str) -> None:
    blocked = "import sys; [sys.modules.__setitem__(name, None) for name in ('polars', 'pydantic', 'altair', 'typer')]"
    done = subprocess.run([sys.executable, "-c", f"{blocked}; import {module}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

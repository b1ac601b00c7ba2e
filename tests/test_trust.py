"""What the code never does with what comes from data: run it, name files so that others can guess them."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for name in ("xai", "attributes") for path in (ROOT / name).rglob("*.py"))

FORBIDDEN = {
    "os.system": "a shell",
    "os.popen": "a shell",
    "eval": "code from text",
    "exec": "code from text",
    "tempfile.mktemp": "a name that others can guess",
    "yaml.load": "a loader that makes any object",
    "yaml.unsafe_load": "a loader that makes any object",
    "yaml.full_load": "a loader that makes any object",
    "yaml.load_all": "a loader that makes any object",
    "np.load": "any object, or the code in it",
    "pickle.load": "any object, or the code in it",
    "pickle.loads": "any object, or the code in it",
    "torch.load": "any object, or the code in it",
}

ALLOWED = {
    ("attributes/workers.py", "pickle.load"): "answers of the process that it started, on a pipe",
    ("attributes/serve.py", "pickle.load"): "tasks of the process that started it, on a pipe",
    ("attributes/serve.py", "pickle.loads"): "an error that it has just pickled itself",
    (
        "xai/detect/checkpoints.py",
        "torch.load",
    ): "where the config says trust_checkpoint",
    ("xai/integrations/ray.py", "pickle.loads"): "what this process and its own actors sent each other",
}


def calls(file: Path) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))


def keyword(call: ast.Call, name: str) -> object:
    found = next((item.value for item in call.keywords if item.arg == name), None)
    return found.value if isinstance(found, ast.Constant) else found


def test_nothing_that_came_from_data_is_run() -> None:
    assert len(FILES) > 200
    wrong = []
    for file in FILES:
        place = file.relative_to(ROOT).as_posix()
        for call in calls(file):
            name = ast.unparse(call.func)
            if keyword(call, "shell") not in (None, False):
                wrong.append(f"{place}:{call.lineno} asks a shell")
            # These load arrays alone unless they are told otherwise, or are told to load nothing else.
            arrays = name == "np.load" and keyword(call, "allow_pickle") in (None, False)
            weights = name == "torch.load" and keyword(call, "weights_only") is True
            if name in FORBIDDEN and (place, name) not in ALLOWED and not arrays and not weights:
                wrong.append(f"{place}:{call.lineno} calls {name}: {FORBIDDEN[name]}")
    assert not wrong

"""Bars in a notebook: one display, redrawn, with a line a stage; nothing elsewhere."""

import sys
import types
from typing import Any

import pytest

from xai import progress
from xai.progress import or_bars
from xai.types import no_progress


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, html: str) -> None:
        self.shown.append(html)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a kernel would display, in order."""
    drawn: list[str] = []

    def display(html: str, *, display_id: bool) -> Handle:
        assert display_id
        drawn.append(f"new {html}")
        return Handle(drawn)

    ipython, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    module.HTML = str  # type: ignore[attr-defined]
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return drawn


def test_each_stage_is_a_line_of_one_display(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.1, 12.0, 13.0, 14.5])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    tell = or_bars(None)
    tell("scan <eval>", 1, 3)
    tell("scan <eval>", 2, 3)  # a tenth of a second later: not drawn
    tell("scan <eval>", 3, 3)
    tell("explain", 0, 0)
    tell("explain", 0, 0)
    assert len([html for html in shown if html.startswith("new")]) == 1
    assert len(shown) == 4
    assert 'max="3" value="1"' in shown[0]
    assert "scan &lt;eval&gt;" in shown[-1]
    assert "</span> 3</div>" in shown[-1]
    assert "<progress" not in shown[-1]


def test_what_is_given_is_told(shown: list[str]) -> None:
    told: list[tuple[str, int, int]] = []
    or_bars(lambda *call: told.append(call))("scan", 1, 2)
    assert told == [("scan", 1, 2)]
    assert shown == []


def test_a_script_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert or_bars(None) is no_progress


def test_ipython_in_a_terminal_shows_nothing(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal: Any = types.ModuleType("IPython")
    terminal.get_ipython = lambda: types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert or_bars(None) is no_progress

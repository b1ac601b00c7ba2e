"""Progress in a notebook: one line a stage, drawn by the browser, without widgets.

A widget would have to be installed beside the toolkit, and its state would be kept in the notebook.
"""

from __future__ import annotations

import html
import sys
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

from xai.types import Progress, no_progress

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # without ipywidgets it draws bars of text, and says so in every notebook
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

__all__ = ["bars", "or_bars", "tqdm"]

APART = 0.2
"""Seconds between two drawings."""


def or_bars(progress: Progress | None) -> Progress:
    """Return what is told of progress: what is given, else bars in a notebook, else nothing."""
    if progress is not None:
        return progress
    return bars() if _in_notebook() else no_progress


def bars() -> Progress:
    """Return a progress callback that draws in the cell that calls it."""
    return _Bars().tell


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; IPython in a terminal cannot redraw."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


@dataclass(slots=True)
class _Stage:
    done: int = 0
    total: int = 0
    finished: bool = False


@dataclass(slots=True)
class _Bars:
    stages: dict[str, _Stage] = field(default_factory=dict)
    handle: Any = None
    drawn: float = 0.0

    def tell(self, stage: str, done: int, total: int) -> None:
        """Take a ``types.Progress`` call."""
        now = time.monotonic()
        told = self.stages.setdefault(stage, _Stage())
        told.done, told.total = done, total
        if done >= total and not told.finished:
            told.finished = True
        elif now - self.drawn < APART:
            return
        self.drawn = now
        self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML, display

        shown = HTML("".join(_line(stage, told) for stage, told in self.stages.items()))
        if self.handle is None:
            self.handle = display(shown, display_id=True)
        else:
            self.handle.update(shown)


def _line(stage: str, told: _Stage) -> str:
    name = f'<span style="display:inline-block;min-width:12em">{html.escape(stage)}</span>'
    if told.finished:  # seconds are in run.json: a stage is first told of when its first part is done
        return f"<div>{name} {told.total:,}</div>"
    bar = f'<progress max="{told.total}" value="{told.done}" style="width:16em;vertical-align:middle"></progress>'
    return f"<div>{name} {bar} {told.done:,} of {told.total:,}</div>"

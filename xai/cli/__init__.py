"""The command line: the only place that prints or exits."""

from __future__ import annotations

import inspect
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from attributes.remote import StoreError
from xai import recipes
from xai.cli import after, data, runs
from xai.cli.app import app
from xai.cli.voice import shown
from xai.exceptions import DataError, XaiError
from xai.files import output_error

_ORDER = ("demo", "triage", "report", "explain", "tag", "profile", "check", "compare", "history", "collect", "sample")
"""The main job first; commands that are not here come last."""

__all__ = ["after", "app", "data", "main", "runs"]


def main() -> None:
    """Run the command line; errors that are meant for the user are one or two lines and an exit code."""
    for command in app.registered_commands:
        command.short_help = inspect.getdoc(command.callback)  # else the list of commands cuts sentences off
    # So that what is under way is closed: a process that is told to end, as by a batch system, is not one that a photo
    # has ended.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        app()
    except XaiError as error:
        # On the message's own line: an error is one line or two.
        recipe = recipes.of_error(error)
        hint = "" if recipe is None else f" (what to check first: xai recipe {recipe})"
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {shown(error)}{hint}", soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:
        told = output_error(error)
        if told is None:
            raise
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {shown(told)}", soft_wrap=True)
        sys.exit(told.exit_code)
    except StoreError as error:
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {shown(error)}", soft_wrap=True)
        sys.exit(DataError.exit_code)


@app.command()
def recipe(
    name: Annotated[
        str | None, typer.Argument(help="a cause, an issue code, or a failure; all names if left out")
    ] = None,
) -> None:
    """Print what to check first, what fixes it and what it costs; XAI_RECIPES names a folder of your own recipes."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(escape("\n".join(recipes.names()) if name is None else recipes.text(name)))


def _place(command: typer.models.CommandInfo) -> int:
    name = command.name or getattr(command.callback, "__name__", "")
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


app.registered_commands.sort(key=_place)

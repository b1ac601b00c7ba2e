"""The list of commands, to which each module of this folder adds its own."""

import typer

app = typer.Typer(
    name="xai",
    help="Why did the detector miss it? Evidence for every missed object.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

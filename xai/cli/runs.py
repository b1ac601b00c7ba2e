"""Commands that make a run, or show one again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from xai.cli.app import app
from xai.cli.voice import Device, Json, Quiet, Seed, Voice, Workers, command_line, overrides_of, shown, summarise
from xai.exceptions import RequestError

PROMISE_BROKEN = 4


@app.command()
def triage(
    config: Annotated[Path, typer.Argument(help="YAML config")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a config key")] = None,
    out: Annotated[Path | None, typer.Option(help="run directory; an interrupted one is resumed")] = None,
    enforce_promise: Annotated[bool, typer.Option(help="exit with 4 when the promise is shown broken")] = False,
    device: Device = None,
    workers: Workers = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Explain every miss of a detector on an evaluation set."""
    from xai import config as configs
    from xai import pipeline

    voice = Voice(quiet, json_)
    overrides = [*(set_ or []), *overrides_of(device, workers, seed)]
    with voice.progress() as progress:
        loaded = configs.load(config, overrides)
        run = pipeline.triage(
            loaded,
            out=out or loaded.out or Path("runs") / config.stem,
            progress=progress,
            command=command_line(),
        )
    summarise(run.path, voice)
    if enforce_promise and any(answer["answer"] == "broken" for answer in run.info["promise"]):
        raise typer.Exit(PROMISE_BROKEN)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for photos and run")] = Path("runs/demo"),
    device: Device = None,
    workers: Workers = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Do the whole job on rendered scenes whose causes are known, with the shipped detector."""
    from xai import config as configs
    from xai import demo as scenes
    from xai import pipeline
    from xai.files import owned

    voice = Voice(quiet, json_)
    with owned(out), voice.progress() as progress:
        paths = scenes.make_demo(out, progress=progress)
        loaded = configs.load(paths.config, overrides_of(device, workers, None))
        run = pipeline.triage(loaded, out=out / "run", progress=progress, command=command_line())
    score = scenes.score(run.path, paths.truth)
    if voice.json:
        for row in score.iter_rows(named=True):
            voice.emit({"event": "planted", **row})
    else:
        _print_score(score)
    summarise(run.path, voice)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="run directory")],
    format_: Annotated[str, typer.Option("--format", help="html, md, pdf, csv; several separated by commas")] = "html",
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Render the report again, without computing again."""
    from xai import report as reports
    from xai.run import Run

    voice = Voice(quiet, json_)
    formats = reports.parse_formats(format_)
    written = reports.render_as(Run(run).path, formats)
    if formats == ["html"]:
        summarise(run, voice)
    elif voice.json:
        for path in written:
            voice.emit({"event": "report", "path": str(path)})
    else:
        for path in written:
            Console(highlight=False, soft_wrap=True).print(shown(path))


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="run directory")],
    error_id: Annotated[
        str | None, typer.Argument(help="of the miss, or its beginning; the report names it at each photo")
    ] = None,
    sheet: Annotated[bool, typer.Option("--sheet", help="lay the run's heat maps side by side instead")] = False,
    masks: Annotated[
        int, typer.Option(min=2, help="masked copies of the photo; with its gradient one counts as 3")
    ] = 600,
    device: Device = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Explain one miss in depth: a heat map from as many masked copies as asked, and the ledger of evidence."""
    from xai import explaining

    voice = Voice(quiet, json_)
    if sheet == (error_id is not None):
        raise RequestError("expected either the ERROR_ID of a miss or --sheet")
    if error_id is None:
        written = explaining.sheet(run)
        if voice.json:
            voice.emit({"event": "done", "sheet": str(written)})
        else:
            Console(highlight=False, soft_wrap=True).print(f"heat maps: {shown(written)}")
        return
    with voice.progress() as progress:
        found = explaining.explain(run, error_id, n_masks=masks, device=device, seed=seed, progress=progress)
    if voice.json:
        for line in found.evidence.iter_rows(named=True):
            voice.emit({"event": "evidence", **line})
        voice.emit({"event": "done", "error_id": found.error_id, "picture": str(found.picture)})
        return
    console = Console(highlight=False, soft_wrap=True)
    for text in found.text:
        console.print(shown(text))
    console.print(f"heat map: {shown(found.picture)}")


def _print_score(score: Any) -> None:
    table = Table(title="Planted causes", title_justify="left", box=None, pad_edge=False)
    for name in score.columns:
        table.add_column(name.replace("_", " "), justify="left" if score[name].dtype.is_(str) else "right")
    for row in score.iter_rows():
        table.add_row(
            *("–" if cell is None else f"{cell:.0%}" if isinstance(cell, float) else str(cell) for cell in row)
        )
    Console(highlight=False).print(table)

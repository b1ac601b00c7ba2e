"""Commands that go on from finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from xai.cli.app import app
from xai.cli.voice import Device, Json, Quiet, Seed, Voice, Workers, shown


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="run directory to compare with")],
    run_b: Annotated[Path, typer.Argument(help="run directory that is judged")],
    common: Annotated[
        bool, typer.Option("--common", help="of different evaluation sets, compare what both hold")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="folder for comparison.md and changes.csv; default: in RUN_B")
    ] = None,
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Compare two detectors on the same evaluation set: what the second fixes, what it breaks, where."""
    from xai.after import comparing

    found = comparing.compare(run_a, run_b, common=common, out=out, seed=seed or 0)
    voice = Voice(quiet=False, json=json_)
    if voice.json:
        for cell in found.cells.iter_rows(named=True):
            voice.emit({"event": "cell", **cell})
        paths = {"markdown": str(found.markdown_file), "changes": str(found.csv)}
        voice.emit({"event": "done", **found.figures(), **paths})
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in found.lines():
        console.print(escape(line))
    console.print(f"changed objects: {shown(found.csv)}\nto pass on: {shown(found.markdown_file)}")


@app.command()
def history(
    runs: Annotated[list[Path], typer.Argument(help="two or more run directories, in any order")],
    out: Annotated[
        Path | None, typer.Option(help="folder for tables (CSV) and a picture; default: none written")
    ] = None,
    json_: Json = False,
) -> None:
    """Line up runs by time: what was kept, whether the promise held, which shares moved more than chance."""
    from xai.after import histories

    told = histories.history(runs, out=out)
    voice = Voice(quiet=False, json=json_)
    if voice.json:
        for name in ("runs", "moves"):
            for row in getattr(told, name).iter_rows(named=True):
                voice.emit({"event": name.removesuffix("s"), **row})
        files = {name: str(path) for name, path in told.files.items()}
        voice.emit({"event": "done", "notes": list(told.notes), "files": files})
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in told.lines():
        console.print(escape(line))
    for path in told.files.values():
        console.print(f"written: {shown(path)}")


@app.command()
def collect(
    run: Annotated[Path, typer.Argument(help="run directory")],
    pool: Annotated[Path, typer.Argument(help="folder of unlabelled photos")],
    n: Annotated[int | None, typer.Option("--n", min=1, help="photos at most; default: all that add something")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for what is found; default: RUN/collect")] = None,
    device: Device = None,
    workers: Workers = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Find the photos of an unlabelled pool that fill the run's gaps best, and augmentation where that can do it."""
    from xai.after import collecting

    voice = Voice(quiet, json_)
    with voice.progress() as progress:
        found = collecting.collect(
            run, pool, n=n, out=out, device=device, workers=workers, seed=seed, progress=progress
        )
    if voice.json:
        for name, table in (("photo", found.photos), ("gap", found.gaps)):
            for row in table.iter_rows(named=True):
                voice.emit({"event": name, **row})
        voice.emit({"event": "done", **found.figures(), "csv": str(found.csv), "table": str(found.table)})
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in found.lines():
        console.print(escape(line))
    console.print(f"chosen photos: {shown(found.csv)}\ngaps: {shown(found.table)}")


@app.command()
def sample(
    run: Annotated[Path, typer.Argument(help="run directory of reported cases")],
    n: Annotated[int, typer.Option("--n", min=1, help="photos to draw")],
    seed: Seed = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Draw a random sample of the production photos to label, so that the promise can be answered."""
    from xai import sampling

    drawn = sampling.sample(run, n, seed=seed)
    voice = Voice(quiet, json_)
    if voice.json:
        paths = {"csv": str(drawn.csv), "coco": str(drawn.coco)}
        voice.emit({"event": "sample", "photos": len(drawn.image_ids), "of": drawn.of, **paths})
        return
    console = Console(highlight=False, soft_wrap=True)
    counted = f"{len(drawn.image_ids):,} of {drawn.of:,} production photos drawn"
    console.print(escape(f"{counted}: {drawn.csv}, {drawn.coco}"))
    if not quiet:
        console.print(
            "Label every object in all of them, in any format, then name the labels in the config and triage again:\n"
            "  data: {audit: {path: LABELS, format: coco}}"
        )

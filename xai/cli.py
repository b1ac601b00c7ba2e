"""The command line: the only place that prints or exits."""

from __future__ import annotations

import inspect
import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from xai import recipes, types
from xai.exceptions import DataError, RequestError, XaiError
from xai.files import make_folder
from xai.text import printable

app = typer.Typer(
    name="xai",
    help="Why did the detector miss it? Evidence for every missed object.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:i; default: the config's, else auto")]
Workers = Annotated[int | None, typer.Option(min=1, help="threads that decode and tag; default: all cores")]
Seed = Annotated[int | None, typer.Option(help="seed of everything that is drawn at random")]
Quiet = Annotated[bool, typer.Option("--quiet", help="print the result only")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object a line instead of prose")]

PROMISE_BROKEN = 4
INTERRUPTED = 130


def main() -> None:
    """Run the command line; errors that are meant for the user are one or two lines and an exit code."""
    for command in app.registered_commands:
        command.short_help = inspect.getdoc(command.callback)  # else the list of commands cuts sentences off
    try:
        app()
    except XaiError as error:
        # On the message's own line: an error is one line or two.
        recipe = recipes.of_error(error)
        hint = "" if recipe is None else f" (what to check first: xai recipe {recipe})"
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {_shown(error)}{hint}", soft_wrap=True)
        sys.exit(error.exit_code)


@dataclass(frozen=True, slots=True)
class _Voice:
    """How a command speaks: prose with bars, prose alone, or JSON lines."""

    quiet: bool
    json: bool

    @contextmanager
    def progress(self) -> Iterator[types.Progress]:
        """Yield a callback that draws bars, or prints an event whenever a stage is finished."""
        try:
            yield from self._progress()
        except KeyboardInterrupt:
            Console(stderr=True).print("stopped; the same command resumes where it was")
            raise typer.Exit(INTERRUPTED) from None

    def _progress(self) -> Iterator[types.Progress]:
        if self.json:
            yield _Events(self).tell
            return
        if self.quiet:
            yield types.no_progress
            return
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, Any] = {}

            def draw(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total)
                bars.update(tasks[stage], completed=done, total=total)

            yield draw

    def emit(self, event: Mapping[str, Any]) -> None:
        """Print one JSON line."""
        sys.stdout.write(json.dumps(event, default=str, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class _Events:
    """Tells each finished stage once, as a JSON line."""

    def __init__(self, voice: _Voice) -> None:
        self.voice = voice
        self.told: set[str] = set()

    def tell(self, stage: str, done: int, total: int) -> None:
        """Take a ``types.Progress`` call."""
        if done >= total and stage not in self.told:
            self.told.add(stage)
            self.voice.emit({"event": "stage", "stage": stage, "count": total})


class _Rate(ProgressColumn):
    """Things per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f}/s" if speed else "", style="progress.data.speed")


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

    voice = _Voice(quiet, json_)
    overrides = [*(set_ or []), *_shared(device, workers, seed)]
    with voice.progress() as progress:
        loaded = configs.load(config, overrides)
        run = pipeline.triage(
            loaded,
            out=out or loaded.out or Path("runs") / config.stem,
            progress=progress,
            command=_command(),
        )
    _summarise(run.path, voice)
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

    voice = _Voice(quiet, json_)
    with voice.progress() as progress:
        paths = scenes.make_demo(out, progress=progress)
        loaded = configs.load(paths.config, _shared(device, workers, None))
        run = pipeline.triage(loaded, out=out / "run", progress=progress, command=_command())
    score = scenes.score(run.path, paths.truth)
    if voice.json:
        for row in score.iter_rows(named=True):
            voice.emit({"event": "planted", **row})
    else:
        _print_score(score)
    _summarise(run.path, voice)


@app.command()
def profile(
    dataset: Annotated[Path, typer.Argument(help="folder of a data set, data.yaml of a YOLO or JSON of a COCO one")],
    out: Annotated[Path, typer.Option(help="profile directory")],
    detector: Annotated[Path | None, typer.Option(help="triage config whose detector is run on the photos too")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="voc, yolo or coco; default: told from the files")
    ] = None,
    split: Annotated[str | None, typer.Option(help="split of the data set; default: train")] = None,
    photos: Annotated[Path | None, typer.Option(help="folder of a COCO file's photos")] = None,
    label_frame: Annotated[str, typer.Option(help="frame of the boxes: auto, displayed or stored")] = "auto",
    device: Device = None,
    workers: Workers = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Tag a training set once, to be kept with the model."""
    from xai import config as configs
    from xai import pipeline

    voice = _Voice(quiet, json_)
    with voice.progress() as progress:
        made = pipeline.profile(
            dataset,
            out=out,
            format=format_,
            split=split,
            photos=photos,
            label_frame=label_frame,
            config=configs.load(detector, _shared(device, workers, seed)) if detector else None,
            workers=workers,
            progress=progress,
            command=_command(),
        )
    if voice.json:
        voice.emit({"event": "profile", "path": str(out), "photos": len(made.images), "objects": len(made.objects)})
    else:
        Console().print(f"profile of {len(made.images):,} photos and {len(made.objects):,} objects: {_shown(out)}")


@app.command()
def tag(
    photos: Annotated[Path, typer.Argument(help="a photo or a folder of photos")] = Path("."),
    out: Annotated[Path | None, typer.Option(help="FILE.parquet or FILE.csv")] = None,
    list_: Annotated[bool, typer.Option("--list", help="print the catalog of attributes and stop")] = False,
    format_: Annotated[str, typer.Option("--format", help="of --list: text or md")] = "text",
    device: Annotated[str | None, typer.Option(help="auto or cuda:i: where tones and detail are measured")] = None,
    workers: Workers = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Measure the attributes of photos; null where they cannot be told."""
    import attributes

    if list_:
        _print_catalog("json" if json_ else format_)
        return
    if out is None or out.suffix not in {".parquet", ".csv"}:
        raise RequestError(f"expected --out FILE.parquet or FILE.csv, got {out or 'none'}")
    if not photos.exists():
        raise RequestError(f"expected a photo or a folder of photos, found nothing at {photos}")
    where = None if device in (None, "cpu") else _gpu(device)
    make_folder(out.parent)  # before the photos, so that nobody waits for tags that cannot be written
    voice = _Voice(quiet, json_)
    with voice.progress() as progress:
        frame = attributes.tag(
            photos, workers=workers, device=where, progress=lambda done, total: progress("tag", done, total)
        )
    if not frame.height:
        raise DataError(f"expected photos (JPEG, PNG, WebP, TIFF or BMP) in {photos}, found none")
    if out.suffix == ".csv":
        frame.write_csv(out)
    else:
        frame.write_parquet(out)
    unread = frame.filter(frame["status"] != "ok").height
    if voice.json:
        voice.emit({"event": "tag", "path": str(out), "photos": frame.height, "unreadable": unread})
    else:
        Console().print(f"{frame.height:,} photos tagged ({unread:,} of them unreadable): {_shown(out)}")


@app.command()
def recipe(
    name: Annotated[
        str | None, typer.Argument(help="a cause, an issue code, or a failure; all names if left out")
    ] = None,
) -> None:
    """Print what to check first, what fixes it and what it costs; XAI_RECIPES names a folder of your own recipes."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(escape("\n".join(recipes.names()) if name is None else recipes.text(name)))


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
    voice = _Voice(quiet, json_)
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


@app.command()
def check(
    dataset: Annotated[Path, typer.Argument(help="the data set: its folder, data.yaml or COCO file")],
    data_format: Annotated[str | None, typer.Option(help="voc, yolo or coco; default: told from the files")] = None,
    split: Annotated[str | None, typer.Option(help="split of the data set; default: the one for training")] = None,
    photos: Annotated[Path | None, typer.Option(help="folder of the photos of a COCO file")] = None,
    metadata: Annotated[Path | None, typer.Option(help="CSV or Parquet file of what is known of the photos")] = None,
    against: Annotated[Path | None, typer.Option(help="profile to compare classes, boxes and photos with")] = None,
    format_: Annotated[str, typer.Option("--format", help="text, md (a ticket per problem) or csv")] = "text",
    max_bad: Annotated[float, typer.Option(min=0, max=1, help="share of lost photos or labels for exit code 3")] = 0.05,
    workers: Workers = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Check photos and labels alone: what is broken, what looks wrong, which classes changed."""
    from xai import checking

    if format_ not in ("text", "md", "csv"):
        raise RequestError(f"expected --format text, md or csv, got {format_!r} (the data set's is --data-format)")
    voice = _Voice(quiet, json_)
    with _Voice(quiet or json_, json=False).progress() as progress:
        found = checking.check(
            dataset,
            format=data_format,
            split=split,
            photos=photos,
            known=metadata,
            against=against,
            max_bad=max_bad,
            workers=workers,
            progress=progress,
        )
    if voice.json:
        for ticket in found.tickets:
            voice.emit({"event": "issue", **ticket.figures()})
        voice.emit({"event": "done", **found.figures()})
    else:
        made = {"text": "\n".join(found.lines()) + "\n", "md": found.markdown(), "csv": found.issues.write_csv()}
        sys.stdout.write(made[format_])
    if not found.usable:
        raise typer.Exit(DataError.exit_code)


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

    voice = _Voice(quiet, json_)
    formats = reports.parse_formats(format_)
    written = reports.render_as(Run(run).path, formats)
    if formats == ["html"]:
        _summarise(run, voice)
    elif voice.json:
        for path in written:
            voice.emit({"event": "report", "path": str(path)})
    else:
        for path in written:
            Console(highlight=False, soft_wrap=True).print(_shown(path))


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="run directory")],
    error_id: Annotated[
        str | None, typer.Argument(help="of the miss, or its beginning; the report names it at each photo")
    ] = None,
    sheet: Annotated[bool, typer.Option("--sheet", help="lay the run's heat maps side by side instead")] = False,
    masks: Annotated[int, typer.Option(min=2, help="masked copies of the photo; more make a steadier map")] = 600,
    device: Device = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Explain one miss in depth: a heat map with as many masks as asked, and the ledger of evidence."""
    from xai import explaining

    voice = _Voice(quiet, json_)
    if sheet == (error_id is not None):
        raise RequestError("expected either the ERROR_ID of a miss or --sheet")
    if error_id is None:
        written = explaining.sheet(run)
        if voice.json:
            voice.emit({"event": "done", "sheet": str(written)})
        else:
            Console(highlight=False, soft_wrap=True).print(f"heat maps: {_shown(written)}")
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
        console.print(_shown(text))
    console.print(f"heat map: {_shown(found.picture)}")


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
    from xai import comparing

    found = comparing.compare(run_a, run_b, common=common, out=out, seed=seed or 0)
    voice = _Voice(quiet=False, json=json_)
    if voice.json:
        for cell in found.cells.iter_rows(named=True):
            voice.emit({"event": "cell", **cell})
        paths = {"markdown": str(found.markdown_file), "changes": str(found.csv)}
        voice.emit({"event": "done", **found.figures(), **paths})
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in found.lines():
        console.print(escape(line))
    console.print(f"changed objects: {_shown(found.csv)}\nto pass on: {_shown(found.markdown_file)}")


@app.command()
def history(
    runs: Annotated[list[Path], typer.Argument(help="two or more run directories, in any order")],
    out: Annotated[
        Path | None, typer.Option(help="folder for tables (CSV) and a picture; default: none written")
    ] = None,
    json_: Json = False,
) -> None:
    """Line up runs by time: what was kept, whether the promise held, which shares moved more than chance."""
    from xai import histories

    told = histories.history(runs, out=out)
    voice = _Voice(quiet=False, json=json_)
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
        console.print(f"written: {_shown(path)}")


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
    from xai import collecting

    voice = _Voice(quiet, json_)
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
    console.print(f"chosen photos: {_shown(found.csv)}\ngaps: {_shown(found.table)}")


def _shared(device: str | None, workers: int | None, seed: int | None) -> list[str]:
    """Turn the shared options into config overrides."""
    given = {"device": device, "workers": workers, "seed": seed}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def _command() -> str:
    return shlex.join(["xai", *sys.argv[1:]])


def _summarise(path: Path, voice: _Voice) -> None:
    """Say what came out: the promise, the misses, the top causes and where the report is."""
    from xai import report as reports

    summary = reports.summarize(path)
    if voice.json:
        voice.emit({"event": "done", **summary.figures(), "report": str(path / "report.html")})
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in summary.lines():
        console.print(_shown(line))
    console.print(f"report: {_shown(path / 'report.html')}")


def _shown(value: object) -> str:
    """Write a text that may come from data, line by line, so that it steers neither the terminal nor its colours."""
    return escape("\n".join(printable(line) for line in str(value).split("\n")))


def _print_score(score: Any) -> None:
    table = Table(title="Planted causes", title_justify="left", box=None, pad_edge=False)
    for name in score.columns:
        table.add_column(name.replace("_", " "), justify="left" if score[name].dtype.is_(str) else "right")
    for row in score.iter_rows():
        table.add_row(
            *("–" if cell is None else f"{cell:.0%}" if isinstance(cell, float) else str(cell) for cell in row)
        )
    Console(highlight=False).print(table)


def _gpu(device: str) -> str | None:
    """The GPU that is asked for; None for the CPU, which measures arrays faster than tensors."""
    from xai.detect.detector import resolve_device

    found = resolve_device(device)
    return None if found == "cpu" else found


def _print_catalog(form: str) -> None:
    from attributes import ATTRIBUTES, listing

    if form not in ("text", "md", "json"):
        raise RequestError(f"expected --format text or md, got {form!r}")
    if form == "json":
        for told in listing.rows(ATTRIBUTES):
            sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    elif form == "md":
        sys.stdout.write(listing.markdown(ATTRIBUTES))
    else:
        sys.stdout.write(listing.text(ATTRIBUTES, width=min(Console().width, 100)))

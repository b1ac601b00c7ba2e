"""Commands that look at photos and labels, without a run."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from attributes import kept, remote
from xai.cli.app import app
from xai.cli.voice import Device, Json, Quiet, Seed, Voice, Workers, command_line, overrides_of, shown
from xai.exceptions import DataError, RequestError
from xai.files import make_folder, owned, replacing, writing


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

    voice = Voice(quiet, json_)
    with voice.progress() as progress:
        made = pipeline.profile(
            dataset,
            out=out,
            format=format_,
            split=split,
            photos=photos,
            label_frame=label_frame,
            config=configs.load(detector, overrides_of(device, workers, seed)) if detector else None,
            workers=workers,
            progress=progress,
            command=command_line(),
        )
    if voice.json:
        voice.emit({"event": "profile", "path": str(out), "photos": len(made.images), "objects": len(made.objects)})
    else:
        Console().print(f"profile of {len(made.images):,} photos and {len(made.objects):,} objects: {shown(out)}")


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
    if not remote.address(photos) and not photos.exists():
        raise RequestError(f"expected a photo or a folder of photos, found nothing at {photos}")
    where = None if device in (None, "cpu") else _gpu(device)
    voice = Voice(quiet, json_)
    parts = out.with_name(f"{out.name}.parts")
    with owned(parts), _room(where):
        make_folder(out.parent, out.name)  # before the photos, so that nobody waits for tags that cannot be written
        try:
            with voice.progress() as progress, writing(parts):
                frame = attributes.tag(
                    photos,
                    workers=workers,
                    device=where,
                    progress=lambda done, total: progress("tag", done, total),
                    keep=parts,
                )
        except ValueError as error:  # something of the user's lies where parts are to be kept
            raise RequestError(f"{error}; choose another --out") from error
        if not frame.height:
            kept.remove(parts)
            raise DataError(f"expected photos (JPEG, PNG, WebP, TIFF or BMP) in {photos}, found none")
        with replacing(out) as temporary:
            if out.suffix == ".csv":
                frame.write_csv(temporary)
            else:
                frame.write_parquet(temporary)
        kept.remove(parts)
    unread = frame.filter(frame["status"] != "ok").height
    if voice.json:
        voice.emit({"event": "tag", "path": str(out), "photos": frame.height, "unreadable": unread})
    else:
        Console().print(f"{frame.height:,} photos tagged ({unread:,} of them unreadable): {shown(out)}")


def _room(device: str | None) -> AbstractContextManager[None]:
    """Say in a sentence where the device is out of memory."""
    if device is None:
        return nullcontext()
    from xai.room import told

    return told("one photo", "leave --device out, or end what else runs there, and run it again: what is done is kept")


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
    voice = Voice(quiet, json_)
    with Voice(quiet or json_, json=False).progress() as progress:
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

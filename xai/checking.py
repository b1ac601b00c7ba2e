"""Photos and labels alone: what is broken, what is legal and yet looks wrong, which class names changed."""

from __future__ import annotations

import html
import os
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

import polars as pl
import yaml

from xai import config as configs
from xai import dataset, labels, provenance, run_json, tables
from xai.dataset import codes, implausible, metadata, renamed
from xai.progress import or_bars
from xai.report import tickets
from xai.report.format import count, percent, plural, share
from xai.scan import Split, scan
from xai.text import printable
from xai.types import Dataset, Progress

ROLE: Literal["train"] = "train"
"""What the readers are told that the data set is: a YOLO ``data.yaml`` is asked for this split by default."""

MAX_BAD = 0.05
"""Largest share of lost photos or label rows with which data counts as usable, as of ``data.max_bad``."""

_ORDER = ("error", "warning", "info")
_OF_CLASSES = ("class_new", "class_gone", "class_renamed", "class_spelling")
_OF_LISTS = ("listed_twice", "path_leaves_root", "photo_without_name")


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """What was found out about a data set.

    Attributes:
        path: the data set.
        format: its format.
        issues: one row per problem, columns of ``tables.ISSUES``.
        tickets: the same by code, errors first, then by how much they concern.
        funnel: photos and label rows from found to used, with losses by reason (``provenance.funnel``).
        max_bad: largest share of lost photos or label rows with which the data counts as usable.
        classes: objects by class, most frequent first.
        mapping: new class name → the name in the profile that it was probably renamed from.
        against: the profile that it was compared with.
        known: column of the metadata → ``number`` or ``text``, as it was read.
        again: the command that checks it again.
    """

    path: Path
    format: str
    issues: pl.DataFrame
    tickets: tuple[tickets.Ticket, ...]
    funnel: list[dict[str, Any]]
    max_bad: float
    classes: Mapping[str, int]
    mapping: Mapping[str, str]
    against: Path | None
    known: Mapping[str, str]
    again: str

    @property
    def lost(self) -> dict[str, float]:
        """Share of photos and of label rows that cannot be used."""
        return {unit: 1 - kept / found if found else 0.0 for unit, (found, kept) in self._kept().items()}

    @property
    def usable(self) -> bool:
        """Whether no more than ``max_bad`` of the photos and of the label rows is lost."""
        return max(self.lost.values()) <= self.max_bad

    @property
    def mapping_yaml(self) -> str:
        """Lines of a config that map renamed classes, empty where there are none."""
        return yaml.safe_dump({"data": {"classes": dict(self.mapping)}}, allow_unicode=True) if self.mapping else ""

    def summary(self) -> list[str]:
        """Say in a few lines how much there is, how much of it can be used, and how many problems there are."""
        kept = self._kept()
        (photos, read), (rows, valid) = kept["photos"], kept["objects"]
        empty = "" if rows else " (no labels at all)"
        found = f"{self.path} ({self.format}): {plural(photos, 'photo')}, {plural(rows, 'label row')}{empty}"
        if self.classes:
            top = ", ".join(f"{name} {count(number)}" for name, number in list(self.classes.items())[:5])
            rest = ", ..." if len(self.classes) > 5 else ""
            found += f", {plural(len(self.classes), 'class', 'classes')} ({top}{rest})"
        numbers = self.issues["severity"].value_counts()
        by_severity = dict(numbers.iter_rows())
        problems = [plural(by_severity[name], _PROBLEM[name]) for name in _ORDER if name in by_severity]
        lost = [
            f"{count(whole - part)} of {count(whole)} {unit} ({share(1 - part / whole)})"
            for unit, whole, part in (("photos", photos, read), ("label rows", rows, valid))
            if whole > part
        ]
        verdict = "usable" if self.usable else "not usable"
        limit = f"at most {percent(self.max_bad)} may be lost"
        state = f"{verdict}: {' and '.join(lost)} cannot be used; {limit}" if lost else "usable: nothing is lost"
        columns = ", ".join(f"{name} ({kind})" for name, kind in self.known.items())
        known = [f"metadata, as read: {columns}"] if columns else []
        return [found, *known, ", ".join(problems) or "no problems found", state]

    def figures(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        kept = self._kept()
        counts = {
            f"{unit}_{name}": n for unit, pair in kept.items() for name, n in zip(("found", "kept"), pair, strict=True)
        }
        told = {"usable": self.usable, "max_bad": self.max_bad, "classes": dict(self.mapping)}
        return {**counts, **told, "metadata": dict(self.known)}

    def lines(self) -> list[str]:
        """Return the whole check for a terminal."""
        *told, state = (printable(text) for text in self.summary())
        result = [*told, *tickets.lines(self.tickets)]
        if self.mapping:
            result += ["", "Renamed classes, as lines for the config:", self.mapping_yaml.rstrip()]
        return [*result, "", state]

    def markdown(self) -> str:
        """Return one ticket per code for whoever owns the data."""
        return tickets.markdown(
            self.tickets,
            title=f"Data check of {self.path.name or self.path}",
            summary=self.summary(),
            again=self.again,
            renamed=self.mapping_yaml,
        )

    def _kept(self) -> dict[str, tuple[int, int]]:
        counts = {(step["step"], step["unit"]): int(step["count"]) for step in self.funnel}
        return {
            "photos": (counts["found", "photos"], counts["read", "photos"]),
            "objects": (counts["found", "objects"], counts["valid", "objects"]),
        }

    def _repr_html_(self) -> str:
        """Show the summary and the tickets in a notebook."""
        head = "".join(f"<p>{html.escape(text)}</p>" for text in self.summary())
        cells = [(item.severity, item.code, item.extent, item.meaning, item.advice) for item in self.tickets]
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
        return f"{head}<table>{rows}</table>"


def check(
    path: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    photos: str | Path | None = None,
    against: str | Path | None = None,
    known: str | Path | None = None,
    max_bad: float = MAX_BAD,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Check:
    """Check the photos and labels of a data set without a detector.

    Args:
        path: the data set.
        format: a name in ``dataset.READERS``; told from the files if left out.
        split: the data set's own name of the split; the one for training if left out.
        photos: the folder of a COCO file's photos.
        against: a profile; its classes, boxes and photos are compared with.
        known: a table of what is known of the photos, as ``data.metadata.path``.
        max_bad: see ``Check``.
        workers: threads that decode.
        progress: told how far the scan is; in a notebook a bar is drawn if left out.

    Raises:
        ConfigError, RunError: there is no such data set, split or profile.
        DataError: the data set has nothing at all that can be used.
    """
    root = Path(path)
    form = format or dataset.guess_format(root)
    folder = Path(photos) if photos is not None else None
    data = dataset.read(root, form, role=ROLE, split=split, photos=folder)
    section = configs.Metadata(path=Path(known)) if known is not None else None
    if section is not None:
        metadata.read(section)  # what is wrong with it is told before the photos are scanned
    with tempfile.TemporaryDirectory(prefix="xai-check-") as scratch:
        found = scan(
            data,
            detector=None,
            detect_ids=frozenset(),
            match_iou=0.5,
            fingerprint={},
            folder=Path(scratch) / "shards",
            workers=workers or os.cpu_count() or 1,
            progress=or_bars(progress),
        )
    profile = _open(Path(against)) if against is not None else None
    more, mapping = _compared(found, data, profile)
    attached = metadata.attach({ROLE: found.images}, section, None)
    more.append(attached.issues)
    funnel = provenance.funnel(data, found.images, found.objects, found.issues)
    issues = tables.stack([found.issues, *(_placed(frame, data) for frame in more)], tables.ISSUES)
    issues = issues.with_columns(split=pl.lit(split, pl.String))
    counts = found.objects["label"].value_counts().sort(["count", "label"], descending=[True, False])
    return Check(
        path=root,
        format=form,
        issues=issues,
        tickets=_tickets(issues, funnel, found),
        funnel=funnel,
        max_bad=max_bad,
        classes=dict(counts.iter_rows()),
        mapping=mapping,
        against=Path(against) if against is not None else None,
        known={name.removeprefix(metadata.PREFIX): kind for name, kind in attached.types.items()},
        again=_command(root, format, split, folder, against, known, max_bad),
    )


_PROBLEM = {"error": "error", "warning": "warning", "info": "remark"}


def _open(path: Path) -> Split:
    run_json.read(path)
    return Split(*(tables.read(path, name) for name in ("images", "objects", "predictions", "issues")))


def _compared(found: Split, data: Dataset, profile: Split | None) -> tuple[list[pl.DataFrame], dict[str, str]]:
    """Return what is implausible or changed, and how classes were renamed."""
    numeric = [name for name in found.objects.columns if name.startswith("label_")]
    usual = (profile.objects, profile.images) if profile else None
    doubted = [
        implausible.find(found.objects, found.images, usual),
        labels.as_issues(labels.review(found.objects, found.images, reference=usual)),
    ]
    more = [
        # Both may doubt the shape of one box, in their own words: once is enough.
        tables.stack(doubted, tables.ISSUES).unique(
            ["image_id", "object_id", "code"], keep="first", maintain_order=True
        ),
        implausible.find_values(found.objects, numeric),
        renamed.misspelled(found.objects, split=None),
    ]
    if profile is None:
        return more, {}
    changed, mapping = renamed.compare_classes(found.objects, data.class_names, profile.objects, split=None)
    return [*more, changed, dataset.leaks(profile.images, found.images)], mapping


def _placed(issues: pl.DataFrame, data: Dataset) -> pl.DataFrame:
    """Name the file and line of the labels that issues are about."""
    places = data.labels.select("image_id", "object_id", label_file="file", label_line="line")
    joined = issues.join(places, on=["image_id", "object_id"], how="left", maintain_order="left")
    joined = joined.with_columns(file=pl.coalesce("file", "label_file"), line=pl.coalesce("line", "label_line"))
    return joined.select(issues.columns)


def _tickets(issues: pl.DataFrame, funnel: list[dict[str, Any]], found: Split) -> tuple[tickets.Ticket, ...]:
    counts = {(step["step"], step["unit"]): int(step["count"]) for step in funnel}
    made = [
        _ticket(str(code), rows, counts["found", "photos"], counts["found", "objects"])
        for (code,), rows in issues.partition_by("code", as_dict=True, maintain_order=True).items()
    ]
    return tuple(sorted(made, key=lambda item: (_ORDER.index(item.severity), -item.count, item.code)))


def _ticket(code: str, rows: pl.DataFrame, photos: int, label_rows: int) -> tickets.Ticket:
    entry = codes.CODES[code]
    concerned = rows["image_id"].drop_nulls().n_unique()
    unit: tickets.Unit
    if code in _OF_CLASSES:
        unit, number, total = "classes", len(rows), None
    elif code in _OF_LISTS:
        unit, number, total = "entries", len(rows), None
    elif code in provenance.ROWS_ALONE or rows["line"].count() or rows["object_id"].count():
        unit, number, total = "label rows", len(rows), label_rows
    elif concerned:
        unit, number, total = "photos", concerned, photos
    elif rows["file"].null_count() < len(rows):
        unit, number, total = "files", rows["file"].n_unique(), None
    else:
        unit, number, total = "data set", len(rows), None
    place = ["image_id", "file", "line", "object_id"]
    ordered = rows.sort(place, nulls_last=True, maintain_order=True)
    # One row of each photo before a second of any, so that the examples show how far the problem spreads.
    turn = pl.int_range(pl.len()).over("image_id", "file")
    shown = ordered.with_columns(turn=turn).sort("turn", maintain_order=True).head(tickets.MAX_EXAMPLES)
    examples = [tickets.Example(_where(row), row["line"], row["message"]) for row in shown.iter_rows(named=True)]
    return tickets.Ticket(
        code, entry.severity, entry.meaning, entry.advice, number, unit, total, concerned, tuple(examples)
    )


def _where(row: Mapping[str, Any]) -> str | None:
    """Name the file; where it speaks of many photos and no line tells which (COCO), the photo and the object too."""
    file: str | None = row["file"]
    image_id: str | None = row["image_id"]
    number: int | None = row["object_id"]
    if file is None or image_id is None or row["line"] is not None or PurePath(file).stem == PurePath(image_id).stem:
        return file or image_id
    return f"{image_id}{'' if number is None else f' object {number}'} in {file}"


def _command(
    path: Path,
    format: str | None,
    split: str | None,
    photos: Path | None,
    against: object,
    known: object,
    max_bad: float,
) -> str:
    given = {"--data-format": format, "--split": split, "--photos": photos, "--against": against, "--metadata": known}
    given["--max-bad"] = None if max_bad == MAX_BAD else max_bad
    options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
    return shlex.join(["xai", "check", str(path), *options])

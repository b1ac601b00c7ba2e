"""Runs in order of time: what was kept, whether the promise held, and which shares moved more than chance explains."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from xai import tables
from xai.after import portions
from xai.after.portions import MISS_RATE, Cells
from xai.coverage.bins import UNKNOWN
from xai.coverage.drift import Moved, moved, share_bounds
from xai.coverage.intervals import false_discovery
from xai.exceptions import RequestError
from xai.files import make_folder, replacing
from xai.report import timeline
from xai.rules import MISSES
from xai.run import Run

_Row = dict[str, Any]

SHARES: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "run": pl.Int64,
    "attribute": pl.String,
    "bin": pl.String,
    "unit": pl.String,
    "count": pl.Int64,
    "of": pl.Int64,
    "share": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}
"""Columns of ``History.shares``."""

MOVES: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "earlier": pl.Int64,
    "later": pl.Int64,
    "attribute": pl.String,
    "bin": pl.String,
    "unit": pl.String,
    "before": pl.Float64,
    "after": pl.Float64,
    "ratio": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
}
"""Columns of ``History.moves``."""


@dataclass(frozen=True, eq=False)
class History:
    """Runs in order of time.

    Attributes:
        runs: one row per run: ``run path started_at model model_sha256 photos_found photos objects_found objects_valid
            objects lost misses captured_from captured_to data_sha256 shared_photos`` (photos that the run before has
            too, by content), and of the promise ``recall recall_target recall_low recall_high recall_answer`` and the
            same of precision. What a run cannot tell is null.
        shares: one row per run, attribute and bin, columns of ``SHARES``: of photos for image attributes, of scored
            objects for the others and for labels; 95% over photos or groups.
        moves: one row per step, attribute and bin, columns of ``MOVES``: each run against the one before and, from
            three runs on, the last against the first. ``q_value`` is Benjamini–Hochberg over all of them.
        notes: what to know before the figures are believed.
        files: what was written, by name.
    """

    runs: pl.DataFrame
    shares: pl.DataFrame
    moves: pl.DataFrame
    notes: tuple[str, ...]
    files: Mapping[str, Path]

    def lines(self) -> list[str]:
        """Return the history for a terminal."""
        return timeline.lines(self)

    def figure(self) -> bytes:
        """Draw recall with the promise, and the shares that moved, as PNG."""
        return timeline.png(self)

    def _repr_png_(self) -> bytes:
        return self.figure()

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html.escape(line)}</p>" for line in self.lines())


def history(runs: Sequence[str | Path], *, out: str | Path | None = None) -> History:
    """Line up runs by the time at which they were started, and test what moved.

    Args:
        runs: two or more run directories, in any order.
        out: folder for ``runs.csv``, ``shares.csv``, ``moves.csv`` and ``history.png``; nothing is written if left out.

    Raises:
        RequestError: fewer than two runs, a run named twice, or runs that answer different questions.
        RunError: there is no finished run.
    """
    opened = sorted((Run(path) for path in runs), key=lambda run: str(run.info.get("started_at") or ""))
    if len({run.path.resolve() for run in opened}) < max(len(opened), 2):
        raise RequestError("expected two or more different runs: a history needs a before and an after")
    questions = {str(run.info.get("question") or "evaluate") for run in opened}
    if len(questions) > 1:
        raise RequestError(
            "expected runs that answer the same question; some explain an evaluation set, others reported misses"
        )
    split = "production" if questions == {"reported"} else "eval"
    sides = portions.sides(opened, split)
    shares = pl.concat([_shares(place, side) for place, side in enumerate(sides)])
    steps = [(place, place + 1) for place in range(len(sides) - 1)]
    steps += [(0, len(sides) - 1)] * (len(sides) > 2)
    digests = [_digest(run, split) for run in opened]
    same = [digests[first] is not None and digests[first] == digests[last] for first, last in steps]
    moves = pl.concat(
        [_moves(first, last, sides, misses_only=alike) for (first, last), alike in zip(steps, same, strict=True)]
    )
    moves = moves.with_columns(q_value=pl.Series(false_discovery(moves["p_value"].to_numpy())))
    moves = moves.with_columns(pl.col(pl.Float64).fill_nan(None))
    table = pl.DataFrame(
        [_described(place, run, opened[place - 1] if place else None, split) for place, run in enumerate(opened)],
        infer_schema_length=None,
    )  # fmt: skip
    told = History(table, shares, moves, tuple(_notes(opened, steps, same)), {})
    return _write(told, Path(out)) if out is not None else told


def _shares(place: int, side: Sequence[Cells]) -> pl.DataFrame:
    """Rows of one run."""
    parts = []
    for cells in side:
        low, high = share_bounds(cells.inside, portions.draws_of(cells.keys))
        rows = len(cells.inside)
        counts = cells.inside.sum(axis=0)
        frame = pl.DataFrame(
            {
                "run": place,
                "attribute": [name for name, _ in cells.names],
                "bin": [part for _, part in cells.names],
                "unit": cells.unit,
                "count": counts,
                "of": rows,
                "share": counts / max(rows, 1),
                "low": low,
                "high": high,
            }
        )
        parts.append(tables.conform(frame.filter(pl.lit(rows > 0)), SHARES))
    return pl.concat(parts)


def _moves(first: int, last: int, sides: Sequence[Sequence[Cells]], *, misses_only: bool) -> pl.DataFrame:
    """Test what moved between two runs, of what both measured; of the same photos only misses can move."""
    parts = []
    for earlier, later in zip(sides[first], sides[last], strict=True):
        places = {name: place for place, name in enumerate(later.names)}
        names = [
            (name, part)
            for name, part in earlier.names
            if (name, part) in places and part != UNKNOWN and (name == MISS_RATE or not misses_only)
        ]
        if not names or not len(earlier.inside) or not len(later.inside):
            continue
        order = {name: place for place, name in enumerate(earlier.names)}
        inside = np.concatenate(
            [earlier.inside[:, [order[name] for name in names]], later.inside[:, [places[name] for name in names]]]
        )
        is_later = np.repeat([False, True], [len(earlier.inside), len(later.inside)])
        found = moved(inside, is_later, portions.draws_of(pl.concat([earlier.keys, later.keys])))
        parts.append(_rows(first, last, earlier.unit, names, found))
    return pl.concat(parts) if parts else tables.empty(MOVES)


def _rows(first: int, last: int, unit: str, names: Sequence[tuple[str, str]], found: Moved) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "earlier": first,
            "later": last,
            "attribute": [name for name, _ in names],
            "bin": [part for _, part in names],
            "unit": unit,
            "before": found.before,
            "after": found.after,
            "ratio": found.ratio,
            "low": found.low,
            "high": found.high,
            "p_value": found.p_value,
        }
    )
    occurs = (pl.col("before") > 0) | (pl.col("after") > 0)
    return tables.conform(frame.filter(occurs), MOVES)


def _described(place: int, run: Run, before: Run | None, split: str) -> _Row:
    """Return the funnel, the misses and the promise of one run."""
    funnel = {(step["step"], step["unit"]): int(step["count"]) for step in run.info.get("funnel", {}).get(split, [])}
    data = run.info["data"].get(split, {})
    captured = data.get("captured_at") or [None, None]
    row: _Row = {
        "run": place,
        "path": str(run.path),
        "started_at": run.info.get("started_at"),
        "model": Path(str(run.info["model"]["file"])).name,
        "model_sha256": run.info["model"]["sha256"],
        "photos_found": funnel.get(("found", "photos")),
        "photos": funnel.get(("read", "photos")),
        "objects_found": funnel.get(("found", "objects")),
        "objects_valid": funnel.get(("valid", "objects")),
        "objects": funnel.get(("used", "objects")),
        "lost": _lost(run, split),
        "misses": len(run.errors.filter(pl.col("kind").is_in(list(MISSES)))),
        "captured_from": captured[0],
        "captured_to": captured[1],
        "data_sha256": data.get("sha256"),
        "shared_photos": None,
    }  # fmt: skip
    if before is not None:
        row["shared_photos"] = _shared(_contents(run, split), _contents(before, split))
    answers = {answer["metric"]: answer for answer in run.info["promise"]}
    for metric in ("recall", "precision"):
        answer = answers.get(metric, {})
        row[f"{metric}_target"] = answer.get("target")
        row[metric] = answer.get("rate")
        row[f"{metric}_low"] = answer.get("low")
        row[f"{metric}_high"] = answer.get("high")
        row[f"{metric}_answer"] = answer.get("answer")
    return row


def _contents(run: Run, split: str) -> pl.Series:
    """Return what the photos that were read hold, by SHA-256; null where a run does not tell."""
    photos = run.images.filter((pl.col("split") == split) & (pl.col("status") == "ok")).unique("image_id")
    return photos["sha256"] if "sha256" in photos.columns else pl.repeat(None, len(photos), dtype=pl.String, eager=True)


def _shared(contents: pl.Series, before: pl.Series) -> int | None:
    """Count the photos that the run before has too, by content, whatever their groups; None where none is told."""
    if not len(contents.drop_nulls()) or not len(before.drop_nulls()):
        return None
    return int(contents.is_in(before.drop_nulls().unique().to_list()).sum())


def _lost(run: Run, split: str) -> str | None:
    """Say how many photos and label rows were lost why."""
    steps = (run.info.get("funnel") or {}).get(split) or []
    lost = [f"{count} {why}" for step in steps if step["step"] != "used" for why, count in step["lost"].items()]
    return "; ".join(lost) or None


def _digest(run: Run, split: str) -> str | None:
    return (run.info["data"].get(split) or {}).get("sha256")


def _notes(runs: Sequence[Run], steps: Sequence[tuple[int, int]], same: Sequence[bool]) -> list[str]:
    notes = []
    versions = list(dict.fromkeys(str(run.info.get("version")) for run in runs))
    if len(versions) > 1:
        notes.append(
            f"The runs were made by versions {', '.join(versions)}: where a condition is told otherwise since, a share "
            "moves with it"
        )
    for (first, last), alike in zip(steps, same, strict=True):
        if alike and last == first + 1:
            notes.append(
                f"Runs {first + 1} and {last + 1} are of the same photos and labels, whose shares cannot move; "
                "xai compare tells what the detector does differently"
            )
    overlaps = {(run.info["config"].get("match") or {}).get("iou") for run in runs}
    if len(overlaps) > 1:
        notes.append("The runs count an object as found from different overlaps (match.iou): miss rates do not compare")
    return notes


def _write(told: History, folder: Path) -> History:
    make_folder(folder)
    files = {name: folder / f"{name}.csv" for name in ("runs", "shares", "moves")}
    for name, path in files.items():
        with replacing(path) as temporary:
            getattr(told, name).write_csv(temporary)
    picture = folder / "history.png"
    with replacing(picture) as temporary:
        temporary.write_bytes(told.figure())
    return replace(told, files={**files, "picture": picture})

"""Two runs on the same evaluation set: which misses the second fixes, which it adds, and where that is no chance."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from xai import tables
from xai.after import pairing
from xai.coverage.bins import catalog_or_default, fit_user_bins, inherit
from xai.coverage.changes import cells, members
from xai.coverage.intervals import Floats, indicator
from xai.coverage.onehot import conditions
from xai.coverage.paired import sign_flip
from xai.coverage.promise import WRONG_DETECTIONS
from xai.coverage.sample import sample
from xai.coverage.slices import slices
from xai.files import make_folder, replacing
from xai.report import comparison as rendering
from xai.rules import MISSES
from xai.run import Run

FOLDER = "compare"
"""Where what a comparison writes goes, in the directory of the second run."""


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Detections that count against precision, on the compared photos.

    Attributes:
        a: of the first run.
        b: of the second.
        photos: compared.
        difference: per photo, B minus A.
        low: 95%, over photos or groups.
        high: likewise.
        p_value: of A and B being alike.
    """

    a: int
    b: int
    photos: int
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What run B does differently from run A on the same objects.

    Attributes:
        a: directory of the first run.
        b: directory of the second run.
        cells: one row per condition, columns of ``coverage.changes.CELLS``: ``kind`` is ``all``, ``label``, ``bin``,
            ``cause`` (objects in the cause's conditions), ``slice`` (of objects that either run misses too often) or
            ``slice_a`` and ``slice_b`` (of ``slices.parquet``). ``draws`` are photos or groups; ``difference`` is the
            miss rate of B minus that of A. ``q_value`` is Benjamini–Hochberg over all conditions that are tested; null
            for ``all``, for usual states, with fewer than 6 changed photos, and for the slices of one run, which were
            chosen because that run fails there, so that the other looks better by chance alone. ``named``: misses of A
            whose verdict is the cause, ``named_fixed`` how many of them B finds. ``same_as``: an earlier condition that
            holds almost the same objects (Jaccard index of 0.8 or more), null if there is none.
        changes: one row per object whose outcome changed: ``image_id object_id label change`` (``fixed`` or
            ``broken``), outcomes, and the causes that the run with the miss names.
        false_alarms: likewise of detections.
        photos: photos that both runs read.
        groups: independent draws among them where they are drawn in groups, else None.
        left_out: objects that only one of the runs scores.
        notes: what to know before the figures are believed.
        differs: config key → value in A and in B.
        promises: answers of both runs, A first.
        csv: the changed objects.
        markdown_file: the comparison to be passed on.
    """

    a: Path
    b: Path
    cells: pl.DataFrame
    changes: pl.DataFrame
    false_alarms: FalseAlarms
    photos: int
    groups: int | None
    left_out: int
    notes: tuple[str, ...]
    differs: Mapping[str, tuple[Any, Any]]
    promises: tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]
    csv: Path
    markdown_file: Path

    @cached_property
    def overall(self) -> dict[str, Any]:
        """The row over all objects."""
        return self.cells.row(0, named=True)

    def lines(self) -> list[str]:
        """Return the comparison for a terminal."""
        return rendering.lines(self)

    def markdown(self) -> str:
        """Return the comparison as Markdown, every tested condition in tables."""
        return rendering.markdown(self)

    def figures(self) -> dict[str, Any]:
        """Return the overall figures as plain values."""
        alarms = {name: getattr(self.false_alarms, name) for name in FalseAlarms.__slots__}
        return {
            "a": str(self.a),
            "b": str(self.b),
            "photos": self.photos,
            "groups": self.groups,
            "left_out": self.left_out,
            **{name: value for name, value in self.overall.items() if name in _OVERALL},
            "false_alarms": alarms,
            "differs": {key: list(values) for key, values in self.differs.items()},
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        """Show the lines in a notebook."""
        return "".join(f"<p>{html.escape(line)}</p>" for line in self.lines())


_OVERALL = ("objects", "missed_a", "missed_b", "fixed", "broken", "difference", "low", "high", "p_value")


def compare(
    run_a: str | Path, run_b: str | Path, *, common: bool = False, out: str | Path | None = None, seed: int = 0
) -> Comparison:
    """Compare two runs on the same evaluation set, object by object.

    Tests are exact sign-flip tests over photos (or groups), intervals photo-clustered (``coverage.paired``).

    Args:
        run_a: the run to compare with.
        run_b: the run that is judged.
        common: where the evaluation sets differ, compare the objects that both have: the same photo by content, the
            same box, the same label.
        out: folder for ``comparison.md`` and ``changes.csv``; ``RUN_B/compare/NAME_A`` if left out.
        seed: of the halves on which slices are found and confirmed.

    Raises:
        RequestError: the runs answer different questions, or are of different evaluation sets and ``common`` is not
            asked for, or have no object in common.
        RunError: there is no finished run.
    """
    first, second = Run(run_a), Run(run_b)
    pairing.refuse_reported(first, second)
    joined, notes = pairing.joined(first, second, common)
    images = pairing.photos(second, first)
    catalog = catalog_or_default(None)
    user = fit_user_bins(inherit(joined, images, catalog))
    held = sample(images, joined, catalog, user)
    a, b = (joined[f"outcome_{side}"].is_in(list(MISSES)).to_numpy() for side in "ab")
    grid = conditions(held, catalog, user)
    columns = grid.columns_of(held, catalog, user)
    either = slices(None, replace(held, miss=a | b), catalog, user, seed=seed)
    found_in = members(grid, columns, held, {"slice": either, "slice_a": first.slices, "slice_b": second.slices})
    causes = {side: pairing.causes(run) for side, run in (("a", first), ("b", second))}
    changes = pairing.changes(joined, causes)
    named = joined.join(causes["a"], on=pairing.KEYS, how="left", maintain_order="left")
    table = cells(found_in, a, b, held, named)
    folder = Path(out) if out is not None else second.path / FOLDER / (first.path.resolve().name or "run")
    scored = [pairing.scored(run) for run in (first, second)]
    found = Comparison(
        a=first.path,
        b=second.path,
        cells=table,
        changes=changes,
        false_alarms=_false_alarms(first, second, images),
        photos=len(images),
        groups=int(tables.draws(images["image_id"], images).n_unique()) if "group" in images.columns else None,
        left_out=sum(len(frame) for frame in scored) - 2 * len(joined),
        notes=(*notes, *pairing.doubts(first, second)),
        differs=pairing.differs(first, second),
        promises=(first.info["promise"], second.info["promise"]),
        csv=folder / "changes.csv",
        markdown_file=folder / "comparison.md",
    )
    make_folder(folder)
    with replacing(found.csv) as temporary:
        changes.write_csv(temporary)
    with replacing(found.markdown_file) as temporary:
        temporary.write_text(found.markdown(), encoding="utf-8")
    return found


def _false_alarms(first: Run, second: Run, images: pl.DataFrame) -> FalseAlarms:
    """Compare the wrong detections per photo."""
    ids = images.select("image_id", "sha256")
    counts = []
    for run in (first, second):
        wrong = run.predictions.filter((pl.col("split") == "eval") & pl.col("outcome").is_in(list(WRONG_DETECTIONS)))
        of_run = run.images.filter(pl.col("split") == "eval").select("image_id", "sha256")
        by_content = of_run.join(wrong.group_by("image_id").len("wrong"), on="image_id", how="left")
        by_content = by_content.unique("sha256", keep="first").select("sha256", pl.col("wrong").fill_null(0))
        joined = ids.join(by_content, on="sha256", how="left", maintain_order="left")
        counts.append(joined["wrong"].fill_null(0).to_numpy().astype(np.float64))
    draw = tables.draws(images["image_id"], images).to_numpy()
    draws = indicator(draw, int(draw.max(initial=-1)) + 1)
    change = counts[1] - counts[0]
    mean, low, high = _mean(change, draws)
    p_value = float(sign_flip((draws @ change)[:, None])[0])
    return FalseAlarms(int(counts[0].sum()), int(counts[1].sum()), len(images), mean, low, high, p_value)


def _mean(values: Floats, draws: Any) -> tuple[float, float, float]:
    """Return a mean over photos with the linearised 95% interval over draws."""
    size, total = draws.sum(axis=1), draws @ values
    clusters = len(size)
    mean = float(values.mean()) if len(values) else float("nan")
    if clusters < 2:
        return mean, float("nan"), float("nan")
    error = np.sqrt(clusters / (clusters - 1) * ((total - size * mean) ** 2).sum()) / size.sum()
    reach = float(-special.stdtrit(clusters - 1, 0.025) * error)
    return mean, mean - reach, mean + reach

"""Photos of an unlabelled pool that fill the gaps of a run best, and augmentation for those that pixels can fill."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from attributes import ATTRIBUTES, remote
from attributes.decode import DecodeError, read
from xai import augment, detect, own, tables
from xai import config as configs
from xai import pool as pools
from xai.after.held import Members
from xai.coverage.bins import UserBins, fit_user_bins, inherit
from xai.coverage.cases import bins_of_cases
from xai.coverage.fill import Filled, fill
from xai.coverage.intervals import Bools, Floats, Integers
from xai.coverage.wanted import gaps
from xai.exceptions import DetectorError, RequestError, RunError, XaiError
from xai.files import make_folder, replacing
from xai.pool import Pool
from xai.progress import or_bars
from xai.report import collection as rendering
from xai.rules import MISSES
from xai.run import Run
from xai.types import Boxes, Detector, Pixels, PredictedOnly, Progress

FOLDER = "collect"
"""Where what is found goes, in the run directory."""

TRIED = 24
"""Pool photos that a pipeline is tried on, to tell how much of what it makes lands in the gap."""

FEWEST_TRIED = 5
"""Augmented photos or objects of which none landed in the gap, from which a pipeline is not offered."""

REASONS = 3
"""Gaps that a photo's reason names."""


@dataclass(frozen=True, eq=False)
class Collected:
    """What to add to training.

    Attributes:
        run: the run whose gaps are filled.
        pool: the folder of photos.
        photos: one row per chosen photo, best first: ``rank image_id path gain gaps why``.
        gaps: one row per gap, heaviest first: the columns of ``coverage.wanted.GAPS``, ``in_pool`` (of what is needed,
            in the pool; null where that cannot be told), ``chosen``, ``unfilled``, ``untold`` (why it cannot be looked
            for), ``pipeline`` (file), ``landing`` (share of augmented pool photos or objects that lands in the gap, of
            ``landing_known``), ``augment_note`` (why it cannot be augmented, or what to know).
        searched: photos of the pool that were read.
        unread: photos that could not be.
        used: those that are in the run's training or evaluation set already, by content.
        detected: whether objects were looked for in the pool.
        notes: what to know before the figures are believed.
        csv: the chosen photos.
        table: the gaps, Parquet.
    """

    run: Path
    pool: Path
    photos: pl.DataFrame
    gaps: pl.DataFrame
    searched: int
    unread: int
    used: int
    detected: bool
    notes: tuple[str, ...]
    csv: Path
    table: Path

    def lines(self) -> list[str]:
        """Return what was found for a terminal."""
        return rendering.lines(self)

    def figures(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        names = ("searched", "unread", "used", "detected")
        counts: dict[str, Any] = {name: getattr(self, name) for name in names}
        return {**counts, "chosen": len(self.photos), "gaps": len(self.gaps), "notes": list(self.notes)}

    def _repr_html_(self) -> str:
        """Show the lines in a notebook."""
        return "".join(f"<p>{html.escape(line)}</p>" for line in self.lines())


def collect(
    run: str | Path,
    pool: str | Path,
    *,
    n: int | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    workers: int | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Collected:
    """Find the photos of a pool that fill the gaps of a run best, and make pipelines for what can be augmented.

    The pool is tagged; objects in it are what the run's detector finds at its threshold. Without it only conditions of
    photos are looked for; where its weights have changed since the run they are used, and a note says so. Photos are
    chosen one by one, each the one that adds most
    (``coverage.fill``); near duplicates of chosen ones, and photos that training or evaluation hold already, are left
    out.

    Args:
        run: a finished run with a training (or reference) set.
        pool: folder of photos.
        n: photos to choose at most; as many as add something if left out.
        out: folder for ``photos.csv``, ``gaps.parquet`` and the pipelines; ``RUN/collect`` if left out.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:i``; the run's own if left out.
        workers: threads that decode and tag.
        seed: of what is augmented to try the pipelines; the run's own if left out.
        progress: told how far tagging is; in a notebook a bar is drawn if left out.

    Raises:
        RequestError: ``n`` is no number of photos, or there is no such folder.
        RunError: there is no finished run, or it has no training set.
        DataError: no photo of the pool can be read.
    """
    if n is not None and n < 1:
        raise RequestError(f"expected a number of photos to choose, 1 or more, got {n}")
    opened, root = Run(run), Path(pool)
    if not root.is_dir():
        raise RequestError(f"expected a folder of photos at {root}, found none")
    if "train" not in opened.info["data"]:
        raise RunError(f"{opened.path} has no training set (data.train), so nothing tells what is missing in it")
    folder = Path(out) if out is not None else opened.path / FOLDER
    make_folder(folder)
    wanted = gaps(opened.coverage, opened.slices, opened.uncovered, _miss_rate(opened))
    detector, notes = _detector(opened, device)
    as_stored = opened.info["config"]["detector"].get("exif") == "ignore"
    attributes, untold = _attributes(opened)
    tagged = pools.tag(
        root,
        detector,
        folder=folder,
        workers=workers,
        as_stored=as_stored,
        attributes=attributes,
        progress=or_bars(progress),
    )
    photos = tagged.images.filter(pl.col("status") == "ok")
    members = Members.of(tagged, photos, _user_bins(opened))
    found = [members.holds(row["conditions"], row["unit"]) for row in wanted.iter_rows(named=True)]
    used = _used(opened, photos)
    holds = np.column_stack([np.zeros(len(photos), dtype=np.int64), *(part.counts for part in found)])[:, 1:]
    filled = fill(
        holds,
        wanted["needed"].to_numpy(),
        wanted["weight"].to_numpy(),
        most=len(photos) if n is None else n,
        hashes=_hashes(photos),
        usable=~used,
    )
    told = wanted.with_columns(
        in_pool=pl.Series([None if part.untold else int(part.counts[~used].sum()) for part in found], dtype=pl.Int64),
        chosen=pl.Series(filled.taken.sum(axis=0), dtype=pl.Int64),
        unfilled=pl.Series(filled.remaining, dtype=pl.Int64),
        untold=pl.Series([part.untold or None for part in found], dtype=pl.String),
    )
    plans = _augmented(opened, tagged, wanted, folder, opened.info["seed"] if seed is None else seed)
    result = Collected(
        run=opened.path,
        pool=root,
        photos=_chosen(filled, photos, wanted, members, root),
        gaps=pl.concat([told, plans], how="horizontal"),
        searched=len(photos),
        unread=len(tagged.images) - len(photos),
        used=int(used.sum()),
        detected=tagged.detected,
        notes=(*notes, *untold),
        csv=folder / "photos.csv",
        table=folder / "gaps.parquet",
    )
    with replacing(result.csv) as temporary:
        result.photos.write_csv(temporary)
    tables.write(result.gaps, result.table)
    return result


def _miss_rate(run: Run) -> float:
    scored = run.objects.filter(pl.col("split").is_in(["eval", "production"]))
    scored = scored.filter(pl.col("outcome").is_not_null() & (pl.col("outcome") != "ignored"))
    return float(scored["outcome"].is_in(list(MISSES)).sum() / len(scored)) if len(scored) else 0.0


def _attributes(run: Run) -> tuple[tuple[own.Own, ...], list[str]]:
    """Load the user's own attributes of the run; where they cannot be, say so."""
    try:
        return own.load(run.info["config"]["data"].get("attributes") or ()), []
    except RequestError as error:
        return (), [f"Attributes of your own cannot be told of the pool: {error}"]


def _user_bins(run: Run) -> UserBins:
    """Return the bins of the user's columns as the run has cut them."""
    if run.info.get("question") == "reported":
        objects, images = (table.filter(pl.col("split") == "production") for table in (run.objects, run.images))
        return bins_of_cases(objects, images)
    objects, images = (table.filter(pl.col("split") == "eval") for table in (run.objects, run.images))
    return fit_user_bins(inherit(objects, images))


def _detector(run: Run, device: str | None) -> tuple[Detector | None, list[str]]:
    """Load the run's detector; where it cannot be, say why and what follows, and where it has changed, say that."""
    alone = "only conditions of photos, not of objects, are looked for in the pool"
    config = configs.from_dict(run.info["config"], where=f"the config in {run.path / 'run.json'}")
    if config.detector.kind == "predictions":
        return None, [f"The run is of a results file, which cannot be asked about other photos: {alone}"]
    try:
        loaded = detect.load(config.detector, device or config.device)
    except (DetectorError, XaiError) as error:
        return None, [f"The run's detector cannot be loaded ({error}): {alone}"]
    if isinstance(loaded, PredictedOnly):
        return None, [f"The run's detector cannot be asked: {alone}"]
    then, now = run.info["model"]["sha256"], loaded.card.sha256
    notes = ["Objects of the pool are what the detector finds there; those that it misses are not counted"]
    if now and then not in (now, "unknown"):
        notes.append(f"{loaded.card.file} has changed since the run was made; objects are told by it as it is now")
    return loaded, notes


def _used(run: Run, photos: pl.DataFrame) -> Bools:
    """Return (P,) whether the run's training or annotated photos have it already, by content."""
    own = run.images.filter(pl.col("split") != "production")  # what was never annotated may well be chosen
    known = own["sha256"].drop_nulls().unique().to_list() if "sha256" in own.columns else []
    return photos["sha256"].is_in(known).to_numpy()


def _hashes(photos: pl.DataFrame) -> Any:
    packed = bytes.fromhex("".join(photos["hash"].to_list()))
    return np.frombuffer(packed, dtype=np.uint8).reshape(len(photos), -1)


def _chosen(filled: Filled, photos: pl.DataFrame, wanted: pl.DataFrame, members: Members, root: Path) -> pl.DataFrame:
    """Write down the chosen photos with why each was."""
    names, conditions = wanted["gap"].to_list(), wanted["conditions"].to_list()
    value = (wanted["weight"] / wanted["needed"]).to_numpy()
    rows = []
    for rank, (photo, gain, taken) in enumerate(zip(filled.chosen, filled.gain, filled.taken, strict=True), start=1):
        served = _served(taken, value)
        image_id = str(photos["image_id"][int(photo)])
        why = [
            rendering.reason(conditions[gap], members.first(int(photo), conditions[gap])) for gap in served[:REASONS]
        ]
        rest = len(served) - len(why)
        rows.append(
            {
                "rank": rank,
                "image_id": image_id,
                "path": remote.address(root / image_id) or (root / image_id).as_posix(),
                "gain": float(gain),
                "gaps": " | ".join(names[gap] for gap in served),
                "why": "; ".join(why) + (f"; and {rest} more" if rest else ""),
            }
        )
    schema = {"rank": pl.Int64, "image_id": pl.String, "path": pl.String, "gain": pl.Float64, "gaps": pl.String,
              "why": pl.String}  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def _served(taken: Integers, value: Floats) -> list[int]:
    """Return the gaps that a photo added to, those that it added most to first."""
    places = np.flatnonzero(taken > 0)
    return [int(place) for place in places[np.argsort(-(taken * value)[places], kind="stable")]]


def _augmented(run: Run, pool: Pool, wanted: pl.DataFrame, folder: Path, seed: int) -> pl.DataFrame:
    """Write a pipeline for each gap that has one, and try it on photos of the pool."""
    photos = _samples(pool)
    for stale in (folder / "augment").glob("[0-9][0-9][0-9]_*.json"):
        stale.unlink()
    rows = []
    for place, conditions in enumerate(wanted["conditions"].to_list(), start=1):
        label = next((part.removeprefix("label=") for part in conditions if part.startswith("label=")), None)
        made = augment.plan(conditions, _typical(run, label))
        row: dict[str, Any] = {"pipeline": None, "landing": None, "landing_known": None, "augment_note": made.reason}
        tried = augment.landing(made, photos, seed=seed)
        if tried.known >= FEWEST_TRIED and not tried.inside:
            row["augment_note"] = f"tried on the pool, none of {tried.known} augmented {_unit(made)} lands in the gap"
        elif made.pipeline is not None:
            name = re.sub(r"[^a-z0-9_-]+", "-", "_".join(conditions).lower()).strip("-")[:80]
            path = folder / "augment" / f"{place:03d}_{name}.json"
            make_folder(path.parent)
            augment.save(made, path)
            row |= {"pipeline": path.as_posix(), "landing": tried.share, "landing_known": tried.known}
        rows.append(row)
    schema = {"pipeline": pl.String, "landing": pl.Float64, "landing_known": pl.Int64, "augment_note": pl.String}
    return pl.DataFrame(rows, schema=schema)


def _unit(made: augment.Plan) -> str:
    return "objects" if any(ATTRIBUTES[name].level == "object" for name in made.told_by) else "photos"


def _samples(pool: Pool) -> list[tuple[Pixels, Boxes, list[str]]]:
    """Read some photos of the pool, evenly spread, with the boxes of their objects."""
    readable = pool.images.filter(pl.col("status") == "ok")["image_id"].sort().to_list()
    step = max(len(readable) / TRIED, 1)
    samples = []
    for place in range(min(TRIED, len(readable))):
        image_id = readable[int(place * step)]
        objects = pool.objects.filter(pl.col("image_id") == image_id)
        try:
            pixels = read(pool.root / image_id, within=pool.root).pixels
        except DecodeError:  # gone or damaged since it was tagged
            continue
        boxes = objects.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float64)
        samples.append((pixels, boxes, objects["label"].to_list()))
    return samples


def _typical(run: Run, label: str | None) -> augment.Typical:
    """Return what the run's training photos are like, objects of one class where one is named."""
    images = run.images.filter((pl.col("split") == "train") & (pl.col("status") == "ok"))
    objects = run.objects.filter(pl.col("split") == "train")
    if label is not None and (objects["label"] == label).any():
        objects = objects.filter(pl.col("label") == label)
    medians = {}
    for name, item in ATTRIBUTES.items():
        frame = images if item.level == "image" else objects
        if name in frame.columns and frame[name].null_count() < len(frame):
            medians[name] = float(cast(float, frame[name].median()))
    sides = images.select(pl.max_horizontal("width", "height").median()).item() if len(images) else None
    return augment.Typical(float(sides or augment.DETAIL), medians)

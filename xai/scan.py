"""Reads a split once: photos and labels in, tables of images, objects, predictions and issues out, shard by shard.

A shard is a folder that appears whole (written aside, then renamed), so a killed scan loses at most one and resumes
with the next. Each carries the fingerprint of what its rows depend on, so that after a change of photos, labels,
detector or thresholds only those shards are made anew that it touches. Shards are cut by the order of the photos: one
that is added moves all behind it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from attributes import links
from attributes.decode import NOT_READ
from xai import dataset, own, provenance, tables
from xai.alone import Opening
from xai.begun import MARK, begun
from xai.dataset import photos
from xai.files import make_folder, to_disk, writing
from xai.shard import IMAGE_ATTRIBUTES, OBJECT_ATTRIBUTES, Engine, Split, Work, make
from xai.types import Dataset, Detector, PredictedOnly, Progress

__all__ = ["Split", "scan"]

SHARD_SIZE = 128
"""Photos a shard: the unit that is lost when a run is killed."""

STAMP = "fingerprint"
"""File of a shard that holds the digest of what its rows depend on, and a word more where the next run shall look
again."""

_OURS = re.compile(r"\d{5,}|\.shard-.*")
"""Names of shards, and of those that are being written."""


def scan(
    data: Dataset,
    *,
    detector: Detector | PredictedOnly | None,
    detect_ids: Collection[str],
    match_iou: float,
    fingerprint: Mapping[str, object],
    folder: Path,
    workers: int,
    progress: Progress,
    as_stored: bool = False,
    attributes: Sequence[own.Own] = (),
    engine: Engine | None = None,
    opening: Opening | None = None,
) -> Split:
    """Tag all photos of a split, run the detector on ``detect_ids`` and match what it finds.

    Args:
        data: the split, its labels already in the detector's class names.
        detector: None to tag only.
        detect_ids: photos that the detector is asked about.
        match_iou: IoU at which a detection finds an object.
        fingerprint: what the rows depend on besides the labels (detector, thresholds); JSON values.
        folder: where the shards are kept.
        workers: threads that decode and tag; they do not change the rows.
        progress: told after each batch.
        as_stored: the detector (or the pipeline that wrote its results file) reads pixels without EXIF orientation.
        attributes: a user's own, told of every photo.
        engine: makes the shards; this process if left out.
        opening: how another process opens detector and attributes, to find the photos that end this one; left out, it
            only reads and tags them.
    """
    if attributes:
        fingerprint = {**fingerprint, "attributes": own.fingerprint(attributes)}
    if links.followed():
        fingerprint = {**fingerprint, "links": "followed"}
    labels = data.labels.sort("image_id", "object_id")
    shards = [data.image_ids[start : start + SHARD_SIZE] for start in range(0, len(data.image_ids), SHARD_SIZE)]
    annotated = _annotated(data)
    shared = _shared(data, annotated, fingerprint)
    _tidy(folder, len(shards))
    stamp_of = photos.stamps(data.root)
    stamps: dict[int, str] = {}
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(f"scan {data.split}", done, len(data.image_ids))

    def missing() -> Iterator[Work]:
        """Yield the shards that are to be made; the stamp is taken before its photos are read."""
        for index, image_ids in enumerate(shards):
            rows = _between(labels, image_ids[0], image_ids[-1])
            stamp = _fingerprint(shared, stamp_of, image_ids, rows, detect_ids)
            if _is_made(folder / f"{index:05d}", stamp):
                advance(len(image_ids))
                continue
            stamps[index] = stamp
            asked = frozenset(detect_ids).intersection(image_ids)
            part = replace(data, image_ids=image_ids, labels=rows, issues=data.issues.clear(), label_files=())
            yield Work(index, part, annotated, asked, match_iou, as_stored)

    opening = opening or Opening()
    here = partial(_here, folder=folder, detector=detector, workers=workers, attributes=attributes, opening=opening)
    engine = engine or here
    for index, shard in engine(missing(), advance):
        again = " again" if _may_heal(shard, stamp_of) else ""
        _write(shard, folder / f"{index:05d}", stamps.pop(index) + again)
        (folder / f"{index:05d}{MARK}").unlink(missing_ok=True)  # of a local run that was killed
    return _read(folder, len(shards), data)


def _here(
    works: Iterable[Work],
    advance: Callable[[int], None],
    *,
    folder: Path,
    detector: Detector | PredictedOnly | None,
    workers: int,
    attributes: Sequence[own.Own],
    opening: Opening,
) -> Iterator[tuple[int, Split]]:
    """Make shards in this process."""
    for whole in works:
        with begun(whole, folder, opening) as work:
            made = make(work, detector=detector, workers=workers, attributes=attributes, advance=advance)
        yield work.index, made


def _annotated(data: Dataset) -> frozenset[str]:
    """Return the classes that the data set annotates."""
    named = frozenset(data.labels["label"].unique().to_list())
    # An audit has few photos: a class that is not in them may still have been looked for.
    return named | frozenset(data.class_names) if data.split == "audit" else named


def _shared(data: Dataset, annotated: Collection[str], fingerprint: Mapping[str, object]) -> str:
    """Return what all shards depend on, as one text."""
    columns = [IMAGE_ATTRIBUTES, OBJECT_ATTRIBUTES, list(tables.CANDIDATES), tables.FEATURES]
    parts = [provenance.code(), fingerprint, str(data.root), data.split, data.label_frame, sorted(annotated), columns]
    return json.dumps(parts, sort_keys=True, default=str)


def _fingerprint(
    shared: str,
    stamp_of: Callable[[str], str],
    image_ids: Sequence[str],
    labels: pl.DataFrame,
    detect_ids: Collection[str],
) -> str:
    """Return the digest of what one shard's rows depend on; photos count by size and time of their last change."""
    digest = hashlib.sha256(shared.encode())
    for image_id in image_ids:
        digest.update(f"{image_id}\0{stamp_of(image_id)}\0{image_id in detect_ids}\n".encode())
    digest.update(labels.write_csv().encode())
    return digest.hexdigest()


def _tidy(folder: Path, count: int) -> None:
    """Remove what a killed scan left aside, and shards of a data set that was larger; nothing else that lies there."""
    make_folder(folder)
    kept = {f"{index:05d}" for index in range(count)}
    for path in list(folder.iterdir()):
        if path.is_dir() and _OURS.fullmatch(path.name) and path.name not in kept:
            _remove(path)
        elif path.suffix == MARK and path.stem not in kept:
            path.unlink()


def _is_made(target: Path, stamp: str) -> bool:
    """Whether the shard is there and of this fingerprint; one of another is removed."""
    file = target / STAMP
    if file.is_file() and file.read_text(encoding="ascii") == stamp:
        return True
    if target.exists():
        _remove(target)
    return False


def _remove(shard: Path) -> None:
    """Remove a shard; its stamp goes first, so that what a kill leaves of it does not count."""
    (shard / STAMP).unlink(missing_ok=True)
    shutil.rmtree(shard)


def _may_heal(shard: Split, stamp_of: Callable[[str], str]) -> bool:
    """Whether a photo could not be read for a reason that is not the file's: a disk, a mount, a right."""
    refused = shard.issues["message"].str.starts_with(NOT_READ).any()
    missing = shard.issues.filter(pl.col("code") == "photo_missing")["image_id"].drop_nulls()
    return bool(refused) or any(stamp_of(image_id) != "missing" for image_id in missing)


def _write(shard: Split, target: Path, stamp: str) -> None:
    with writing(target):
        aside = Path(tempfile.mkdtemp(prefix=".shard-", dir=target.parent))
        try:
            for name in ("images", "objects", "predictions", "issues", "features"):
                getattr(shard, name).write_parquet(aside / f"{name}.parquet")
            (aside / STAMP).write_text(stamp, encoding="ascii")
            for path in (*aside.iterdir(), aside):
                to_disk(path)  # after a power cut a shard that is there must be whole
            aside.rename(target)
            to_disk(target.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def _read(folder: Path, count: int, data: Dataset) -> Split:
    def parts(name: str) -> list[pl.DataFrame]:
        return [pl.read_parquet(folder / f"{index:05d}" / f"{name}.parquet") for index in range(count)]

    def load(name: str) -> pl.DataFrame:
        return tables.stack(parts(name), tables.TABLES[name])

    issues = tables.stack([data.issues, load("issues")], tables.ISSUES)
    own.agree(parts("images"))
    images = load("images")
    issues = tables.stack([issues, dataset.duplicates(images)], tables.ISSUES)
    return Split(images, load("objects"), load("predictions"), issues, tables.features(parts("features")))


def _between(labels: pl.DataFrame, first: str, last: str) -> pl.DataFrame:
    """Return the rows of photos from ``first`` to ``last`` of a table sorted by photo; the rest is not touched."""
    start = labels["image_id"].search_sorted(first, side="left")
    return labels.slice(start, labels["image_id"].search_sorted(last, side="right") - start)

"""The journal of a run's experiments: what was found out photo by photo, so that a killed run goes on behind it.

One line of JSON a photo and stage, written as soon as it is known. The first line holds the stamp of what all depends
on; a journal of another stamp is begun anew. A line that a killed process or a full disk cut off is dropped. What is
worked on is marked beside it: a photo that ended the process ``TRIES`` times is not shown to the detector again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from attributes.decode import DecodeError
from attributes.workers import MOST_CRASHES
from xai import provenance
from xai.begun import MARK, TRIES
from xai.config import Config
from xai.dataset import codes
from xai.evidence.kept import Kept, not_kept
from xai.exceptions import RequestError
from xai.files import remove_pictures, replacing, tidy, writing
from xai.scan import STAMP


class Journal:
    """Answers of earlier runs of the same stamp, and of this one.

    Attributes:
        path: its file.
        gone: photos that could not be read any more → why.
        crashed: photos that ended the process that showed them to the detector again.
    """

    def __init__(self, path: Path, stamp: str) -> None:
        """Open the journal, or begin it.

        Args:
            path: its file.
            stamp: of all that the answers depend on.
        """
        self.gone: dict[str, str] = {}
        self.crashed: set[str] = set()
        self._mark = path.with_name(path.name + MARK)
        self._ended: dict[tuple[str, str], int] = {}
        self.path = path
        self._told: dict[tuple[str, str], Any] = {}
        self._used: set[tuple[str, str]] = set()
        self._stamp = stamp
        tidy(path.parent, path.name)
        if self._load():
            self._ended = _marked(self._mark)
            self.crashed = {image_id for stage, image_id in self._told if stage == _CRASHED}
        else:
            self._mark.unlink(missing_ok=True)
            self._rewrite()

    def __call__(self, stage: str, image_id: str, work: Callable[[], Any]) -> Any:
        """Return what was told before, or do the work and write it down; as ``evidence.kept.Kept``."""
        key = (stage, image_id)
        self._used.add(key)
        if key in self._told:
            return self._told[key]
        told = self.unkept(stage, image_id, work)
        if image_id not in self.gone and image_id not in self.crashed:
            self._keep(key, told)
        return told

    def unkept(self, stage: str, image_id: str, work: Callable[[], Any]) -> Any:
        """Do the work, write no answer down; as ``evidence.kept.Kept``."""
        key = (stage, image_id)
        if image_id in self.crashed or self._ended.get(key, 0) >= TRIES:
            if len(self.crashed) == MOST_CRASHES:
                raise RequestError(
                    f"expected photos that can be worked on, {MOST_CRASHES} ended the process that showed them to the "
                    f"detector again and {image_id} is the next: too little memory or a library is the reason rather "
                    f"than the photos; mend that, delete {self.path} and run the same command again"
                )
            self.crashed.add(image_id)
            self._keep((_CRASHED, image_id), None)
            return None
        self._write_mark({**self._ended, key: self._ended.get(key, 0) + 1})
        try:
            return work()
        except DecodeError as error:
            self.gone[image_id] = str(error)
            return None
        finally:  # not reached by a process that is killed
            self._ended.pop(key, None)
            self._write_mark(self._ended)

    def under(self, digest: str) -> Kept:
        """Return what keeps answers that depend also on what the digest is of."""
        return lambda stage, image_id, work: self(f"{digest}/{stage}", image_id, work)

    def begun(self, digest: str) -> bool:
        """Tell whether anything was begun under a digest, and forget all that stands under others."""
        others = [key for key in self._told if "/" in key[0] and not key[0].startswith(f"{digest}/")]
        for key in others:
            del self._told[key]
        if others:
            self._rewrite()
        return any(key[0].startswith(f"{digest}/") for key in self._told)

    def finish(self) -> None:
        """Drop what no stage of this run asked for, and the mark."""
        self._mark.unlink(missing_ok=True)
        unused = {key for key in self._told.keys() - self._used if key[0] != _CRASHED}
        if unused:
            self._told = {key: told for key, told in self._told.items() if key not in unused}
            self._rewrite()

    def _keep(self, key: tuple[str, str], told: Any) -> None:
        if key not in self._told:
            self._told[key] = told
            with writing(self.path), self.path.open("ab") as file:
                file.write(_line(key, told))

    def _write_mark(self, ended: Mapping[tuple[str, str], int]) -> None:
        if ended:
            with writing(self._mark):
                self._mark.write_bytes(b"".join(_line(key, times) for key, times in ended.items()))
        else:
            self._mark.unlink(missing_ok=True)

    def _load(self) -> bool:
        """Read what is there and cut off a line that was not finished; False where it is of another stamp."""
        if not self.path.is_file():
            return False
        whole = 0
        with self.path.open("rb") as file:
            for line in file:
                told = _parsed(line)
                if told is None or (not whole and told[0] != ("stamp", self._stamp)):
                    break
                if whole:
                    self._told[told[0]] = told[1]
                whole += len(line)
        if whole:
            with writing(self.path):
                os.truncate(self.path, whole)
        return bool(whole)

    def _rewrite(self) -> None:
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            file.write(_line(("stamp", self._stamp), None))
            file.writelines(_line(key, told) for key, told in self._told.items())


_CRASHED = "crashed"
"""What stands in the place of a stage in the line of a photo that ended the process."""

PICTURES = ("gallery", "maps", "repairs")
"""Folders of what experiments leave besides their lines."""


def open_journal(config: Config, folder: Path, split: str) -> Journal:
    """Open the journal of a run's experiments; begun anew where a photo, a label, the detector or the code changed.

    Args:
        config: of the run.
        folder: the run directory, with the shards of the split.
        split: whose misses are explained.
    """
    asked = {"explain": config.explain.model_dump(mode="json"), "seed": config.seed}
    total = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    # What another version of the experiments kept may mean something else under the same name.
    total.update(provenance.code(provenance.EXPERIMENTS).encode())
    for stamp in sorted((folder / "shards" / split).glob(f"*/{STAMP}")):
        total.update(stamp.read_bytes())
    return Journal(folder / "shards" / f"{split}.jsonl", total.hexdigest())


def begin(kept: Journal | None, folder: Path, told: Sequence[pl.DataFrame | None], spent: int, *, resume: bool) -> Kept:
    """Return what keeps experiments; pictures of other ones are removed.

    Args:
        kept: the journal, None for none.
        folder: the run directory.
        told: misses and plans that the experiments depend on.
        spent: forwards of the budget that are gone.
        resume: whether to go on with what an earlier try left.
    """
    total = hashlib.sha256(str(spent).encode())
    for frame in told:
        rows = ["none"] if frame is None else sorted(frame.write_ndjson().splitlines())  # joins keep no order
        total.update("\n".join(rows).encode())
    digest = total.hexdigest()
    if kept is None or not resume or not kept.begun(digest) or not (folder / "gallery").is_dir():
        for name in PICTURES:
            remove_pictures(folder / name)
        if kept is not None:
            kept.begun("")
    for name in PICTURES:
        tidy(folder / name)
    if kept is None:
        return not_kept
    return kept.under(digest) if resume else kept.unkept


def lost_photos(journal: Journal, split: str) -> pl.DataFrame:
    """Return an issue for each photo that could not be shown to the detector again."""
    told = [("photo_changed", image_id, why) for image_id, why in sorted(journal.gone.items())]
    ended = (
        "the process that showed it to the detector again ended at it, twice: its misses were not experimented on; "
        f"delete {journal.path} to try again"
    )
    told += [("photo_crashes", image_id, ended) for image_id in sorted(journal.crashed)]
    return codes.table(codes.issue(code, why, split=split, image_id=name, file=name) for code, name, why in told)


def _marked(mark: Path) -> dict[tuple[str, str], int]:
    """Return what killed processes were at, and how many of them."""
    if not mark.is_file():
        return {}
    told = filter(None, map(_parsed, mark.read_bytes().splitlines(keepends=True)))
    return {key: times for key, times in told if isinstance(times, int)}


def _parsed(line: bytes) -> tuple[tuple[str, str], Any] | None:
    """Return key and value of a line, None for what is no whole line of a journal."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    if not isinstance(entry, list) or len(entry) != 3 or not all(isinstance(part, str) for part in entry[:2]):
        return None
    return (entry[0], entry[1]), entry[2]


def _line(key: tuple[str, str], told: Any) -> bytes:
    return json.dumps([*key, told]).encode() + b"\n"

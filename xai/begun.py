"""Photos that end the process that reads them: found out by a process of their own, and set aside.

A shard that is begun leaves a mark, which goes when it is written or raises. A mark that is left tells of a process
that was killed, by a photo or by anything else. A shard with two of them is looked at before it is begun a third time:
a process of its own reads its photos, batch by batch and where that ends it one by one (``attributes.workers``). Where
that ends none, or the shard ends the process all the same, another does to each photo all that a scan does (``alone``).
Those that end it twice are left out of the shard, with an issue.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from attributes import ATTRIBUTES, links
from attributes.workers import CRASHES, workers
from xai import alone
from xai.batch import BATCH_SIZE
from xai.exceptions import RequestError
from xai.files import writing
from xai.shard import Work

MARK = ".begun"
"""Ending of the marks."""

TRIES = 2
"""Times that a shard may end the process before its photos are looked at."""


@contextmanager
def begun(work: Work, folder: Path, opening: alone.Opening) -> Iterator[Work]:
    """Yield the shard without the photos that end the process that works on them; leave a mark meanwhile.

    Args:
        work: the shard.
        folder: where the split's shards lie.
        opening: how another process opens what works on the photos.
    """
    mark = folder / f"{work.index:05d}{MARK}"
    times = len(mark.read_bytes()) if mark.is_file() else 0
    if times >= TRIES:
        crashed = _crashing(work)
        if not crashed or times > TRIES:
            rest = [name for name in work.data.image_ids if name not in work.crashed | crashed]
            crashed |= alone.crashing(work, rest, opening)
        work = replace(work, crashed=work.crashed.union(crashed))
    with writing(mark), mark.open("ab") as file:
        file.write(b".")
    try:
        yield work
    finally:  # not reached by a process that is killed
        mark.unlink(missing_ok=True)


def _crashing(work: Work) -> set[str]:
    """Return the photos of a shard that end the process that reads them, twice."""
    names = [name for name, attribute in ATTRIBUTES.items() if attribute.level == "image"]
    root = work.data.root
    ids = [name for name in work.data.image_ids if name not in work.crashed and not links.leaves(root / name, root)]
    try:
        with workers(1) as tag:
            rows = [
                row
                for start in range(0, len(ids), BATCH_SIZE)
                for row in tag(str(root), names, ids[start : start + BATCH_SIZE])
            ]
    except RuntimeError as error:  # no photo is to blame
        raise RequestError(
            f"the photos from {ids[0]} to {ids[-1]} ended the run {TRIES} times, and a process that reads them does "
            f"not go on either: {error}. Look at the machine's memory, then run the same command again"
        ) from error
    return {str(row["image_id"]) for row in rows if row.get("status") == CRASHES}

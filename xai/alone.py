"""Photos one by one in a process of its own: which of them end it, with all that a scan does to them.

What ends a process is found out in another one, which may end: the run goes on behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace

import polars as pl

from attributes.serve import serve as answer_tasks
from attributes.workers import MOST_CRASHES, Worker, WorkerError
from xai import detect, own
from xai.config import Config, DetectorConfig
from xai.exceptions import RequestError, XaiError
from xai.shard import Work, make
from xai.types import Detector, PredictedOnly

_START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import json, sys; "
    "sys.path[:] = json.loads(sys.argv[1]); from xai.alone import serve; serve()"
)

STARTING = 300.0
"""Seconds that the process may take to import the toolkit, from a slow disk too."""

_LOG = logging.getLogger("xai")

TRIES = 2
"""Times that a photo may end the process before it is set aside."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How another process comes to have what a scan has.

    Attributes:
        detector: to load; None where nothing is detected, or detections are told.
        device: as in the config.
        attributes: a user's own, ``python:MODULE.NAME``.
        told: detections from a file.
    """

    detector: DetectorConfig | None = None
    device: str = "cpu"
    attributes: tuple[str, ...] = ()
    told: PredictedOnly | None = None


def opening(config: Config | None, detector: Detector | PredictedOnly | None) -> Opening:
    """Return how another process opens the detector and the attributes of a config."""
    if config is None:
        return Opening()
    told = detector if isinstance(detector, PredictedOnly) else None
    live = config.detector if detector is not None and told is None else None
    return Opening(live, config.device, config.data.attributes, told)


def crashing(work: Work, image_ids: Collection[str], opening: Opening) -> set[str]:
    """Return those photos of a shard that end the process ``TRIES`` times: read, tagged, shown to the detector.

    Where the process cannot do what the run does (no room on the GPU for a second detector), that is said, and what
    was found until then returned.

    Args:
        work: the shard.
        image_ids: its photos that are tried.
        opening: of the detector and of a user's attributes.

    Raises:
        RequestError: each photo ended it, or ``MOST_CRASHES`` in a row did: none is to blame.
    """
    found: set[str] = set()
    in_a_row = 0
    worker = Worker(_START, STARTING)
    try:
        for image_id in image_ids:
            labels = work.data.labels.filter(pl.col("image_id") == image_id)
            one = replace(work, data=replace(work.data, image_ids=(image_id,), labels=labels))
            ends = _ends(worker, (_of_photo(opening, image_id), one))
            in_a_row = in_a_row + 1 if ends else 0
            found |= {image_id} if ends else set()
            if in_a_row >= min(MOST_CRASHES, max(len(image_ids), 2)):
                break
        else:
            return found
    except (RuntimeError, XaiError) as error:
        _LOG.warning("which photos end the process that works on them cannot be found out: %s", error)
        return found
    finally:
        worker.close()
    raise RequestError(
        f"expected photos that can be worked on, each of {in_a_row} in a row ended its process, the last {image_id}: a "
        "library or too little memory is the reason rather than the photos; mend that, then run the same command again"
    )


def _of_photo(opening: Opening, image_id: str) -> Opening:
    told = opening.told
    if told is None:
        return opening
    return replace(
        opening, told=replace(told, by_image={name: told.by_image[name] for name in {image_id} & told.by_image.keys()})
    )


def _ends(worker: Worker, task: tuple[Opening, Work]) -> bool:
    for _ in range(TRIES):
        try:
            worker.ask(task)
        except WorkerError:
            continue
        return False
    return True


def serve() -> None:
    """Answer tasks of ``crashing``; the detector is opened with the first."""
    opened: list[tuple[Detector | PredictedOnly | None, tuple[own.Own, ...]]] = []

    def answer(task: tuple[Opening, Work]) -> None:
        opening, work = task
        if not opened:
            detector = detect.load(opening.detector, opening.device) if opening.detector else None
            opened.append((detector, own.load(opening.attributes)))
        detector, attributes = opened[0]
        make(work, detector=opening.told or detector, workers=1, attributes=attributes, advance=lambda count: None)

    answer_tasks(answer)

"""Ray: the shards of a scan are made by the machines of a cluster.

``engine: ray`` in the config, and ``RAY_ADDRESS`` where the cluster is not on this machine. The shards are a Ray Data
pipeline whose actors hold the detector, one a GPU where there are some; each decodes, tags and detects its shard as a
local run does, with the same code. Pixels stay on the machine that decoded them: only a shard's tables come back, and
the process that runs the triage writes them. So the run directory need not be shared, workers leave no files behind,
and a local run and one on Ray resume each other. Photos must be readable from every machine: a shared folder or a URL.

A worker that is lost is started again, with its shard. A shard that was begun twice and ended its worker each time is
not begun a third time: its photos are tried one by one, and those that end their worker twice, too, are set aside.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice
from types import ModuleType
from typing import Any

import polars as pl

from attributes import links
from xai import detect, extras, own
from xai.config import Config, DetectorConfig
from xai.exceptions import RequestError, XaiError
from xai.shard import Engine, Split, Work, make
from xai.types import Detector, PredictedOnly

_LOG = logging.getLogger("xai")

ROUND = 4096
"""Shards that a pipeline is given at once, half a million photos: their names and labels lie in memory meanwhile, and
between two pipelines the actors load the detector again."""

TRIES = 2
"""Times that a shard, or a photo alone, is begun; then what ended its worker each time is to blame."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an actor needs to know before its first shard.

    Attributes:
        detector: to load; None where nothing is detected, or detections come with the shards.
        device: as in the config.
        attributes: a user's own, ``python:MODULE.NAME``.
        threads: that decode and tag.
        links: whether links may lead out of a folder, as the environment says here.
    """

    detector: DetectorConfig | None
    device: str
    attributes: tuple[str, ...]
    threads: int
    links: bool


@dataclass(frozen=True, slots=True)
class Share:
    """How the actors share the cluster.

    Attributes:
        actors: how many.
        cpus: of each.
        gpus: of each, 0 or 1.
    """

    actors: int
    cpus: int
    gpus: int


def engine(config: Config, detector: Detector | PredictedOnly | None) -> Engine:
    """Return what makes shards on Ray, as ``scan.scan`` takes it.

    Args:
        config: of the run; ``workers`` are the CPUs of each actor.
        detector: as opened here; actors open their own, the detections of a results file are sent with the shards.

    Raises:
        RequestError: ray is not installed, or its cluster cannot be reached.
    """
    ray = connected()
    told = detector if isinstance(detector, PredictedOnly) else None
    live = detector is not None and told is None
    share = shares(ray.cluster_resources(), config.workers, config.device if live else "cpu")
    settings = Settings(
        config.detector if live else None, config.device, config.data.attributes, share.cpus, links.followed()
    )

    def make_all(works: Iterable[Work], advance: Callable[[int], None]) -> Iterator[tuple[int, Split]]:
        waiting = iter(works)
        while some := list(islice(waiting, ROUND)):
            for work, made in _made(ray, some, settings, share, told):
                advance(len(work.data.image_ids))
                yield work.index, made

    return make_all


def connected() -> ModuleType:
    """Return ``ray``, connected: to what the caller or ``RAY_ADDRESS`` names, else to one that is started here.

    Raises:
        RequestError: it is not installed, or the cluster cannot be reached.
    """
    ray = extras.need("ray", "ray")
    extras.need("ray.data", "ray")
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it sends statistics to its makers
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
            where = os.environ.get("RAY_ADDRESS", "this machine")
            raise RequestError(
                f"engine: expected a Ray cluster at {where}, which cannot be reached: {error}"
            ) from error
    return ray


def shares(resources: dict[str, float], workers: int | None, device: str) -> Share:
    """Share a cluster among actors: one a GPU with its part of the CPUs, or where no GPU is used one each few CPUs.

    Args:
        resources: of the cluster, ``CPU`` and ``GPU``.
        workers: CPUs of an actor; left out, one without a GPU, and all CPUs over all GPUs with one.
        device: as in the config; ``cpu`` uses no GPU, ``auto`` those that are there.

    Raises:
        RequestError: the cluster lacks what is asked.

    >>> shares({"CPU": 64.0, "GPU": 8.0}, None, "auto")
    Share(actors=8, cpus=8, gpus=1)
    >>> shares({"CPU": 64.0, "GPU": 8.0}, 2, "cpu")
    Share(actors=32, cpus=2, gpus=0)
    """
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if device.startswith("cuda") and not gpus:
        raise RequestError(f"device: expected a GPU on the Ray cluster for {device!r}, it has none; use cpu or auto")
    with_gpu = bool(gpus) and device != "cpu"
    each = workers or (max(1, cpus // gpus) if with_gpu else 1)
    count = min(gpus, cpus // each) if with_gpu else cpus // each
    if count < 1:
        raise RequestError(f"workers: expected at most the {cpus} CPUs of the Ray cluster for an actor, got {each}")
    return Share(count, each, int(with_gpu))


def _made(
    ray: ModuleType, works: list[Work], settings: Settings, share: Share, told: PredictedOnly | None
) -> Iterator[tuple[Work, Split]]:
    """Make shards, in any order; those that end their worker twice once more, without the photos that do it."""
    lost: list[Work] = []
    for work, made in _run(ray, works, settings, share, told):
        if made is None:
            lost.append(work)
        else:
            yield work, made
    for work in lost:
        alone = [
            replace(work, index=place, data=replace(work.data, image_ids=(image_id,)))
            for place, image_id in enumerate(work.data.image_ids)
        ]
        crashed = [one.data.image_ids[0] for one, made in _run(ray, alone, settings, share, told) if made is None]
        without = replace(work, crashed=work.crashed.union(crashed))
        ((_, made),) = _run(ray, [without], settings, share, told)
        if made is None:
            first, last = work.data.image_ids[0], work.data.image_ids[-1]
            raise RequestError(
                f"engine: the photos from {first} to {last} ended {2 * TRIES} Ray workers together, and "
                f"{len(crashed)} of them did so alone; look at the workers' memory, or use engine: local"
            )
        yield work, made


def _run(
    ray: ModuleType, works: list[Work], settings: Settings, share: Share, told: PredictedOnly | None
) -> Iterator[tuple[Work, Split | None]]:
    """Run a pipeline over shards; None for those that ended their worker each time.

    Raises:
        XaiError: as a local run raises it; or workers do not start, as where the toolkit is not installed.
    """
    by_index = {work.index: work for work in works}
    rows = [{"index": work.index, "work": pickle.dumps((work, _told_of(work, told)))} for work in works]
    tries = ray.remote(num_cpus=0)(_Tries).remote()
    context = ray.data.DataContext.get_current()
    shown, context.enable_progress_bars = context.enable_progress_bars, False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Scanner,
            fn_constructor_args=(settings, tries),
            compute=ray.data.ActorPoolStrategy(size=min(share.actors, len(rows))),
            num_cpus=share.cpus,
            num_gpus=share.gpus,
        )
        for row in dataset.iter_rows():
            made: dict[str, bytes] | Exception | None
            made, said = pickle.loads(row["answer"])  # written by our own actors
            for text in said:
                _LOG.warning("a Ray worker: %s", text)
            if isinstance(made, Exception):
                raise made
            yield by_index[row["index"]], None if made is None else _unpacked(made)
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise RequestError(
            f"engine: expected Ray workers with the same toolkit and packages as here, Ray could not go on: {last}"
        ) from error
    finally:
        context.enable_progress_bars = shown
        logger.setLevel(level)
        ray.kill(tries)


def _told_of(work: Work, told: PredictedOnly | None) -> PredictedOnly | None:
    """Return what of a results file is of the shard's photos."""
    if told is None:
        return None
    return replace(told, by_image={name: told.by_image[name] for name in work.data.image_ids if name in told.by_image})


class _Tries:
    """Counts how often each shard was begun, by all actors."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def begin(self, index: int) -> int:
        self._counts[index] = self._counts.get(index, 0) + 1
        return self._counts[index]


class _Heard(logging.Handler):
    """Keeps what is said in an actor, where nobody listens, to be sent with the next answer."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


class Scanner:
    """Makes shards in an actor, with a detector of its own."""

    def __init__(self, settings: Settings, tries: Any) -> None:
        """Open the detector; what is wrong with it is told with the first shard."""
        self._tries = tries
        self._settings = settings
        self._error: Exception | None = None
        self._heard = _Heard(logging.WARNING)
        _LOG.addHandler(self._heard)
        self._detector: Detector | PredictedOnly | None = None
        self._attributes: tuple[own.Own, ...] = ()
        os.environ[links.FOLLOW] = str(int(settings.links))
        try:
            if settings.detector is not None:
                self._detector = detect.load(settings.detector, settings.device)
            self._attributes = own.load(settings.attributes)
        except Exception as error:
            self._error = _told(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Make the shard of a row ``index``, ``work``; the answer holds its tables or what was raised."""
        import ray

        index = int(row["index"])
        made: dict[str, bytes] | Exception | None = self._error
        if made is None and ray.get(self._tries.begin.remote(index)) <= TRIES:
            work, told = pickle.loads(row["work"])  # written by `_run`
            try:
                split = make(
                    work,
                    detector=told or self._detector,
                    workers=self._settings.threads,
                    attributes=self._attributes,
                    advance=lambda count: None,
                )
                made = _packed(split)
            except Exception as error:  # Ray would try again for ever, or wrap it
                made = _told(error)
        said, self._heard.said = self._heard.said, []
        return {"index": index, "answer": pickle.dumps((made, said))}


def _packed(split: Split) -> dict[str, bytes]:
    """Return tables as Parquet: as pickles, polars cannot read those of no features again."""
    packed: dict[str, bytes] = {}
    for part in fields(split):
        buffer = io.BytesIO()
        getattr(split, part.name).write_parquet(buffer)
        packed[part.name] = buffer.getvalue()
    return packed


def _unpacked(packed: dict[str, bytes]) -> Split:
    return Split(**{name: pl.read_parquet(data) for name, data in packed.items()})


def _told(error: Exception) -> Exception:
    """Return an error that the caller can raise: one for the user as it is, any other with the place it came from."""
    if isinstance(error, XaiError):
        return error
    return RuntimeError(f"a Ray worker raised\n{''.join(traceback.format_exception(error))}")

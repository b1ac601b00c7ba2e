"""Where the shards of a scan are made: in this process, or on a Ray cluster."""

from __future__ import annotations

from xai.config import Config
from xai.shard import Engine
from xai.types import Detector, PredictedOnly


def check(config: Config) -> None:
    """Reach what the config names, so that what is wrong with it is told before the work.

    Raises:
        RequestError: ray is not installed, or its cluster cannot be reached.
    """
    if config.engine == "ray":
        from xai.integrations import ray

        ray.connected()


def engine(config: Config | None, detector: Detector | PredictedOnly | None) -> Engine | None:
    """Return what makes the shards; None leaves them to this process.

    Raises:
        RequestError: as for ``check``, or the cluster lacks what the config asks for.
    """
    if config is None or config.engine == "local":
        return None
    from xai.integrations import ray

    return ray.engine(config, detector)

"""Room on the GPU: half as many photos at once where it is short, and a sentence where that does not help."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from xai.exceptions import DetectorError
from xai.types import Prepared

_LOG = logging.getLogger("xai")

ADVICE = (
    "lower detector.image_size, set device: cpu, or end what else runs there, and run it again: what is done is kept"
)


class Room:
    """How many photos the GPU has room for at once, as far as is known.

    Attributes:
        most: photos; None as long as there was room for all.
    """

    def __init__(self) -> None:
        """Know of no limit."""
        self.most: int | None = None


def say(size: int) -> None:
    """Make what room there is, once what the failed try held is let go, and say how many photos are next."""
    import torch  # where detections come from a file nothing needs it

    torch.cuda.empty_cache()
    _LOG.warning("the GPU is out of memory: %d photos at once from here on", size)


def each_part(detector: object, groups: Iterable[Prepared], size: int, work: Callable[[Prepared], None]) -> None:
    """Do something with preprocessed photos, at most ``size`` at once, half as many where the GPU has no room for it.

    Args:
        detector: remembers what there was room for where it is a ``Room``.
        groups: photos, as ``prepare`` gives them.
        size: photos at once.
        work: forward and all that follows of it; it is done again for photos of a part that did not fit.

    Raises:
        DetectorError: there is no room for a single photo.
    """
    room = detector if isinstance(detector, Room) else Room()
    for group in groups:
        start, count = 0, len(group.indices)
        while start < count:
            most = min(size, room.most or size)
            part = group.cut(start, start + most)
            with told("one photo"):
                if _fits(work, part):
                    start += most
                    continue
            # The forward may have lowered it further before what follows it had no room.
            room.most = min(room.most or len(part.indices), len(part.indices) // 2)
            say(room.most)


def _fits(work: Callable[[Prepared], None], part: Prepared) -> bool:
    try:
        work(part)
    except RuntimeError as error:
        if not is_full(error) or len(part.indices) <= 1:
            raise
        return False
    return True


def is_full(error: RuntimeError) -> bool:
    """Tell whether an error says that the GPU is out of memory."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


@contextmanager
def told(what: str, advice: str = ADVICE) -> Iterator[None]:
    """Say in a sentence that the GPU has no room for something.

    Args:
        what: there is no room for.
        advice: how to make some.

    Raises:
        DetectorError: it has none.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_full(error):
            raise
        raise DetectorError(f"expected room for {what} on the GPU, it is out of memory: {advice}") from error

"""JPEG files → photometric attributes, decoded on the device where it can: decoding, transfer and measuring overlap."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

from attributes.arrays import Floats
from attributes.extract import in_order
from attributes.tensors.jpeg import decode_jpegs
from attributes.tensors.measure import on_host, own_stream, photometric


def stream(
    batches: Iterable[Sequence[bytes]],
    device: torch.device,
    *,
    workers: int = 4,
    names: Collection[str] | None = None,
) -> Iterator[dict[str, Floats]]:
    """Measure JPEG files batch by batch, for those who know that their files are sound and stored upright.

    For folders of any photos there is ``attributes.tag``, which decodes on the CPU.

    Args:
        batches: bytes of the files of each batch; of some batches ahead at most.
        device: where to decode and to measure.
        workers: threads, each with a batch and a stream of its own.
        names: as for ``photometric``.

    Yields:
        For each batch in turn: attribute → (B,) values.

    Raises:
        DecodeError: a file is damaged or no JPEG.
    """
    with ThreadPoolExecutor(max_workers=workers) as pool:
        yield from in_order(pool, partial(_measure, device, names), batches, ahead=2 * workers)


def _measure(device: torch.device, names: Collection[str] | None, files: Sequence[bytes]) -> dict[str, Floats]:
    with own_stream(device):
        return on_host(photometric(decode_jpegs(files, device), names=names))

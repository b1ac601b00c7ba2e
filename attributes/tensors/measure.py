"""The one entry for tensors: all photometric attributes of a batch of decoded photos, on the device where they lie.

Rotation, roll and pitch are not among them. Their line segments are grown pixel by pixel, each step depending on the
last, which a GPU does no better; they stay with the arrays, for which 320 px are enough. Attributes of objects stay
there too: what they share with these is cheap, and a summed-area table a photo is no work for a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from attributes.arrays import Floats, Pixels
from attributes.tensors import color, compression, exposure, glare, haze, noise, sharpness
from attributes.tensors.views import TensorViews
from attributes.views import alike

_of_thread = threading.local()


def _layout(views: TensorViews) -> Tensor:
    return views.sizes[:, 0] / views.sizes[:, 1]


PHOTOMETRIC: Mapping[str, Callable[[TensorViews], Tensor]] = MappingProxyType(
    {
        "brightness": exposure.brightness,
        "contrast": exposure.contrast,
        "clipped": exposure.clipped,
        "haze": haze.haze,
        "glare": glare.glare,
        "sharpness": sharpness.sharpness,
        "noise": noise.noise,
        "jpeg_quality": compression.jpeg_quality,
        "colorfulness": color.colorfulness,
        "layout": _layout,
    }
)
"""Attribute → function from n photos of one size to (n,) values, in the order of the catalog."""


def photometric(photos: Tensor | Sequence[Tensor], *, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Measure the photometric attributes of photos on the device where they lie, without waiting for it.

    Photos of one size are measured together; values do not depend on what else is in the batch.

    Args:
        photos: (B, 3, H, W) uint8 RGB in the displayed frame, or B tensors (3, H, W) of any sizes on one device.
        names: of the attributes to measure; None measures all of ``PHOTOMETRIC``.

    Returns:
        Attribute → (B,) float64 on the photos' device, NaN where it cannot be told; within 1e-3 of what
        ``attributes.measure`` gives for the same pixels.

    Raises:
        ValueError: a photo is not (3, H, W) uint8 or is empty, or there is no photometric attribute of a name.

    Example:
        >>> photometric(torch.full((1, 3, 48, 64), 51, dtype=torch.uint8), names=["brightness"])
        {'brightness': tensor([0.2000], dtype=torch.float64)}
    """
    wanted = _named(names)
    if isinstance(photos, Tensor):
        return _of_one_size(photos, wanted)
    for index, photo in enumerate(photos):
        if photo.ndim != 3:
            raise ValueError(f"expected photo {index} as a (3, H, W) tensor, got {tuple(photo.shape)}")
    device = photos[0].device if photos else torch.device("cpu")
    values = {name: torch.full((len(photos),), torch.nan, dtype=torch.float64, device=device) for name in wanted}
    for members in alike([tuple(photo.shape) for photo in photos]):
        found = _of_one_size(torch.stack([photos[index] for index in members]), wanted)
        places = torch.tensor(members).to(device, non_blocking=True)
        for name in wanted:
            values[name][places] = found[name]
    return values


def photometric_of_arrays(
    photos: Sequence[Pixels], device: torch.device | str, *, names: Collection[str] | None = None
) -> dict[str, Floats]:
    """As ``photometric``, of photos that lie in main memory: one transfer for all photos of a size.

    Each thread has a stream of its own on a GPU, so that threads overlap decoding, transfer and measuring.

    Args:
        photos: B arrays H×W×3 uint8 RGB.
        device: where to measure.
        names: as for ``photometric``.
    """
    device = torch.device(device)
    with own_stream(device):
        moved: list[Tensor] = [torch.empty(0)] * len(photos)
        for members in alike([photo.shape for photo in photos]):
            height, width = photos[members[0]].shape[:2]
            # Pinned memory, which a GPU reads while the processor goes on.
            host = torch.empty((len(members), height, width, 3), dtype=torch.uint8, pin_memory=device.type == "cuda")
            np.stack([photos[index] for index in members], out=host.numpy())
            for index, photo in zip(members, host.to(device, non_blocking=True).movedim(-1, 1), strict=True):
                moved[index] = photo
        return on_host(photometric(moved, names=names))


def photometric_with_room(photos: Sequence[Pixels], device: str, names: Collection[str]) -> dict[str, Floats]:
    """As ``photometric_of_arrays``, in halves where the device has no room for all photos at once.

    Raises:
        torch.OutOfMemoryError: there is no room for one.
    """
    try:
        return photometric_of_arrays(photos, device, names=names)
    except torch.OutOfMemoryError:
        if len(photos) <= 1:
            raise
    torch.cuda.empty_cache()  # behind the handler, which holds what the failed try did
    half = len(photos) // 2
    parts = [photometric_with_room(some, device, names) for some in (photos[:half], photos[half:])]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def on_host(values: dict[str, Tensor]) -> dict[str, Floats]:
    """Fetch values from a device in one transfer."""
    if not values:
        return {}
    return dict(zip(values, torch.stack([*values.values()]).cpu().numpy(), strict=True))


def own_stream(device: torch.device) -> AbstractContextManager[object]:
    """Let what this thread asks of a GPU wait for nothing that other threads ask; nothing on a CPU."""
    if device.type != "cuda":
        return nullcontext()
    streams: dict[torch.device, torch.cuda.Stream] = _of_thread.__dict__.setdefault("streams", {})
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return torch.cuda.stream(streams[device])


def _of_one_size(photos: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    views = TensorViews(photos)
    return {name: PHOTOMETRIC[name](views) for name in names}


def _named(names: Collection[str] | None) -> list[str]:
    unknown = [name for name in names or () if name not in PHOTOMETRIC]
    if unknown:
        known = ", ".join(PHOTOMETRIC)
        raise ValueError(
            f"expected names of photometric attributes, got {', '.join(map(repr, unknown))}; there are {known}"
        )
    return [name for name in PHOTOMETRIC if names is None or name in names]

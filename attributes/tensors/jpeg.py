"""JPEG → pixels on a device: decoded by the GPU where the installed libraries can, else by the CPU and moved over."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from attributes.jpeg import decode_jpeg

Decoder = Callable[[Sequence[Tensor], torch.device], Sequence[Tensor]]


def decode_jpegs(files: Sequence[bytes], device: torch.device) -> list[Tensor]:
    """Decode JPEG files to RGB as stored, on a device. EXIF orientation is not applied.

    NVIDIA's decoder rounds and enlarges colour a little otherwise than libjpeg-turbo, and reports less of what is wrong
    with a file: where values must be those of the CPU, or files may be damaged, decode on the CPU.

    Args:
        files: bytes of each.
        device: on which the pixels are to lie.

    Returns:
        Per file (3, H, W) uint8.

    Raises:
        DecodeError: a file is damaged or no JPEG.
    """
    decoder = gpu_decoder() if device.type == "cuda" else None
    if decoder is not None:
        encoded = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
        try:
            return [*decoder(encoded, device)]
        except RuntimeError:
            # A kind that the GPU cannot decode, or a damaged file: the CPU tells which, and why.
            pass
    pixels = (np.ascontiguousarray(decode_jpeg(file)[0]) for file in files)
    return [torch.from_numpy(photo).to(device, non_blocking=True).permute(2, 0, 1) for photo in pixels]


@cache
def gpu_decoder() -> Decoder | None:
    """The GPU decoder that is installed: TorchCodec's, else torchvision's, which is deprecated since 0.29."""
    try:
        decoders = importlib.import_module("torchcodec.decoders")
        return lambda files, device: decoders.decode_jpeg(list(files), mode="RGB", device=device)
    except (ImportError, AttributeError, OSError, RuntimeError):
        # Not installed, from before it read photos, or without the libraries that it loads.
        pass
    try:
        io = importlib.import_module("torchvision.io")
    except (ImportError, OSError, RuntimeError):
        return None

    return lambda files, device: io.decode_jpeg(list(files), mode=io.ImageReadMode.RGB, device=device)

"""Half precision of a detector's forward."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "full", "half"]
"""``auto``: half on CUDA, full elsewhere."""


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Run in float16 what is heavy and stays exact enough, as asked; what comes out has to be made float32 again.

    >>> with autocast(torch.device("cpu"), "auto"):
    ...     (torch.ones(1, 2) @ torch.ones(2, 1)).dtype
    torch.float32
    """
    half = precision == "half" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.float16, enabled=half)

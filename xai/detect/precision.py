"""Half precision of a detector's forward."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from xai.exceptions import DetectorError


def is_half(precision: Literal["auto", "full", "half"], device: torch.device) -> bool:
    """Whether forwards run in float16: on CUDA, unless ``full`` is asked for.

    A CPU has no float16 arithmetic that is worth having: it is slower there than float32.

    Raises:
        DetectorError: ``half`` is asked for on another device than CUDA.
    """
    if precision == "half" and device.type != "cuda":
        raise DetectorError(
            f"detector.precision: half needs a CUDA device, but the detector runs on {device}; use auto or full"
        )
    return precision != "full" and device.type == "cuda"


def autocast(device: torch.device, half: bool) -> AbstractContextManager[object]:
    """Run what is heavy in float16 and what is delicate in float32; what comes out must be made float32 again."""
    return torch.autocast(device.type, dtype=torch.float16, enabled=half)

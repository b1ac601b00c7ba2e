"""Glare on tensors."""

from __future__ import annotations

import math
from functools import cache, lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from attributes.glare import BRIGHT, CELL, DISCS, GRADIENT, HALO, SMALLEST, SOFTNESS, WORKING, disc_spectrum
from attributes.tensors.exposure import coarse
from attributes.tensors.views import TensorViews, fit

_Kernel = tuple[float, ...]

# Sobel's, the slope along one axis and the average along the other.
_SLOPE: _Kernel = (-1.0, 0.0, 1.0)
_SMOOTH: _Kernel = (1.0, 2.0, 1.0)


def glare(views: TensorViews) -> Tensor:
    """(n,) severity of the worst glare, 0–1, NaN for photos that are too small; as ``attributes.glare.glare``."""
    return glare_maps(views).amax(dim=(1, 2)).double()


def glare_map(views: TensorViews) -> Tensor:
    """(n, H, W) float32 severity of glare at each pixel of the photos; as ``attributes.glare.glare_map``."""
    maps = glare_maps(views)[:, None]
    return functional.interpolate(maps, size=views.photos.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def glare_maps(views: TensorViews) -> Tensor:
    """(n, h, w) float32 glare maps of at most ``WORKING`` px; as ``attributes.glare.glare_maps``."""
    return views.shared("glare", lambda: _maps(coarse(views), told=min(views.gray.shape[1:]) >= SMALLEST))


def _maps(gray: Tensor, *, told: bool) -> Tensor:
    reduced = fit(gray, WORKING)
    if not told or len(gray) == 0:  # the transform takes no empty batch
        return torch.full(reduced.shape, math.nan, device=gray.device)
    tone = _filtered(reduced.double() / 255.0, _gaussian(1.0), _gaussian(1.0))
    dx, dy = _filtered(tone, _SMOOTH, _SLOPE) / 8, _filtered(tone, _SLOPE, _SMOOTH) / 8
    directions = torch.complex(dx, dy) / ((dx.square() + dy.square()).sqrt() + GRADIENT)
    position = _ramp(tone, *BRIGHT)
    bright = position**2 * (3.0 - 2.0 * position)
    source = torch.zeros_like(tone)
    for disc in DISCS:
        convergence = _convergence(directions, disc.radius * max(tone.shape[1:]), CELL)
        source = torch.maximum(source, _ramp(convergence * bright, disc.start, disc.full))
    return (_spread(source) * tone).float()


def _convergence(directions: Tensor, radius: float, cell: int) -> Tensor:
    """(n, h, w) mean cosine between the directions x + iy around each pixel and the direction to that pixel."""
    height, width = directions.shape[1:]
    rows, columns = -(-height // cell), -(-width // cell)
    if cell > 1:
        whole = functional.pad(directions, (0, columns * cell - width, 0, rows * cell - height))
        directions = whole.view(-1, rows, cell, columns, cell).mean(dim=(2, 4))
    spectrum, gain = _disc(max(2.0, radius / cell), rows, columns, directions.device)
    waves = torch.fft.fft2(directions, s=spectrum.shape) * spectrum.conj()
    inward: Tensor = torch.fft.ifft2(waves).real[:, :rows, :columns] * gain
    if cell > 1:
        down, across = (_enlarging(side, cell, directions.device) for side in (rows, columns))
        inward = down @ inward @ across.T
    return inward[:, :height, :width]


def _spread(source: Tensor) -> Tensor:
    """Carry the severity of sources into their surroundings."""
    longest = max(source.shape[1:])
    reach = int(HALO * longest)
    wide = functional.max_pool2d(source[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0]
    return _filtered(wide, _gaussian(SOFTNESS * longest), _gaussian(SOFTNESS * longest))


def _filtered(values: Tensor, down: _Kernel, across: _Kernel) -> Tensor:
    """Filter planes with a kernel along each axis, mirrored at the edges as OpenCV does."""
    height, width = values.shape[1:]
    return _filter(down, height, values.device) @ values @ _filter(across, width, values.device).T


# Matrices in double precision: convolutions in single precision lose half of their digits where TF32 is allowed.
@lru_cache(maxsize=256)
def _filter(kernel: _Kernel, side: int, device: torch.device) -> Tensor:
    """(side, side) matrix that filters a column."""
    identity = np.eye(side)
    return torch.from_numpy(cv2.sepFilter2D(identity, cv2.CV_64F, np.ones(1), np.array(kernel))).to(device)


@lru_cache(maxsize=64)
def _enlarging(side: int, times: int, device: torch.device) -> Tensor:
    """(times · side, side) matrix that enlarges a column bilinearly."""
    enlarged = cv2.resize(np.eye(side), (side, times * side), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(enlarged).to(device)


@cache
def _gaussian(sigma: float) -> _Kernel:
    """The kernel of OpenCV's GaussianBlur for floats."""
    return tuple(cv2.getGaussianKernel(round(8 * sigma + 1) | 1, sigma).ravel().tolist())


def _ramp(values: Tensor, start: float, full: float) -> Tensor:
    return ((values - start) / (full - start)).clamp(0.0, 1.0)


@lru_cache(maxsize=64)
def _disc(radius: float, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Spectrum of the directions to the middle of a disc, complex128, and what their sum is multiplied with."""
    spectrum, gain = disc_spectrum(radius, (rows, columns))
    waves = torch.view_as_complex(torch.from_numpy(spectrum.astype(np.float64)))
    return waves.to(device), torch.from_numpy(gain.astype(np.float64)).to(device)

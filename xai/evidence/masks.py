"""What hides a photo in part: random masks, and what hidden pixels show instead."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

_STRATA = 8
"""Masks of one grid within which every cell draws from every eighth of 0–1 once."""

_LEAST_SHOWN = 0.1
"""Smallest share of cells on show; a mask and its complement then show up to nine tenths."""

_SOFTNESS, _LEAST_LIKELY = 0.15, 0.03
"""Of focused masks: ranks, in 0–1, over which the probability to be on show goes from low to high; its least."""

_GOLDEN = 0.6180339887498949


def mask_pairs(
    size: Sequence[int], n_pairs: int, grid_sizes: Sequence[int], batch: int, seed: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Make masks (p, h, w) in 0–1, at most ``batch`` at a time, and the shares (p,) that they were drawn to show.

    Each mask stands for itself and its complement.

    A mask is a lattice of cells, each shown or hidden, drawn larger than the photo, shifted by up to one cell and
    interpolated linearly. The share of cells on show differs from mask to mask and covers 0.1–0.9 evenly, as in Owen's
    estimate of Shapley values (Okhrati & Lipani, ICPR 2020): half a photo on show is neither the beginning nor the end.
    Grids take turns, and cells draw from strata (Latin hypercube), so that few masks cover all cells and shares alike.
    The first masks are the same however many follow. The numbers come from a CPU generator, so that devices and batches
    agree.
    """
    lattices = [[max(1, round(cells * side / max(size))) for side in size] for cells in grid_sizes]
    streams = [_cells(lattice, seed, place) for place, lattice in enumerate(lattices)]
    generator = torch.Generator().manual_seed(seed)
    first = float(torch.rand(1, generator=generator))
    for start in range(0, n_pairs, batch):
        turns = range(start, min(start + batch, n_pairs))
        masks = torch.empty(len(turns), *size, device=device)
        shares = torch.tensor([_share(first, turn) for turn in turns])
        for place, (lattice, stream) in enumerate(zip(lattices, streams, strict=True)):
            own = [turn - start for turn in turns if turn % len(grid_sizes) == place]
            if not own:
                continue
            drawn, shifts = (torch.stack(items) for items in zip(*(next(stream) for _ in own), strict=True))
            shown = (drawn < shares[own, None, None]).float().to(device)
            down, across = (
                _weights(side, number, shift.to(device))
                for side, number, shift in zip(size, lattice, shifts.unbind(1), strict=True)
            )
            masks[own] = down @ shown @ across.transpose(1, 2)
        yield masks, shares.to(device)


def focused_masks(
    size: Sequence[int],
    maps: Tensor,
    count: int,
    grid_sizes: Sequence[int],
    batch: int,
    generator: torch.Generator,
    first: int = 0,
) -> Iterator[Tensor]:
    """Make masks (m, h, w) in 0–1, at most ``batch`` at a time, that show what maps so far call the most helpful.

    The maps take turns, and so do the grids. How much of the photo a mask shows is drawn evenly, and a cell is the
    likelier on show the higher it ranks in the map: masks lie around the states that insertion and deletion pass, where
    the object comes and goes. Cells of any rank may come out either way.

    Args:
        size: height and width of the photo.
        maps: (k, rows, columns), higher = more helpful; coarse.
        count: masks in all.
        grid_sizes: cells along the longest side.
        batch: masks at once.
        generator: on the CPU, so that devices agree.
        first: the turn to begin with, so that many maps all have theirs over several calls.
    """
    device = maps.device
    ranks = torch.stack([_ranks(item) for item in maps.cpu()])
    lattices = [[max(1, round(cells * side / max(size))) for side in size] for cells in grid_sizes]
    for start in range(0, count, batch):
        masks = []
        for turn in range(first + start, first + min(start + batch, count)):
            lattice = lattices[turn % len(lattices)]
            shift, drawn = torch.rand(2, generator=generator), torch.rand(1, generator=generator)
            down, across = (
                2 * (torch.arange(cells + 2) - by) / cells - 1 for cells, by in zip(lattice, shift, strict=True)
            )
            places = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1)[None]
            local = functional.adaptive_avg_pool2d(
                ranks[None, [turn // len(lattices) % len(ranks)]], (lattice[0], lattice[1])
            )
            rank = functional.grid_sample(local, places, padding_mode="border", align_corners=False)[0, 0]
            likely = torch.sigmoid((rank - (0.95 - 0.9 * drawn)) / _SOFTNESS).clamp(_LEAST_LIKELY, 1 - _LEAST_LIKELY)
            shown = (torch.rand(rank.shape, generator=generator) < likely).float().to(device)
            rows, columns = (
                _weights(side, cells, by[None].to(device))[0]
                for side, cells, by in zip(size, lattice, shift, strict=True)
            )
            masks.append(rows @ shown @ columns.T)
        yield torch.stack(masks)


def _ranks(values: Tensor) -> Tensor:
    """Ranks in 0–1, equal values in the middle of theirs: a flat map calls no place more helpful than another."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    middle: Tensor = counts.cumsum(0) - (counts + 1) / 2
    return (middle[place] / max(1, values.numel() - 1)).float()


def _share(first: float, turn: int) -> float:
    """Share of cells on show in a turn: steps of the golden ratio fill an interval evenly from the beginning on."""
    return _LEAST_SHOWN + (1 - 2 * _LEAST_SHOWN) * ((first + _GOLDEN * turn) % 1)


def _cells(lattice: Sequence[int], seed: int, place: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield numbers in 0–1 for the points of a lattice (rows + 2, columns + 2), and a shift (2,) in cells."""
    generator = torch.Generator().manual_seed(1_000_003 * (place + 1) + seed)
    points = (lattice[0] + 2, lattice[1] + 2)
    while True:
        strata = torch.rand(_STRATA, *points, generator=generator).argsort(0)
        drawn = (strata + torch.rand(_STRATA, *points, generator=generator)) / _STRATA
        yield from zip(drawn, torch.rand(_STRATA, 2, generator=generator), strict=True)


def _weights(side: int, cells: int, shift: Tensor) -> Tensor:
    """Linear interpolation from cells + 2 lattice points to ``side`` pixels, (p, side, cells + 2)."""
    pixels = (torch.arange(side, device=shift.device) + 0.5) * (cells / side)
    points = torch.arange(cells + 2, device=shift.device)
    return (1 - (pixels[None, :, None] + shift[:, None, None] - points).abs()).clamp(min=0)


def blurred(inputs: Tensor, share: float = 0.04) -> Tensor:
    """Blur inputs (n, c, h, w) by a Gaussian of ``share`` of the longest side; edges repeat.

    Leaves colours and large shapes and takes away all by which a detector knows an object.
    """
    sigma = max(share * max(inputs.shape[-2:]), 0.5)
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=inputs.device) / sigma).square())
    kernel = (kernel / kernel.sum()).to(inputs)
    channels = inputs.shape[1]
    padded = functional.pad(inputs, (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)


def mean_colour(inputs: Tensor) -> Tensor:
    """Fill inputs (n, c, h, w) with their own mean colour: no edges within, but one around all that is shown."""
    return inputs.mean((2, 3), keepdim=True).expand_as(inputs)


def inpainted(inputs: Tensor, masks: Tensor) -> Tensor:
    """Fill what is hidden from what is shown around it, from near by where anything near is on show.

    Push and pull over a pyramid of halved photos (Gortler et al., "The lumigraph", SIGGRAPH 1996, section 3.6). Unlike
    the blurred photo it holds nothing of what it hides.

    Args:
        inputs: (n, c, h, w) or (1, c, h, w).
        masks: (n, 1, h, w) in 0–1, 1 = shown.

    Returns:
        (n, c, h, w); the shown pixels' mean colour where nothing is near, the photo's own where nothing is shown.
    """
    weight = masks.square()  # half-hidden pixels are poor witnesses
    colour = inputs * weight
    levels = []
    while True:
        levels.append((colour, weight))
        if max(weight.shape[-2:]) == 1:
            break
        colour, weight = (
            functional.avg_pool2d(item, 2, ceil_mode=True, count_include_pad=False) for item in (colour, weight)
        )
    shown = weight.amax((1, 2, 3), keepdim=True) > 0
    filled = torch.where(shown, colour / weight.clamp(min=1e-12), inputs.mean((2, 3), keepdim=True))
    for colour, weight in reversed(levels):
        coarse = functional.interpolate(filled, size=weight.shape[-2:], mode="bilinear", align_corners=False)
        certain = (weight * 4).clamp(max=1)  # a quarter on show tells the colour of the whole
        filled = torch.lerp(coarse, colour / weight.clamp(min=1e-12), certain)
    return filled

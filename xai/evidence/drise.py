"""Where a detector looks for an object: randomised masking of the photo, for all objects from the same forwards.

After D-RISE (Petsiuk et al., CVPR 2021) and RISE (Petsiuk et al., BMVC 2018), with three changes. Masks come in
complementary pairs, and a pixel's weight is the covariance of its mask with the target, which a constant target
cannot move: the map is signed, positive where showing the pixel helps the object, negative where it suppresses it.
Cells come in several sizes, since an object's size is not assumed. Hidden pixels show the photo blurred, not black,
whose edges a detector sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from captum.attr import PerturbationAttribution
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm  # type: ignore[import-untyped]


class DRISE(PerturbationAttribution):  # type: ignore[misc]
    """Signed randomised masking in Captum's conventions.

    Args:
        forward_func: inputs (n, 3, h, w) → (n, k), one column per object (``targets.forward_func``), or (n,).
    """

    def attribute(
        self,
        inputs: Tensor,
        baselines: Tensor | float | None = None,
        target: int | None = None,
        additional_forward_args: Any = None,
        *,
        n_masks: int = 400,
        grid_sizes: Sequence[int] = (4, 8, 16),
        perturbations_per_eval: int = 8,
        seed: int = 0,
        show_progress: bool = False,
        return_standard_error: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Estimate how much showing each pixel, instead of its baseline, moves the target.

        Runs ``n_masks`` forwards an input, whatever the number of objects, without gradients.

        Args:
            inputs: (n, 3, h, w).
            baselines: what hidden pixels show, broadcastable to ``inputs``; None for the blurred input.
            target: the column to explain; None for all k, from the same forwards.
            additional_forward_args: handed on to ``forward_func`` after the inputs.
            n_masks: masked copies of each input; even, at least two per grid size.
            grid_sizes: cells along the longest side, drawn in turn; each mask is shifted at random within a cell.
            perturbations_per_eval: masked copies a forward.
            seed: of the masks, which are the same on every device.
            show_progress: draw a bar of the forwards.
            return_standard_error: also return the standard error of every pixel, under the hypothesis that it has no
                effect, which is too wide rather than too narrow where it has one.

        Returns:
            (n, k, h, w), with k = 1 where ``target`` is given: one map per object and not one per colour channel, as
            in Captum's attributions of layers. Unit: change of the target.

        Raises:
            ValueError: shapes or numbers do not fit, or the target is not finite.
        """
        _check(inputs, n_masks, grid_sizes, perturbations_per_eval)
        extra = _as_tuple(additional_forward_args)
        hidden = blurred(inputs) if baselines is None else torch.as_tensor(baselines).to(inputs).expand_as(inputs)
        maps, errors = [], []
        with torch.no_grad():
            for photo, baseline in zip(inputs, hidden, strict=True):
                bar = tqdm(total=n_masks, desc="DRISE", disable=not show_progress)
                moments = _Moments()
                for masks in mask_pairs(
                    photo.shape[-2:], n_masks // 2, grid_sizes, max(1, perturbations_per_eval // 2), seed, photo.device
                ):
                    both = torch.cat([masks, 1 - masks])[:, None]
                    values = self._forward(torch.lerp(baseline, photo, both), target, extra)
                    moments.add(masks, values[: len(masks)] - values[len(masks) :])
                    bar.update(len(both))
                bar.close()
                maps.append(moments.slope())
                errors.append(moments.standard_error())
        attributions = torch.stack(maps)
        return (attributions, torch.stack(errors)) if return_standard_error else attributions

    def _forward(self, masked: Tensor, target: int | None, extra: tuple[Any, ...]) -> Tensor:
        """Return the target's columns (m, k) for masked inputs."""
        forward: Callable[..., Tensor] = self.forward_func
        values = forward(masked, *extra)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or len(values) != len(masked):
            raise ValueError(
                f"expected forward_func to return ({len(masked)}, k) or ({len(masked)},), got {tuple(values.shape)}"
            )
        if target is not None:
            if not -values.shape[1] <= target < values.shape[1]:
                raise ValueError(
                    f"expected a target below {values.shape[1]}, the columns of forward_func; got {target}"
                )
            values = values[:, [target]]
        if not bool(torch.isfinite(values).all()):
            raise ValueError("expected finite targets from forward_func, got NaN or infinity")
        return values


class _Moments:
    """Sums over pairs of masks m, 1 − m with a = m − ½ and d = f(m) − f(1 − m): what slope and error need."""

    def __init__(self) -> None:
        self.moved: Tensor | float = 0.0
        self.moved_squared: Tensor | float = 0.0
        self.variance: Tensor | float = 0.0

    def add(self, masks: Tensor, difference: Tensor) -> None:
        """Add masks (p, h, w) with differences (p, k)."""
        centred = masks - 0.5
        squared = centred.square()
        self.moved = self.moved + torch.einsum("pk,phw->khw", difference, centred)
        self.moved_squared = self.moved_squared + torch.einsum("pk,phw->khw", difference.square(), squared)
        self.variance = self.variance + squared.sum(0)

    def slope(self) -> Tensor:
        """Change of the target as a pixel goes from hidden to shown, (k, h, w): Σ a·d / 2 Σ a²."""
        return torch.as_tensor(self.moved / (2 * self._variance()))

    def standard_error(self) -> Tensor:
        """√(Σ a²·d²) / 2 Σ a², (k, h, w)."""
        return torch.as_tensor(torch.as_tensor(self.moved_squared).sqrt() / (2 * self._variance()))

    def _variance(self) -> Tensor:
        return torch.as_tensor(self.variance).clamp(min=1e-6)


def mask_pairs(
    size: Sequence[int], n_pairs: int, grid_sizes: Sequence[int], batch: int, seed: int, device: torch.device
) -> Iterator[Tensor]:
    """Make masks (p, h, w) in 0–1, at most ``batch`` at a time; each stands for itself and its complement.

    A mask is a lattice of cells, each shown or hidden with probability ½, drawn larger than the photo, shifted by up
    to one cell and interpolated linearly. The numbers come from a CPU generator, so that devices and batches agree.
    """
    generator = torch.Generator().manual_seed(seed)
    share, rest = divmod(n_pairs, len(grid_sizes))
    for index, cells in enumerate(grid_sizes):
        count = share + (index < rest)
        lattice = [max(1, round(cells * side / max(size))) for side in size]
        shown = torch.randint(0, 2, (count, lattice[0] + 2, lattice[1] + 2), generator=generator).float()
        shifts = torch.rand(2, count, generator=generator)
        for start in range(0, count, batch):
            part = slice(start, start + batch)
            down, across = (
                _weights(side, number, shift[part].to(device))
                for side, number, shift in zip(size, lattice, shifts, strict=True)
            )
            yield down @ shown[part].to(device) @ across.transpose(1, 2)


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


def _as_tuple(extra: Any) -> tuple[Any, ...]:
    return () if extra is None else extra if isinstance(extra, tuple) else (extra,)


def _check(inputs: Tensor, n_masks: int, grid_sizes: Sequence[int], perturbations_per_eval: int) -> None:
    if inputs.ndim != 4:
        raise ValueError(f"expected inputs (n, channels, h, w), got {tuple(inputs.shape)}")
    if not grid_sizes or min(grid_sizes) < 2:
        raise ValueError(f"expected grid sizes of at least 2 cells, got {tuple(grid_sizes)}")
    least = 2 * len(grid_sizes)
    if n_masks % 2 or n_masks < least:
        raise ValueError(f"expected an even n_masks of at least {least}, two per grid size; got {n_masks}")
    if perturbations_per_eval < 1:
        raise ValueError(f"expected perturbations_per_eval of at least 1, got {perturbations_per_eval}")

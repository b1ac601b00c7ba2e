"""Where a detector looks for an object: randomised masking of the photo, for all objects from the same forwards.

After D-RISE (Petsiuk et al., CVPR 2021) and RISE (Petsiuk et al., BMVC 2018), with four changes. Masks come first in
complementary pairs of many shares on show, whose difference is free of what both have in common; later ones are drawn
around the maps so far (``masks.focused_masks``). A map is not a mean of masks but a regression on cells that vary
smoothly (``regression.smooth_weights``), signed: positive where showing the pixel helps the object, negative where it
suppresses it; a constant target cannot move it. Cells come in several sizes, since an object's size is not assumed, nor
is its box. Hidden pixels show the photo blurred, not black, whose edges a detector sees.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from captum.attr import PerturbationAttribution
from torch import Tensor
from torch.nn import functional

from xai.evidence.masks import blurred, focused_masks, mask_pairs
from xai.evidence.regression import smooth_weights
from xai.progress import tqdm

Baseline = Tensor | float | Callable[[Tensor, Tensor], Tensor] | None
"""What hidden pixels show; a function makes it of the input (1, c, h, w) and the masks (m, 1, h, w)."""

STAGE = 100
"""Masks before the maps are looked at for the first time, and between looks."""

_FOCUSED_GRIDS = (6, 10, 16)
"""Cells along the longest side, of focused masks."""

_CELLS = 24
"""Cells along the longest side that a map is estimated on."""

REGION = 1 / 8
"""Side of the square whose effect a pixel tells, of the longest side."""


class DRISE(PerturbationAttribution):  # type: ignore[misc]
    """Signed randomised masking in Captum's conventions.

    Args:
        forward_func: inputs (n, 3, h, w) → (n, k), one column per object (``targets.forward_func``), or (n,).
    """

    def attribute(
        self,
        inputs: Tensor,
        baselines: Baseline = None,
        target: int | None = None,
        additional_forward_args: Any = None,
        *,
        n_masks: int = 400,
        grid_sizes: Sequence[int] = (4, 8, 16),
        perturbations_per_eval: int = 8,
        seed: int = 0,
        show_progress: bool = False,
        stop_at: float | None = None,
        return_standard_error: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Estimate how much showing each pixel, instead of its baseline, moves the target.

        Runs ``n_masks`` forwards an input at most, whatever the number of objects, without gradients.

        Args:
            inputs: (n, 3, h, w).
            baselines: what hidden pixels show, broadcastable to ``inputs``; None for the blurred input; a function of
                an input and masks, such as ``masks.inpainted``, where it depends on what is hidden.
            target: the column to explain; None for all k, from the same forwards. Beyond ``STAGE`` masks, these are
                drawn around the maps of all columns asked for in turn.
            additional_forward_args: handed on to ``forward_func`` after the inputs.
            n_masks: masked copies of each input; even, at least two per grid size.
            grid_sizes: cells along the longest side of the first ``STAGE`` masks, in turn; each mask is shifted at
                random within a cell.
            perturbations_per_eval: masked copies a forward.
            seed: of the masks. The first masks do not depend on their number.
            show_progress: draw a bar of the forwards.
            stop_at: end early once the maps of all objects that anything moves are this reliable, in 0–1: about the
                correlation that another seed's map would have.
            return_standard_error: also return the standard error of every pixel.

        Returns:
            (n, k, h, w), with k = 1 where ``target`` is given: one map per object and not one per colour channel, as
            in Captum's attributions of layers. Unit: change of the target as a square around a pixel, an eighth of
            the longest side, goes from hidden to shown, on average over what else is shown.

        Raises:
            ValueError: shapes or numbers do not fit, or the target is not finite.
        """
        _check(inputs, n_masks, grid_sizes, perturbations_per_eval, stop_at)
        maps, errors = [], []
        with torch.no_grad():
            for photo, hide in zip(torch.split(inputs, 1), hiding(inputs, baselines), strict=True):
                record = _Record(columns(self.forward_func, target, additional_forward_args), photo, hide)
                generator = torch.Generator().manual_seed(seed)
                bar = tqdm(total=n_masks, desc="DRISE", disable=not show_progress)
                while record.forwards < n_masks:
                    count = min(STAGE, n_masks - record.forwards)
                    if record.forwards:
                        record.focus(count, perturbations_per_eval, generator)
                    else:
                        record.explore(count, grid_sizes, perturbations_per_eval, seed)
                    record.estimate()
                    bar.update(count)
                    if stop_at is not None and record.reliable(stop_at):
                        break
                bar.close()
                maps.append(record.drawn(record.weights))
                errors.append(record.drawn(record.errors, least=0.0))
        attributions = torch.stack(maps)
        return (attributions, torch.stack(errors)) if return_standard_error else attributions


class _Record:
    """Masked copies of one photo with their scores, and the maps that they give so far.

    A pair counts by its difference: what a mask and its complement have in common says nothing of single cells. Where
    focused masks follow and no score is negative, roots of scores are regressed, whose noise is about as large on a
    miss as on a found object; maps are carried back to the target's unit at its mean, which is
    exact for small effects only.
    """

    def __init__(self, score: Callable[[Tensor], Tensor], photo: Tensor, hide: Callable[[Tensor], Tensor]) -> None:
        self.score = score
        self.photo = photo
        self.hide = hide
        self.forwards = 0
        size = photo.shape[-2:]
        rows, columns = (max(1, round(min(_CELLS, max(size)) * side / max(size))) for side in size)
        self.lattice = (rows, columns)
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.singles: list[tuple[Tensor, Tensor]] = []
        self.weights = self.errors = torch.empty(0)

    def explore(self, count: int, grid_sizes: Sequence[int], batch: int, seed: int) -> None:
        """Ask for pairs of random masks and their complements."""
        size, device = self.photo.shape[-2:], self.photo.device
        for masks, _ in mask_pairs(size, count // 2, grid_sizes, max(1, batch // 2), seed, device):
            values = self._ask(torch.cat([masks, 1 - masks])).view(2, len(masks), -1)
            self.pairs.append((self._cells(masks), values))

    def focus(self, count: int, batch: int, generator: torch.Generator) -> None:
        """Ask for masks drawn around the maps so far."""
        maps = self.weights.view(-1, *self.lattice).to(self.photo.device)
        size = self.photo.shape[-2:]
        for masks in focused_masks(size, maps, count, _FOCUSED_GRIDS, batch, generator, self.forwards):
            self.singles.append((self._cells(masks), self._ask(masks)))

    def estimate(self) -> None:
        """Regress what has come so far."""
        first, pairs = (torch.cat(parts, dim) for parts, dim in zip(zip(*self.pairs, strict=True), (0, 1), strict=True))
        design, values = (2 * first - 1) / 2**0.5, pairs
        unit = values.new_ones(values.shape[2])
        if self.singles:
            cells, scores = (torch.cat(parts) for parts in zip(*self.singles, strict=True))
            design = torch.cat([design, cells - cells.mean(0)])
            every = torch.cat([pairs.flatten(0, 1), scores])
            rooted = every.amin(0) >= 0
            unit = torch.where(rooted, 2 * every.mean(0).clamp(min=0).sqrt(), unit)
            values, scores = (torch.where(rooted, item.abs().sqrt(), item) for item in (pairs, scores))
            values = torch.cat([(values[0] - values[1]) / 2**0.5, scores - scores.mean(0)])
            # Of a constant target, rounding leaves something of the difference from its mean.
            values = torch.where(every.amax(0) == every.amin(0), torch.zeros_like(values), values)
        else:
            values = (values[0] - values[1]) / 2**0.5
        # A cell's part of the photo in what is shown; a pixel then stands for a square around it.
        found = smooth_weights(design / design.shape[1], values, self.lattice)
        height, width = self.photo.shape[-2:]
        square = min(1.0, (REGION * max(height, width)) ** 2 / (height * width))
        self.weights, self.errors = (item * unit.cpu()[:, None] * square for item in found)

    def reliable(self, level: float) -> bool:
        """Whether noise makes up at most 1 − ``level`` of the variance of each map that is not flat."""
        noise = self.errors.square().mean(1)
        return bool((noise <= (1 - level) * self.weights.var(1)).all())

    def drawn(self, cells: Tensor, least: float | None = None) -> Tensor:
        """Draw cells (k, rows · columns) on the photo, (k, h, w)."""
        size = self.photo.shape[-2:]
        maps = cells.view(1, -1, *self.lattice).to(self.photo)
        drawn = functional.interpolate(maps, size=size, mode="bicubic", align_corners=False)[0]
        return drawn if least is None else drawn.clamp(min=least)

    def _ask(self, masks: Tensor) -> Tensor:
        """Return the scores (m, k) of copies under masks (m, h, w)."""
        self.forwards += len(masks)
        shown = masks[:, None]
        return self.score(torch.lerp(self.hide(shown), self.photo, shown))

    def _cells(self, masks: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(masks[:, None], self.lattice).flatten(1)


def columns(forward: Callable[..., Tensor], target: int | None, extra: Any) -> Callable[[Tensor], Tensor]:
    """Return what gives the target's columns (m, k) for masked inputs, checked.

    Raises:
        ValueError: of what is returned, when shapes do not fit, there is no such column, or a value is not finite.
    """
    arguments = () if extra is None else extra if isinstance(extra, tuple) else (extra,)

    def score(masked: Tensor) -> Tensor:
        values = forward(masked, *arguments)
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

    return score


def hiding(inputs: Tensor, baselines: Baseline) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield for each input what masks (m, 1, h, w) hide it behind."""
    if callable(baselines):
        yield from (functools.partial(baselines, photo) for photo in torch.split(inputs, 1))
        return
    hidden = blurred(inputs) if baselines is None else torch.as_tensor(baselines).to(inputs).expand_as(inputs)
    yield from ((lambda masks, behind=behind: behind) for behind in torch.split(hidden, 1))


def _check(
    inputs: Tensor, n_masks: int, grid_sizes: Sequence[int], perturbations_per_eval: int, stop_at: float | None
) -> None:
    if inputs.ndim != 4:
        raise ValueError(f"expected inputs (n, channels, h, w), got {tuple(inputs.shape)}")
    if not grid_sizes or min(grid_sizes) < 2:
        raise ValueError(f"expected grid sizes of at least 2 cells, got {tuple(grid_sizes)}")
    least = 2 * len(grid_sizes)
    if n_masks % 2 or n_masks < least:
        raise ValueError(f"expected an even n_masks of at least {least}, two per grid size; got {n_masks}")
    if perturbations_per_eval < 1:
        raise ValueError(f"expected perturbations_per_eval of at least 1, got {perturbations_per_eval}")
    if stop_at is not None and not 0 < stop_at < 1:
        raise ValueError(f"expected stop_at between 0 and 1, got {stop_at}")

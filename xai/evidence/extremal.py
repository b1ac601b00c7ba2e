"""Where a detector looks for an object: the order of regions that brings it up fastest, found by gradient.

After extremal perturbations (Fong, Patrick & Vedaldi, "Understanding deep networks via extremal perturbations and
smooth masks", ICCV 2019), which look for the region of a given area that keeps or loses the object, and iGOS++ (Khorram
et al., CHIL 2021), which shows a mask and hides it in the same step. Here one coarse, smooth field orders the whole
photo: its highest share of any size is the region, so that regions lie within each other, and those of few areas drawn
anew for every step are shown alone and hidden alone. Nothing else is asked for: no size, no sparsity, no box.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum.attr import GradientAttribution
from torch import Tensor
from torch.nn import functional

from xai.evidence.drise import REGION, Baseline, columns, hiding
from xai.evidence.masks import mask_pairs
from xai.progress import tqdm

MIN_MASKS = 14
"""Masks with which one step at least can be taken."""

COST = 3
"""Forwards that a mask stands for in a budget: its own, and what a backward costs at most."""

_EXPLORED = 8
"""Random masks to begin with, at most."""

_CELLS = 24
"""Cells of the field along the longest side."""

_REACHES = (0.7, 1.5, 3.0)
"""Standard deviations, in cells, to which a step is smoothed: fine and coarse structure grow alike."""

_RATE, _LAST = 0.3, 0.1
"""Step in standard deviations of the field, and the share of it that the last step still has."""

_MEMORY = 0.8
"""Share of the earlier gradients in a step's direction."""

_SOFTNESS = 0.2
"""Standard deviations of the field over which a region's edge goes from hidden to shown."""

_LEVELS = 2
"""Areas a step; each is shown alone and hidden alone."""

_AREAS = (0.05, 0.15, 0.4, 0.75, 0.9, 0.97)
"""Areas at which the target is asked in the end, for the unit and the sign of the map."""

_LAST_MASKS = 5
"""Masks with a gradient that asking this costs as much as, in whole ones."""

_TIES = 1e-3
"""Share of the largest effect by which pixels of equal effect keep their order."""


class ExtremalPerturbation(GradientAttribution):  # type: ignore[misc]
    """Signed map of nested regions in Captum's conventions; ``forward_func`` must pass gradients to its inputs.

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
        n_masks: int = 132,
        perturbations_per_eval: int = 4,
        seed: int = 0,
        show_progress: bool = False,
    ) -> Tensor:
        """Order the photo by gradient ascent on insertion − deletion, then tell what each pixel's turn brings.

        Costs ``n_masks`` forwards and backwards an input and object at most, the last five of these as fourteen
        forwards alone; and one forward an input. It begins with the gradient to some random masks.

        Args:
            inputs: (n, 3, h, w).
            baselines: what hidden pixels show, broadcastable to ``inputs``; None for the blurred input; a function of
                an input and masks where it depends on what is hidden.
            target: the column to explain; None for all k, one after another.
            additional_forward_args: handed on to ``forward_func`` after the inputs.
            n_masks: masked copies of each input, for each object.
            perturbations_per_eval: masked copies a forward. Another number may move a map by 2% of its maximum, as an
                ascent amplifies what rounding changes.
            seed: of the random masks and areas.
            show_progress: draw a bar of the masks.

        Returns:
            (n, k, h, w), with k = 1 where ``target`` is given. Unit, as of ``DRISE``: change of the target as a square
            of an eighth of the longest side is shown, here at the time when the pixel has its turn: mean of what its
            rank adds as the photo appears and takes as it vanishes in this order, made to fall with rank (concave
            majorant). Positive up to the rank at which the object is closest to being found; what follows
            suppresses it. Zero where nothing moves the target.

        Raises:
            ValueError: shapes or numbers do not fit, or the target is not finite or has no gradient to the inputs, as
                within ``torch.inference_mode`` (``METHODS["extremal"]`` leaves it).
        """
        if inputs.ndim != 4:
            raise ValueError(f"expected inputs (n, channels, h, w), got {tuple(inputs.shape)}")
        if n_masks < MIN_MASKS:
            raise ValueError(f"expected n_masks of at least {MIN_MASKS}, got {n_masks}")
        if perturbations_per_eval < 1:
            raise ValueError(f"expected perturbations_per_eval of at least 1, got {perturbations_per_eval}")
        score = columns(self.forward_func, target, additional_forward_args)
        maps = []
        for photo, hide in zip(torch.split(inputs.detach(), 1), hiding(inputs.detach(), baselines), strict=True):
            with torch.no_grad():
                count = score(photo).shape[1]
            bar = tqdm(total=n_masks * count, desc="ExtremalPerturbation", disable=not show_progress)
            found = [
                _Path(score, column, photo, hide, perturbations_per_eval, bar.update).map(n_masks, seed)
                for column in range(count)
            ]
            bar.close()
            maps.append(torch.stack(found) if found else photo.new_zeros(0, *photo.shape[-2:]))
        return torch.stack(maps)


class _Path:
    """The order of one photo's pixels for one object."""

    def __init__(
        self,
        score: Callable[[Tensor], Tensor],
        column: int,
        photo: Tensor,
        hide: Callable[[Tensor], Tensor],
        batch: int,
        told: Callable[[int], object],
    ) -> None:
        self.score = score
        self.column = column
        self.photo = photo
        self.hide = hide
        self.batch = batch
        self.told = told
        self.size = photo.shape[-2:]
        longest = max(self.size)
        rows, across = (max(1, round(min(_CELLS, longest) * side / longest)) for side in self.size)
        self.lattice = (rows, across)
        self.smoothing = [[_blur(cells, reach).to(photo) for cells in self.lattice] for reach in _REACHES]

    def map(self, n_masks: int, seed: int) -> Tensor:
        explored = min(_EXPLORED, n_masks // 8 * 2 + 2)
        steps = (n_masks - explored - _LAST_MASKS) // (2 * _LEVELS)
        field = self._explore(explored, seed)
        slopes = torch.zeros_like(field)
        generator = torch.Generator().manual_seed(seed)
        for step in range(steps):
            areas = (torch.arange(_LEVELS) + torch.rand(_LEVELS, generator=generator)) / _LEVELS
            slope = self._slope(field, areas.clamp(0.03, 0.97))
            slopes = _MEMORY * slopes + (1 - _MEMORY) * slope
            field = _standard(field + _RATE * (1 - (1 - _LAST) * step / steps) * self._even(slopes))
        return self._effects(self._drawn(field))

    def _explore(self, count: int, seed: int) -> Tensor:
        """Begin with the mean gradient of the target to random masks and their complements."""
        slopes = torch.zeros(self.lattice, device=self.photo.device)
        for first, _ in mask_pairs(self.size, count // 2, (4, 8, 16), max(1, self.batch // 2), seed, slopes.device):
            masks = torch.cat([first, 1 - first])
            slopes += functional.adaptive_avg_pool2d(self._gradient(masks, torch.ones(len(masks)))[None], self.lattice)[
                0
            ]
        return _standard(self._even(slopes))

    def _slope(self, field: Tensor, areas: Tensor) -> Tensor:
        """Gradient of insertion − deletion at some areas to the field."""
        field = field.detach().requires_grad_()
        with torch.enable_grad():
            drawn = self._drawn(field)
            levels = torch.quantile(drawn.detach().flatten(), 1 - areas.to(drawn))
            spread = drawn.detach().std(correction=0).clamp(min=1e-12)
            shown = torch.sigmoid((drawn - levels[:, None, None]) / (_SOFTNESS * spread))
            masks = torch.cat([shown, 1 - shown])
        signs = torch.cat([torch.ones(len(areas)), -torch.ones(len(areas))])
        pulled = self._gradient(masks.detach(), signs, each=True)
        (slope,) = torch.autograd.grad(masks, field, pulled)
        return slope

    def _gradient(self, masks: Tensor, signs: Tensor, *, each: bool = False) -> Tensor:
        """Gradient of the signed target to masks (m, h, w); their sum unless each is asked for."""
        found = []
        for part, sign in zip(torch.split(masks, self.batch), torch.split(signs, self.batch), strict=True):
            with torch.enable_grad():
                shown = part[:, None].detach().requires_grad_()
                values = self._ask(shown)
                if not values.requires_grad:
                    if bool(values.any()):
                        raise ValueError("expected scores with a gradient to the inputs, got none; use drise")
                    found.append(torch.zeros_like(part))
                    continue
                (slope,) = torch.autograd.grad((values * sign.to(values)).sum(), shown)
            if not bool(torch.isfinite(slope).all()):
                raise ValueError("expected a target with a finite gradient, got NaN or infinity; drise needs none")
            found.append(slope[:, 0])
            self.told(len(part))
        slopes = torch.cat(found)
        return slopes if each else slopes.sum(0)

    def _even(self, slopes: Tensor) -> Tensor:
        """Smooth a gradient to several reaches, each with the same weight whatever its size."""
        parts = [down @ slopes @ across.T for down, across in self.smoothing]
        return torch.stack([part / part.square().mean().sqrt().clamp(min=1e-30) for part in parts]).mean(0)

    def _effects(self, drawn: Tensor) -> Tensor:
        """Turn an order (h, w) into effects: what the pixels of a rank add to the target."""
        pixels = drawn.numel()
        order = drawn.flatten().argsort(descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(0, order, torch.arange(pixels, device=order.device))
        areas = torch.tensor(_AREAS, dtype=torch.float64)
        early = (rank < (areas.to(drawn) * pixels).round()[:, None]).view(-1, *self.size).to(drawn)
        masks = torch.cat([torch.zeros_like(early[:1]), early, torch.ones_like(early[:1]), 1 - early])
        with torch.no_grad():
            values = torch.cat([self._ask(part[:, None]) for part in torch.split(masks, self.batch)]).double().cpu()
        self.told(_LAST_MASKS)
        hidden, appearing, whole, vanishing = torch.split(values, [1, len(areas), 1, len(areas)])
        middle = (appearing + whole - vanishing) / 2
        gained = torch.cat([hidden / 2, middle, whole - hidden / 2])
        at, effects = _falling(torch.cat([areas.new_zeros(1), areas, areas.new_ones(1)]), gained)
        place = ((rank.double().cpu() + 0.5) / pixels).clamp(float(at[0]), float(at[-1]))
        effect = _interpolated(place, at, effects) + _TIES * float(effects.abs().max()) * (
            0.5 - (rank.double().cpu() + 0.5) / pixels
        )
        height, width = self.size
        square = min(1.0, (REGION * max(height, width)) ** 2 / (height * width))
        return (effect * square).view(height, width).to(drawn)

    def _ask(self, shown: Tensor) -> Tensor:
        """Target (m,) of copies under masks (m, 1, h, w)."""
        return self.score(torch.lerp(self.hide(shown), self.photo, shown))[:, self.column]

    def _drawn(self, field: Tensor) -> Tensor:
        drawn = functional.interpolate(field[None, None], size=self.size, mode="bicubic", align_corners=False)
        return drawn[0, 0]


def _blur(cells: int, reach: float) -> Tensor:
    """Weights (cells, cells) of a Gaussian; each row sums to 1."""
    place = torch.arange(cells, dtype=torch.float32)
    return torch.softmax(-0.5 * ((place[:, None] - place) / reach).square(), dim=1)


def _standard(field: Tensor) -> Tensor:
    """Shift and scale to mean 0 and standard deviation 1; a flat field to 0."""
    field = field - field.mean()
    spread = field.std(correction=0)
    return field / spread if float(spread) > 1e-12 else torch.zeros_like(field)


def _falling(at: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of the concave majorant of values at places, and where each of them holds: the middle of its piece."""
    corners = [0]
    for index in range(1, len(at)):
        while len(corners) > 1:
            first, second = corners[-2:]
            before = (values[second] - values[first]) / (at[second] - at[first])
            after = (values[index] - values[second]) / (at[index] - at[second])
            if before > after:
                break
            corners.pop()
        corners.append(index)
    ends, heights = at[corners], values[corners]
    return (ends[1:] + ends[:-1]) / 2, heights.diff() / ends.diff()


def _interpolated(place: Tensor, at: Tensor, values: Tensor) -> Tensor:
    """Linear between places, constant beyond the first and last."""
    if len(at) == 1:
        return values.expand_as(place).clone()
    right = torch.searchsorted(at, place).clamp(1, len(at) - 1)
    share = ((place - at[right - 1]) / (at[right] - at[right - 1])).clamp(0, 1)
    return torch.lerp(values[right - 1], values[right], share)

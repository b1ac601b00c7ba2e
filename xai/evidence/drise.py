"""Where a detector looks for an object: randomised masking of the photo, for all objects from the same forwards.

After D-RISE (Petsiuk et al., CVPR 2021) and RISE (Petsiuk et al., BMVC 2018), with three changes. Masks come in
complementary pairs of many shares on show, and a pixel's weight is the covariance of its mask with the target, freed of
what the mere amount on show explains; a constant target cannot move it. So the map is signed: positive where showing
the pixel helps the object, negative where it suppresses it. Cells come in several sizes, since an object's size is not
assumed. Hidden pixels show the photo blurred, not black, whose edges a detector sees.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from captum.attr import PerturbationAttribution
from torch import Tensor

from xai.evidence.masks import blurred, mask_pairs
from xai.progress import tqdm

Baseline = Tensor | float | Callable[[Tensor, Tensor], Tensor] | None
"""What hidden pixels show; a function makes it of the input (1, c, h, w) and the masks (m, 1, h, w)."""

_FIRST_LOOK, _LOOKS = 48, 1.5
"""Pairs after which stability is looked at for the first time, and the growth from look to look."""


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
            target: the column to explain; None for all k, from the same forwards.
            additional_forward_args: handed on to ``forward_func`` after the inputs.
            n_masks: masked copies of each input; even, at least two per grid size.
            grid_sizes: cells along the longest side, drawn in turn; each mask is shifted at random within a cell.
            perturbations_per_eval: masked copies a forward.
            seed: of the masks, which are the same on every device. The first masks do not depend on their number.
            show_progress: draw a bar of the forwards.
            stop_at: end early once the maps of all objects that anything moves are this reliable, in 0–1: about the
                correlation that another seed's map would have.
            return_standard_error: also return the standard error of every pixel, under the hypothesis that it has no
                effect, which is too wide rather than too narrow where it has one.

        Returns:
            (n, k, h, w), with k = 1 where ``target`` is given: one map per object and not one per colour channel, as
            in Captum's attributions of layers. Unit: change of the target as the cell around a pixel goes from
            hidden to shown, on average over what else is shown.

        Raises:
            ValueError: shapes or numbers do not fit, or the target is not finite.
        """
        _check(inputs, n_masks, grid_sizes, perturbations_per_eval, stop_at)
        batch, device = max(1, perturbations_per_eval // 2), inputs.device
        maps, errors = [], []
        with torch.no_grad():
            for photo, hide in zip(torch.split(inputs, 1), _hiding(inputs, baselines), strict=True):
                pairs = _Pairs(self._scored(target, additional_forward_args), photo, hide)
                bar = tqdm(total=n_masks, desc="DRISE", disable=not show_progress)
                for masks, shares in mask_pairs(photo.shape[-2:], n_masks // 2, grid_sizes, batch, seed, device):
                    pairs.add(masks, shares)
                    bar.update(2 * len(masks))
                    if stop_at is not None and pairs.due and pairs.reliable(stop_at):
                        break
                bar.close()
                maps.append(pairs.slope())
                errors.append(pairs.standard_error())
        attributions = torch.stack(maps)
        return (attributions, torch.stack(errors)) if return_standard_error else attributions

    def _scored(self, target: int | None, extra: Any) -> Callable[[Tensor], Tensor]:
        """Return what gives the target's columns (m, k) for masked inputs, checked."""
        forward: Callable[..., Tensor] = self.forward_func
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


class _Pairs:
    """Sums over pairs of masks m, 1 − m of one photo: what slope and standard error need.

    With p the share that a mask was drawn to show, a = m − p, d = f(m) − f(1 − m), and c the share that the mask shows
    of the photo, less ½: that a pixel's mask goes with the target beyond what c explains is its effect. c is a control
    variate: cells hold an equal part of it, so that what it explains is given back to all pixels alike.
    """

    def __init__(self, score: Callable[[Tensor], Tensor], photo: Tensor, hide: Callable[[Tensor], Tensor]) -> None:
        self.score = score
        self.photo = photo
        self.hide = hide
        self.count, self.next_look = 0, _FIRST_LOOK
        self.sums: dict[str, Tensor] = {}

    def add(self, masks: Tensor, shares: Tensor) -> None:
        """Ask for masks (p, h, w), drawn to show shares (p,), and for their complements."""
        both = torch.cat([masks, 1 - masks])[:, None]
        values = self.score(torch.lerp(self.hide(both), self.photo, both))
        difference = values[: len(masks)] - values[len(masks) :]
        centred = masks - shares[:, None, None]
        squared = centred.square()
        amount = masks.mean((1, 2)) - 0.5
        parts = {
            "ad": torch.einsum("pk,phw->khw", difference, centred),
            "aadd": torch.einsum("pk,phw->khw", difference.square(), squared),
            "aadc": torch.einsum("pk,phw->khw", difference * amount[:, None], squared),
            "aacc": torch.einsum("p,phw->hw", amount.square(), squared),
            "ac": torch.einsum("p,phw->hw", amount, centred),
            "aa": squared.sum(0),
            "cd": amount @ difference,
            "cc": amount.square().sum(),
        }
        self.sums = {name: part + self.sums[name] if self.sums else part for name, part in parts.items()}
        self.count += len(masks)

    @property
    def due(self) -> bool:
        """Whether enough has come since the last time to look at the map again."""
        if self.count < self.next_look:
            return False
        self.next_look = int(self.count * _LOOKS)
        return True

    def slope(self) -> Tensor:
        """Change of the target as a pixel goes from hidden to shown, (k, h, w)."""
        uneven = self.sums["ac"] - self.sums["ac"].mean()
        return (self.sums["ad"] - self._by_amount() * uneven) / (2 * self._variance())

    def standard_error(self) -> Tensor:
        """√(Σ a²·(d − γc)²) / 2 Σ a², (k, h, w), with γ the slope of d on c."""
        slope = self._by_amount()
        left = self.sums["aadd"] - 2 * slope * self.sums["aadc"] + slope.square() * self.sums["aacc"]
        return left.clamp(min=0).sqrt() / (2 * self._variance())

    def reliable(self, level: float) -> bool:
        """Whether noise makes up at most 1 − ``level`` of the variance of each map that is not flat."""
        noise = self.standard_error().square().mean((1, 2))
        power = self.slope().var((1, 2))
        return bool((noise <= (1 - level) * power).all())

    def _by_amount(self) -> Tensor:
        return (self.sums["cd"] / self.sums["cc"].clamp(min=1e-12))[:, None, None]

    def _variance(self) -> Tensor:
        return self.sums["aa"].clamp(min=1e-6)


def _hiding(inputs: Tensor, baselines: Baseline) -> Iterator[Callable[[Tensor], Tensor]]:
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

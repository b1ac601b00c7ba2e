"""How well a heat map tells what the detector uses: insertion and deletion (Petsiuk et al., RISE, BMVC 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Faithfulness:
    """Insertion and deletion of k maps, in units of the target.

    Attributes:
        insertion: (k,) mean target while pixels appear on the baseline, most helpful first; higher is better.
        deletion: (k,) mean target while they vanish in the same order; lower is better.
    """

    insertion: Tensor
    deletion: Tensor

    @property
    def difference(self) -> Tensor:
        """Insertion − deletion, (k,): 0 for a map without knowledge, whatever the target's scale."""
        return self.insertion - self.deletion


def insertion_deletion(
    forward_func: Callable[[Tensor], Tensor],
    inputs: Tensor,
    maps: Tensor,
    baseline: Tensor,
    *,
    steps: int = 12,
    perturbations_per_eval: int = 8,
) -> Faithfulness:
    """Measure maps of the k objects that ``forward_func`` scores, each by its own order of pixels.

    Costs ``2 · (steps − 1) · k + 2`` forwards; the untouched photo and the bare baseline serve all maps. No gradients.

    Args:
        forward_func: (m, c, h, w) → (m, k).
        inputs: (1, c, h, w), the photo.
        maps: (k, h, w), higher = more helpful; ties keep the order of the pixels.
        baseline: (1, c, h, w), what hidden pixels show.
        steps: equal shares in which pixels are exchanged.
        perturbations_per_eval: changed copies a forward.

    Raises:
        ValueError: the maps do not fit the photo, or are not finite.
    """
    _check(inputs, maps)
    columns = torch.arange(len(maps), device=inputs.device)
    curves = _curves(forward_func, inputs, maps, baseline, steps, perturbations_per_eval)
    own = curves[:, :, columns, columns]
    return Faithfulness(*_areas(own))


def random_difference(
    forward_func: Callable[[Tensor], Tensor],
    inputs: Tensor,
    baseline: Tensor,
    *,
    repeats: int = 2,
    cells: int = 8,
    seed: int = 0,
    steps: int = 12,
    perturbations_per_eval: int = 8,
) -> Tensor:
    """Insertion − deletion of random maps for all k objects at once, (repeats, k).

    The random maps vary as smoothly as masks of ``cells`` cells do, since single random pixels would flatter any real
    map. Each is used with its negative too, which leaves what chance gives without its sign: for every random order,
    the better of the two. Costs ``2 · (steps − 1) · repeats + 2`` forwards.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, repeats, cells, cells, generator=generator).to(inputs.device)
    maps = torch.nn.functional.interpolate(noise, size=inputs.shape[-2:], mode="bicubic")[0]
    curves = _curves(forward_func, inputs, maps, baseline, steps, perturbations_per_eval)
    insertion, deletion = _areas(curves)
    # Inserting by the negative map is deleting by the map, read backwards: the difference changes its sign.
    return (insertion - deletion).abs()


def _curves(
    forward_func: Callable[[Tensor], Tensor], inputs: Tensor, maps: Tensor, baseline: Tensor, steps: int, batch: int
) -> Tensor:
    """Targets along insertion and deletion of r maps, (2, steps + 1, r, k); deletion runs from the whole photo."""
    count = len(maps)
    with torch.no_grad():
        ends = forward_func(torch.cat([baseline, inputs]))
        parts = [forward_func(torch.where(masks, inputs, baseline)) for masks in _shown(maps, steps, batch)]
    inside = torch.cat(parts) if parts else ends[:0]
    inside = inside.view(2, steps - 1, count, ends.shape[1])
    first = ends.view(2, 1, 1, -1).expand(-1, -1, count, -1)
    return torch.cat([first, inside, first.flip(0)], dim=1)


def _shown(maps: Tensor, steps: int, batch: int) -> Iterator[Tensor]:
    """Yield masks of the pixels on show, (≤ batch, 1, h, w): insertion by steps and maps, then deletion."""
    count, height, width = maps.shape
    pixels = height * width
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(pixels, device=maps.device).expand(count, -1))
    limits = torch.arange(1, steps, device=maps.device) * pixels / steps
    half = (steps - 1) * count
    for start in range(0, 2 * half, batch):
        chosen = torch.arange(start, min(start + batch, 2 * half), device=maps.device)
        step, index = (chosen % half).div(count, rounding_mode="floor"), chosen % count
        early = rank[index] < limits[step, None]
        yield (early ^ (chosen >= half)[:, None]).view(-1, 1, height, width)


def _areas(curves: Tensor) -> tuple[Tensor, Tensor]:
    """Area under insertion and deletion by the trapezoid rule on 0–1."""
    areas = torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1), dim=1)
    return areas[0], areas[1]


def _check(inputs: Tensor, maps: Tensor) -> None:
    if inputs.ndim != 4 or len(inputs) != 1:
        raise ValueError(f"expected one photo (1, channels, h, w), got {tuple(inputs.shape)}")
    if maps.ndim != 3 or maps.shape[1:] != inputs.shape[-2:]:
        raise ValueError(f"expected maps (k, {inputs.shape[-2]}, {inputs.shape[-1]}), got {tuple(maps.shape)}")
    if not bool(torch.isfinite(maps).all()):
        raise ValueError("expected finite maps, got NaN or infinity")

"""How well a heat map tells what the detector uses, and whether it lies where the object does.

Insertion and deletion: Petsiuk et al., "RISE", BMVC 2018. Infidelity: Yeh et al., "On the (in)fidelity and sensitivity
of explanations", NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from captum import metrics
from torch import Tensor

from xai.evidence.columns import each_column


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
    Maps compare where they are alike in smoothness: an order that jumps from pixel to pixel, such as that of integrated
    gradients, shows and hides texture that no region has, and is flattered.

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


def pointing_game(maps: Tensor, boxes: Tensor, *, tolerance: float = 0.0) -> Tensor:
    """Tell whether the highest pixel of each map lies in its object's box.

    Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016.

    Args:
        maps: (k, h, w), higher = more helpful.
        boxes: (k, 4) in pixels of the maps.
        tolerance: pixels by which the box is widened; 15 in the paper.

    Returns:
        (k,) 1 for a hit, 0 for none; where several pixels are equally high, the share of them that hits, so that a
        constant map gets what chance gives it.

    Raises:
        ValueError: shapes do not fit, or the maps are not finite.
    """
    widened = boxes + tolerance * boxes.new_tensor([-1, -1, 1, 1])
    inside = _inside(maps, widened)
    highest = maps == maps.amax((1, 2), keepdim=True)
    return (highest & inside).sum((1, 2)) / highest.sum((1, 2))


def energy_pointing_game(maps: Tensor, boxes: Tensor) -> Tensor:
    """Share of each map's helping mass that lies in its object's box, in 0–1 (Wang et al., "Score-CAM", CVPRW 2020).

    Compare it with the box's share of the photo, which a map without knowledge reaches.

    Args:
        maps: (k, h, w), signed; what suppresses is left out.
        boxes: (k, 4) in pixels of the maps; pixels count whose centre the box holds.

    Returns:
        (k,); 0 for a map without helping mass, which points nowhere.

    Raises:
        ValueError: shapes do not fit, or the maps are not finite.
    """
    inside = _inside(maps, boxes)
    helping = maps.clamp(min=0)
    total = helping.sum((1, 2))
    return torch.where(total > 0, (helping * inside).sum((1, 2)) / total.where(total > 0, 1.0), 0.0)


def _inside(maps: Tensor, boxes: Tensor) -> Tensor:
    """Mark the pixels of maps (k, h, w) whose centre lies in the map's box."""
    if maps.ndim != 3 or boxes.shape != (len(maps), 4):
        raise ValueError(f"expected maps (k, h, w) and boxes (k, 4), got {tuple(maps.shape)} and {tuple(boxes.shape)}")
    _check_finite(maps)
    x1, y1, x2, y2 = boxes.to(maps.device)[..., None].unbind(1)
    across = torch.arange(maps.shape[2], device=maps.device) + 0.5
    down = torch.arange(maps.shape[1], device=maps.device) + 0.5
    columns, rows = (across >= x1) & (across < x2), (down >= y1) & (down < y2)
    return rows[:, :, None] & columns[:, None, :]


def infidelity(
    forward_func: Callable[[Tensor], Tensor],
    inputs: Tensor,
    maps: Tensor,
    baseline: Tensor,
    *,
    n_samples: int = 32,
    perturbations_per_eval: int = 8,
    seed: int = 0,
    normalize: bool = True,
) -> Tensor:
    """Captum's ``infidelity``: mean squared error of the drop that a map foretells where a random square is hidden.

    The drop foretold is the map's sum over the square. 0 is perfect; the mean squared drop itself is what an empty map
    gets. Costs ``n_samples`` forwards and one a batch, whatever the number of objects.

    Args:
        forward_func: (m, c, h, w) → (m, k).
        inputs: (1, c, h, w), the photo.
        maps: (k, h, w).
        baseline: (1, c, h, w), what hidden pixels show.
        n_samples: squares; their sides are drawn from 1/8 to 1/2 of the longest side.
        perturbations_per_eval: changed copies a forward.
        seed: of the squares.
        normalize: scale each map by the factor that fits best, so that maps of any unit compare. The factor may be
            negative: a map and its negative are then the same.

    Returns:
        (k,), in squared units of the target.

    Raises:
        ValueError: the maps do not fit the photo, or are not finite.
    """
    _check(inputs, maps)

    def hide_squares(copies: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is hidden, 1 or 0, and the copies (m, c, h, w) with it hidden."""
        squares = _random_squares(len(copies), copies.shape[-2:]).to(copies.device)[:, None]
        return squares.to(copies).expand_as(copies), torch.where(squares, baseline, copies)

    columns = iter(maps)

    def measure(one_column: Callable[..., Tensor]) -> Tensor:
        # The map belongs to the pixel: divided among the channels, which are hidden together.
        spread = (next(columns) / inputs.shape[1]).expand_as(inputs)
        result: Tensor = metrics.infidelity(
            one_column,
            hide_squares,
            inputs,
            spread,
            n_perturb_samples=n_samples,
            max_examples_per_batch=min(perturbations_per_eval, n_samples),
            normalize=normalize,
        )
        return result[0].clamp(min=0)

    with torch.no_grad():
        found = each_column(measure, forward_func, range(len(maps)), seed=seed)
    return torch.stack(found) if found else maps.new_zeros(0)


def _random_squares(count: int, size: torch.Size) -> Tensor:
    """Draw squares that lie on the photo wholly or in part, (count, h, w), from the CPU's global random numbers."""
    side, *centres = torch.split(torch.rand(count, 3), 1, dim=1)
    reach = (max(size) * (0.125 + 0.375 * side)).clamp(min=1.0) / 2
    rows, columns = (
        (torch.arange(length) + 0.5 - centre * length).abs() <= reach
        for length, centre in zip(size, centres, strict=True)
    )
    return rows[:, :, None] & columns[:, None, :]


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
    _check_finite(maps)


def _check_finite(maps: Tensor) -> None:
    if not bool(torch.isfinite(maps).all()):
        raise ValueError("expected finite maps, got NaN or infinity")

"""Whether a heat map stays when nothing of note has changed, and changes when the model has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from captum import metrics
from scipy import stats
from torch import Tensor, nn

from xai.evidence.columns import each_column

Explain = Callable[[Tensor], Tensor]
"""Photos (m, c, h, w) → maps (m, k, h, w); with a fixed seed where random numbers are drawn."""


def sensitivity(
    explain: Explain, inputs: Tensor, *, radius: float = 0.02, n_samples: int = 10, seed: int = 0
) -> Tensor:
    """Captum's ``sensitivity_max``: the largest change of each map under noise that a person would not see.

    Yeh et al., "On the (in)fidelity and sensitivity of explanations", NeurIPS 2019. Costs ``n_samples`` + 1
    explanations, whatever the number of objects.

    Args:
        explain: what makes the maps.
        inputs: (1, c, h, w), the photo.
        radius: largest noise of a pixel, in units of the inputs.
        n_samples: noisy copies.
        seed: of the noise.

    Returns:
        (k,) relative to the norm of the map, from 0 = unchanged; absolute where the map is empty.

    Raises:
        ValueError: not one photo, or no finite maps (1, k, h, w).
    """
    maps = _explained(explain, inputs)

    def known(copies: Tensor) -> Tensor:
        return maps if copies is inputs else _explained(explain, copies)

    def measure(one_column: Callable[..., Tensor]) -> Tensor:
        def of_captum(copies: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
            # Captum hands over the photo itself as a tuple, noisy copies as a tensor, and wants the same back.
            return (one_column(*copies),) if isinstance(copies, tuple) else one_column(copies)

        result: Tensor = metrics.sensitivity_max(
            of_captum, inputs, perturb_radius=radius, n_perturb_samples=n_samples, max_examples_per_batch=1
        )
        return result[0]

    found = each_column(measure, known, range(maps.shape[1]), seed=seed)
    return torch.stack(found) if found else maps.new_zeros(0)


def randomised_correlation(explain: Explain, inputs: Tensor, model: nn.Module, *, seed: int = 0) -> Tensor:
    """Rank correlation of each map with that of the model with randomised weights.

    A method whose maps stay much alike shows edges of the photo and not what the model has learned (Adebayo et al.,
    "Sanity checks for saliency maps", NeurIPS 2018). Costs two explanations.

    Args:
        explain: what makes the maps, with ``model``.
        inputs: (1, c, h, w), the photo.
        model: the network, or the part of it to randomise; its weights are put back.
        seed: of the weights.

    Returns:
        (k,) Spearman's, in −1 to 1; 0 where one of the maps is flat and ranks nothing.

    Raises:
        ValueError: not one photo, no finite maps (1, k, h, w), or a model without weights.
    """
    before = _explained(explain, inputs)
    with randomised(model, seed=seed):
        after = _explained(explain, inputs)
    return rank_correlation(before[0], after[0])


@contextmanager
def randomised(model: nn.Module, *, seed: int = 0) -> Iterator[None]:
    """Shuffle the weights within each parameter, and put them back whatever was raised.

    Shuffled weights keep each layer's scale, so that activations neither die nor explode; buffers stay.
    """
    parameters = list(model.parameters())
    if not parameters:
        raise ValueError(f"expected a model with weights to randomise, got {type(model).__name__} without")
    generator = torch.Generator().manual_seed(seed)
    kept = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter, weights in zip(parameters, kept, strict=True):
                order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
                parameter.copy_(weights.flatten()[order].view_as(weights))
        yield
    finally:
        with torch.no_grad():
            for parameter, weights in zip(parameters, kept, strict=True):
                parameter.copy_(weights)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of maps (k, h, w), (k,); equal values share their mean rank, flat maps give 0."""
    ranks = [
        stats.rankdata(maps.detach().cpu().numpy().reshape(len(maps), -1), axis=1) if maps.numel() else np.zeros((0, 1))
        for maps in (first, second)
    ]
    one, other = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    scale = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    result = np.divide((one * other).sum(axis=1), scale, out=np.zeros(len(scale)), where=scale > 0)
    return torch.as_tensor(result, dtype=torch.float32)


def _explained(explain: Explain, inputs: Tensor) -> Tensor:
    if inputs.ndim != 4 or len(inputs) != 1:
        raise ValueError(f"expected one photo (1, channels, h, w), got {tuple(inputs.shape)}")
    maps = explain(inputs)
    if maps.ndim != 4 or len(maps) != 1 or not bool(torch.isfinite(maps).all()):
        raise ValueError(f"expected finite maps (1, k, h, w) from explain, got {tuple(maps.shape)}")
    return maps.detach()

"""Attribution by hiding parts of the photo: DRISE and Captum's own, for any detector that gives scores."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from captum._utils.models.model import Model
from captum.attr import FeatureAblation, KernelShap, Occlusion
from torch import Tensor

from xai.evidence.columns import each_column
from xai.evidence.drise import DRISE
from xai.evidence.masks import inpainted
from xai.evidence.method import Method, Request, attribution_method


@attribution_method
def drise(request: Request, *, n_masks: int = 400, stop_at: float | None = None, inpaint: bool = False) -> Tensor:
    """Randomised masking (``drise.DRISE``); ``inpaint`` fills what is hidden from what is not, instead of baselines."""
    result = DRISE(request.score).attribute(
        request.photos,
        baselines=inpainted if inpaint else request.hidden,
        target=request.only,
        n_masks=n_masks,
        stop_at=stop_at,
        perturbations_per_eval=request.batch,
        seed=request.seed,
        show_progress=request.show_progress,
    )
    return result if isinstance(result, Tensor) else result[0]


@attribution_method
def feature_ablation(request: Request, *, cells: int = 12) -> Tensor:
    """Captum's ``FeatureAblation``: hide square cells one at a time, ``cells`` along the longest side.

    Each pixel tells the change of the target as its cell is hidden. All objects from the same forwards.
    """
    maps = [
        FeatureAblation(request.score).attribute(
            photo,
            baselines=hidden,
            target=request.only,
            feature_mask=_grid(photo, cells),
            perturbations_per_eval=request.batch,
            show_progress=request.show_progress,
        )
        for photo, hidden in request.each()
    ]
    return torch.stack(maps)[:, :, 0]


@attribution_method
def occlusion(request: Request, *, cells: int = 8) -> Tensor:
    """Captum's ``Occlusion``: slide a square, ``cells`` of which fit the longest side, by halves of itself.

    Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. Each pixel tells the mean change
    of the target over the squares that hide it. All objects from the same forwards.
    """
    _check_cells(cells)
    height, width = request.photos.shape[-2:]
    side = max(1, round(max(height, width) / cells))
    window = (request.photos.shape[1], min(side, height), min(side, width))
    maps = [
        Occlusion(request.score).attribute(
            photo,
            sliding_window_shapes=window,
            strides=(window[0], max(1, window[1] // 2), max(1, window[2] // 2)),
            baselines=hidden,
            target=request.only,
            perturbations_per_eval=request.batch,
            show_progress=request.show_progress,
        )
        for photo, hidden in request.each()
    ]
    return torch.stack(maps)[:, :, 0]


@attribution_method
def kernel_shap(request: Request, *, cells: int = 8, n_samples: int = 200) -> Tensor:
    """Captum's ``KernelShap`` of square cells, ``cells`` along the longest side; all objects from the same forwards.

    Lundberg & Lee, "A unified approach to interpreting model predictions", NeurIPS 2017. Each pixel tells its cell's
    Shapley value; the values of the cells sum to the score's difference between photo and baseline.
    """
    grid = _grid(request.photos, cells)
    if int(grid.max()) == 0:
        # A cell alone is worth the whole difference, and Captum's sampling has no smaller coalition to draw.
        values = request.score(request.photos) - request.score(request.hidden)
        return values[:, list(request.columns), None, None]

    def explain(photo: Tensor, hidden: Tensor, forward: Callable[..., Tensor]) -> Tensor:
        method = KernelShap(forward)
        method.interpretable_model = _LeastSquares()
        result: Tensor = method.attribute(
            photo,
            baselines=hidden,
            feature_mask=grid,
            n_samples=n_samples,
            perturbations_per_eval=request.batch,
            show_progress=request.show_progress,
        )
        return result[0, 0]

    with torch.no_grad():
        maps = [
            torch.stack(
                each_column(
                    functools.partial(explain, photo, hidden), request.score, request.columns, seed=request.seed
                )
            )
            for photo, hidden in request.each()
        ]
    return torch.stack(maps)


class _LeastSquares(Model):  # type: ignore[misc]
    """Weighted linear regression with an intercept, where Captum's own asks for scikit-learn."""

    def fit(self, train_data: Any, **unused: object) -> None:
        """Fit the one batch of (coalitions, scores, weights) that Captum hands over."""
        ((shown, values, weights),) = train_data
        root = weights.double().sqrt()[:, None]
        design = torch.cat([shown, torch.ones_like(shown[:, :1])], dim=1).double() * root
        # gelsd gives the smallest solution where there are fewer samples than cells.
        solved = torch.linalg.lstsq(design.cpu(), (values.double()[:, None] * root).cpu(), driver="gelsd").solution
        self.coefficients: Tensor = solved[:-1, 0].to(shown)

    def representation(self) -> Tensor:
        """Return the cells' values."""
        return self.coefficients

    def __call__(self, x: Tensor) -> Tensor:
        """Predict scores (m,) of coalitions (m, cells), less the intercept."""
        predicted: Tensor = x @ self.coefficients
        return predicted


PERTURBATION_METHODS: Mapping[str, Method] = {
    "drise": drise,
    "feature_ablation": feature_ablation,
    "occlusion": occlusion,
    "kernel_shap": kernel_shap,
}
"""They ask for scores alone, so that any detector will do."""


def _grid(photos: Tensor, cells: int) -> Tensor:
    """Number square cells, ``cells`` along the longest side or one a pixel, (1, 1, h, w)."""
    _check_cells(cells)
    height, width = photos.shape[-2:]
    number = min(cells, max(height, width))
    down, across = (max(1, round(number * side / max(height, width))) for side in (height, width))
    rows, columns = (
        torch.arange(side, device=photos.device) * count // side for side, count in ((height, down), (width, across))
    )
    return (rows[:, None] * across + columns)[None, None]


def _check_cells(cells: int) -> None:
    if cells < 1:
        raise ValueError(f"expected cells of at least 1, got {cells}")

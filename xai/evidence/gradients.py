"""Captum's attribution methods, wired to a detector's score of objects: one dict, one call, signed maps.

>>> sorted(METHODS)
['drise', 'extremal', 'feature_ablation', 'grad_cam', 'integrated_gradients', 'kernel_shap', 'occlusion', 'odam']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from captum.attr import IntegratedGradients, LayerGradCam
from torch import Tensor

from xai.evidence.extremal import ExtremalPerturbation
from xai.evidence.feature_maps import ODAM, FeatureScore, spread
from xai.evidence.method import Method, Request, attribution_method
from xai.evidence.perturbations import PERTURBATION_METHODS
from xai.progress import tqdm


@attribution_method
def odam(request: Request, *, relu_attributions: bool = False) -> Tensor:
    """Gradient × activation of the feature maps (``feature_maps.ODAM``): one forward, one backward an object."""
    _need_gradient(request)
    layered = FeatureScore(request.score)
    method = ODAM(layered, layered.neck)
    return method.attribute(request.photos, request.only, relu_attributions=relu_attributions)


@attribution_method
def grad_cam(request: Request, *, relu_attributions: bool = False) -> Tensor:
    """Captum's ``LayerGradCam`` on every level of the feature maps, added; one forward and one backward an object.

    Selvaraju et al., "Grad-CAM", ICCV 2017. It averages the gradient over the photo, and so mixes objects of a class.
    """
    _need_gradient(request)
    layered = FeatureScore(request.score)
    method = LayerGradCam(layered, layered.neck)
    maps = []
    for column in request.columns:
        levels = method.attribute(request.photos, column, relu_attributions=relu_attributions)
        levels = [levels] if isinstance(levels, Tensor) else levels
        maps.append(torch.stack([spread(level[:, 0].detach(), request.photos.shape[-2:]) for level in levels]).sum(0))
    return torch.stack(maps, dim=1)


@attribution_method
def integrated_gradients(request: Request, *, n_steps: int = 24) -> Tensor:
    """Captum's ``IntegratedGradients``, summed over colours; all objects from the same ``n_steps`` forwards a photo.

    Sundararajan et al., "Axiomatic attribution for deep networks", ICML 2017. The map sums to the score's difference
    between photo and baseline, up to the error of the quadrature. It tells pixels, hardly regions: its insertion −
    deletion, higher than that of DRISE, falls far below it once the map is blurred by a hundredth of the photo (from
    0.58 to 0.13, DRISE 0.38; YOLO11n at 320 pixels, 6 found objects).
    """
    _need_gradient(request)
    method = IntegratedGradients(request.score)
    bar = tqdm(total=n_steps * len(request.photos), desc="IntegratedGradients", disable=not request.show_progress)

    def of_all_columns(
        forward_fn: Callable[[Tensor], Tensor], inputs: tuple[Tensor], **unused: object
    ) -> tuple[Tensor]:
        """Stand in for Captum's gradient of one column: (s, 3, h, w) → (s, k, 3, h, w)."""
        bar.update(len(inputs[0]))
        values = forward_fn(*inputs)
        if not values.requires_grad:
            if bool(values.any()):
                raise ValueError("expected scores with a gradient to the inputs, got none; use drise")
            return (inputs[0].new_zeros(len(values), len(request.columns), *inputs[0].shape[1:]),)
        slopes = [
            torch.autograd.grad(values[:, column].sum(), inputs, retain_graph=True)[0] for column in request.columns
        ]
        return (torch.stack(slopes, dim=1),)

    method.gradient_func = of_all_columns
    maps = [
        method.attribute(photo, hidden, n_steps=n_steps, internal_batch_size=request.batch).sum(2)
        for photo, hidden in request.each()
    ]
    bar.close()
    return torch.cat(maps)


@attribution_method
def extremal(request: Request, *, n_masks: int = 132) -> Tensor:
    """Regions that bring the object up fastest, by gradient (``extremal.ExtremalPerturbation``); masks an object."""
    _need_gradient(request)
    return ExtremalPerturbation(request.score).attribute(
        request.photos,
        baselines=request.hidden,
        target=request.only,
        n_masks=n_masks,
        perturbations_per_eval=request.batch,
        seed=request.seed,
        show_progress=request.show_progress,
    )


GRADIENT_METHODS: Mapping[str, Method] = {
    "extremal": extremal,
    "integrated_gradients": integrated_gradients,
    "odam": odam,
    "grad_cam": grad_cam,
}
"""They need a differentiable detector, ``odam`` and ``grad_cam`` also one that tells its feature maps."""

METHODS: Mapping[str, Method] = {**PERTURBATION_METHODS, **GRADIENT_METHODS}


def _need_gradient(request: Request) -> None:
    if not request.score.detector.differentiable:
        raise ValueError(
            f"expected a differentiable detector, got one that is not; use one of {', '.join(PERTURBATION_METHODS)}"
        )

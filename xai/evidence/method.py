"""What every attribution method here takes and gives, and that it leaves the detector as it was."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from xai.evidence.masks import blurred, mean_colour
from xai.evidence.targets import Score


class Method(Protocol):
    """One call for every method.

    Args:
        score: what is explained.
        inputs: (n, 3, h, w), prepared photos.
        baselines: what hidden pixels show, broadcastable to ``inputs``; None for the blurred inputs. Layer methods
            (``odam``, ``grad_cam``) have none.
        target: the object to explain; None for all k.
        perturbations_per_eval: inputs a forward.
        seed: of methods that draw random numbers.
        show_progress: draw a bar.
        options: of this method alone, told at its function.

    Returns:
        (n, k, h, w), with k = 1 where ``target`` is given: positive where the photo helps the object to be found,
        negative where it suppresses it. Finite; zero where nothing moves the target.

    Raises:
        ValueError: shapes or numbers do not fit, the score or its gradient is not finite, or the method needs
            gradients or feature maps that the detector does not give.
    """

    def __call__(
        self,
        score: Score,
        inputs: Tensor,
        *,
        baselines: Tensor | float | None = None,
        target: int | None = None,
        perturbations_per_eval: int = 8,
        seed: int = 0,
        show_progress: bool = False,
        **options: Any,
    ) -> Tensor:
        """Map the objects."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What a method needs to know, checked and made safe to work on.

    Attributes:
        score: what is explained.
        photos: (n, 3, h, w), free to be marked.
        hidden: (n, 3, h, w), what hidden pixels show.
        columns: the objects to explain.
        batch: photos a forward.
    """

    score: Score
    photos: Tensor
    hidden: Tensor
    columns: Sequence[int]
    batch: int
    seed: int
    show_progress: bool

    @property
    def only(self) -> int | None:
        """The column where there is one to explain; Captum's None stands for all of them."""
        return self.columns[0] if len(self.columns) == 1 else None

    def each(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield photos (1, 3, h, w) with what their hidden pixels show."""
        return zip(torch.split(self.photos, 1), torch.split(self.hidden, 1), strict=True)


BASELINES: Mapping[str, Callable[[Tensor], Tensor]] = {"blurred": blurred, "mean_colour": mean_colour}
"""What hidden pixels may show. Inpainting (``masks.inpainted``) is not among them but an option of ``drise``: it is
another photo for every mask, and to paint over the object's box alone would tell the methods where to look."""


@contextmanager
def restored(model: nn.Module | None) -> Iterator[None]:
    """Explain within: gradients are on and the model evaluates; afterwards all is as before, whatever was raised.

    Restores train mode, hooks, ``requires_grad`` and ``grad`` of the model, and the modes of the caller.
    """
    modules = [] if model is None else list(model.modules())
    parameters = [] if model is None else list(model.parameters())
    modes = [module.training for module in modules]
    hooks = [[dict(getattr(module, name)) for name in _HOOKS] for module in modules]
    flags = [(parameter.requires_grad, parameter.grad) for parameter in parameters]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            if model is not None:
                model.eval()
            yield
    finally:
        for module, training, before in zip(modules, modes, hooks, strict=True):
            module.training = training
            for name, kept in zip(_HOOKS, before, strict=True):
                registered = getattr(module, name)
                registered.clear()
                registered.update(kept)
        for parameter, (flag, gradient) in zip(parameters, flags, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = gradient


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def attribution_method(function: Callable[..., Tensor]) -> Method:
    """Check what goes into a method and what comes out of it, and leave the detector as it was."""

    @functools.wraps(function)
    def explain(
        score: Score,
        inputs: Tensor,
        *,
        baselines: Tensor | float | None = None,
        target: int | None = None,
        perturbations_per_eval: int = 8,
        seed: int = 0,
        show_progress: bool = False,
        **options: Any,
    ) -> Tensor:
        _check(inputs, len(score.labels), target, perturbations_per_eval)
        model = getattr(score.detector, "model", None)
        with restored(model if isinstance(model, nn.Module) else None):
            # Clones, since tensors that were made in inference mode can take no part in a backward.
            photos = inputs.detach().clone()
            hidden = blurred(photos) if baselines is None else _expanded(baselines, photos)
            own = dataclasses.replace(score, boxes=score.boxes.clone(), labels=score.labels.clone())
            columns = range(len(score.labels)) if target is None else [target % len(score.labels)]
            request = Request(own, photos, hidden, columns, perturbations_per_eval, seed, show_progress)
            shape = (len(photos), len(columns), *photos.shape[-2:])
            maps = function(request, **options).detach() if columns else photos.new_zeros(shape)
        if not bool(torch.isfinite(maps).all()):
            raise ValueError(
                f"expected a finite score with a finite gradient for {function.__name__}, got NaN or infinity; "
                "drise needs no gradient"
            )
        return maps.expand(shape)

    shared = [item for item in inspect.signature(Method.__call__).parameters.values() if item.name != "self"]
    options = [item for item in inspect.signature(function).parameters.values() if item.kind is item.KEYWORD_ONLY]
    # help() and editors then name the options instead of **options.
    explain.__signature__ = inspect.Signature([*shared[:-1], *options], return_annotation="Tensor")  # type: ignore[attr-defined]
    return explain


def _expanded(baselines: Tensor | float, photos: Tensor) -> Tensor:
    """Bring what hidden pixels show to the shape of the photos."""
    hidden = torch.as_tensor(baselines).clone().to(photos)
    fits = all(side in (1, whole) for side, whole in zip(reversed(hidden.shape), reversed(photos.shape), strict=False))
    if hidden.ndim > photos.ndim or not fits or not bool(torch.isfinite(hidden).all()):
        raise ValueError(f"expected finite baselines that fit {tuple(photos.shape)}, got {tuple(hidden.shape)}")
    return hidden.expand_as(photos)


def _check(inputs: Tensor, count: int, target: int | None, batch: int) -> None:
    if inputs.ndim != 4 or not inputs.numel() or not bool(torch.isfinite(inputs).all()):
        raise ValueError(f"expected finite inputs (n, 3, h, w), none of them 0; got {tuple(inputs.shape)}")
    if target is not None and not -count <= target < count:
        raise ValueError(f"expected a target below {count}, the objects of the score; got {target}")
    if batch < 1:
        raise ValueError(f"expected perturbations_per_eval of at least 1, got {batch}")

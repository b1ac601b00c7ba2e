"""Where in a detector's feature maps a score is made: gradient × activation, for all objects from one forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from captum.attr import LayerAttribution
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.nn import functional

from xai.evidence.targets import Score


class ODAM(LayerAttribution):  # type: ignore[misc]
    """Gradient × activation at every cell of a layer, summed over channels, in Captum's conventions.

    After ODAM (Zhao & Chan, "ODAM: Gradient-based instance-specific visual explanations for object detection", ICLR
    2023), but signed unless asked otherwise and without its smoothing of gradients. Unlike Grad-CAM, which averages
    gradients over the whole layer, it keeps apart objects of one class. Where a layer has several levels, such as a
    feature pyramid, they are added: a candidate's gradient reaches those levels that it was made from, and no other.

    Args:
        forward_func: inputs (n, channels, h, w) → (n, k), one column per object, or (n,).
        layer: a module that ``forward_func`` calls once and that returns a map (n, d, h', w') or a sequence of them
            (``FeatureScore.neck``), spread evenly over the input.
    """

    def __init__(self, forward_func: Callable[..., Tensor], layer: nn.Module) -> None:
        super().__init__(forward_func, layer)

    def attribute(
        self,
        inputs: Tensor,
        target: int | None = None,
        additional_forward_args: Any = None,
        *,
        relu_attributions: bool = False,
    ) -> Tensor:
        """Map inputs with one forward, and one backward from each column to the layer.

        Args:
            inputs: (n, channels, h, w).
            target: the column to explain; None for all k.
            additional_forward_args: handed on to ``forward_func`` after the inputs.
            relu_attributions: leave out what suppresses, as in the paper.

        Returns:
            (n, k, h, w), with k = 1 where ``target`` is given. Unit: change of the target per pixel; the map sums to
            about Σ gradient · activation, which is the target itself if it is linear in the layer.

        Raises:
            ValueError: the layer was not called, or the target does not depend on what it returned.
        """
        extra = additional_forward_args if isinstance(additional_forward_args, tuple) else (additional_forward_args,)
        with torch.enable_grad():
            values, levels = self._run(inputs.detach().clone().requires_grad_(), () if extra == (None,) else extra)
            columns = values.unbind(1) if target is None else [values[:, target]]
            maps = [self._map(column, levels, inputs.shape[-2:]) for column in columns]
        attributions = torch.stack(maps, dim=1) if maps else inputs.new_zeros(len(inputs), 0, *inputs.shape[-2:])
        return attributions.relu() if relu_attributions else attributions

    def _run(self, inputs: Tensor, extra: tuple[Any, ...]) -> tuple[Tensor, list[Tensor]]:
        """Return the target (n, k) and what the layer returned on the way."""
        returned: list[Tensor] = []

        def keep(module: nn.Module, given: Any, output: Tensor | Sequence[Tensor]) -> None:
            returned.extend([output] if isinstance(output, Tensor) else output)

        handle = self.layer.register_forward_hook(keep)
        try:
            values: Tensor = self.forward_func(inputs, *extra)
        finally:
            handle.remove()
        if not returned:
            raise ValueError("expected a layer that forward_func calls; it did not, or the detector tells no features")
        return (values[:, None] if values.ndim == 1 else values), returned

    def _map(self, column: Tensor, levels: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Gradient × activation of one column (n,), (n, h, w)."""
        if not column.requires_grad:
            raise ValueError("expected a target with a gradient to the layer, got a constant")
        gradients = torch.autograd.grad(column.sum(), levels, retain_graph=True, allow_unused=True)
        reached = [(level, slope) for level, slope in zip(levels, gradients, strict=True) if slope is not None]
        if not reached:
            raise ValueError("expected a target that depends on what the layer returns; no gradient reaches it")
        return torch.stack([spread((slope * level).sum(1).detach(), size) for level, slope in reached]).sum(0)


def spread(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resample maps (n, h', w') of cells to pixels (n, h, w); each cell's value is divided among its pixels."""
    pixels = functional.interpolate(maps[:, None].float(), size=tuple(size), mode="bilinear", align_corners=False)
    return pixels[:, 0] * (maps.shape[-2] * maps.shape[-1] / (size[0] * size[1]))


class FeatureScore(nn.Module):
    """A score as a function of the detector's feature maps, so that Captum's layer methods can be used on it.

    ``neck`` is the layer: it returns ``Candidates.features``. What lies between features and score counts as one step,
    whose backward runs through the detector. So the features may be copies of what the head reads, cut, cast or
    reshaped, as adapters give them.
    """

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score
        self.neck = _Neck()

    def forward(self, inputs: Tensor) -> Tensor:
        """Score inputs (n, 3, h, w) → (n, k); the graph of the result begins at the features.

        Raises:
            ValueError: the detector tells no features, or its scores are not made from them.
        """
        inputs = inputs if inputs.requires_grad else inputs.detach().requires_grad_()
        candidates = self.score.detector.forward(inputs)
        values = self.score.target(candidates, self.score.boxes, self.score.labels)
        if not candidates.features:
            raise ValueError("expected a detector that tells its feature maps, got candidates without; use DRISE")
        leaves = self.neck(tuple(level.detach().requires_grad_() for level in candidates.features))
        step = _Step(values, candidates.features, must_depend=candidates.scores.shape[1] > 0)
        result: Tensor = _FromFeatures.apply(step, *leaves)
        return result


class _Neck(nn.Module):
    """Returns what it is given; a place to hook."""

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return features


class _Step:
    """The graph from feature maps to values (n, k).

    Adapters often return a copy of what the head reads: cut down to the photo, cast to float32, reshaped from a
    sequence. No gradient flows into a copy, so it is taken where the copy was made and then copied likewise.
    """

    def __init__(self, values: Tensor, features: Sequence[Tensor], *, must_depend: bool) -> None:
        self.values = values
        self.features = features
        on_the_way = _nodes_behind(values)
        self.sources = [_source(level, on_the_way) for level in features]
        if must_depend and not any(self.sources):
            raise ValueError("expected scores with a gradient to the feature maps, got none; use DRISE")

    def pull(self, slope: Tensor) -> list[Tensor]:
        """Carry the gradient of the values (n, k) back to each feature map."""
        found: list[Tensor] = []
        for level, source in zip(self.features, self.sources, strict=True):
            if source is None:
                found.append(torch.zeros_like(level))
            else:
                (gradient,) = torch.autograd.grad(self.values, source, slope, retain_graph=True)
                found.append(_copied(gradient, level, source))
        return found


class _FromFeatures(torch.autograd.Function):
    """Values as a function of features in a single step of the graph."""

    @staticmethod
    def forward(ctx: Any, step: _Step, *features: Tensor) -> Tensor:
        ctx.step = step
        return step.values.detach().clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.step.pull(slope)


_COPIES = {
    f"{name}Backward0"
    for name in ("Alias", "Clone", "Permute", "ReshapeAlias", "Slice", "Split", "SplitWithSizes", "Squeeze")
} | {f"{name}Backward0" for name in ("ToCopy", "Transpose", "UnsafeView", "Unsqueeze", "View")}
"""Steps that put values elsewhere or cast them, and change none."""


def _nodes_behind(values: Tensor) -> set[Node]:
    found: set[Node] = set()
    waiting = [values.grad_fn] if values.grad_fn is not None else []
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(parent for parent, _ in node.next_functions if parent is not None)
    return found


def _source(feature: Tensor, on_the_way: set[Node]) -> GradientEdge | None:
    """Follow a feature map back to the tensor that it is a copy of and that the values were made from."""
    if not feature.requires_grad:
        return None
    edge = get_gradient_edge(feature)
    while edge.node not in on_the_way:
        parents = [GradientEdge(node, output) for node, output in edge.node.next_functions if node is not None]
        if edge.node.name() not in _COPIES or len(parents) != 1:
            return None
        (edge,) = parents
    return edge


def _copied(gradient: Tensor, feature: Tensor, source: GradientEdge) -> Tensor:
    """Copy a gradient at the source as the feature map was copied from the values there.

    The copy is linear, so its backward is its transpose, and the backward of that is the copy itself.
    """
    if source.node is feature.grad_fn:
        return gradient
    with torch.enable_grad():
        probe = torch.zeros_like(feature, requires_grad=True)
        (transposed,) = torch.autograd.grad(feature, source, probe, retain_graph=True, create_graph=True)
    (result,) = torch.autograd.grad(transposed, probe, gradient)
    return result

"""Detectors whose every attribution is known: scores linear in the pixels or in the feature maps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from toy_detector import ToyDetector

from xai.types import Candidates, Detections, ModelCard, Pixels, Prepared


class LinearDetector:
    """One candidate that covers the object; class j scores Σ weights[j] · input."""

    names = ("first", "second")
    card = ModelCard("linear")
    score_threshold = 0.5
    sees_candidates = True
    differentiable = True

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self.forwards = 0
        self.model: torch.nn.Module | None = None
        self.during_forward: Callable[[], None] = lambda: None

    def prepare(self, photos: Sequence[Pixels]) -> list[Prepared]:
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Candidates:
        self.forwards += len(inputs)
        self.during_forward()
        height, width = inputs.shape[-2:]
        box = inputs.new_tensor([0.0, 0, width, height]).expand(len(inputs), 1, 4)
        return Candidates(box, torch.einsum("nchw,jchw->nj", inputs, self.weights)[:, None])

    def select(self, candidates: Candidates, prepared: Prepared) -> list[Detections]:
        raise NotImplementedError

    def whole_photo(self, *labels: int) -> tuple[Tensor, Tensor]:
        """Boxes and labels of objects as large as the photo."""
        height, width = self.weights.shape[-2:]
        return torch.tensor([[0.0, 0, width, height]] * len(labels)), torch.tensor(labels)


class FeatureDetector(ToyDetector):
    """The toy with a feature map: the photo's means over 4×4 pixels, from which its scores are made.

    Args:
        copies: return a copy of the map, cut to its first 12 rows and made by way of a sequence, as adapters do.
    """

    sees_candidates = True
    differentiable = True

    def __init__(self, *, copies: bool = False) -> None:
        super().__init__()
        self.copies = copies
        self.cells = self.kernel[..., ::4, ::4] * 16

    def forward(self, inputs: Tensor) -> Candidates:
        self.forwards += len(inputs)
        features = torch.nn.functional.avg_pool2d(inputs, 4)
        scores = torch.nn.functional.conv2d(features, self.cells).flatten(2).transpose(1, 2)
        boxes = self.anchors.expand(len(inputs), -1, -1)
        if self.copies:
            features = features.double().flatten(2).transpose(1, 2).transpose(1, 2).unflatten(2, (16, 16))  # type: ignore[no-untyped-call]
            features = features[:, :, :12].float()
        return Candidates(boxes, scores, (features,))

"""A detector in closed form: candidates on a fixed lattice, scores linear in the pixels.

Class ``red`` looks for squares whose upper half is red and lower half is green, class ``blue`` for plain blue ones,
both of one size only. So it misses what lies upside down, what is small, what is dark, and why is known exactly.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from xai.types import Candidates, Detections, ModelCard, Pixels, Prepared

SIDE = 64
ANCHOR = 16
STEP = 4


class ToyDetector:
    """Follows the protocol ``xai.types.Detector``; counts the photos that go through ``forward``."""

    names = ("red", "blue")
    card = ModelCard("toy")
    score_threshold = 0.5

    def __init__(self, *, per_class_boxes: bool = False) -> None:
        corners = torch.arange(0, SIDE - ANCHOR + 1, STEP, dtype=torch.float32)
        y, x = torch.meshgrid(corners, corners, indexing="ij")
        self.anchors = torch.stack([x, y, x + ANCHOR, y + ANCHOR], -1).reshape(-1, 4)
        self.kernel = _kernel()
        self.per_class_boxes = per_class_boxes
        self.forwards = 0
        self.fails = False

    def prepare(self, photos: Sequence[Pixels]) -> list[Prepared]:
        if not photos:
            return []
        inputs, scales, offsets = zip(*(letterbox(photo) for photo in photos), strict=True)
        sizes = np.array([(photo.shape[1], photo.shape[0]) for photo in photos])
        stacked = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2) / 255
        return [Prepared(tuple(range(len(photos))), stacked, np.array(scales), np.array(offsets), sizes)]

    def forward(self, inputs: Tensor) -> Candidates:
        if self.fails:
            raise RuntimeError("the forward fails")
        self.forwards += len(inputs)
        scores = torch.nn.functional.conv2d(inputs, self.kernel, stride=STEP).flatten(2).transpose(1, 2)
        boxes = self.anchors.expand(len(inputs), -1, -1)
        if self.per_class_boxes:
            boxes = boxes[:, :, None].expand(-1, -1, len(self.names), -1)
        return Candidates(boxes, scores)

    def select(self, candidates: Candidates, prepared: Prepared) -> list[Detections]:
        results = []
        for row, scores in enumerate(candidates.scores.numpy()):
            anchor, label = np.nonzero(scores >= self.score_threshold)
            order = np.argsort(-scores[anchor, label], kind="stable")[:1]
            boxes = self.anchors.numpy()[anchor[order]].astype(np.float64).reshape(-1, 2, 2)
            boxes = ((boxes - prepared.offset[row]) / prepared.scale[row]).reshape(-1, 4)
            results.append(Detections(boxes, scores[anchor, label][order].astype(np.float64), label[order]))
        return results


def _kernel() -> Tensor:
    """(2, 3, ANCHOR, ANCHOR) weights of the two classes within an anchor."""
    weights = torch.zeros(2, 3, ANCHOR, ANCHOR)
    half = ANCHOR // 2
    share = 1 / (ANCHOR * ANCHOR)
    weights[0, 0, :half] = weights[0, 1, half:] = share
    # Green above and red below count against it, so that an object upside down scores below zero.
    weights[0, 1, :half] = weights[0, 0, half:] = -share
    weights[1, 2] = share
    return weights


def full_weights(anchor: Tensor, label: int) -> Tensor:
    """(3, SIDE, SIDE) weights of one anchor and class: the gradient of its score."""
    weights = torch.zeros(3, SIDE, SIDE)
    x, y = int(anchor[0]), int(anchor[1])
    weights[:, y : y + ANCHOR, x : x + ANCHOR] = _kernel()[label]
    return weights


def letterbox(photo: Pixels) -> tuple[Pixels, tuple[float, float], tuple[float, float]]:
    """Resize a photo to ``SIDE`` on a grey canvas."""
    height, width = photo.shape[:2]
    factor = SIDE / max(height, width)
    new = (max(1, round(width * factor)), max(1, round(height * factor)))
    resized = cv2.resize(photo, new, interpolation=cv2.INTER_AREA)
    canvas = np.full((SIDE, SIDE, 3), 114, dtype=np.uint8)
    x, y = (SIDE - new[0]) // 2, (SIDE - new[1]) // 2
    canvas[y : y + new[1], x : x + new[0]] = resized
    return canvas, (new[0] / width, new[1] / height), (float(x), float(y))


def photo_with(box: tuple[int, int, int, int], *, size: tuple[int, int] = (128, 96), light: float = 1.0) -> Pixels:
    """Draw a red-over-green object on a grey photo of width × height."""
    pixels = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
    x1, y1, x2, y2 = box
    middle = (y1 + y2) // 2
    pixels[y1:middle, x1:x2] = (255, 0, 0)
    pixels[middle:y2, x1:x2] = (0, 255, 0)
    return np.rint(pixels * light).astype(np.uint8)

"""torchvision's detection architectures, and our own small FCOS of the same build."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList

from xai.detect import checkpoints, digest, fitting
from xai.detect.fcos import fcos_small
from xai.detect.heads import FAMILIES
from xai.detect.precision import Precision, autocast
from xai.exceptions import DetectorError
from xai.types import Candidates, Detections, ModelCard, Pixels, Prepared

if TYPE_CHECKING:
    from xai.config import DetectorConfig

ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": detection.fasterrcnn_mobilenet_v3_large_320_fpn,
    "fasterrcnn_mobilenet_v3_large_fpn": detection.fasterrcnn_mobilenet_v3_large_fpn,
    "fasterrcnn_resnet50_fpn": detection.fasterrcnn_resnet50_fpn,
    "fasterrcnn_resnet50_fpn_v2": detection.fasterrcnn_resnet50_fpn_v2,
    "fcos_resnet50_fpn": detection.fcos_resnet50_fpn,
    "fcos_small": fcos_small,
    "retinanet_resnet50_fpn": detection.retinanet_resnet50_fpn,
    "retinanet_resnet50_fpn_v2": detection.retinanet_resnet50_fpn_v2,
    "ssd300_vgg16": detection.ssd300_vgg16,
    "ssdlite320_mobilenet_v3_large": detection.ssdlite320_mobilenet_v3_large,
}

_BACKGROUND = {"__background__", "background"}

_LONG_TO_SHORT = 1333 / 800
"""torchvision's own limit on the longer side, relative to the shorter."""


def load(config: DetectorConfig, device: str) -> Torchvision:
    """Open a checkpoint: the dictionary described at ``fcos_small``, or weights alone with names in the config.

    Weights alone are a state dict, or a dictionary that holds one as ``state_dict`` or ``model``. ``names`` are the
    classes without background (a first name ``__background__`` is dropped). ``image_size`` is the shorter side in
    pixels; where the config doesn't give it, ``min_size`` and ``max_size`` of the checkpoint's ``arguments`` or the
    architecture's own apply.

    Raises:
        DetectorError: the checkpoint is refused, unreadable, of another architecture, or doesn't tell enough.
    """
    path = Path(str(config.weights))
    checkpoint = checkpoints.read(path, allow=_ALLOWED.get, trust=config.trust_checkpoint)
    weights = _weights(checkpoint, path)
    told = checkpoint if weights is not checkpoint else {}
    architecture = str(config.architecture or told.get("architecture"))
    if architecture not in ARCHITECTURES:
        raise DetectorError(
            f"detector.architecture: expected one of {', '.join(ARCHITECTURES)}; got {architecture} for {path}"
        )
    names = config.names or _names(told.get("names"))
    names = names[1:] if names and names[0] in _BACKGROUND else names
    if not names:
        raise DetectorError(f"detector.names: expected the class names, {path} does not tell them")
    model = _build(config, architecture, names, weights, told.get("arguments"), path)
    return Torchvision(
        names=names,
        card=_card(config, path, architecture, told),
        score_threshold=config.score_threshold,
        device=torch.device(device),
        model=model.eval().requires_grad_(False).to(device),
        precision=config.precision,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Torchvision:
    """A torchvision detector behind the protocol of ``xai.types.Detector``.

    Inputs are resized but not padded: ``forward`` pads, since torchvision clips boxes to the photo within the fitting.
    Features are the maps of the pyramid, of an SSD those of its feature extractor.
    """

    names: tuple[str, ...]
    card: ModelCard
    score_threshold: float
    device: torch.device
    model: Any
    precision: Precision = "auto"
    sees_candidates: bool = True
    differentiable: bool = True
    _levels: dict[tuple[int, int], Sequence[int]] = field(default_factory=dict, repr=False)

    def prepare(self, photos: Sequence[Pixels]) -> list[Prepared]:
        """Resize photos as the model's own transform does, grouped by the size that they get."""
        transform = self.model.transform
        resized = []
        for photo in photos:
            pixels = torch.from_numpy(photo).to(self.device).permute(2, 0, 1).float().div_(255)
            pixels = pixels if transform.fixed_size else fitting.thicken(pixels, transform.max_size)
            resized.append(transform.resize(pixels)[0].clamp_(0, 1))  # interpolating floats may overshoot by an ulp
        return fitting.group(resized, photos)

    def forward(self, inputs: Tensor) -> Candidates:
        """Every location, anchor or proposal with its class scores; a box per class for Faster R-CNN."""
        height, width = inputs.shape[-2:]
        step = self.model.transform.size_divisible
        padded = fitting.pad(self.model.transform.normalize(inputs), height + -height % step, width + -width % step)
        images = ImageList(padded, [(height, width)] * len(inputs))
        family = FAMILIES[type(self.model).__name__]
        with autocast(self.device, self.precision):
            features = self.model.backbone(padded)
            boxes, scores, levels = family.candidates(self.model, images, features)
        self._levels[height, width] = levels
        surplus = scores.shape[-1] - len(self.names)
        return Candidates(
            boxes=boxes if boxes.ndim == 3 else boxes[:, :, surplus:],
            scores=scores[..., surplus:],
            features=fitting.crop(features.values(), padded, inputs),
            proposals=family.two_stage,
        )

    @torch.no_grad()
    def select(self, candidates: Candidates, prepared: Prepared) -> list[Detections]:
        """Repeat the architecture's own post-processing."""
        height, width = prepared.inputs.shape[-2:]
        family = FAMILIES[type(self.model).__name__]
        options = family.options(self.model)
        levels = self._levels[height, width]
        found = []
        for index, scale in enumerate(prepared.scale):
            boxes, scores, labels = family.choose(candidates.boxes[index], candidates.scores[index], levels, options)
            found.append(
                Detections(
                    boxes=boxes.double().cpu().numpy() / np.tile(scale, 2),
                    scores=scores.double().cpu().numpy(),
                    labels=labels.cpu().numpy(),
                )
            )
        return found


_ALLOWED: Mapping[str, type] = {"argparse.Namespace": argparse.Namespace}
"""The reference training script keeps its arguments beside the weights."""


def _weights(checkpoint: Any, path: Path) -> Mapping[str, Tensor]:
    """Find the state dict in a checkpoint."""
    held = checkpoint
    if isinstance(checkpoint, dict):
        held = next((checkpoint[key] for key in ("state_dict", "model") if key in checkpoint), checkpoint)
    if isinstance(held, nn.Module):
        held = held.state_dict()
    if (
        not isinstance(held, Mapping)
        or not held
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in held.items())
    ):
        raise DetectorError(
            f"{path}: expected a state dict, or a dictionary that holds one as 'state_dict' or 'model'; "
            f"got {type(held).__name__}"
        )
    return held


def _names(told: Any) -> tuple[str, ...]:
    """Return what a checkpoint tells of its classes; nothing where these are no names."""
    return tuple(told) if isinstance(told, list | tuple) and all(isinstance(name, str) for name in told) else ()


def _build(
    config: DetectorConfig,
    architecture: str,
    names: Sequence[str],
    weights: Mapping[str, Tensor],
    arguments: Any,
    path: Path,
) -> Any:
    """Build the architecture for these classes, fill in the weights and set the deployed thresholds."""
    options: dict[str, Any] = {} if architecture == "fcos_small" else {"weights": None, "weights_backbone": None}
    told = arguments if isinstance(arguments, Mapping) else {}
    sizes = {key: int(told[key]) for key in ("min_size", "max_size") if isinstance(told.get(key), int | float)}
    if "image_size" in config.model_fields_set:
        sizes = {"min_size": config.image_size, "max_size": round(config.image_size * _LONG_TO_SHORT)}
    if architecture.startswith("ssd") and sizes:
        raise DetectorError(f"detector.image_size: {architecture} has an input size of its own; leave the key out")
    count = len(names) + _has_background(architecture, len(names), weights, path)
    model: Any = ARCHITECTURES[architecture](num_classes=count, **options, **sizes)
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise DetectorError(f"{path}: expected weights of {architecture} for {len(names)} classes; {reason}") from error
    thresholds = FAMILIES[type(model).__name__].options(model)
    thresholds.score_thresh = config.score_threshold
    thresholds.nms_thresh = config.nms_iou
    thresholds.detections_per_img = config.max_detections
    return model


def _has_background(architecture: str, count: int, weights: Mapping[str, Tensor], path: Path) -> bool:
    """Whether the first class column is background: always of softmax heads, by their size of sigmoid heads.

    A sigmoid head needs none, but torchvision's own weights have one that nothing was ever assigned to.
    """
    columns = weights.get("head.classification_head.cls_logits.weight")
    if columns is None or architecture.startswith(("fasterrcnn", "ssd")):
        return True
    held = len(columns) // (9 if architecture.startswith("retinanet") else 1)
    if held not in (count, count + 1):
        raise DetectorError(f"detector.names: expected {held} class names for {path}, got {count}")
    return held == count + 1


def _card(config: DetectorConfig, path: Path, architecture: str, told: Mapping[str, Any]) -> ModelCard:
    details = {key: told[key] for key in ("arguments", "epoch", "version") if told.get(key) is not None}
    return ModelCard(
        kind=config.kind,
        file=str(config.weights),
        sha256=digest.sha256(path),
        architecture=architecture,
        trained_at=str(told["trained_at"]) if told.get("trained_at") else None,
        details=details,
    )

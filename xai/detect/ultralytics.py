"""YOLO (v8, v10, v11, 26) and RT-DETR detectors of the ultralytics package (AGPL-3.0, the extra ``yolo``).

The model runs outside of ``YOLO.predict``, because that runs in inference mode and forgets what it did not select, but
the package's own predictor deploys it (which head it uses, what it fuses), with the package's own letterbox and box
scaling, so that ``select`` gives what ``predict`` gives.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from xai.config import DetectorConfig
from xai.detect import checkpoints, digest
from xai.detect.precision import Precision, autocast
from xai.detect.ultralytics_heads import FAMILIES, Limits, family_of, run
from xai.exceptions import DetectorError
from xai.types import Candidates, Detections, ModelCard, Pixels, Prepared


def load(config: DetectorConfig, device: str) -> Ultralytics:
    """Open a detection checkpoint of YOLO or RT-DETR.

    Where the config doesn't give ``image_size``, it is the one of the training, as in ``predict``.

    Raises:
        DetectorError: ultralytics is not installed, the checkpoint is refused, unreadable or not a detector.
    """
    framework = _import_framework()
    path = Path(str(config.weights))
    checkpoint = checkpoints.read(path, allow=_allowed, trust=config.trust_checkpoint)
    model = _detection_model(checkpoint, path)
    names = config.names or _names(getattr(model, "names", None), path)
    count = model.model[-1].nc
    if len(names) != count:
        raise DetectorError(f"detector.names: expected {count} class names for {path}, got {len(names)}")
    model.names = dict(enumerate(names))  # the package's predictor fails on others
    card = _card(config, path, checkpoint, model)
    model, stride, stretches = _deploy(model, framework, device, config.end_to_end)
    image_size = config.image_size
    trained_size = card.details.get("arguments", {}).get("imgsz")
    if "image_size" not in config.model_fields_set and isinstance(trained_size, int) and trained_size >= stride:
        image_size = trained_size
    return Ultralytics(
        names=names,
        card=card,
        limits=Limits(config.score_threshold, config.nms_iou, config.max_detections),
        image_size=math.ceil(image_size / stride) * stride,
        stride=stride,
        stretches=stretches,
        precision=config.precision,
        device=torch.device(device),
        model=model,
        family=family_of(model.model[-1]),
        framework=framework,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Ultralytics:
    """A detector of ultralytics behind the protocol of ``xai.types.Detector``.

    Attributes:
        stretches: photos are stretched to a square (RT-DETR) rather than padded to whole strides.
        family: the way from the head to detections, in ``ultralytics_heads.FAMILIES``.
    """

    names: tuple[str, ...]
    card: ModelCard
    limits: Limits
    image_size: int
    stride: int
    stretches: bool
    precision: Precision
    device: torch.device
    model: Any
    family: str
    framework: SimpleNamespace
    sees_candidates: bool = True
    differentiable: bool = True

    @property
    def score_threshold(self) -> float:
        """The deployed threshold."""
        return self.limits.score

    def prepare(self, photos: Sequence[Pixels]) -> list[Prepared]:
        """Fit photos into the smallest rectangle of whole strides, or a square, as ``predict`` does photo by photo."""
        fit = self.framework.letterbox(
            self.image_size, auto=not self.stretches, scale_fill=self.stretches, stride=self.stride
        )
        groups: dict[tuple[int, int], list[int]] = {}
        fitted: list[Pixels] = []
        for index, photo in enumerate(photos):
            fitted.append(fit(image=photo))
            groups.setdefault(fitted[-1].shape[:2], []).append(index)
        return [self._group(photos, fitted, indices) for indices in groups.values()]

    def _group(self, photos: Sequence[Pixels], fitted: Sequence[Pixels], indices: Sequence[int]) -> Prepared:
        sizes = np.array([photos[index].shape[1::-1] for index in indices], dtype=np.int64)
        shape = np.array(fitted[indices[0]].shape[1::-1], dtype=np.int64)
        ratio = (self.image_size / sizes).min(axis=1, keepdims=True)
        resized = np.broadcast_to(shape, sizes.shape) if self.stretches else np.maximum(np.round(sizes * ratio), 1.0)
        pixels = torch.from_numpy(np.stack([fitted[index] for index in indices])).to(self.device)
        return Prepared(
            indices=tuple(indices),
            inputs=pixels.permute(0, 3, 1, 2).contiguous().float().div_(255),
            scale=resized / sizes,
            offset=np.maximum(np.round((shape - resized) / 2 - 0.1), 0.0),
            sizes=sizes,
        )

    def forward(self, inputs: Tensor) -> Candidates:
        """One box and sigmoid class scores per anchor point or query, with the maps that entered the head."""
        head = self.model.model[-1]
        with autocast(self.device, self.precision):
            output, features = run(self.model, head, inputs)
        height, width = inputs.shape[-2:]
        boxes, scores = FAMILIES[self.family].decode(head, output, (height, width))
        return Candidates(boxes, scores, features)

    @torch.no_grad()
    def select(self, candidates: Candidates, prepared: Prepared) -> list[Detections]:
        """Repeat the package's own selection."""
        found = []
        for index, scale in enumerate(prepared.scale):
            boxes, scores, labels = FAMILIES[self.family].choose(
                self.model.model[-1], candidates.boxes[index], candidates.scores[index], self.limits
            )
            photo = prepared.sizes[index, ::-1].tolist()
            if self.stretches:
                corners = boxes.double().cpu().numpy() / np.tile(scale, 2)
            else:
                corners = self.framework.scale_boxes(prepared.inputs.shape[-2:], boxes, photo).double().cpu().numpy()
            found.append(Detections(corners, scores.double().cpu().numpy(), labels.cpu().numpy()))
        return found


def _import_framework() -> SimpleNamespace:
    """Import what is needed of ultralytics without letting it download, install or change OpenCV's threads."""
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    threads = cv2.getNumThreads()
    try:
        augment = importlib.import_module("ultralytics.data.augment")
        operations: ModuleType = importlib.import_module("ultralytics.utils.ops")
        predictors = [
            importlib.import_module(f"ultralytics.models.{family}.predict") for family in ("yolo.detect", "rtdetr")
        ]
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ultralytics":
            raise
        raise DetectorError(
            "detector.kind ultralytics needs the ultralytics package, which is licensed AGPL-3.0: "
            "pip install 'xai-toolkit[yolo]'"
        ) from error
    finally:
        cv2.setNumThreads(threads)
    return SimpleNamespace(
        letterbox=augment.LetterBox,
        scale_boxes=operations.scale_boxes,
        yolo=predictors[0].DetectionPredictor,
        rtdetr=predictors[1].RTDETRPredictor,
    )


def _allowed(name: str) -> type | None:
    """Layers of torch and ultralytics, and what a training checkpoint keeps beside them."""
    module, _, attribute = name.rpartition(".")
    layers = module.startswith(("torch.nn.modules.", "ultralytics.nn.modules."))
    if not layers and module not in _MODELS and module not in _LOSSES and name != _ARGUMENTS:
        return None
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError:
        return None
    if not isinstance(found, type) or found.__module__ != module:
        return None
    return found if issubclass(found, nn.Module) or module in _LOSSES or name == _ARGUMENTS else None


_MODELS = ("ultralytics.nn.tasks",)
_LOSSES = (
    "ultralytics.utils.loss",
    "ultralytics.utils.tal",
    "ultralytics.models.utils.loss",
    "ultralytics.models.utils.ops",
)
"""Before version 8.4.95 the package saved the loss of the training with the model."""

_ARGUMENTS = "ultralytics.utils.IterableSimpleNamespace"


def _detection_model(checkpoint: Any, path: Path) -> Any:
    """Pick the model that ``predict`` would use and check that it is one that this adapter understands."""
    tasks = importlib.import_module("ultralytics.nn.tasks")
    heads = importlib.import_module("ultralytics.nn.modules.head")
    model = (checkpoint.get("ema") or checkpoint.get("model")) if isinstance(checkpoint, dict) else checkpoint
    head = list(model.model.children())[-1] if isinstance(model, tasks.DetectionModel) else model
    if type(head) not in (heads.Detect, heads.v10Detect, heads.RTDETRDecoder):
        raise DetectorError(
            f"{path}: expected a YOLO or RT-DETR checkpoint of the task detect, got {type(head).__name__}"
        )
    return model


def _names(classes: Any, path: Path) -> tuple[str, ...]:
    """Return class names in the order of their indices."""
    if isinstance(classes, list | tuple):
        return tuple(map(str, classes))
    if not isinstance(classes, dict) or not all(isinstance(index, int) for index in classes):
        raise DetectorError(
            f"{path}: expected the checkpoint to name its classes by their indices; give detector.names in the config"
        )
    return tuple(str(classes[index]) for index in sorted(classes))


def _deploy(model: Any, framework: SimpleNamespace, device: str, end_to_end: bool) -> tuple[Any, int, bool]:
    """Let the package's predictor bring the model into the state in which it runs, then let gradients pass.

    Returns:
        The model, its greatest stride in pixels, and whether photos are stretched to a square.
    """
    model.criterion = None
    for module in model.modules():
        if isinstance(module, nn.Upsample) and not hasattr(module, "recompute_scale_factor"):
            module.recompute_scale_factor = None  # absent from checkpoints of early torch
    predictor_of = framework.rtdetr if type(model.model[-1]).__name__ == "RTDETRDecoder" else framework.yolo
    told = {"device": device, "mode": "predict", "save": False, "verbose": False}
    predictor = predictor_of(overrides={**told, "nms": False} if end_to_end else told)
    predictor.setup_model(model.float(), verbose=False)
    deployed = predictor.model.model.eval().requires_grad_(False)
    head = deployed.model[-1]
    # The head caches its anchor points from the first photo; made in inference mode, they could never take part in a
    # backward. Made anew at each call, they cost microseconds and follow the mode of the call.
    head.dynamic = True
    head.xyxy = True
    return deployed, int(predictor.model.stride), predictor_of is framework.rtdetr


def _card(config: DetectorConfig, path: Path, checkpoint: Any, model: Any) -> ModelCard:
    told = checkpoint if isinstance(checkpoint, dict) else {}
    arguments = told.get("train_args")
    arguments = arguments if isinstance(arguments, dict) else {}
    details = {key: told[key] for key in ("version", "license", "epoch", "best_fitness") if told.get(key) is not None}
    plain = {key: value for key, value in arguments.items() if isinstance(value, str | int | float | bool)}
    architecture = (getattr(model, "yaml", None) or {}).get("yaml_file") or plain.get("model")
    return ModelCard(
        kind=config.kind,
        file=str(config.weights),
        sha256=digest.sha256(path),
        architecture=str(architecture) if architecture else None,
        trained_at=str(told["date"]) if told.get("date") else None,
        details={**details, **({"arguments": plain} if plain else {})},
    )

"""YOLO v8 and v11 detectors of the ultralytics package (AGPL-3.0, the extra ``yolo``).

The model runs outside of ``YOLO.predict``, because that runs in inference mode and freezes what it touches, but with
the package's own letterbox, fusion and box scaling, so that ``select`` gives what ``predict`` gives.
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
import torchvision
from torch import Tensor, nn

from xai.config import DetectorConfig
from xai.detect import checkpoints, digest
from xai.exceptions import DetectorError
from xai.types import Candidates, Detections, ModelCard, Pixels, Prepared

_CLASS_OFFSET = 7680.0
"""``max_wh`` of the package's non-maximum suppression: shifts classes apart so that they don't suppress each other."""

_NMS_LIMIT = 30_000
"""``max_nms`` of the same: boxes that enter the suppression."""


def load(config: DetectorConfig, device: str) -> Yolo:
    """Open a detection checkpoint of YOLO v8 or v11.

    Raises:
        DetectorError: ultralytics is not installed, or the checkpoint is refused, unreadable or not a YOLO detector.
    """
    framework = _import_framework()
    path = Path(str(config.weights))
    checkpoint = checkpoints.read(path, allow=_allowed, trust=config.trust_checkpoint)
    model = _detection_model(checkpoint, path)
    classes = getattr(model, "names", None) or {}
    names = tuple(str(classes[index]) for index in sorted(classes)) if isinstance(classes, dict) else tuple(classes)
    head: Any = list(model.model.children())[-1]
    names = config.names or names
    if len(names) != head.nc:
        raise DetectorError(f"detector.names: expected {head.nc} class names for {path}, got {len(names)}")
    stride = max(int(head.stride.max()), 32)
    return Yolo(
        names=names,
        card=_card(config, path, checkpoint, model),
        score_threshold=config.score_threshold,
        nms_iou=config.nms_iou,
        max_detections=config.max_detections,
        image_size=math.ceil(config.image_size / stride) * stride,
        stride=stride,
        device=torch.device(device),
        model=_deploy(model, head, device),
        framework=framework,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Yolo:
    """A YOLO detector behind the protocol of ``xai.types.Detector``."""

    names: tuple[str, ...]
    card: ModelCard
    score_threshold: float
    nms_iou: float
    max_detections: int
    image_size: int
    stride: int
    device: torch.device
    model: nn.Module
    framework: SimpleNamespace
    sees_candidates: bool = True
    differentiable: bool = True

    def prepare(self, photos: Sequence[Pixels]) -> list[Prepared]:
        """Letterbox photos into the smallest rectangle of whole strides, as ``predict`` does photo by photo."""
        letterbox = self.framework.letterbox(self.image_size, auto=True, stride=self.stride)
        groups: dict[tuple[int, int], list[int]] = {}
        boxed: list[Pixels] = []
        for index, photo in enumerate(photos):
            boxed.append(letterbox(image=photo))
            groups.setdefault(boxed[-1].shape[:2], []).append(index)
        return [self._group(photos, boxed, indices) for indices in groups.values()]

    def _group(self, photos: Sequence[Pixels], boxed: Sequence[Pixels], indices: Sequence[int]) -> Prepared:
        sizes = np.array([photos[index].shape[1::-1] for index in indices], dtype=np.int64)
        shape = np.array(boxed[indices[0]].shape[1::-1], dtype=np.int64)
        ratio = (self.image_size / sizes).min(axis=1, keepdims=True)
        resized = np.maximum(np.round(sizes * ratio), 1.0)
        pixels = torch.from_numpy(np.stack([boxed[index] for index in indices])).to(self.device)
        return Prepared(
            indices=tuple(indices),
            inputs=pixels.permute(0, 3, 1, 2).contiguous().float().div_(255),
            scale=resized / sizes,
            offset=np.round((shape - resized) / 2 - 0.1),
            sizes=sizes,
        )

    def forward(self, inputs: Tensor) -> Candidates:
        """One box and sigmoid class scores per anchor point: (n, c, 4) and (n, c, k)."""
        decoded: Tensor = self.model(inputs)[0].transpose(1, 2)
        centre, size = decoded[..., :2], decoded[..., 2:4]
        return Candidates(torch.cat([centre - size / 2, centre + size / 2], dim=-1), decoded[..., 4:])

    @torch.no_grad()
    def select(self, candidates: Candidates, prepared: Prepared) -> list[Detections]:
        """Threshold the best class of each box and suppress overlaps within a class."""
        height, width = prepared.inputs.shape[-2:]
        best, labels = candidates.scores.max(dim=-1)
        found = []
        for index, (photo_width, photo_height) in enumerate(prepared.sizes.tolist()):
            kept = (best[index] > self.score_threshold).nonzero().squeeze(1)
            if len(kept) > _NMS_LIMIT:
                kept = kept[best[index, kept].argsort(descending=True)[:_NMS_LIMIT]]
            boxes, scores, classes = candidates.boxes[index, kept], best[index, kept], labels[index, kept]
            shifted = boxes + (classes * _CLASS_OFFSET)[:, None]
            order = torchvision.ops.nms(shifted, scores, self.nms_iou)[: self.max_detections]
            scaled = self.framework.scale_boxes((height, width), boxes[order], (photo_height, photo_width))
            found.append(
                Detections(
                    boxes=scaled.double().cpu().numpy(),
                    scores=scores[order].double().cpu().numpy(),
                    labels=classes[order].cpu().numpy(),
                )
            )
        return found


def _import_framework() -> SimpleNamespace:
    """Import what is needed of ultralytics without letting it download, install or change OpenCV's threads."""
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    threads = cv2.getNumThreads()
    try:
        augment = importlib.import_module("ultralytics.data.augment")
        operations: ModuleType = importlib.import_module("ultralytics.utils.ops")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ultralytics":
            raise
        raise DetectorError(
            "detector.kind ultralytics needs the ultralytics package, which is licensed AGPL-3.0: "
            "pip install 'xai-toolkit[yolo]'"
        ) from error
    finally:
        cv2.setNumThreads(threads)
    return SimpleNamespace(letterbox=augment.LetterBox, scale_boxes=operations.scale_boxes)


def _allowed(name: str) -> type | None:
    """Layers of torch and ultralytics, and what a training checkpoint keeps beside them."""
    module, _, attribute = name.rpartition(".")
    layers = module.startswith(("torch.nn.modules.", "ultralytics.nn.modules."))
    if not layers and module not in _KEPT_BESIDE_LAYERS:
        return None
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError:
        return None
    if not isinstance(found, type) or found.__module__ != module:
        return None
    return found if issubclass(found, nn.Module) or attribute == "IterableSimpleNamespace" else None


_KEPT_BESIDE_LAYERS = ("ultralytics.nn.tasks", "ultralytics.utils", "ultralytics.utils.loss", "ultralytics.utils.tal")


def _detection_model(checkpoint: Any, path: Path) -> Any:
    """Pick the model that ``predict`` would use and check that it is one that this adapter understands."""
    tasks = importlib.import_module("ultralytics.nn.tasks")
    heads = importlib.import_module("ultralytics.nn.modules.head")
    model = (checkpoint.get("ema") or checkpoint.get("model")) if isinstance(checkpoint, dict) else checkpoint
    head = list(model.model.children())[-1] if isinstance(model, tasks.DetectionModel) else model
    if type(head) is not heads.Detect:
        raise DetectorError(
            f"{path}: expected a YOLO detection checkpoint (task detect, v8 or v11), got {type(head).__name__}"
        )
    if getattr(head, "one2one_cv2", None) is not None:
        raise DetectorError(
            f"{path}: a YOLO that selects its detections without non-maximum suppression (v10, 26) is not supported; "
            "use a v8 or v11 checkpoint"
        )
    return model


def _deploy(model: Any, head: Any, device: str) -> nn.Module:
    """Bring the model into the state in which ``predict`` runs it, but able to pass a gradient to its input."""
    model.criterion = None
    for module in model.modules():
        if isinstance(module, nn.Upsample) and not hasattr(module, "recompute_scale_factor"):
            module.recompute_scale_factor = None  # absent from checkpoints of early torch
    deployed: nn.Module = model.float().fuse(verbose=False).eval().to(device).requires_grad_(False)
    # The head caches its anchor points from the first photo; made in inference mode, they could never take part in a
    # backward. Made anew at each call, they cost microseconds and follow the mode of the call.
    head.dynamic = True
    return deployed


def _card(config: DetectorConfig, path: Path, checkpoint: Any, model: Any) -> ModelCard:
    told = checkpoint if isinstance(checkpoint, dict) else {}
    arguments = told.get("train_args") or {}
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

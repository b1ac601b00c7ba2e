"""torchvision detectors with random weights whose scores spread, as if they had learned something."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import untrained
from torch import nn
from torchvision.ops import FrozenBatchNorm2d
from untrained import NAMES, settle

from xai.config import DetectorConfig
from xai.detect.detector import load
from xai.detect.torchvision import ARCHITECTURES
from xai.types import Detections

SMALL = {"min_size": 128, "max_size": 192}


def build(architecture: str, count: int = len(NAMES)) -> nn.Module:
    """An untrained model whose scores spread enough to pass a threshold, from a fixed seed."""
    torch.manual_seed(0)
    if architecture == "fcos_small":
        model = ARCHITECTURES[architecture](num_classes=count, **SMALL)
    else:
        sizes = {} if architecture.startswith("ssd") else SMALL
        model = ARCHITECTURES[architecture](num_classes=count, weights=None, weights_backbone=None, **sizes)
    if architecture != "ssd300_vgg16":  # has no normalisations, and no smaller inputs either
        settle(model.backbone)
        freeze(model.backbone)
    calibrate(model)
    return model.eval()


@torch.no_grad()
def freeze(backbone: nn.Module) -> None:
    """Give frozen normalisations the statistics of photos too."""

    def measure(norm: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        norm.running_mean.copy_(inputs[0].mean(dim=(0, 2, 3)))
        norm.running_var.copy_(inputs[0].var(dim=(0, 2, 3)))

    frozen = [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm2d)]
    hooks = [module.register_forward_pre_hook(measure) for module in frozen]
    batch = np.stack(untrained.photos(*[(160, 160)] * 4))
    backbone(torch.from_numpy(batch).permute(0, 3, 1, 2) / 255)
    for hook in hooks:
        hook.remove()


def calibrate(model: nn.Module) -> None:
    """Scale the last layers so that scores spread and boxes stay near, whatever the random backbone hands on."""

    def rescale(spread: float, module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        centre = output.mean(dim=0) if isinstance(module, nn.Linear) else torch.zeros(())
        # The module sees every level in turn, and no level may saturate.
        factor = min(4 * spread / (output - centre).abs().max(), 1e9 if module not in seen else 1.0)
        seen.add(module)
        module.weight *= factor
        module.bias -= centre
        module.bias *= factor
        return (output - centre) * factor

    hooks = []
    seen: set[nn.Module] = set()
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        of_ssd = (
            "head." in name and "module_list" in name and isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
        )
        if last in {"cls_logits", "cls_score", "bbox_ctrness", "bbox_reg", "bbox_pred"} or of_ssd:
            spread = 1.0 if last in {"cls_logits", "cls_score", "bbox_ctrness"} or "classification" in name else 0.3
            hooks.append(module.register_forward_hook(functools.partial(rescale, spread)))
    with torch.no_grad():
        model.eval()([torch.rand(3, 128, 160)])
    for hook in hooks:
        hook.remove()


def save(model: nn.Module, path: Path, architecture: str, **more: object) -> Path:
    torch.save(
        {
            "architecture": architecture,
            "state_dict": model.state_dict(),
            "names": list(NAMES),
            "trained_at": "2025-01-31T12:00:00+00:00",
            "arguments": {"epochs": 3, **({} if architecture.startswith("ssd") else SMALL)},
            **more,
        },
        path,
    )
    return path


def threshold_that_leaves(count: int, weights: Path, photos: Sequence[np.ndarray]) -> float:
    """The middle of the widest gap between scores around the one of this rank, so that rounding decides nothing."""
    detector: Any = load(DetectorConfig(kind="torchvision", weights=weights), "cpu")
    with torch.no_grad():
        scores = detector.forward(detector.prepare(photos)[0].inputs).scores.flatten()
    best = scores.topk(2 * count).values[count // 2 :]
    widest = int((best[:-1] - best[1:]).argmax())
    return float((best[widest] + best[widest + 1]) / 2)


def config(architecture: str, folder: Path) -> DetectorConfig:
    """Write a checkpoint and say how to open it."""
    background = architecture != "fcos_small"
    weights = save(build(architecture, len(NAMES) + background), folder / "model.pt", architecture)
    threshold = threshold_that_leaves(80, weights, untrained.photos((96, 128), (96, 128)))
    return DetectorConfig(kind="torchvision", weights=weights, score_threshold=threshold, nms_iou=0.43)


opened: Any = functools.lru_cache(maxsize=1)(load)


def predict(config: DetectorConfig, photo: np.ndarray) -> Detections:
    """What the model's own forward says of a photo."""
    detector = opened(config, "cpu")
    surplus = not detector.card.architecture.startswith("fcos_small")
    with torch.no_grad():
        (found,) = detector.model([torch.from_numpy(photo).permute(2, 0, 1) / 255])
    wanted = found["labels"] >= surplus
    boxes, scores, labels = (found[key][wanted].numpy() for key in ("boxes", "scores", "labels"))
    return Detections(boxes.astype(float), scores.astype(float), labels - surplus)

"""torchvision detectors with random weights whose scores spread, as if they had learned something."""

import functools
from pathlib import Path

import torch
from torch import nn
from untrained import NAMES

from xai.detect.torchvision import ARCHITECTURES

SMALL = {"min_size": 128, "max_size": 192}


def build(architecture: str, count: int = len(NAMES)) -> nn.Module:
    """An untrained model whose scores spread enough to pass a threshold, from a fixed seed."""
    torch.manual_seed(0)
    if architecture == "fcos_small":
        model = ARCHITECTURES[architecture](num_classes=count, **SMALL)
    else:
        sizes = {} if architecture.startswith("ssd") else SMALL
        model = ARCHITECTURES[architecture](num_classes=count, weights=None, weights_backbone=None, **sizes)
    calibrate(model)
    return model.eval()


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

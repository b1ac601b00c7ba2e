import argparse
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from xai.config import DetectorConfig
from xai.detect.detector import load
from xai.detect.torchvision import ARCHITECTURES, Torchvision
from xai.exceptions import DetectorError

NAMES = ("car", "bus", "person")
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


def open_detector(weights: Path, **options: object) -> Torchvision:
    detector = load(DetectorConfig(kind="torchvision", weights=weights, **options), "cpu")
    assert isinstance(detector, Torchvision)
    return detector


def threshold_that_leaves(count: int, weights: Path) -> float:
    """The middle of the widest gap between scores around the one of this rank, so that rounding decides nothing."""
    detector = open_detector(weights)
    with torch.no_grad():
        scores = detector.forward(detector.prepare(photos())[0].inputs).scores.flatten()
    best = scores.topk(2 * count).values[count // 2 :]
    widest = int((best[:-1] - best[1:]).argmax())
    return float((best[widest] + best[widest + 1]) / 2)


def photos() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in [(96, 128), (150, 90), (96, 128)]]


@pytest.mark.parametrize(
    ("architecture", "above", "limit"),
    [
        ("fcos_small", 80, 300),
        ("fcos_small", None, 20),  # a level hands on its best thousand only
        ("fasterrcnn_mobilenet_v3_large_320_fpn", 80, 300),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", 80, 4),
        ("ssdlite320_mobilenet_v3_large", 80, 300),
        pytest.param("retinanet_resnet50_fpn", 80, 300, marks=pytest.mark.slow),
    ],
)
def test_detections_equal_the_model_photo_by_photo(
    architecture: str, above: int | None, limit: int, tmp_path: Path
) -> None:
    background = not architecture.startswith("fcos")
    weights = save(build(architecture, len(NAMES) + background), tmp_path / "model.pt", architecture)
    threshold = threshold_that_leaves(above, weights) if above else 0.0
    detector = open_detector(weights, score_threshold=threshold, nms_iou=0.4, max_detections=limit)
    found = {}
    with torch.no_grad():
        for prepared in detector.prepare(photos()):
            results = detector.select(detector.forward(prepared.inputs), prepared)
            found.update(zip(prepared.indices, results, strict=True))
        total = 0
        for index, photo in enumerate(photos()):
            expected = detector.model([torch.from_numpy(photo).permute(2, 0, 1).float() / 255])[0]
            wanted = expected["labels"] >= background
            labels = expected["labels"][wanted].numpy() - background
            total += len(labels)
            np.testing.assert_allclose(found[index].scores, expected["scores"][wanted].numpy(), atol=1e-4)
            # Rounding may swap detections of almost equal score, so every one looks for its like.
            ours = np.column_stack([found[index].labels, found[index].scores * 100, found[index].boxes])
            theirs = np.column_stack([labels, expected["scores"][wanted] * 100, expected["boxes"][wanted]])
            distance = np.abs(ours[:, None] - theirs[None]).max(axis=2)
            assert (distance.min(axis=0) < 0.02).all()
            assert (distance.min(axis=1) < 0.02).all()
    assert total > 0


@pytest.mark.parametrize("architecture", ["fcos_small", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_candidates_carry_a_gradient_even_after_inference_mode(architecture: str, tmp_path: Path) -> None:
    model = build(architecture, len(NAMES) + (architecture != "fcos_small"))
    detector = open_detector(save(model, tmp_path / "model.pt", architecture))
    (prepared, _) = detector.prepare(photos())
    with torch.inference_mode():
        detector.forward(prepared.inputs)
    inputs = prepared.inputs.clone().requires_grad_()
    candidates = detector.forward(inputs)
    assert candidates.scores.shape[::2] == (2, len(NAMES))
    assert candidates.boxes.shape == (
        (*candidates.scores.shape[:2], 4) if architecture == "fcos_small" else (*candidates.scores.shape, 4)
    )
    candidates.scores.max().backward()
    assert inputs.grad is not None
    assert torch.isfinite(inputs.grad).all()
    assert inputs.grad.abs().sum() > 0


def test_photo_and_input_pixels_correspond(tmp_path: Path) -> None:
    detector = open_detector(save(build("fcos_small"), tmp_path / "model.pt", "fcos_small"))
    groups = detector.prepare(photos())
    assert [group.indices for group in groups] == [(0, 2), (1,)]
    for group in groups:
        height, width = group.inputs.shape[-2:]
        np.testing.assert_allclose(group.sizes * group.scale + group.offset, [[width, height]] * len(group.indices))


def test_checkpoint_in_half_precision_and_its_card(tmp_path: Path) -> None:
    model = build("fcos_small")
    detector = open_detector(save(model.half(), tmp_path / "model.pt", "fcos_small"), score_threshold=0.4)
    assert detector.names == NAMES
    assert detector.card.architecture == "fcos_small"
    assert detector.card.trained_at == "2025-01-31T12:00:00+00:00"
    assert detector.card.details == {"arguments": {"epochs": 3, **SMALL}}
    assert detector.model.transform.min_size == (128,)
    assert next(detector.model.parameters()).dtype == torch.float32


def test_weights_alone_with_names_and_size_in_the_config(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": build("fcos_small", 4).state_dict(), "args": argparse.Namespace(epochs=2), "epoch": 1}, path)
    options = {"architecture": "fcos_small", "names": ("__background__", *NAMES), "image_size": 96}
    detector = open_detector(path, **options)
    assert detector.names == NAMES
    (prepared, _) = detector.prepare(photos())
    assert min(prepared.inputs.shape[-2:]) == 96
    assert detector.forward(prepared.inputs).scores.shape[2] == len(NAMES)
    with pytest.raises(DetectorError, match=r"detector.names: expected the class names"):
        open_detector(path, architecture="fcos_small")
    with pytest.raises(DetectorError, match=r"detector.architecture: expected one of .*fcos_small.*; got None"):
        open_detector(path, names=NAMES)
    with pytest.raises(DetectorError, match=r"detector.names: expected 4 class names .* got 9"):
        open_detector(path, architecture="fcos_small", names=tuple("abcdefghi"))


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(build("fcos_small"), path)
    with pytest.raises(DetectorError, match="refused"):
        open_detector(path)
    torch.save({"state_dict": [1, 2]}, path)
    with pytest.raises(DetectorError, match="expected a state dict"):
        open_detector(path)
    weights = build("fcos_small").state_dict() | {"surplus": torch.ones(1)}
    torch.save(weights, path)
    with pytest.raises(DetectorError, match=r"expected weights of fcos_small for 3 classes; .*surplus"):
        open_detector(path, architecture="fcos_small", names=NAMES)
    ssd = {"architecture": "ssdlite320_mobilenet_v3_large", "names": NAMES, "image_size": 300}
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(DetectorError, match="has an input size of its own"):
        open_detector(path, **ssd)

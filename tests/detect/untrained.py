"""Small detectors with random weights whose scores spread, as if they had learned something, from a fixed seed."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

NAMES = ("car", "bus", "person")


def photos(*shapes: tuple[int, int]) -> list[np.ndarray]:
    """Photos (height, width) of coloured blots, which give a network more to tell apart than noise does."""
    generator = np.random.default_rng(0)
    coarse = [generator.integers(0, 256, (max(height // 16, 2), max(width // 16, 2), 3)) for height, width in shapes]
    return [
        cv2.resize(blots.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        for blots, (height, width) in zip(coarse, shapes, strict=True)
    ]


def yolo(architecture: str, path: Path, *, end_to_end: bool = False, **more: object) -> Path:
    """Save a YOLO of half the nano width as ultralytics saves it; ``end_to_end`` leaves its one-to-one head only."""
    tasks = _tasks()
    scales = {"n": [0.33, 0.125, 256]}
    model = tasks.DetectionModel(
        {**tasks.yaml_model_load(architecture), "scales": scales, "scale": "n", "nc": len(NAMES)}, verbose=False
    )
    head = model.model[-1]
    settle(model)
    for name in ("cv3", "one2one_cv3"):
        for branch in getattr(head, name, None) or ():
            spread(branch[-1])
    if end_to_end:
        model.end2end = True
        head.fuse()
    return _save(model, path, **more)


def rtdetr(path: Path, **more: object) -> Path:
    """Save an RT-DETR with a backbone of four convolutions as ultralytics saves it."""
    tasks = _tasks()
    backbone = [[-1, 1, "Conv", [width, 3, 2]] for width in (8, 16, 16, 32, 32)]
    head = [
        [-1, 1, "AIFI", [64, 4]],
        [[2, 3, 5], 1, "RTDETRDecoder", [len(NAMES), 32, 40, 4, 4, 2, 64]],
    ]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tasks.RTDETRDetectionModel({"nc": len(NAMES), "backbone": backbone, "head": head}, verbose=False)
        decoder = model.model[-1]
        settle(model)
        for score in (decoder.enc_score_head, *decoder.dec_score_head):
            spread(score)
        for box in (decoder.enc_bbox_head, *decoder.dec_bbox_head):
            nn.init.normal_(box.layers[-1].weight, std=0.05)
    return _save(model, path, **more)


def brightness(pictures: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, list[str]]]:
    """A detector that is no network: quarters of a photo are cars as far as they are bright."""
    found = []
    for picture in pictures:
        height, width = picture.shape[:2]
        corners = [(x, y) for y in (0, height // 2) for x in (0, width // 2)]
        boxes = np.array([(x, y, x + width // 2, y + height // 2) for x, y in corners])
        scores = np.array([picture[y1:y2, x1:x2].mean() / 255 for x1, y1, x2, y2 in boxes])
        found.append((boxes, scores, ["car", "bus", "car", "person"]))
    return found


def settle(model: nn.Module) -> None:
    """Give the normalisations the statistics of photos, without which deep random networks fade out."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    batch = np.stack(photos(*[(160, 160)] * 4))
    with torch.no_grad():
        model.train()(torch.from_numpy(batch).permute(0, 3, 1, 2) / 255)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    model.eval()


@torch.no_grad()
def spread(last: nn.Conv2d | nn.Linear) -> None:
    """Let a classifier's scores reach from noise to certain."""
    nn.init.normal_(last.weight, std=2 / last.weight[0].numel() ** 0.5)
    nn.init.constant_(last.bias, -2.0)


def _tasks() -> Any:
    tasks = pytest.importorskip("ultralytics.nn.tasks", reason="the yolo extra is not installed")
    torch.manual_seed(0)
    return tasks


def _save(model: Any, path: Path, **more: object) -> Path:
    model.names = dict(enumerate(NAMES))
    torch.save({"model": model, "date": "2025-01-31T12:00:00", "train_args": {"imgsz": 160}, **more}, path)
    return path

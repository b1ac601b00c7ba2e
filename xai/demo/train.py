"""Train the demo's detector on rendered training scenes: ``python -m xai.demo.train --out xai/demo/detector.pt``.

The scenes come from the stream that the demo's training photos are the first of (``dataset.training_scene``), so it
has seen small objects and crowds, but no glare, no darkness, no photo that is not upright and no tilted camera.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision.ops
from numpy.typing import NDArray
from torch import Tensor, nn

from xai.demo.actors import CLASSES
from xai.demo.conditions import CONDITIONS, NONE, Photo, make
from xai.demo.dataset import JPEG_QUALITY, training_scene
from xai.detect.fcos import fcos_small

_LOG = logging.getLogger(__name__)

_TEST_SEED = 9_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What a training run depends on.

    Attributes:
        seed: of weights, order and augmentation.
        scenes: the first so many scenes of the training stream.
        epochs: passes over them.
        batch_size: scenes a step.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        average: share that the averaged weights keep each step.
    """

    seed: int = 0
    scenes: int = 1600
    epochs: int = 5
    batch_size: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    average: float = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class _Example:
    jpeg: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def train(settings: Settings) -> nn.Module:
    """Train from scratch on the CPU and return the averaged model in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return _train(settings)


def _train(settings: Settings) -> nn.Module:
    rng = np.random.default_rng(settings.seed)
    started = time.monotonic()
    examples = [_example(training_scene(index)) for index in range(settings.scenes)]
    _LOG.info("rendered %d scenes in %.0f s", len(examples), time.monotonic() - started)
    model = fcos_small(len(CLASSES)).to(memory_format=torch.channels_last)
    averaged: nn.Module = copy.deepcopy(model)
    steps = settings.epochs * (len(examples) // settings.batch_size)
    optimiser = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=steps, pct_start=0.15, div_factor=10.0
    )
    model.train()
    step = 0
    for epoch in range(settings.epochs):
        order = rng.permutation(len(examples))
        for start in range(0, len(order) - settings.batch_size + 1, settings.batch_size):
            images, targets = _batch([examples[index] for index in order[start : start + settings.batch_size]], rng)
            losses = model(images, targets)
            loss = torch.stack(list(losses.values())).sum()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()
            schedule.step()
            step += 1
            _average(averaged, model, min(settings.average, step / (step + 10)))
            if step % 20 == 0:
                parts = {name: round(value.item(), 3) for name, value in losses.items()}
                _LOG.info("epoch %d step %d/%d %s %.0f s", epoch, step, steps, parts, time.monotonic() - started)
    averaged.eval()
    return averaged


def save(model: nn.Module, settings: Settings, path: Path) -> None:
    """Write a checkpoint as ``fcos_small`` describes it, with weights as float16."""
    weights = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    checkpoint = {
        "architecture": "fcos_small",
        "state_dict": {name: value.contiguous() for name, value in weights.items()},
        "names": list(CLASSES),
        "trained_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "arguments": {"min_size": 240, "max_size": 320, **asdict(settings)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)


def evaluate(
    model: nn.Module, photos: Sequence[Photo], *, score_threshold: float = 0.45, iou: float = 0.5
) -> tuple[int, int, int]:
    """Count how a detector does on the planted objects of photos, or on all objects where nothing is planted.

    Returns:
        Objects found (a detection of their class at ``iou`` or more), objects that are not difficult, and detections
        at the threshold that lie on no object of their class.
    """
    found = count = wrong = 0
    for photo in photos:
        with torch.no_grad():
            output = model([_tensor(photo.pixels / np.float32(255))])[0]
        kept = output["scores"] >= score_threshold
        labels = torch.tensor([CLASSES.index(label) for label in photo.labels], dtype=torch.int64)
        overlap = torchvision.ops.box_iou(torch.from_numpy(photo.boxes).float(), output["boxes"][kept])
        hit = (overlap >= iou) & (labels[:, None] == output["labels"][kept])
        planted = np.array([condition != NONE for condition in photo.planted], dtype=bool)
        asked = torch.from_numpy((planted if planted.any() else ~planted) & ~photo.difficult)
        found += int((hit.any(dim=1) & asked).sum())
        count += int(asked.sum())
        wrong += int((~hit.any(dim=0)).sum())
    return found, count, wrong


def _example(photo: Photo) -> _Example:
    """Keep a scene as the JPEG that the data set would hold, without the objects that are hardly visible."""
    kept = ~photo.difficult
    labels = np.array([CLASSES.index(label) for label in photo.labels], dtype=np.int64)
    encoded = cv2.imencode(".jpg", photo.pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return _Example(encoded, photo.boxes[kept].astype(np.float32), labels[kept])


def _batch(examples: Sequence[_Example], rng: np.random.Generator) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    images: list[Tensor] = []
    targets: list[dict[str, Tensor]] = []
    for example in examples:
        stored = np.asarray(cv2.imdecode(example.jpeg, cv2.IMREAD_COLOR), dtype=np.uint8)
        pixels, boxes = _augment(stored[..., ::-1], example.boxes, rng)
        images.append(_tensor(pixels))
        targets.append({"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(example.labels)})
    return images, targets


def _augment(
    pixels: NDArray[np.uint8], boxes: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mirror, shift exposure and tint a little, and often add sensor noise; nothing that would close a planted gap."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
        width = pixels.shape[1]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    tint = (rng.uniform(0.88, 1.15) * rng.uniform(0.95, 1.05, 3)).astype(np.float32)
    image = pixels.astype(np.float32) / 255 * tint
    if rng.random() < 0.5:
        image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.0, 0.10))
    return np.clip(image, 0, 1), boxes


def _tensor(pixels: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _average(averaged: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the averaged weights a little towards the model's (Polyak and Juditsky, 1992)."""
    with torch.no_grad():
        for mean, value in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write the checkpoint."""
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m xai.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("detector.pt"))
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--scenes", type=int, default=defaults.scenes)
    parser.add_argument("--epochs", type=int, default=defaults.epochs)
    parser.add_argument("--test", type=int, default=40, help="photos a condition that the result is tested on")
    parser.add_argument("--threads", type=int, default=1, help="results are the same for the same number of threads")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(given.threads)
    settings = Settings(seed=given.seed, scenes=given.scenes, epochs=given.epochs)
    torch.use_deterministic_algorithms(True)
    model = train(settings)
    save(model, settings, given.out)
    for condition in CONDITIONS:
        found, count, wrong = evaluate(model, [make(_TEST_SEED + index, condition) for index in range(given.test)])
        _LOG.info("%-14s found %d of %d (%.2f), %d false alarms", condition, found, count, found / count, wrong)


if __name__ == "__main__":
    main()

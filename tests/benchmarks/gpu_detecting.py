"""The parts of ``gpu.py`` that ask a detector: photos to detections and candidates, and missed objects to heat maps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from gpu_bench import HEIGHT, WIDTH, Bench

from attributes.decode import Photo, decode
from xai import batch
from xai.detect import torchvision as adapter
from xai.evidence.targets import forward_func, iou_times_score, to_input
from xai.types import Detector, Pixels

SHIPPED = Path(adapter.__file__).parents[1] / "demo" / "detector.pt"

LARGE = "retinanet_resnet50_fpn"
"""Of the size that teams deploy; its weights are random, which changes nothing about its speed."""

OBJECTS = 8
MASKS = 400
TRIAGE, EXPLAINED = 0.7, 0.8
"""Shares of the speed of the detector's forward alone that are asked for on a GPU."""


def detectors(bench: Bench) -> Iterator[tuple[str, Detector]]:
    """A small detector, which leaves the rest no time to hide in, and a large one."""
    config = SimpleNamespace(
        kind="torchvision",
        weights=SHIPPED,
        trust_checkpoint=False,
        architecture=None,
        names=None,
        score_threshold=0.25,
        nms_iou=0.5,
        max_detections=100,
        precision="auto",
        model_fields_set=frozenset(),
    )
    yield "shipped FCOS", adapter.load(config, str(bench.device))  # type: ignore[arg-type]
    if bench.device.type == "cpu":  # a second would take minutes and prove nothing more
        return
    torch.manual_seed(0)
    model = adapter.ARCHITECTURES[LARGE](
        weights=None, weights_backbone=None, num_classes=91, min_size=HEIGHT, max_size=WIDTH
    )
    yield (
        "RetinaNet-50",
        adapter.Torchvision(
            names=tuple(f"class {code}" for code in range(91)),
            card=adapter.ModelCard(kind="torchvision"),
            score_threshold=0.25,
            device=bench.device,
            model=model.eval().requires_grad_(False).to(bench.device),
        ),
    )


def boxes() -> np.ndarray:
    """(OBJECTS, 4) boxes of all sizes in a photo."""
    generator = np.random.default_rng(0)
    side = 10 ** generator.uniform(1.2, 2.4, (OBJECTS, 2))
    corner = generator.uniform(0, 1, (OBJECTS, 2)) * (np.array([WIDTH, HEIGHT]) - side)
    return np.concatenate([corner, corner + side], axis=1)


def _labelled(ids: Sequence[str], photos: Sequence[Photo]) -> list[batch.Labelled]:
    one = batch.Labelled(boxes(), np.zeros(OBJECTS, dtype=np.int64), np.zeros(OBJECTS, dtype=np.bool_))
    return [one] * len(photos)


def triage(bench: Bench) -> None:
    """Files to attributes, detections and candidates of every object, beside the detector's forward alone."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ids = [f"{index:06d}.jpg" for index in range(len(bench.files))]
        for name, file in zip(ids, bench.files, strict=True):
            (root / name).write_bytes(file)
        for name, detector in detectors(bench):
            _triage(bench, root, ids, name, detector)


def _triage(bench: Bench, root: Path, ids: Sequence[str], name: str, detector: Detector) -> None:
    size = batch.FORWARD_SIZE.get(bench.device.type, batch.BATCH_SIZE)
    pixels: list[Pixels] = [decode(file).pixels for file in bench.files[:size]]
    prepared = detector.prepare(pixels)[0]

    @torch.no_grad()
    def forward() -> None:
        detector.forward(prepared.inputs)

    @torch.no_grad()
    def predict() -> None:
        for group in detector.prepare(pixels):
            detector.select(detector.forward(group.inputs), group)

    def whole(count: int) -> None:
        done = batch.process(
            root,
            ids[:count],
            label=_labelled,
            detector=detector,
            detect_ids=frozenset(ids),
            match_iou=0.5,
            workers=bench.workers,
        )
        assert sum(len(part.image_ids) for part in done) == count

    alone = size / bench.seconds(forward)
    bench.add(f"{name}: forward alone, photos/s", alone, f"batch {size}, inputs on the device")
    predicted = size / bench.seconds(predict)
    note = f"{predicted / alone:.2f} of the forward alone"
    bench.add(f"{name}: decoded photos to detections, photos/s", predicted, note)
    found = len(ids) / bench.seconds(lambda: whole(len(ids)), 2)
    bench.add(f"{name}: triage without maps, photos/s", found, f"{bench.workers} threads, {OBJECTS} objects a photo")
    bench.add(f"{name}: triage without maps / forward alone", found / alone, "all attributes included", TRIAGE)
    bench.profile(lambda: whole(min(len(ids), 4 * batch.BATCH_SIZE)))


def explaining(bench: Bench) -> None:
    """Heat maps of all missed objects of a photo by DRISE, beside the same number of forwards alone."""
    from xai.evidence.drise import DRISE

    size = 64 if bench.device.type == "cuda" else 8
    masks = MASKS if bench.device.type == "cuda" else 100
    for name, detector in detectors(bench):
        prepared = detector.prepare([decode(bench.files[0]).pixels])[0]
        targets = to_input(boxes(), prepared, 0)
        labels = torch.zeros(OBJECTS, dtype=torch.int64, device=targets.device)
        method = DRISE(forward_func(detector.forward, targets, labels, iou_times_score))
        many = prepared.inputs.expand(size, -1, -1, -1).contiguous()

        @torch.no_grad()
        def forward(detector: Detector = detector, many: torch.Tensor = many) -> None:
            for _ in range(-(-masks // size)):
                detector.forward(many)

        def maps(method: DRISE = method, inputs: torch.Tensor = prepared.inputs) -> None:
            method.attribute(inputs, n_masks=masks, perturbations_per_eval=size)

        alone, explained = bench.seconds(forward, 3), bench.seconds(maps, 3)
        note = f"{masks} masked copies a photo with {OBJECTS} misses, {size} a forward"
        bench.add(f"{name}: explained misses/s", OBJECTS / explained, note)
        share = alone * masks / (-(-masks // size) * size) / explained
        bench.add(f"{name}: DRISE / forward alone", share, "masked copies a second", EXPLAINED)
        bench.profile(maps, 8)

"""What every adapter owes to its callers, checked on small detectors with random weights."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
import untrained
import untrained_torchvision

from xai import tables
from xai.config import DetectorConfig
from xai.detect import errors, summarise
from xai.detect.detector import load
from xai.detect.features import WIDTH, object_features
from xai.evidence.gradients import METHODS
from xai.evidence.perturbations import PERTURBATION_METHODS
from xai.evidence.targets import Score
from xai.exceptions import DetectorError
from xai.types import Boxes, Detections, Detector, Pixels, Prepared

Make = Callable[[Path], DetectorConfig]
"""Writes a checkpoint into a folder and says how to open it; with a threshold that some candidates pass."""

Predict = Callable[[DetectorConfig, Pixels], Detections]
"""What the framework's own prediction says of one photo."""


def ultralytics(architecture: str, folder: Path, **options: bool) -> DetectorConfig:
    path = folder / "model.pt"
    weights = untrained.rtdetr(path) if architecture == "rtdetr" else untrained.yolo(architecture, path, **options)
    return DetectorConfig(kind="ultralytics", weights=weights, image_size=160, score_threshold=0.3)


def predict_ultralytics(config: DetectorConfig, photo: Pixels) -> Detections:
    from ultralytics import YOLO

    options = {"conf": config.score_threshold, "iou": config.nms_iou, "max_det": config.max_detections}
    model = YOLO(str(config.weights))
    (result,) = model.predict(photo[..., ::-1], imgsz=config.image_size, device="cpu", verbose=False, **options)
    boxes = result.boxes.numpy()
    return Detections(boxes.xyxy.astype(float), boxes.conf.astype(float), boxes.cls.astype(int))


def transformers(architecture: str, folder: Path) -> DetectorConfig:
    pytest.importorskip("transformers", reason="the hf extra is not installed")
    import untrained_transformers

    return untrained_transformers.config(architecture, folder)


def predict_transformers(config: DetectorConfig, photo: Pixels) -> Detections:
    import untrained_transformers

    return untrained_transformers.predict(config, photo)


def python(folder: Path) -> DetectorConfig:
    return DetectorConfig(kind="python:untrained.brightness", names=untrained.NAMES, score_threshold=0.4)


def call_brightness(config: DetectorConfig, photo: Pixels) -> Detections:
    ((boxes, scores, labels),) = untrained.brightness([photo])
    order = [index for index in np.argsort(-scores) if scores[index] >= config.score_threshold]
    codes = np.array([untrained.NAMES.index(labels[index]) for index in order], dtype=np.int64)
    return Detections(boxes[order].astype(float), scores[order], codes)


class Case(NamedTuple):
    name: str
    make: Make
    predict: Predict | None = None


CASES = [
    Case("yolov8", functools.partial(ultralytics, "yolov8n.yaml"), predict_ultralytics),
    Case("yolov10", functools.partial(ultralytics, "yolov10n.yaml"), predict_ultralytics),
    Case("yolo11", functools.partial(ultralytics, "yolo11n.yaml"), predict_ultralytics),
    Case("yolo26", functools.partial(ultralytics, "yolo26n.yaml"), predict_ultralytics),
    Case("yolo26 end to end", functools.partial(ultralytics, "yolo26n.yaml", end_to_end=True), predict_ultralytics),
    Case("rtdetr of ultralytics", functools.partial(ultralytics, "rtdetr"), predict_ultralytics),
    *[
        Case(name, functools.partial(untrained_torchvision.config, name), untrained_torchvision.predict)
        for name in ("fcos_small", "fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large")
    ],
    *[
        pytest.param(
            Case(name, functools.partial(untrained_torchvision.config, name), untrained_torchvision.predict),
            marks=pytest.mark.slow,  # made of tens of millions of weights
            id=name,
        )
        for name in ("retinanet_resnet50_fpn", "ssd300_vgg16", "fcos_resnet50_fpn")
    ],
    *[
        Case(name, functools.partial(transformers, name), predict_transformers)
        for name in ("detr", "deformable_detr", "rt_detr", "rt_detr_v2")
    ],
    Case("python", python, call_brightness),
]

SHAPES = [(96, 128), (120, 90), (96, 128), (8, 8), (20, 300)]
"""Height and width: two of one shape, one upright, one tiny, one very wide."""


class Opened(NamedTuple):
    case: Case
    config: DetectorConfig
    detector: Detector


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    config = request.param.make(tmp_path_factory.mktemp(request.param.name))
    detector = load(config, "cpu")
    return Opened(request.param, config, detector)


@pytest.fixture(scope="module")
def detector(opened: Opened) -> Detector:
    return opened.detector


def run(detector: Detector, photos: Sequence[Pixels]) -> list[Detections]:
    found: dict[int, Detections] = {}
    with torch.no_grad():
        for prepared in detector.prepare(photos):
            results = detector.select(detector.forward(prepared.inputs), prepared)
            found.update(zip(prepared.indices, results, strict=True))
    assert sorted(found) == list(range(len(photos)))
    return [found[index] for index in range(len(photos))]


def assert_alike(ours: Detections, theirs: Detections, *, pixels: float, score: float) -> None:
    """Every detection has its like on the other side; rounding may swap neighbours of almost equal score."""
    assert len(ours) == len(theirs)
    if not len(ours):
        return
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=score)
    rows = [np.column_stack([item.boxes / pixels, item.scores / score, item.labels * 10.0]) for item in (ours, theirs)]
    distance = np.abs(rows[0][:, None] - rows[1][None]).max(axis=2)
    assert distance.min(axis=0).max() <= 1
    assert distance.min(axis=1).max() <= 1


def to_input(prepared: Prepared, index: int, boxes: np.ndarray) -> np.ndarray:
    return boxes * np.tile(prepared.scale[index], 2) + np.tile(prepared.offset[index], 2)


def test_says_what_it_is(detector: Detector) -> None:
    assert all(isinstance(name, str) for name in detector.names)
    assert 0 <= detector.score_threshold <= 1
    assert isinstance(detector.sees_candidates, bool)
    assert isinstance(detector.differentiable, bool)
    assert detector.card.kind


def test_shapes_and_types(detector: Detector) -> None:
    photos = untrained.photos(*SHAPES)
    seen: list[int] = []
    for prepared in detector.prepare(photos):
        count = len(prepared.indices)
        seen.extend(prepared.indices)
        assert prepared.inputs.shape[:2] == (count, 3)
        assert prepared.inputs.dtype == torch.float32
        assert prepared.inputs.min() >= 0
        assert prepared.inputs.max() <= 1
        assert prepared.scale.shape == prepared.offset.shape == prepared.sizes.shape == (count, 2)
        assert prepared.sizes.tolist() == [list(photos[index].shape[1::-1]) for index in prepared.indices]
        with torch.no_grad():
            candidates = detector.forward(prepared.inputs)
        places, classes = candidates.scores.shape[1:]
        assert classes == len(detector.names)
        assert candidates.boxes.shape in [(count, places, 4), (count, places, classes, 4)]
        assert candidates.boxes.dtype == candidates.scores.dtype == torch.float32
        assert candidates.scores.min() >= 0
        assert candidates.scores.max() <= 1
        for found in detector.select(candidates, prepared):
            assert found.boxes.shape == (len(found), 4)
            assert found.boxes.dtype == found.scores.dtype == np.float64
            assert found.labels.dtype == np.int64
            assert (found.scores >= detector.score_threshold).all()
            assert (np.diff(found.scores) <= 0).all()
            assert set(found.labels.tolist()) <= set(range(classes))
    assert sorted(seen) == list(range(len(photos)))


def test_features_divide_the_input_evenly(detector: Detector) -> None:
    (prepared, *_) = detector.prepare(untrained.photos((96, 128)))
    with torch.no_grad():
        features = detector.forward(prepared.inputs).features
    height, width = prepared.inputs.shape[-2:]
    areas = [level.shape[-1] * level.shape[-2] for level in features]
    assert areas == sorted(areas, reverse=True)
    for level in features:
        assert level.dtype == torch.float32
        assert level.ndim == 4
        assert len(level) == 1
        assert torch.isfinite(level).all()
        assert level.shape[-2] / height == pytest.approx(level.shape[-1] / width, rel=0.35)


def test_photo_pixels_become_input_pixels(detector: Detector) -> None:
    """A white patch on black lies in the input where scale and offset say."""
    patch = np.array([32.0, 24, 80, 72])
    photo = np.zeros((96, 128, 3), dtype=np.uint8)
    photo[24:72, 32:80] = 255
    (prepared,) = detector.prepare([photo])
    x1, y1, x2, y2 = to_input(prepared, 0, patch)
    grey = prepared.inputs[0].mean(dim=0).numpy()
    ys, xs = np.mgrid[: grey.shape[0], : grey.shape[1]] + 0.5
    inside = (xs > x1 + 2) & (xs < x2 - 2) & (ys > y1 + 2) & (ys < y2 - 2)
    outside = (xs < x1 - 2) | (xs > x2 + 2) | (ys < y1 - 2) | (ys > y2 + 2)
    assert inside.any()
    assert grey[inside].min() > 0.9
    assert grey[outside].max() < 0.5


def test_batch_of_different_sizes_equals_photos_alone(detector: Detector) -> None:
    photos = untrained.photos(*SHAPES)
    together = run(detector, photos)
    assert sum(map(len, together)) > 0
    for photo, found in zip(photos, together, strict=True):
        assert_alike(found, run(detector, [photo])[0], pixels=1e-2, score=1e-4)


def test_detections_are_among_the_candidates(detector: Detector) -> None:
    for prepared in detector.prepare(untrained.photos(*SHAPES)):
        with torch.no_grad():
            candidates = detector.forward(prepared.inputs)
            results = detector.select(candidates, prepared)
        for index, found in enumerate(results):
            limit = np.tile(prepared.sizes[index], 2)
            for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
                boxes = candidates.boxes[index] if candidates.boxes.ndim == 3 else candidates.boxes[index, :, label]
                back = (boxes.numpy() - np.tile(prepared.offset[index], 2)) / np.tile(prepared.scale[index], 2)
                apart = np.abs(back.clip(0, limit) - box.clip(0, limit)).max(axis=1)
                like = np.abs(candidates.scores[index, :, label].numpy() - score) < 1e-4
                assert apart[like].min(initial=np.inf) < 1e-2


def as_miss(box: Boxes, label: str, told: dict[str, np.ndarray], names: Sequence[str]) -> pl.DataFrame:
    """An object at the place of a detection, as if it had been missed there."""
    row = {"split": "eval", "image_id": "a.jpg", "object_id": 0, "label": label, "outcome": "missed"}
    rows = pl.DataFrame([row | dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))])
    columns = pl.DataFrame(told).with_columns(pl.all().fill_nan(None))
    other = pl.col("cand_other_label").replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String)
    return tables.conform(rows, tables.TABLES["objects"]).hstack(columns.with_columns(other))


def test_mechanism_of_what_was_detected_there(detector: Detector) -> None:
    """An object where the detector sees one was suppressed; had the threshold been higher, its score would be low."""
    photos = untrained.photos(*SHAPES)
    prepared = next(part for part in detector.prepare(photos) if 1 in part.indices)
    with torch.no_grad():
        candidates = detector.forward(prepared.inputs)
        found = detector.select(candidates, prepared)[prepared.indices.index(1)]
    # Frameworks cut detections at the photo's edges, not candidates: not every box is covered by the one it came from.
    for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True):
        boxes = [box[None] if index == 1 else np.empty((0, 4)) for index in prepared.indices]
        labels = [np.array([label] if index == 1 else [], dtype=np.int64) for index in prepared.indices]
        told = summarise(candidates, prepared, boxes, labels, 0.5, complete=detector.sees_candidates)
        if told["cand_score"].item() >= score - 1e-4:
            break
    else:
        pytest.fail("no detection is covered by a candidate of its score")
    objects = as_miss(box, detector.names[label], told, detector.names)
    own = objects["cand_score"].item()
    none = tables.empty(tables.TABLES["predictions"])
    higher = errors(objects, none, score_threshold=own + 1e-3, match_iou=0.5)
    deployed = errors(objects, none, score_threshold=score - 1e-4, match_iou=0.5)
    other = objects["cand_other_score"].fill_null(0).item()
    assert higher["mechanism"].item() == ("wrong_class" if other >= own + 1e-3 else "low_score")
    assert deployed["mechanism"].item() == ("suppressed" if detector.sees_candidates else "unknown")


def test_object_features_tell_places_apart(detector: Detector) -> None:
    photos = untrained.photos((96, 128), (96, 128))
    boxes = np.array([[4.0, 4, 60, 50], [64, 40, 120, 90], [4, 4, 60, 50]])
    (prepared,) = detector.prepare(photos)
    with torch.no_grad():
        candidates = detector.forward(prepared.inputs)
    first, second = object_features(candidates, prepared, [boxes, boxes[:1]])
    assert first.shape == (3, second.shape[1])
    assert first.dtype == np.float32
    if not candidates.features:
        assert first.shape[1] == 0
        return
    assert 0 < first.shape[1] <= WIDTH
    assert np.isfinite(first).all()
    np.testing.assert_allclose(first[0], first[2], rtol=1e-5, atol=1e-6)
    assert np.abs(first[0] - first[1]).max() > 1e-4
    assert np.abs(first[0] - second[0]).max() > 1e-4


def test_gradient_reaches_the_input(detector: Detector) -> None:
    if not detector.differentiable:
        pytest.skip("passes no gradient")
    (prepared,) = detector.prepare(untrained.photos((96, 128)))
    with torch.inference_mode():
        detector.forward(prepared.inputs)  # what the model caches here must not spoil the backward
    inputs = prepared.inputs.clone().requires_grad_()
    detector.forward(inputs).scores.max().backward()
    assert inputs.grad is not None
    assert torch.isfinite(inputs.grad).all()
    assert inputs.grad.abs().sum() > 0


def test_inside_and_outside_of_no_grad_alike(detector: Detector) -> None:
    (prepared,) = detector.prepare(untrained.photos((96, 128)))
    outside = detector.forward(prepared.inputs)
    with torch.no_grad():
        inside = detector.forward(prepared.inputs)
    torch.testing.assert_close(outside.scores.detach(), inside.scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(outside.boxes.detach(), inside.boxes, atol=1e-2, rtol=0)


def test_leaves_the_model_as_it_was(detector: Detector) -> None:
    model = getattr(detector, "model", None)
    if not isinstance(model, torch.nn.Module):
        pytest.skip("holds no PyTorch model")

    def state() -> list[object]:
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        modules = [(module.training, *[len(getattr(module, name)) for name in hooks]) for module in model.modules()]
        return [modules, [(item.requires_grad, item.grad is None) for item in model.parameters()]]

    (prepared,) = detector.prepare(untrained.photos((96, 128)))
    before = state()
    detector.select(detector.forward(prepared.inputs), prepared)
    with torch.inference_mode():
        detector.forward(prepared.inputs)
    assert state() == before


FEW_FORWARDS: dict[str, dict[str, int]] = {
    "drise": {"n_masks": 6},
    "extremal": {"n_masks": 14},
    "integrated_gradients": {"n_steps": 2},
    "feature_ablation": {"cells": 2},
    "occlusion": {"cells": 1},
    "kernel_shap": {"cells": 2, "n_samples": 6},
}


@pytest.mark.parametrize(
    "name",
    # It takes many backwards; that there is a gradient at all, the others show.
    [pytest.param(name, marks=pytest.mark.slow) if name == "extremal" else name for name in METHODS],
)
def test_attribution_methods_map_two_objects(detector: Detector, name: str) -> None:
    (prepared,) = detector.prepare(untrained.photos((48, 64)))
    height, width = prepared.inputs.shape[-2:]
    boxes = torch.tensor([[0.1, 0.1, 0.7, 0.8], [0.4, 0.3, 1.0, 0.9]]) * torch.tensor([width, height] * 2)
    score = Score(detector, boxes, torch.tensor([0, 1]))
    if not detector.differentiable and name not in PERTURBATION_METHODS:
        with pytest.raises(ValueError, match="differentiable"):
            METHODS[name](score, prepared.inputs)
        return
    maps = METHODS[name](score, prepared.inputs, **FEW_FORWARDS.get(name, {}))
    assert maps.shape == (1, 2, height, width)
    assert torch.isfinite(maps).all()
    assert maps.abs().sum() > 0


def test_no_photos(detector: Detector) -> None:
    assert detector.prepare([]) == []


def test_equals_the_frameworks_own_prediction(opened: Opened) -> None:
    if opened.case.predict is None:
        pytest.skip("there is no other prediction to compare with")
    photos = untrained.photos(*SHAPES)
    found = run(opened.detector, photos)
    assert sum(map(len, found)) > len(photos)
    for photo, ours in zip(photos, found, strict=True):
        assert_alike(ours, opened.case.predict(opened.config, photo), pixels=1e-2, score=1e-3)


def test_half_precision_gives_float32_near_the_full(detector: Detector) -> None:
    if not hasattr(detector, "precision"):
        pytest.skip("has no precision of its own")
    half = dataclasses.replace(detector, precision="half")
    (prepared,) = detector.prepare(untrained.photos((96, 128)))
    with torch.no_grad():
        near, full = half.forward(prepared.inputs), detector.forward(prepared.inputs)
    assert near.boxes.dtype == near.scores.dtype == torch.float32
    assert all(level.dtype == torch.float32 for level in near.features)
    assert not torch.equal(near.scores, full.scores)
    # Two-stage and query detectors choose what they look at, and rounding may choose another place.
    apart = (near.scores.flatten().sort().values - full.scores.flatten().sort().values).abs()
    assert apart.mean() < 0.02


def test_half_precision_needs_cuda(opened: Opened) -> None:
    if not hasattr(opened.detector, "precision"):
        pytest.skip("has no precision of its own")
    with pytest.raises(DetectorError, match=r"detector.precision: half needs a CUDA device, .* runs on cpu"):
        load(opened.config.model_copy(update={"precision": "half"}), "cpu")


@pytest.mark.gpu
def test_cuda_finds_what_the_cpu_finds(opened: Opened) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    photos = untrained.photos(*SHAPES)
    full = load(opened.config.model_copy(update={"precision": "full"}), "cuda")
    for ours, theirs in zip(run(full, photos), run(opened.detector, photos), strict=True):
        assert_alike(ours, theirs, pixels=0.5, score=1e-2)
    half = load(opened.config, "cuda")
    (prepared,) = half.prepare(photos[:1])
    with torch.no_grad():
        assert half.forward(prepared.inputs).boxes.dtype == torch.float32

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import untrained
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from untrained import NAMES
from untrained_torchvision import SMALL, build, calibrate, save, threshold_that_leaves

from xai import tables
from xai.config import DetectorConfig
from xai.detect import errors, summarise
from xai.detect.detector import load
from xai.detect.torchvision import ARCHITECTURES, Torchvision
from xai.exceptions import DetectorError

LARGE = [name for name in ARCHITECTURES if "small" not in name and "320" not in name]
"""Architectures that take seconds to build."""


def open_detector(weights: Path, **options: object) -> Torchvision:
    detector = load(DetectorConfig(kind="torchvision", weights=weights, **options), "cpu")
    assert isinstance(detector, Torchvision)
    return detector


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
        *[pytest.param(name, 80, 300, marks=pytest.mark.slow) for name in LARGE],
    ],
)
def test_detections_equal_the_model_photo_by_photo(
    architecture: str, above: int | None, limit: int, tmp_path: Path
) -> None:
    background = not architecture.startswith("fcos")
    weights = save(build(architecture, len(NAMES) + background), tmp_path / "model.pt", architecture)
    threshold = threshold_that_leaves(above, weights, photos()) if above else 0.0
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
            assert (distance.min(axis=0, initial=np.inf) < 0.02).all()
            assert (distance.min(axis=1, initial=np.inf) < 0.02).all()
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


@pytest.mark.parametrize("architecture", ["fcos_small", "ssdlite320_mobilenet_v3_large"])
def test_features_are_those_that_the_head_reads_from_one_run(architecture: str, tmp_path: Path) -> None:
    count = len(NAMES) + architecture.startswith("ssd")
    detector = open_detector(save(build(architecture, count), tmp_path / "model.pt", architecture))
    prepared = detector.prepare(photos())[0]
    runs = []
    handle = detector.model.backbone.register_forward_hook(lambda module, inputs, output: runs.append(output))
    with torch.no_grad():
        features = detector.forward(prepared.inputs).features
    handle.remove()
    assert len(runs) == 1
    for level, read in zip(features, runs[0].values(), strict=True):
        # The head's maps lie on the padded input; what lies beyond the photo is cut off.
        torch.testing.assert_close(level, read[..., : level.shape[-2], : level.shape[-1]])
    if architecture == "fcos_small":
        assert tuple(prepared.inputs.shape[-2:]) == (128, 170)
        assert [tuple(level.shape[-2:]) for level in features] == [(16, 22), (8, 11), (4, 6)]


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


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (1, 1)])
def test_photos_too_thin_for_torchvision_are_stretched(shape: tuple[int, int], tmp_path: Path) -> None:
    detector = open_detector(save(build("fcos_small"), tmp_path / "model.pt", "fcos_small"))
    (prepared,) = detector.prepare([np.full((*shape, 3), 200, dtype=np.uint8)])
    assert max(prepared.inputs.shape[-2:]) <= 192
    height, width = prepared.inputs.shape[-2:]
    np.testing.assert_allclose(prepared.sizes * prepared.scale, [[width, height]])
    torch.testing.assert_close(prepared.inputs, torch.full_like(prepared.inputs, 200 / 255))
    with torch.no_grad():
        (found,) = detector.select(detector.forward(prepared.inputs), prepared)
    assert np.isfinite(found.boxes).all()


@pytest.mark.parametrize("family", ["FCOS", "FasterRCNN"])
def test_half_precision_gives_full_boxes(family: str, tmp_path: Path) -> None:
    full = open_detector(save(build("fcos_small"), tmp_path / "model.pt", "fcos_small"))
    if family == "FasterRCNN":
        anchors = AnchorGenerator(((16,), (32,), (64,)), ((1.0,),) * 3)
        model = FasterRCNN(full.model.backbone, len(NAMES) + 1, rpn_anchor_generator=anchors, **SMALL)
        calibrate(model)
        full = dataclasses.replace(full, model=model.eval())
    half = dataclasses.replace(full, precision="half")
    (prepared, _) = full.prepare(photos())
    with torch.no_grad():
        expected, got = full.forward(prepared.inputs), half.forward(prepared.inputs)
    for values in (got.boxes, got.scores, *got.features):
        assert values.dtype == torch.float32
        assert torch.isfinite(values).all()
    assert (got.boxes != got.boxes.half()).float().mean() > 0.2, "boxes lie on the grid of float16"
    assert (got.features[0] == got.features[0].half()).all(), "features were not computed in half precision"
    if family == "FCOS":  # rounding may reorder proposals, the places of a dense head stay
        torch.testing.assert_close(got.scores, expected.scores, atol=0.02, rtol=0)
        torch.testing.assert_close(got.boxes, expected.boxes, atol=0.5, rtol=0)


class Fixed(nn.Module):
    """Answers the same, whatever it is asked."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *asked: object) -> object:
        return self.answer


def faster_rcnn_that_proposes(boxes: list[list[float]], logits: list[list[float]], folder: Path) -> Torchvision:
    """A Faster R-CNN whose RPN proposes these boxes and whose box head leaves them in place with these logits."""
    architecture = "fasterrcnn_mobilenet_v3_large_320_fpn"
    model = build(architecture, len(NAMES) + 1)
    detector = open_detector(save(model, folder / "model.pt", architecture), precision="full")
    detector.model.rpn = Fixed(([torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)], {}))
    scores = torch.tensor(logits, dtype=torch.float32).reshape(-1, 1 + len(NAMES))
    detector.model.roi_heads.box_predictor = Fixed((scores, torch.zeros(len(scores), 4 * (1 + len(NAMES)))))
    return detector


def lost_at(detector: Torchvision, objects: list[list[float]]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Mechanism of each of these objects, all cars and all missed, on a photo of the network's own input size."""
    (prepared,) = detector.prepare([np.zeros((128, 128, 3), dtype=np.uint8)])
    assert prepared.scale.tolist() == [[1, 1]]
    with torch.no_grad():
        candidates = detector.forward(prepared.inputs)
    boxes = np.array(objects)
    told = summarise(candidates, prepared, [boxes], [np.zeros(len(boxes), dtype=np.int64)], 0.5)
    rows = pl.DataFrame(
        {
            "split": "eval",
            "image_id": "a.jpg",
            "object_id": range(len(boxes)),
            "label": "car",
            "outcome": "missed",
            **dict(zip(("x1", "y1", "x2", "y2"), boxes.T, strict=True)),
        }
    )
    codes = pl.DataFrame({"code": range(len(NAMES)), "name": NAMES})
    columns = pl.DataFrame(told).with_columns(pl.all().fill_nan(None))
    other = pl.col("cand_other_label").replace_strict(codes["code"], codes["name"], default=None)
    kept = tables.conform(rows, tables.TABLES["objects"]).hstack(columns.with_columns(other))
    none = tables.conform(pl.DataFrame({"image_id": []}, schema={"image_id": pl.String}), tables.TABLES["predictions"])
    found = errors(kept, none, score_threshold=detector.score_threshold, match_iou=0.5)
    return found["mechanism"].to_list(), told


def test_rpn_and_box_head_are_told_apart(tmp_path: Path) -> None:
    """Two proposals: on the first car with a score of 0.1, and on the road beside the second."""
    background = 4.0
    detector = faster_rcnn_that_proposes(
        [[10, 10, 50, 50], [60, 100, 80, 120]],
        [[background, background + np.log(0.1 / 0.9), -50, -50], [background, -50, -50, -50]],
        tmp_path,
    )
    mechanisms, told = lost_at(detector, [[10, 10, 50, 54], [80, 20, 120, 60]])
    assert mechanisms == ["low_score", "no_candidate"]
    np.testing.assert_allclose(told["cand_score"], [0.1, np.nan], atol=1e-5)
    np.testing.assert_allclose(told["cand_max_iou"], [40 / 44, 0], atol=1e-4)


def test_a_proposal_that_the_box_head_turns_down_is_known_from_none(tmp_path: Path) -> None:
    detector = faster_rcnn_that_proposes([[10, 10, 50, 50]], [[9.0, -9, -9, -9]], tmp_path)
    mechanisms, told = lost_at(detector, [[10, 10, 50, 50], [80, 20, 120, 60]])
    assert mechanisms == ["low_score", "no_candidate"]
    np.testing.assert_allclose(told["cand_max_iou"], [1, 0], atol=1e-4)
    np.testing.assert_array_equal(told["cand_proposal_iou"], told["cand_max_iou"])


def test_no_proposals_at_all(tmp_path: Path) -> None:
    detector = faster_rcnn_that_proposes([], [], tmp_path)
    assert lost_at(detector, [[10, 10, 50, 50]])[0] == ["no_candidate"]
    (prepared,) = detector.prepare([np.zeros((128, 128, 3), dtype=np.uint8)])
    (found,) = detector.select(detector.forward(prepared.inputs), prepared)
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"names": 5}, "expected the class names"),
        ({"names": [["a"]]}, "expected the class names"),
        ({"arguments": {"min_size": "x"}}, "expected weights of fcos_small"),
        ({"arguments": [1]}, "expected weights of fcos_small"),
        ({"state_dict": {1: torch.zeros(1)}}, "expected a state dict"),
    ],
)
def test_checkpoints_that_tell_nonsense_are_refused(told: dict[str, object], match: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    sound = {"architecture": "fcos_small", "names": ["a"], "state_dict": {"a": torch.zeros(1)}}
    torch.save(sound | told, path)
    with pytest.raises(DetectorError, match=match):
        load(DetectorConfig(kind="torchvision", weights=path), "cpu")


def test_a_checkpoint_of_ultralytics_names_the_kind_that_reads_it(tmp_path: Path) -> None:
    weights = untrained.yolo("yolo11n.yaml", tmp_path / "yolo.pt")
    with pytest.raises(DetectorError, match=r"checkpoint of ultralytics.*: set detector\.kind: ultralytics"):
        load(DetectorConfig(kind="torchvision", weights=weights), "cpu")

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import untrained

from attributes import decode
from xai.config import DetectorConfig
from xai.detect.detector import load
from xai.detect.ultralytics import Ultralytics
from xai.exceptions import DetectorError


def open_yolo(weights: Path, **options: object) -> Ultralytics:
    detector = load(DetectorConfig(kind="ultralytics", weights=weights, **options), "cpu")
    assert isinstance(detector, Ultralytics)
    return detector


@pytest.fixture(scope="module")
def yolo(yolo_weights: Path) -> Ultralytics:
    return open_yolo(yolo_weights)


def random_photos(*shapes: tuple[int, int]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def compare_with_predict(yolo: Ultralytics, weights: Path, files: list[Path]) -> tuple[int, float, float]:
    """Check that every file gives what ``predict`` gives; tell the detections and the greatest differences."""
    from ultralytics import YOLO

    theirs = YOLO(str(weights))
    count, score_apart, box_apart = 0, 0.0, 0.0
    for start in range(0, len(files), 8):
        batch = files[start : start + 8]
        found = {}
        with torch.inference_mode():
            for prepared in yolo.prepare([decode.read(file).pixels for file in batch]):
                found.update(zip(prepared.indices, yolo.select(yolo.forward(prepared.inputs), prepared), strict=True))
        assert sorted(found) == list(range(len(batch)))
        for index, file in enumerate(batch):
            boxes = theirs.predict(str(file), device="cpu", verbose=False)[0].boxes
            ours = found[index]
            np.testing.assert_array_equal(ours.labels, boxes.cls.numpy(), err_msg=file.name)
            np.testing.assert_allclose(ours.scores, boxes.conf.numpy(), atol=1e-3, err_msg=file.name)
            np.testing.assert_allclose(ours.boxes, boxes.xyxy.numpy(), atol=1e-3, err_msg=file.name)
            assert (np.diff(ours.scores) <= 0).all()
            count += len(ours)
            score_apart = max(score_apart, float(np.abs(ours.scores - boxes.conf.numpy()).max(initial=0)))
            box_apart = max(box_apart, float(np.abs(ours.boxes - boxes.xyxy.numpy()).max(initial=0)))
    return count, score_apart, box_apart


def test_detections_equal_predict_photo_by_photo(
    yolo: Ultralytics, yolo_weights: Path, data: Path, tmp_path: Path
) -> None:
    photos = [cv2.imread(str(path)) for path in sorted((data / "voc/eval/JPEGImages").glob("*.jpg"))[:8]]
    photos[0] = photos[0][:41, :]  # much wider than high
    photos[1] = cv2.resize(photos[1], (1301, 977))  # scaled down, odd sides
    files = [tmp_path / f"{index}.png" for index in range(len(photos))]
    for file, photo in zip(files, photos, strict=True):
        cv2.imwrite(str(file), photo)
    count, _, _ = compare_with_predict(yolo, yolo_weights, files)
    assert count > 20


@pytest.mark.slow
def test_detections_equal_predict_on_a_hundred_photos(yolo: Ultralytics, yolo_weights: Path, data: Path) -> None:
    files = [file for folder in ("voc/eval", "coco") for file in sorted((data / folder).rglob("*.jpg"))[:50]]
    assert len(files) == 100
    count, score_apart, box_apart = compare_with_predict(yolo, yolo_weights, files)
    print(f"{count} detections, scores differ by ≤ {score_apart:.2g}, boxes by ≤ {box_apart:.2g} px")  # see with -s
    assert count > 300


def test_max_detections_and_threshold_are_the_deployed_ones(yolo_weights: Path, data: Path) -> None:
    from ultralytics import YOLO

    path = min((data / "voc/eval/JPEGImages").glob("*.jpg"))
    photo = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
    detector = open_yolo(yolo_weights, score_threshold=0.001, nms_iou=0.5, max_detections=7, image_size=310)
    (prepared,) = detector.prepare([photo])
    (found,) = detector.select(detector.forward(prepared.inputs), prepared)
    boxes = (
        YOLO(str(yolo_weights))
        .predict(photo[..., ::-1], conf=0.001, iou=0.5, max_det=7, imgsz=320, device="cpu", verbose=False)[0]
        .boxes
    )
    assert len(found) == 7
    np.testing.assert_allclose(found.boxes, boxes.xyxy.numpy(), atol=1e-2)


def test_photo_and_input_pixels_correspond(yolo: Ultralytics) -> None:
    for prepared in yolo.prepare(random_photos((480, 640), (333, 500), (1000, 30), (77, 640))):
        height, width = prepared.inputs.shape[-2:]
        assert height % 32 == 0
        assert width % 32 == 0
        corners = prepared.sizes * prepared.scale + prepared.offset
        assert (prepared.offset >= 0).all()
        assert (corners <= [width, height]).all()
        padding = prepared.inputs[0, :, : int(prepared.offset[0, 1])]
        assert (padding == 114 / 255).all()


def test_candidates_carry_a_gradient_even_after_inference_mode(yolo: Ultralytics) -> None:
    (prepared,) = yolo.prepare(random_photos((96, 640)))
    with torch.inference_mode():
        yolo.forward(prepared.inputs)
    inputs = prepared.inputs.clone().requires_grad_()
    candidates = yolo.forward(inputs)
    assert candidates.boxes.shape[:2] == candidates.scores.shape[:2]
    assert candidates.scores.shape[2] == len(yolo.names)
    (candidates.scores.max() + candidates.boxes.mean()).backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in yolo.model.parameters())


def test_gradient_equals_finite_differences(yolo: Ultralytics) -> None:
    (prepared,) = yolo.prepare(random_photos((64, 64)))
    inputs = prepared.inputs.clone().requires_grad_()
    yolo.forward(inputs).scores.log().mean().backward()
    assert inputs.grad is not None
    slope = float(inputs.grad.norm())
    direction = inputs.grad / slope
    step = 1e-2
    with torch.no_grad():
        ahead = yolo.forward(prepared.inputs + step * direction).scores.log().mean()
        behind = yolo.forward(prepared.inputs - step * direction).scores.log().mean()
    assert float(ahead - behind) / (2 * step) == pytest.approx(slope, rel=0.05)


def test_batch_of_one_shape_equals_photos_alone(yolo: Ultralytics) -> None:
    (prepared,) = yolo.prepare(random_photos((96, 128), (96, 128)))
    with torch.no_grad():
        together = yolo.forward(prepared.inputs)
        alone = yolo.forward(prepared.inputs[1:])
    torch.testing.assert_close(together.scores[1:], alone.scores, atol=1e-4, rtol=0)


def test_no_photos(yolo: Ultralytics) -> None:
    assert yolo.prepare([]) == []


def test_card_tells_what_the_checkpoint_tells(yolo: Ultralytics) -> None:
    assert yolo.card.architecture == "yolo11n.yaml"
    assert yolo.card.trained_at is not None
    assert yolo.card.trained_at.startswith("20")
    assert len(yolo.card.sha256 or "") == 64


def test_wrong_number_of_names_is_an_error(yolo_weights: Path) -> None:
    with pytest.raises(DetectorError, match=r"detector.names: expected 80 class names .* got 2"):
        open_yolo(yolo_weights, names=("a", "b"))


def test_absent_package_names_the_extra_and_its_licence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ultralytics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder)])
    with pytest.raises(DetectorError, match=r"AGPL-3.0.*pip install 'xai-toolkit\[yolo\]'"):
        open_yolo(tmp_path / "model.pt")


def test_other_ultralytics_checkpoints_are_refused(tmp_path: Path) -> None:
    tasks = pytest.importorskip("ultralytics.nn.tasks")
    torch.save({"model": tasks.ClassificationModel("yolo11n-cls.yaml", verbose=False)}, tmp_path / "classify.pt")
    with pytest.raises(DetectorError, match="expected a YOLO or RT-DETR checkpoint"):
        open_yolo(tmp_path / "classify.pt")


@pytest.mark.parametrize(
    ("architecture", "end_to_end", "family"),
    [
        ("yolov8n.yaml", False, "one-to-many"),
        ("yolo26n.yaml", True, "one-to-one"),
    ],
)
def test_family_is_the_deployed_one(architecture: str, end_to_end: bool, family: str, tmp_path: Path) -> None:
    detector = open_yolo(untrained.yolo(architecture, tmp_path / "model.pt", end_to_end=end_to_end))
    assert detector.family == family
    assert detector.names == untrained.NAMES


def test_the_one_to_one_head_is_deployed_where_the_config_says_so(tmp_path: Path) -> None:
    """As ``predict`` does with ``nms=False``; without the key it suppresses, whatever the head could do."""
    from ultralytics import YOLO

    weights = untrained.yolo("yolo26n.yaml", tmp_path / "model.pt")
    assert open_yolo(weights).family == "one-to-many"
    detector = open_yolo(weights, end_to_end=True, score_threshold=0.05, image_size=160)
    assert detector.family == "one-to-one"
    (photo,) = untrained.photos((120, 160))
    (prepared,) = detector.prepare([photo])
    (found,) = detector.select(detector.forward(prepared.inputs), prepared)
    options = {"nms": False, "conf": 0.05, "imgsz": 160, "device": "cpu", "verbose": False}
    boxes = YOLO(str(weights)).predict(photo[..., ::-1], **options)[0].boxes
    assert len(found) == len(boxes) > 0
    np.testing.assert_allclose(found.scores, boxes.conf.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.boxes, boxes.xyxy.numpy(), atol=1e-2)


def test_scores_of_an_end_to_end_head_are_read_before_its_choice(tmp_path: Path) -> None:
    detector = open_yolo(untrained.yolo("yolo26n.yaml", tmp_path / "model.pt", end_to_end=True), image_size=320)
    (prepared,) = detector.prepare(untrained.photos((320, 320)))
    candidates = detector.forward(prepared.inputs)
    assert candidates.scores.shape == (1, 40 * 40 + 20 * 20 + 10 * 10, 3)
    with torch.no_grad():
        best = detector.model(prepared.inputs)[0][0]
    torch.testing.assert_close(candidates.scores.flatten().topk(300).values, best[:, 4], atol=1e-5, rtol=0)


def test_image_size_is_that_of_the_training_unless_the_config_says_otherwise(tmp_path: Path) -> None:
    weights = untrained.yolo("yolov8n.yaml", tmp_path / "model.pt")
    assert open_yolo(weights).image_size == 160
    assert open_yolo(weights, image_size=640).image_size == 640


def test_checkpoint_with_the_loss_of_its_training(tmp_path: Path) -> None:
    from ultralytics.utils import IterableSimpleNamespace

    weights = untrained.yolo("yolov8n.yaml", tmp_path / "plain.pt")
    checkpoint = torch.load(weights, weights_only=False)
    checkpoint["model"].args = IterableSimpleNamespace(box=7.5, cls=0.5, dfl=1.5, overlap_mask=True)
    checkpoint["model"].criterion = checkpoint["model"].init_criterion()
    torch.save(checkpoint, tmp_path / "loss.pt")
    photo = random_photos((96, 128))
    inputs = open_yolo(weights).prepare(photo)[0].inputs
    scores = [open_yolo(path).forward(inputs).scores for path in (weights, tmp_path / "loss.pt")]
    torch.testing.assert_close(*scores)


def test_untrained_v8_from_yaml_loads_without_trust(tmp_path: Path) -> None:
    tasks = pytest.importorskip("ultralytics.nn.tasks")
    torch.save({"model": tasks.DetectionModel("yolov8n.yaml", nc=3, verbose=False).half()}, tmp_path / "v8.pt")
    detector = open_yolo(tmp_path / "v8.pt")
    assert len(detector.names) == 3
    (prepared,) = detector.prepare(random_photos((64, 64)))
    assert detector.forward(prepared.inputs).scores.shape == (1, 8400, 3)


@pytest.mark.parametrize("names", [3, None, {"0": "a", "1": "b"}, {0: "a", "b": "b"}])
def test_class_names_without_indices_are_asked_for(names: object, tmp_path: Path) -> None:
    path = untrained.yolo("yolov8n.yaml", tmp_path / "model.pt")
    checkpoint = torch.load(path, weights_only=False)
    model = checkpoint.get("ema") or checkpoint["model"]
    count = len(model.names)
    model.names = names
    torch.save(checkpoint | {"train_args": [1]}, path)
    with pytest.raises(DetectorError, match=r"name its classes by their indices; give detector.names"):
        load(DetectorConfig(kind="ultralytics", weights=path), "cpu")
    named = tuple(map(str, range(count)))
    assert load(DetectorConfig(kind="ultralytics", weights=path, names=named), "cpu").names == named

import dataclasses
import hashlib
import json
import pickle
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained import NAMES, photos

from xai.config import DetectorConfig
from xai.detect.detector import load
from xai.detect.transformers import Transformers
from xai.exceptions import DetectorError
from xai.types import Detections

pytest.importorskip("transformers", reason="the hf extra is not installed")
import transformers
from huggingface_hub import is_offline_mode
from untrained_transformers import predict, save

ARCHITECTURES = ["detr", "deformable_detr", "rt_detr", "rt_detr_v2"]


def open_detector(folder: Path, **options: object) -> Transformers:
    detector = load(DetectorConfig(kind="transformers", weights=folder, **options), "cpu")
    assert isinstance(detector, Transformers)
    return detector


def detect(detector: Transformers, photo: np.ndarray) -> Detections:
    (prepared,) = detector.prepare([photo])
    with torch.no_grad():
        (found,) = detector.select(detector.forward(prepared.inputs), prepared)
    return found


def assert_equals_the_pipeline(folder: Path, photo: np.ndarray, **options: object) -> int:
    detector = open_detector(folder, **options)
    ours = detect(detector, photo)
    theirs = predict(DetectorConfig(kind="transformers", weights=folder, **options), photo)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-3)
    return len(ours)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("saved")
    return {name: save(name, root / name) for name in ARCHITECTURES}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("options", [{"score_threshold": 0.3}, {"score_threshold": 0.2, "max_detections": 3}])
def test_detections_equal_the_pipeline(architecture: str, options: dict[str, float], folders: dict[str, Path]) -> None:
    assert assert_equals_the_pipeline(folders[architecture], photos((96, 128))[0], **options) >= 3


def test_every_photo_has_at_most_the_packages_number_of_pairs(tmp_path: Path) -> None:
    """Deformable DETR hands on its best 100 pairs of query and class, however many pass."""
    folder = save("deformable_detr", tmp_path, num_queries=60)
    assert assert_equals_the_pipeline(folder, photos((96, 128))[0], score_threshold=0.0) == 100


@pytest.mark.parametrize(
    "processor",
    [
        {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.3, 0.2, 0.5]},
        {"do_rescale": False, "image_mean": [100.0] * 3, "image_std": [50.0] * 3},
        {"do_normalize": False},
        {"do_rescale": True, "rescale_factor": 1 / 127.5, "resample": 3},
        {"size": {"max_height": 120, "max_width": 150}},
        {"size": {"height": 96, "width": 100}},
        {"do_resize": False},
        {"do_pad": True, "pad_size": {"height": 256, "width": 288}},
    ],
)
def test_photos_are_prepared_as_the_image_processor_says(processor: dict[str, object], tmp_path: Path) -> None:
    folder = save("detr", tmp_path, processor=processor)
    assert assert_equals_the_pipeline(folder, photos((96, 128))[0], score_threshold=0.2) > 0


def test_no_object_is_no_class_and_scores_are_a_softmax_with_it(folders: dict[str, Path]) -> None:
    detector = open_detector(folders["detr"])
    (prepared,) = detector.prepare(photos((96, 128)))
    with torch.no_grad():
        candidates = detector.forward(prepared.inputs)
        outputs = detector.model(detector._normalise(prepared.inputs))
    assert outputs.logits.shape[-1] == len(NAMES) + 1
    exponentials = outputs.logits.exp()
    expected = exponentials[..., :-1] / exponentials.sum(-1, keepdim=True)
    torch.testing.assert_close(candidates.scores, expected)
    assert detector.names == NAMES


def test_indices_that_were_never_annotated_keep_their_column(tmp_path: Path) -> None:
    folder = save("detr", tmp_path, id2label={0: "N/A", 1: "car", 2: "N/A", 3: "bus"})
    detector = open_detector(folder)
    assert detector.names == ("N/A", "car", "N/A", "bus")
    (prepared,) = detector.prepare(photos((96, 128)))
    assert detector.forward(prepared.inputs).scores.shape[-1] == 4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_features_are_the_encoders_maps_from_one_run(architecture: str, folders: dict[str, Path]) -> None:
    detector = open_detector(folders[architecture])
    (prepared,) = detector.prepare(photos((96, 128), (96, 128)))
    read: list[torch.Tensor] = []
    encoder = detector.model.model.encoder
    handle = encoder.register_forward_hook(lambda module, inputs, output: read.append(output.last_hidden_state))
    with torch.no_grad():
        features = detector.forward(prepared.inputs).features
    handle.remove()
    assert len(read) == 1
    height, width = prepared.inputs.shape[-2:]
    strides = {"detr": [32], "deformable_detr": [8, 16, 32, 64]}.get(architecture, [8, 16, 32])
    assert [tuple(level.shape) for level in features] == [
        (2, 32, -(-height // stride), -(-width // stride)) for stride in strides
    ]
    if isinstance(read[0], torch.Tensor):
        flat = torch.cat([level.flatten(2).transpose(1, 2) for level in features], dim=1)
        assert torch.equal(flat, read[0])
    else:
        assert all(torch.equal(level, kept) for level, kept in zip(features, read[0], strict=True))


def test_a_failing_forward_leaves_no_hooks(folders: dict[str, Path]) -> None:
    detector = open_detector(folders["deformable_detr"])
    with pytest.raises(RuntimeError):
        detector.forward(torch.rand(1, 4, 96, 128))
    assert not any(module._forward_hooks for module in detector.model.modules())


@pytest.mark.parametrize("architecture", ["detr", "deformable_detr"])
def test_features_of_a_padded_input_lie_on_the_photo(architecture: str, tmp_path: Path) -> None:
    size = {"height": 256, "width": 288}
    folder = save(architecture, tmp_path, processor={"do_pad": True, "pad_size": size})
    detector = open_detector(folder)
    (prepared,) = detector.prepare(photos((96, 128)))
    height, width = prepared.inputs.shape[-2:]
    assert (height, width) == (128, 170)
    finest = detector.forward(prepared.inputs).features[0]
    stride = 32 if architecture == "detr" else 8
    assert finest.shape[-2:] == (-(-height // stride), -(-width // stride))


@pytest.mark.parametrize("architecture", ["detr", "deformable_detr"])  # RT-DETR keeps a part of it back
def test_gradient_equals_finite_differences(architecture: str, folders: dict[str, Path]) -> None:
    detector = open_detector(folders[architecture])
    detector = dataclasses.replace(detector, model=detector.model.double())
    (prepared,) = detector.prepare(photos((96, 128)))
    inputs = prepared.inputs.double().requires_grad_()

    def target(values: torch.Tensor) -> torch.Tensor:
        return detector.model(detector._normalise(values)).logits[0, :5].mean()

    target(inputs).backward()
    slope = float(inputs.grad.norm())
    direction = inputs.grad / slope
    step = 1e-4
    with torch.no_grad():
        rise = float(target(inputs + step * direction) - target(inputs - step * direction))
    assert rise / (2 * step) == pytest.approx(slope, rel=0.05)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision_gives_full_boxes(architecture: str, folders: dict[str, Path]) -> None:
    full = open_detector(folders[architecture])
    half = dataclasses.replace(full, precision="half")
    (prepared,) = full.prepare(photos((96, 128)))
    with torch.no_grad():
        expected, got = full.forward(prepared.inputs), half.forward(prepared.inputs)
    for values in (got.boxes, got.scores, *got.features):
        assert values.dtype == torch.float32
        assert torch.isfinite(values).all()
    if architecture in {"detr", "deformable_detr"}:  # rounding may reorder the queries of the others
        torch.testing.assert_close(got.scores, expected.scores, atol=0.05, rtol=0)
        torch.testing.assert_close(got.boxes, expected.boxes, atol=2, rtol=0)


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (1, 1)])
@pytest.mark.parametrize("architecture", ["detr", "rt_detr"])
def test_photos_too_thin_for_the_image_processor(
    architecture: str, shape: tuple[int, int], folders: dict[str, Path]
) -> None:
    detector = open_detector(folders[architecture])
    (prepared,) = detector.prepare([np.full((*shape, 3), 200, dtype=np.uint8)])
    height, width = prepared.inputs.shape[-2:]
    np.testing.assert_allclose(prepared.sizes * prepared.scale, [[width, height]])
    torch.testing.assert_close(prepared.inputs, torch.full_like(prepared.inputs, 200 / 255))
    with torch.no_grad():
        (found,) = detector.select(detector.forward(prepared.inputs), prepared)
    assert np.isfinite(found.boxes).all()


def test_card_and_names(tmp_path: Path) -> None:
    folder = save("rt_detr", tmp_path / "modèle")
    detector = open_detector(folder, names=("a", "b", "c"))
    assert detector.names == ("a", "b", "c")
    card = detector.card
    assert card.architecture == "RTDetrForObjectDetection"
    assert card.sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert card.details == {"transformers_version": transformers.__version__}
    assert card.trained_at is None
    with pytest.raises(DetectorError, match=r"detector.names: expected 3 class names .* got 2"):
        open_detector(folder, names=("a", "b"))


def test_options_of_no_effect_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(DetectorError, match=r"detector.nms_iou: DetrForObjectDetection suppresses nothing; leave"):
        open_detector(folders["detr"], nms_iou=0.7)
    with pytest.raises(DetectorError, match=r"detector.image_size: .* preprocessor_config.json"):
        open_detector(folders["detr"], image_size=640)


def test_weights_in_half_precision_run_in_full(tmp_path: Path) -> None:
    folder = save("detr", tmp_path)
    transformers.DetrForObjectDetection.from_pretrained(folder).half().save_pretrained(folder)
    assert next(open_detector(folder).model.parameters()).dtype == torch.float32


class Exploit:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


def test_a_pickle_is_refused_unless_trusted(tmp_path: Path) -> None:
    folder = save("detr", tmp_path / "model")
    plain = transformers.DetrForObjectDetection.from_pretrained(folder).state_dict()
    (folder / "model.safetensors").unlink()
    with pytest.raises(DetectorError, match=r"expected model.safetensors in .*found no such file"):
        open_detector(folder)
    marker = tmp_path / "was-run"
    torch.save({"weights": Exploit(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(DetectorError, match=r"pytorch_model.bin is refused: it is a pickle.*trust_checkpoint: true"):
        open_detector(folder)
    assert not marker.exists()
    with pytest.raises(DetectorError, match="expected a state dict"):
        open_detector(folder, trust_checkpoint=True)
    assert marker.exists()
    torch.save(plain, folder / "pytorch_model.bin")
    assert open_detector(folder, trust_checkpoint=True).names == NAMES


def test_nothing_reaches_for_the_network_or_for_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save("detr", tmp_path / "model")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n", encoding="utf-8")
    for name in ("config.json", "preprocessor_config.json"):
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
        settings["auto_map"] = {"AutoConfig": "evil.Config", "AutoImageProcessor": "evil.Processor"}
        settings["_attn_implementation"] = settings["attn_implementation"] = "someone/attention"
        (folder / name).write_text(json.dumps(settings), encoding="utf-8")
    adapter = {"base_model_name_or_path": "someone/base", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(adapter), encoding="utf-8")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = detect(open_detector(folder), photos((96, 128))[0])
    assert np.isfinite(found.boxes).all()
    assert not (tmp_path / "was-run").exists()


def test_a_backbone_of_a_hub_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save("detr", tmp_path / "model")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings |= {"backbone_config": None, "backbone": "someone/resnet", "use_timm_backbone": False}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **options: asked.append(address))
    with pytest.raises(DetectorError, match=r"config.json asks a hub for a part .*nothing is downloaded"):
        open_detector(folder)
    assert not asked


def test_the_package_is_left_as_it_was_and_says_nothing(
    folders: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled(), is_offline_mode()
    capfd.readouterr()
    open_detector(folders["detr"])
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled(), is_offline_mode()) == before


def test_incomplete_and_foreign_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"expected a folder with config.json.*nothing is downloaded"):
        open_detector(tmp_path / "facebook" / "detr-resnet-50")
    folder = save("detr", tmp_path / "model")
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}

    def refused(name: str, content: bytes | None, match: str) -> None:
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        with pytest.raises(DetectorError, match=match):
            open_detector(folder)
        (folder / name).write_bytes(kept[name])

    refused("preprocessor_config.json", None, "expected a folder with preprocessor_config.json")
    refused("config.json", b'{"model_type": "bert"}', r"expected model_type .*rt_detr_v2; got 'bert'")
    refused("config.json", b"[1]", "expected a mapping, got list")
    refused("config.json", b"\xff{", "expected JSON, could not read it")
    refused("config.json", b'{"model_type": "detr", "d_model": "wide"}', "DetrForObjectDetection cannot be built")
    refused("preprocessor_config.json", b'{"size": "large"}', r"DetrImageProcessor cannot be built")
    refused("model.safetensors", kept["model.safetensors"][:5000], "expected safetensors, could not read it")
    refused("model.safetensors", pickle.dumps([1]), "expected safetensors, could not read it")
    assert open_detector(folder).names == NAMES


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save("rt_detr", tmp_path)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "class_embed" not in name}
    save_file(kept, folder / "model.safetensors")
    with pytest.raises(
        DetectorError, match=r"expected all weights of RTDetrForObjectDetection; missing are .*class_em"
    ):
        open_detector(folder)
    counters = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    save_file(counters, folder / "model.safetensors")
    open_detector(folder)


def test_weights_for_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    folder = save("deformable_detr", tmp_path)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings["id2label"] = {"0": "a", "1": "b"}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(DetectorError, match="DeformableDetrForObjectDetection cannot be built from this folder"):
        open_detector(folder)


def test_absent_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DetectorError, match=r"pip install 'xai-toolkit\[hf\]'"):
        open_detector(folders["detr"])

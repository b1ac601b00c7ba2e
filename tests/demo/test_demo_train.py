import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from xai.demo import train
from xai.demo.actors import CLASSES
from xai.demo.conditions import make
from xai.demo.run import CHECKPOINT
from xai.detect.fcos import fcos_small

SETTINGS = train.Settings(scenes=4, epochs=1, batch_size=2)


def load(path: Path) -> tuple[dict[str, object], torch.nn.Module]:
    checkpoint = torch.load(path, weights_only=True)
    model = fcos_small(len(checkpoint["names"]))
    model.load_state_dict({name: value.float() for name, value in checkpoint["state_dict"].items()})
    return checkpoint, model.eval()


def test_training_is_repeatable_and_the_checkpoint_reads_back(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    models = [train.train(SETTINGS) for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    train.save(models[0], SETTINGS, tmp_path / "new" / "detector.pt")
    checkpoint, read = load(tmp_path / "new" / "detector.pt")
    assert checkpoint["arguments"] == {"min_size": 240, "max_size": 320, **dataclasses.asdict(SETTINGS)}
    states = [model.state_dict() for model in (*models, read)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
        assert torch.allclose(value.float(), states[2][name].float(), rtol=1e-3, atol=1e-5)


def test_augmentation_mirrors_boxes_with_pixels() -> None:
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[10:20, 5:15] = 255
    boxes = np.array([[5, 10, 15, 20]], dtype=np.float32)
    seen = set()
    for seed in range(12):
        image, moved = train._augment(pixels, boxes, np.random.default_rng(seed))
        x1, y1, x2, y2 = moved[0].astype(int)
        assert image[y1:y2, x1:x2].mean() > 0.7
        assert image.mean() < 0.2
        assert image.dtype == moved.dtype == np.float32
        seen.add(x1)
    assert seen == {5, 45}


def test_shipped_checkpoint_is_small_and_holds_plain_values_only() -> None:
    assert CHECKPOINT.stat().st_size <= 4_000_000
    checkpoint, _ = load(CHECKPOINT)
    assert checkpoint["architecture"] == "fcos_small"
    assert checkpoint["names"] == list(CLASSES)
    assert str(checkpoint["trained_at"])[:2] == "20"
    assert {value.dtype for value in checkpoint["state_dict"].values()} <= {torch.float16, torch.int64}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("condition", "low", "high"), [("none", 0.85, 1.0), ("noise", 0.8, 1.0), ("sideways", 0.0, 0.7)]
)
def test_shipped_detector_finds_what_it_was_trained_for(condition: str, low: float, high: float) -> None:
    """Recall at IoU 0.5 and the demo's score threshold, on a dozen scenes that are in no data set."""
    _, model = load(CHECKPOINT)
    found = total = 0
    photos = [make(9_000_000 + seed, condition) for seed in range(12)]
    for photo in photos:
        with torch.no_grad():
            output = model([torch.from_numpy(photo.pixels / np.float32(255)).permute(2, 0, 1)])[0]
        kept = output["scores"] >= 0.45
        boxes, names = output["boxes"][kept].numpy(), [CLASSES[label] for label in output["labels"][kept].tolist()]
        for box, label in zip(photo.boxes[~photo.difficult], np.array(photo.labels)[~photo.difficult], strict=True):
            same = boxes[[name == label for name in names]]
            sides = np.minimum(box[2:], same[:, 2:]) - np.maximum(box[:2], same[:, :2])
            shared = np.maximum(sides, 0).prod(axis=1)
            union = (box[2:] - box[:2]).prod() + (same[:, 2:] - same[:, :2]).prod(axis=1) - shared
            found += bool((shared >= 0.5 * union).any())
            total += 1
    assert low <= found / total <= high
    assert train.evaluate(model, photos)[:2] == (found, total)

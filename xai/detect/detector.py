"""Opens the detector that a config names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xai.config import ADDRESSES, DetectorConfig
from xai.exceptions import DetectorError
from xai.types import Detector, PredictedOnly


def load(config: DetectorConfig, device: str, *, image_ids: Sequence[str] = ()) -> Detector | PredictedOnly:
    """Open a detector, or the detections of one.

    Args:
        config: the ``detector`` section.
        device: ``auto`` (a CUDA device where there is one), ``cpu``, ``cuda`` or ``cuda:INDEX``.
        image_ids: photos of the evaluation set; a results file is matched with them.

    Raises:
        DetectorError: the weights, the architecture or the results file cannot be used, or the device isn't there.
    """
    if config.weights is not None and str(config.weights).startswith(ADDRESSES):
        return _registered(config, device, image_ids)
    kind = "python" if config.kind.startswith("python:") else config.kind
    return LOADERS[kind](config, device, image_ids)


def _registered(config: DetectorConfig, device: str, image_ids: Sequence[str]) -> Detector | PredictedOnly:
    """Open a model of MLflow's registry; its card tells what the registry knows, and keeps its address."""
    from xai.integrations import mlflow

    address = str(config.weights)
    with mlflow.weights(address) as fetched:
        loaded: Any = load(config.model_copy(update={"weights": fetched.path}), device, image_ids=image_ids)
    card = replace(
        loaded.card,
        file=address,
        trained_at=loaded.card.trained_at or fetched.trained_at,
        details={**loaded.card.details, "mlflow": {**fetched.told, "file": fetched.path.name}},
    )
    opened: Detector | PredictedOnly = replace(loaded, card=card)
    return opened


def resolve_device(device: str) -> str:
    """Turn ``auto`` into a device that exists, and check the others.

    Raises:
        DetectorError: not the name of a device, or not of one that is there.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise DetectorError(f"device: expected auto, cpu, cuda or cuda:INDEX, got {device!r}") from error
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise DetectorError(
            f"device: expected a CUDA device for {device!r}, PyTorch sees {torch.cuda.device_count()}; use cpu or auto"
        )
    return device


def _device(config: DetectorConfig, device: str) -> str:
    """Check that the device can do what the config asks of it.

    Half precision on a CPU is refused: it is made for GPUs, and to run in full instead would not be what was asked.
    """
    resolved = resolve_device(device)
    if config.precision == "half" and not resolved.startswith("cuda"):
        raise DetectorError(
            f"detector.precision: half needs a CUDA device, but the detector runs on {resolved}; use auto or full"
        )
    return resolved


# The adapters are imported when they are asked for: torchvision needs no ultralytics, a results file needs no torch.


def _ultralytics(config: DetectorConfig, device: str, image_ids: Sequence[str]) -> Detector:
    from xai.detect import ultralytics

    return ultralytics.load(config, _device(config, device))


def _torchvision(config: DetectorConfig, device: str, image_ids: Sequence[str]) -> Detector:
    from xai.detect import torchvision

    return torchvision.load(config, _device(config, device))


def _transformers(config: DetectorConfig, device: str, image_ids: Sequence[str]) -> Detector:
    from xai.detect import transformers

    return transformers.load(config, _device(config, device))


def _predictions(config: DetectorConfig, device: str, image_ids: Sequence[str]) -> PredictedOnly:
    from xai.detect import predictions

    return predictions.load(config, image_ids)


def _python(config: DetectorConfig, device: str, image_ids: Sequence[str]) -> Detector:
    from xai.detect import function

    return function.load(config)


LOADERS: Mapping[str, Callable[[DetectorConfig, str, Sequence[str]], Detector | PredictedOnly]] = {
    "ultralytics": _ultralytics,
    "torchvision": _torchvision,
    "transformers": _transformers,
    "predictions": _predictions,
    "python": _python,
}

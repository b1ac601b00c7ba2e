"""Reads a model and its image processor from a folder that ``save_pretrained`` of transformers wrote.

The package builds the modules and renames old weights; opening files is done here, since its own loading may look at a
hub, run code that a config names, unpickle, or fill in missing weights at random.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from xai.detect import checkpoints
from xai.exceptions import DetectorError


def import_framework() -> ModuleType:
    """Import transformers.

    Raises:
        DetectorError: it is not installed.
    """
    try:
        return importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise DetectorError(
            "detector.kind transformers needs the transformers package: pip install 'xai-toolkit[hf]'"
        ) from error


_REACHES_OUT = {"auto_map", "attn_implementation", "_attn_implementation", "_attn_implementation_internal"}
"""Keys of a config that may name code, or kernels, on a hub."""


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """Read one of the folder's JSON files, without what could reach out.

    Raises:
        DetectorError: no such file, or not JSON.
    """
    path = folder / name
    if not path.is_file():
        raise DetectorError(
            f"detector.weights: expected a folder with {name}, as save_pretrained of the model and of its image "
            f"processor writes it, found no {path}; nothing is downloaded, so save a hub's model to a folder first"
        )
    try:
        settings = json.loads(
            path.read_text(encoding="utf-8"),
            object_hook=lambda section: {key: value for key, value in section.items() if key not in _REACHES_OUT},
        )
    except (OSError, ValueError, RecursionError) as error:
        raise DetectorError(f"{path}: expected JSON, could not read it: {error}") from error
    if not isinstance(settings, dict):
        raise DetectorError(f"{path}: expected a mapping, got {type(settings).__name__}")
    return settings


def find_weights(folder: Path, *, trust: bool) -> Path:
    """Find the weights: safetensors, or a pickle if it is trusted.

    Raises:
        DetectorError: there are none, or a pickle that isn't trusted.
    """
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if safe.is_file():
        return safe
    if not pickled.is_file():
        raise DetectorError(f"detector.weights: expected model.safetensors in {folder}, found no such file")
    if not trust:
        raise DetectorError(
            f"{pickled} is refused: it is a pickle, which could run any code. Save the model as model.safetensors "
            "(save_pretrained does), or if you made this file, set detector.trust_checkpoint: true"
        )
    return pickled


def build_model(name: str, settings: Mapping[str, Any], path: Path, *, trust: bool) -> Any:
    """Build a model and fill in the weights, all of them.

    Args:
        name: of the package's class.
        settings: of config.json.
        path: the weights.
        trust: a pickle may run code of its own.

    Raises:
        DetectorError: the weights cannot be read, or they or the settings are not of such a model.
    """
    framework = import_framework()
    kind = getattr(framework, name)
    weights = _read_weights(path, trust)
    with _alone(framework):
        try:
            model, told = kind.from_pretrained(
                None,
                config=kind.config_class.from_dict(dict(settings)),
                state_dict=weights,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:  # whatever the parts that a config names raise of its values
            reason = " ".join(str(error).split())[:300]
            if type(error).__name__ == "OfflineModeIsEnabled":
                reason = (
                    "config.json asks a hub for a part of the model, such as its backbone, and nothing is downloaded; "
                    "save the model again with save_pretrained of this version of transformers"
                )
            raise DetectorError(f"{path.parent}: {name} cannot be built from this folder: {reason}") from error
    lacking = sorted(key for key in told["missing_keys"] if not key.endswith("num_batches_tracked"))
    if lacking:
        shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        raise DetectorError(f"{path}: expected all weights of {name}; missing are {shown}")
    return model


def build_processor(name: str, settings: Mapping[str, Any], folder: Path) -> Any:
    """Build an image processor.

    Args:
        name: of the package's class.
        settings: of preprocessor_config.json.
        folder: what errors name.

    Raises:
        DetectorError: the settings are not of such a processor.
    """
    framework = import_framework()
    with _alone(framework):
        try:
            return getattr(framework, name).from_dict(dict(settings))
        except Exception as error:  # whatever it raises of its values
            reason = " ".join(str(error).split())[:300]
            raise DetectorError(f"{folder}: {name} cannot be built from preprocessor_config.json: {reason}") from error


def _read_weights(path: Path, trust: bool) -> dict[str, Tensor]:
    """Read the weights."""
    if path.suffix == ".safetensors":
        try:
            tensors: dict[str, Tensor] = importlib.import_module("safetensors.torch").load_file(path)
        except Exception as error:  # the package's own class, or whatever its Rust part meets
            raise DetectorError(f"{path}: expected safetensors, could not read it: {error}") from error
        return tensors
    held = checkpoints.read(path, allow=lambda name: None, trust=trust)
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise DetectorError(f"{path}: expected a state dict, got {type(held).__name__}")
    return dict(held)


@contextmanager
def _alone(framework: ModuleType) -> Iterator[None]:
    """Keep the package off the hub and its progress bars and notes off the terminal, and set it back.

    A config that names its backbone instead of describing it makes the package ask the hub for it.
    """
    hub: Any = importlib.import_module("huggingface_hub.constants")
    logging = framework.utils.logging
    offline, level, bars = hub.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = offline
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

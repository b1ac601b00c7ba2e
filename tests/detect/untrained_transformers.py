"""Detection transformers with random weights whose scores spread, saved as ``save_pretrained`` does."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from untrained import NAMES, settle, spread

from xai.config import DetectorConfig
from xai.types import Detections

SHARED = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_queries": 40,
    "id2label": dict(enumerate(NAMES)),
}
BACKBONE = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4, "layer_type": "basic"}
THREE = ["stage2", "stage3", "stage4"]
OF_RT_DETR = {"encoder_in_channels": [16, 24, 32], "encoder_hidden_dim": 32, "decoder_in_channels": [32] * 3}


def save(architecture: str, folder: Path, *, processor: dict[str, Any] | None = None, **settings: Any) -> Path:
    """Save an untrained ``detr``, ``deformable_detr``, ``rt_detr`` or ``rt_detr_v2`` and its image processor."""
    model = build(architecture, **settings)
    model.save_pretrained(folder)
    of_rt_detr = architecture.startswith("rt")
    size = {"height": 128, "width": 160} if of_rt_detr else {"shortest_edge": 128, "longest_edge": 224}
    kinds = {"detr": "DetrImageProcessor", "deformable_detr": "DeformableDetrImageProcessor"}
    kind = getattr(transformers, kinds.get(architecture, "RTDetrImageProcessor"))
    kind(**{"size": size, **(processor or {})}).save_pretrained(folder)
    return folder


def build(architecture: str, **settings: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {**SHARED, **settings}
        if architecture == "detr":
            backbone = transformers.ResNetConfig(**BACKBONE, out_features=THREE[-1:])
            model = transformers.DetrForObjectDetection(transformers.DetrConfig(backbone_config=backbone, **options))
        elif architecture == "deformable_detr":
            backbone = transformers.ResNetConfig(**BACKBONE, out_features=THREE)
            config = transformers.DeformableDetrConfig(backbone_config=backbone, **options)
            model = transformers.DeformableDetrForObjectDetection(config)
        else:
            backbone = transformers.RTDetrResNetConfig(**BACKBONE, out_features=THREE)
            name = {"rt_detr": "RTDetr", "rt_detr_v2": "RTDetrV2"}[architecture]
            config = getattr(transformers, f"{name}Config")(backbone_config=backbone, **OF_RT_DETR, **options)
            model = getattr(transformers, f"{name}ForObjectDetection")(config)
        settle(model)
        for name, module in model.named_modules():
            if (isinstance(module, nn.Linear) and "class" in name) or name.endswith("enc_score_head"):
                spread(module)
                if architecture == "detr":
                    nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight)
            if name.endswith(("q_proj", "k_proj")):  # else all queries look everywhere, and see the same
                nn.init.normal_(module.weight, std=0.5)
            if "bbox" in name and name.endswith("layers.2"):
                nn.init.normal_(module.weight, std=0.1)
    return model.eval()


def config(architecture: str, folder: Path) -> DetectorConfig:
    """Write a folder and say how to open it."""
    return DetectorConfig(kind="transformers", weights=save(architecture, folder), score_threshold=0.5)


@functools.lru_cache(maxsize=1)
def opened(folder: Path) -> tuple[Any, Any]:
    """The folder's image processor and model, as the package opens them."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    return processor, transformers.AutoModelForObjectDetection.from_pretrained(folder)


def predict(config: DetectorConfig, photo: np.ndarray) -> Detections:
    """What the package's own pipeline says of a photo, best first."""
    processor, model = opened(config.weights)
    with torch.no_grad():
        outputs = model(**processor(images=photo, input_data_format="channels_last", return_tensors="pt"))
    options = {"threshold": config.score_threshold, "target_sizes": [photo.shape[:2]]}
    (found,) = processor.post_process_object_detection(outputs, **options)
    order = found["scores"].argsort(descending=True, stable=True)[: config.max_detections]
    boxes, scores, labels = (found[key][order].numpy() for key in ("boxes", "scores", "labels"))
    return Detections(boxes.astype(float), scores.astype(float), labels)

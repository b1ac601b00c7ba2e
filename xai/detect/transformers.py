"""DETR, RT-DETR and Deformable DETR of the transformers package (the extra ``hf``).

These choose a set: every query is a candidate, best classes or best pairs are taken, and nothing is suppressed. The
model is read from a folder as ``save_pretrained`` writes it; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai.config import DetectorConfig
from xai.detect import digest, fitting, saved_folder
from xai.detect.detr_heads import FAMILIES, Family
from xai.detect.precision import Precision, autocast
from xai.exceptions import DetectorError
from xai.types import Candidates, Detections, ModelCard, Pixels, Prepared


def load(config: DetectorConfig, device: str) -> Transformers:
    """Open a folder that ``save_pretrained`` of a model and of its image processor wrote.

    ``names`` replace the names of ``id2label``, in the order of their indices. Names like DETR's ``N/A``, of indices
    that were never annotated, stay: they are columns that compete with the others.

    Raises:
        DetectorError: transformers is not installed, or the folder is incomplete, refused or of another architecture.
    """
    saved_folder.import_framework()
    folder = Path(str(config.weights))
    settings = saved_folder.read_settings(folder, "config.json")
    family = FAMILIES.get(str(settings.get("model_type")))
    if family is None:
        raise DetectorError(
            f"{folder / 'config.json'}: expected model_type {', '.join(FAMILIES)}; got {settings.get('model_type')!r}"
        )
    for key, reason in _OF_NO_EFFECT.items():
        if key in config.model_fields_set:
            raise DetectorError(f"detector.{key}: {family.model} {reason}; leave the key out")
    path = saved_folder.find_weights(folder, trust=config.trust_checkpoint)
    preprocessing = saved_folder.read_settings(folder, "preprocessor_config.json")
    processor = saved_folder.build_processor(family.processor, preprocessing, folder)
    model = saved_folder.build_model(family.model, settings, path, trust=config.trust_checkpoint)
    return Transformers(
        names=_names(config, model.config, folder),
        card=_card(config, path, settings),
        score_threshold=config.score_threshold,
        max_detections=config.max_detections,
        device=torch.device(device),
        precision=config.precision,
        family=family,
        processor=processor,
        model=model.eval().requires_grad_(False).to(device),
    )


_OF_NO_EFFECT = {
    "nms_iou": "suppresses nothing",
    "image_size": "gets the size that preprocessor_config.json says",
}
"""Options of other adapters, and why they say nothing here."""


@dataclass(frozen=True, slots=True, eq=False)
class Transformers:
    """A detection transformer behind the protocol of ``xai.types.Detector``.

    Inputs are resized but neither normalised nor padded: photos of one input shape go together. Where the image
    processor pads to a fixed size, ``forward`` does. RT-DETR itself keeps its queries' start out of the gradient
    (``detach``): what reaches the input came through the decoder's look at the maps.
    """

    names: tuple[str, ...]
    card: ModelCard
    score_threshold: float
    max_detections: int
    device: torch.device
    precision: Precision
    family: Family
    processor: Any
    model: Any
    sees_candidates: bool = True
    differentiable: bool = True

    def prepare(self, photos: Sequence[Pixels]) -> list[Prepared]:
        """Resize photos with the model's own image processor, grouped by the size that they get."""
        resized = [self._resize(torch.from_numpy(photo).to(self.device).permute(2, 0, 1)) for photo in photos]
        return fitting.group(resized, photos)

    def _resize(self, pixels: Tensor) -> Tensor:
        """Resize a photo (3, h, w) and bring it to 0–1."""
        longest = self.processor.size.longest_edge or self.processor.size.max_height
        result = self.processor(
            [fitting.thicken(pixels, longest) if longest else pixels],
            do_rescale=True,
            rescale_factor=1 / 255,
            do_normalize=False,
            do_pad=False,
            input_data_format="channels_first",
            return_tensors="pt",
        )
        resized: Tensor = result["pixel_values"][0]
        return resized

    def forward(self, inputs: Tensor) -> Candidates:
        """One box and class scores per query: (n, q, 4) and (n, q, k)."""
        pixels = self._normalise(inputs)
        size = self.processor.pad_size if self.processor.do_pad else None
        padded = fitting.pad(pixels, size.height, size.width) if size else pixels
        inside = fitting.pad(torch.ones_like(inputs[:, 0]), *padded.shape[-2:]).long()
        shapes: list[torch.Size] = []
        hooks = [
            layer.register_forward_hook(lambda module, given, maps: shapes.append(maps.shape[-2:]))
            for layer in self.family.projections(self.model)
        ]
        try:
            with autocast(self.device, self.precision):
                outputs = self.model(pixel_values=padded, pixel_mask=inside)
        finally:
            for hook in hooks:
                hook.remove()
        encoded = outputs.encoder_last_hidden_state
        maps = _unfold(encoded, shapes) if isinstance(encoded, Tensor) else encoded
        centre, extent = outputs.pred_boxes.float().split(2, dim=-1)
        height, width = inputs.shape[-2:]
        return Candidates(
            boxes=torch.cat([centre - extent / 2, centre + extent / 2], -1) * inputs.new_tensor([width, height] * 2),
            scores=self.family.scores(outputs.logits.float()),
            features=fitting.crop(maps, padded, inputs),
        )

    def _normalise(self, inputs: Tensor) -> Tensor:
        """Do what the image processor does after resizing."""
        chosen = self.processor
        values = inputs * (255 * chosen.rescale_factor if chosen.do_rescale else 255)
        if not chosen.do_normalize:
            return values
        mean, deviation = (inputs.new_tensor(part)[:, None, None] for part in (chosen.image_mean, chosen.image_std))
        return (values - mean) / deviation

    @torch.no_grad()
    def select(self, candidates: Candidates, prepared: Prepared) -> list[Detections]:
        """Repeat ``post_process_object_detection``, best first."""
        found = []
        for boxes, scores, scale in zip(candidates.boxes, candidates.scores, prepared.scale, strict=True):
            queries, classes = self.family.choose(scores)
            chosen = scores[queries, classes]
            order = chosen.argsort(descending=True, stable=True)
            order = order[chosen[order] > self.score_threshold][: self.max_detections]
            found.append(
                Detections(
                    boxes=boxes[queries[order]].double().cpu().numpy() / np.tile(scale, 2),
                    scores=chosen[order].double().cpu().numpy(),
                    labels=classes[order].cpu().numpy(),
                )
            )
        return found


def _names(config: DetectorConfig, settings: Any, folder: Path) -> tuple[str, ...]:
    """Class names in the order of the score columns."""
    count = settings.num_labels
    told = tuple(str(settings.id2label.get(index)) for index in range(count))
    names = config.names or told
    if len(names) != count:
        raise DetectorError(f"detector.names: expected {count} class names for {folder}, got {len(names)}")
    return names


def _card(config: DetectorConfig, path: Path, settings: Mapping[str, Any]) -> ModelCard:
    told = settings.get("transformers_version")
    return ModelCard(
        kind=config.kind,
        file=str(config.weights),
        sha256=digest.sha256(path),
        architecture=", ".join(settings.get("architectures") or ()) or None,
        details={"transformers_version": told} if told else {},
    )


def _unfold(sequence: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Turn the encoder's sequence (n, places, d) back into the maps that it was made of."""
    levels = torch.split(sequence, [height * width for height, width in shapes], dim=1)
    return [level.transpose(1, 2).reshape(len(level), -1, *shape) for level, shape in zip(levels, shapes, strict=True)]

"""Any detector that can be called from Python: ``detector.kind: python:MODULE.NAME``.

``NAME`` is a function (or any callable) of a list of photos::

    def detect(photos):              # list of H×W×3 RGB uint8 arrays, displayed upright, of equal size
        ...
        return [(boxes, scores, labels) for ...]   # one triple a photo

    detect.names = ("car", "bus")    # or detector.names in the config

``boxes`` are (n, 4) ``x1 y1 x2 y2`` in pixels of the photo, ``scores`` (n,) in 0–1, ``labels`` (n,) class names or
indices. Return boxes of low score too, down to a tenth of ``detector.score_threshold``: the threshold is applied here,
and what lies below it tells an object that was nearly found from one that was not seen, in mechanisms, repairs and heat
maps alike.

``NAME`` may also be a detector with the protocol of ``xai.types.Detector``, whose inside is then looked at, or a class
or function without arguments that makes a detector or a callable, which is the place to load weights.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xai import importing
from xai.config import DetectorConfig
from xai.exceptions import DetectorError
from xai.types import Boxes, Candidates, Detections, Detector, ModelCard, Pixels, Prepared

_PROTOCOL = ("names", "card", "score_threshold", "sees_candidates", "differentiable", "prepare", "forward", "select")


def load(config: DetectorConfig) -> Detector:
    """Import what ``detector.kind`` names and make a detector of it.

    The working directory can be imported from. A function runs on whatever device it chooses.

    Raises:
        DetectorError: no such module or name, neither a callable nor a detector, one that fails to be made, or no class
            names.
    """
    found = importing.named(config.kind, key="detector.kind", error=DetectorError)
    if callable(found) and not _is_detector(found) and _makes(found):
        try:
            with importing.importable_from(Path.cwd()):
                found = found()
        except Exception as error:
            raise DetectorError(f"detector.kind {config.kind}: the detector could not be made: {error!r}") from error
    if _is_detector(found):
        return _checked(found, config)
    if not callable(found) or not _takes(found, 1):
        raise DetectorError(
            f"{config.kind}: expected a function of a list of photos, a detector, or a function without arguments that "
            f"makes one of these; got {_described(found)}"
        )
    names = config.names or _names(found)
    if not names:
        raise DetectorError(
            f"detector.names: expected the class names of {config.kind}; list them in the config, or as its attribute "
            "'names'"
        )
    return Function(
        names=names,
        card=_card(config.kind, found),
        score_threshold=config.score_threshold,
        max_detections=config.max_detections,
        function=found,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A callable behind the protocol of ``xai.types.Detector``: what it returns is all that is seen of it."""

    names: tuple[str, ...]
    card: ModelCard
    score_threshold: float
    max_detections: int
    function: Callable[[list[Pixels]], Any]
    sees_candidates: bool = False
    differentiable: bool = False

    def prepare(self, photos: Sequence[Pixels]) -> list[Prepared]:
        """Hand photos on as they are, grouped by size."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, photo in enumerate(photos):
            groups.setdefault(photo.shape[:2], []).append(index)
        return [
            Prepared(
                indices=tuple(indices),
                inputs=torch.from_numpy(np.stack([photos[index] for index in indices]))
                .permute(0, 3, 1, 2)
                .contiguous()
                .float()
                .div_(255),
                scale=np.ones((len(indices), 2)),
                offset=np.zeros((len(indices), 2)),
                sizes=np.tile(np.array([width, height], dtype=np.int64), (len(indices), 1)),
            )
            for (height, width), indices in groups.items()
        ]

    def forward(self, inputs: Tensor) -> Candidates:
        """Call the function; each of its boxes is a candidate of one class."""
        pixels = (inputs.detach() * 255).round_().clamp_(0, 255).to(torch.uint8)
        photos = list(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
        try:
            results = self.function(photos)
        except Exception as error:
            raise DetectorError(
                f"{self.card.kind} failed on {len(photos)} photos of {photos[0].shape}: {error!r}{_place(error)}"
            ) from error
        if not isinstance(results, Sequence) or len(results) != len(photos):
            raise DetectorError(
                f"{self.card.kind}: expected a list of {len(photos)} results, (boxes, scores, labels) for each photo; "
                f"got {_described(results)}"
            )
        parsed = [self._parse(result, index, len(photos)) for index, result in enumerate(results)]
        most = max((len(scores) for _, scores, _ in parsed), default=0)
        boxes = np.zeros((len(photos), most, 4), dtype=np.float32)
        scores = np.zeros((len(photos), most, len(self.names)), dtype=np.float32)
        for index, (photo_boxes, photo_scores, labels) in enumerate(parsed):
            boxes[index, : len(labels)] = photo_boxes
            scores[index, np.arange(len(labels)), labels] = photo_scores
        return Candidates(torch.from_numpy(boxes).to(inputs.device), torch.from_numpy(scores).to(inputs.device))

    def _parse(self, result: Any, index: int, count: int) -> tuple[Boxes, NDArray[np.float64], NDArray[np.int64]]:
        """Check what came back for one photo of a call."""
        where = f"{self.card.kind}, photo {index + 1} of {count} in the call"
        if not isinstance(result, Sequence) or len(result) != 3:
            raise DetectorError(f"{where}: expected (boxes, scores, labels), got {_described(result)}")
        boxes, scores, labels = (_array(part, where) for part in result)
        boxes = boxes.reshape(0, 4) if not boxes.size else boxes
        shapes = [boxes.shape, scores.shape, labels.shape]
        if shapes != [(scores.size, 4), (scores.size,), (scores.size,)]:
            raise DetectorError(
                f"{where}: expected boxes (n, 4), scores (n,) and labels (n,); got {', '.join(map(str, shapes))}"
            )
        try:
            boxes, scores = boxes.astype(np.float64), scores.astype(np.float64)
        except (ValueError, TypeError) as error:
            raise DetectorError(f"{where}: expected boxes and scores to be numbers; {error}") from error
        if not np.isfinite(boxes).all() or (boxes[:, :2] > boxes[:, 2:]).any():
            bad = boxes[~(np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1))][0]
            raise DetectorError(
                f"{where}: expected boxes x1 y1 x2 y2 in pixels with x1 ≤ x2 and y1 ≤ y2, got {bad.tolist()}; "
                "boxes of x, y, width and height have to be converted"
            )
        if not ((scores >= 0) & (scores <= 1)).all():
            raise DetectorError(f"{where}: expected scores in 0–1, got {scores[~((scores >= 0) & (scores <= 1))][0]}")
        return boxes, scores, self._codes(labels, where)

    def _codes(self, labels: NDArray[Any], where: str) -> NDArray[np.int64]:
        """Turn class names or indices into indices."""
        codes = {name: code for code, name in enumerate(self.names)}
        indices = [codes.get(item, item) if isinstance(item, str) else item for item in labels.tolist()]
        valid = [isinstance(item, int | float) and item in range(len(codes)) for item in indices]
        if not all(valid):
            unknown = labels.tolist()[valid.index(False)]
            raise DetectorError(
                f"{where}: expected labels among {', '.join(self.names[:8])}{', …' if len(codes) > 8 else ''} or "
                f"0–{len(codes) - 1}, got {unknown!r}; detector.names gives the classes"
            )
        return np.array(indices, dtype=np.int64)

    def select(self, candidates: Candidates, prepared: Prepared) -> list[Detections]:
        """Apply the score threshold and the limit; the rest is up to the function."""
        best, labels = (part.cpu().numpy() for part in candidates.scores.detach().max(dim=-1))
        boxes = candidates.boxes.detach().double().cpu().numpy()
        least = np.float32(self.score_threshold)  # as the scores are, so that one at the threshold stays
        found = []
        for index in range(len(prepared.indices)):
            order = np.argsort(-best[index], kind="stable")
            passing = (best[index, order] >= least) & (best[index, order] > 0)
            kept = order[passing][: self.max_detections]
            found.append(Detections(boxes[index, kept], best[index, kept].astype(np.float64), labels[index, kept]))
        return found


def _is_detector(found: Any) -> bool:
    return not isinstance(found, type) and all(hasattr(found, name) for name in ("prepare", "forward", "select"))


def _checked(found: Any, config: DetectorConfig) -> Detector:
    """Check that an object keeps the protocol, and that the config doesn't contradict its threshold."""
    missing = [name for name in _PROTOCOL if not hasattr(found, name)]
    if missing:
        raise DetectorError(
            f"{config.kind}: expected a detector as described at xai.types.Detector; it lacks {', '.join(missing)}"
        )
    if "score_threshold" in config.model_fields_set and config.score_threshold != found.score_threshold:
        raise DetectorError(
            f"detector.score_threshold: {config.kind} has a threshold of its own, {found.score_threshold}; got "
            f"{config.score_threshold}; leave the key out or change the detector"
        )
    detector: Detector = found
    return detector


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether something can be called with this many positional arguments; yes for one where nothing tells."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        return count == 1
    return True


def _makes(found: Callable[..., Any]) -> bool:
    """Whether something is called without arguments; a function that has a place for photos takes photos."""
    return _takes(found, 0) and (isinstance(found, type) or not _takes(found, 1))


def _place(error: BaseException) -> str:
    """File and line of the user's code that raised."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _names(found: Any) -> tuple[str, ...]:
    names = getattr(found, "names", None) or ()
    return tuple(str(names[key]) for key in sorted(names)) if isinstance(names, dict) else tuple(map(str, names))


def _card(kind: str, found: Any) -> ModelCard:
    """Name the source file; what is built in or made in a notebook has none."""
    file, sha256 = importing.origin(found)
    return ModelCard(kind=kind, file=file, sha256=sha256)


def _array(part: Any, where: str) -> NDArray[Any]:
    try:
        return np.asarray(part.detach().cpu() if isinstance(part, Tensor) else part)
    except ValueError as error:
        raise DetectorError(f"{where}: expected arrays, got {_described(part)}: {error}") from error


def _described(value: Any) -> str:
    """Name what came, briefly."""
    size = f" of {len(value)}" if isinstance(value, Sequence | dict | set) and not isinstance(value, str) else ""
    shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
    return f"{type(value).__name__}{size}{shape}"

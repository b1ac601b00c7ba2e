"""Types that cross layers. Importing this module is light: torch and polars are named in annotations only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

Pixels = NDArray[np.uint8]
"""A photo: H×W×3 RGB, 0–255, in the displayed frame (EXIF orientation applied)."""

Boxes = NDArray[np.float64]
"""(n, 4) boxes ``x1 y1 x2 y2`` in pixels of the displayed frame."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos and their labels as read from disk, before any photo is opened.

    Attributes:
        split: ``train``, ``eval``, ``production`` or ``audit`` (a labelled sample of production).
        root: folder that ``image_id`` is relative to.
        image_ids: paths of the photos relative to ``root``, ``/``-separated, sorted.
        labels: one row per annotated object with the columns of ``tables.LABELS`` and the label file's own columns as
            ``label_*``; boxes as they stand in the file, ``normalised`` tells whether they are fractions of the photo.
        issues: problems found while reading, columns of ``tables.ISSUES``.
        class_names: the classes that the data set declares or uses, in its own words.
        label_frame: the frame that the boxes were drawn in: ``displayed``, ``stored`` (before EXIF orientation) or
            ``auto``, to be told photo by photo.
        label_files: files that the labels were read from, or would have been had they been there, relative to ``root``
            where they lie in it; files without an object too.
    """

    split: str
    root: Path
    image_ids: tuple[str, ...]
    labels: pl.DataFrame
    issues: pl.DataFrame
    class_names: tuple[str, ...]
    label_frame: str = "auto"
    label_files: Sequence[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What the deployed detector returns for one photo, by falling score.

    Attributes:
        boxes: (d, 4) float64, pixels of the displayed frame.
        scores: (d,) float64 in 0–1.
        labels: (d,) int64 indices into ``Detector.names``.
    """

    boxes: Boxes
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What the detector considered before score threshold and non-maximum suppression, for a batch.

    Attributes:
        boxes: (n, c, 4) or, where every class regresses a box of its own, (n, c, k, 4); pixels of the network's input.
        scores: (n, c, k) class scores in 0–1, with a gradient to the input where the adapter is differentiable.
            Rows that only pad a photo to the batch's ``c`` have score 0 and an empty box.
        features: maps (n, d, h, w) of the detector's neck, fine to coarse, whose pixels divide the network's input
            evenly; what objects look like to the detector is read from them. Empty where there are none.
        proposals: the candidates are what a first stage proposed as objects of any class (two-stage detectors).
    """

    boxes: Tensor
    scores: Tensor
    features: tuple[Tensor, ...] = ()
    proposals: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Photos of one input shape, preprocessed exactly as the framework's own ``predict`` does it.

    Attributes:
        indices: positions of these photos in the sequence that was handed to ``Detector.prepare``.
        inputs: (n, 3, h, w) float32 RGB in 0–1 on the detector's device, resized, padded where the framework pads
            ahead of its model, not yet normalised.
        scale: (n, 2) factors x, y from photo pixels to input pixels.
        offset: (n, 2) offsets x, y: ``input = photo * scale + offset``.
        sizes: (n, 2) width and height of the photos.
    """

    indices: tuple[int, ...]
    inputs: Tensor
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    sizes: NDArray[np.int64]

    def parts(self, size: int) -> list[Prepared]:
        """Cut into batches of at most ``size`` photos, in order."""
        return [self.cut(start, start + size) for start in range(0, len(self.indices), size)]

    def cut(self, start: int, end: int) -> Prepared:
        """Return the photos from place ``start`` to before ``end``."""
        part = slice(start, end)
        return Prepared(self.indices[part], self.inputs[part], self.scale[part], self.offset[part], self.sizes[part])


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Where a detector came from; ``None`` where nothing tells.

    Attributes:
        kind: the adapter, as in ``detector.kind``.
        file: the checkpoint, as named in the config.
        sha256: of the file's bytes.
        trained_at: ISO date and time of training, from the checkpoint.
        details: whatever else the checkpoint tells (framework version, arguments, data).
    """

    kind: str
    file: str | None = None
    sha256: str | None = None
    architecture: str | None = None
    trained_at: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Detector(Protocol):
    """A detector whose inside can be looked at.

    ``forward`` is pure: it may be called inside or outside ``torch.no_grad`` and leaves train mode, hooks and gradient
    flags of the model as they were.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, in the order of the score columns."""

    @property
    def card(self) -> ModelCard:
        """Where the model came from."""

    @property
    def score_threshold(self) -> float:
        """The deployed threshold."""

    @property
    def sees_candidates(self) -> bool:
        """Whether ``forward`` gives what was considered before suppression; else only what came out of it."""

    @property
    def differentiable(self) -> bool:
        """Whether the candidates' scores pass a gradient to the input."""

    def prepare(self, photos: Sequence[Pixels]) -> list[Prepared]:
        """Preprocess photos, grouped by the shape of the network's input."""

    def forward(self, inputs: Tensor) -> Candidates:
        """Candidates of preprocessed inputs (n, 3, h, w); differentiable in ``inputs``."""

    def select(self, candidates: Candidates, prepared: Prepared) -> list[Detections]:
        """The deployed detections: score threshold, non-maximum suppression, top k, boxes back in photo pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictedOnly:
    """Detections from a file, where no model can be asked: mechanisms are ``unknown`` and no experiment is possible.

    Attributes:
        names: class names.
        card: where the file came from.
        score_threshold: detections below are not deployed.
        by_image: detections by ``image_id`` (already thresholded); photos that are not in it have none.
    """

    names: tuple[str, ...]
    card: ModelCard
    score_threshold: float
    by_image: Mapping[str, Detections]


Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``; the command line draws a bar of it."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Draw nothing."""

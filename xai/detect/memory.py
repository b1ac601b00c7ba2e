"""A detector that goes on where the GPU's memory is short: with half as many photos at once, and saying so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from xai.config import DetectorConfig
from xai.detect import detector as detectors
from xai.room import Room, say, told
from xai.types import Candidates, Detections, Detector, ModelCard, Pixels, PredictedOnly, Prepared

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")


def load(config: DetectorConfig, device: str, *, image_ids: Sequence[str] = ()) -> Detector | PredictedOnly:
    """Open a detector as ``detector.load`` does; one that is a model takes fewer photos at once where memory is short.

    Raises:
        DetectorError: as for ``detector.load``.
    """
    opened = detectors.load(config, device, image_ids=image_ids)
    return opened if isinstance(opened, PredictedOnly) else Sparing(opened)


class Sparing(Room):
    """A detector whose batches are halved whenever the GPU is out of memory, and stay so.

    Other batches may move floats within 1e-4; which photos they hold changes nothing else.
    """

    def __init__(self, detector: Detector) -> None:
        """Take a detector as it is."""
        super().__init__()
        self._detector = detector

    @property
    def names(self) -> tuple[str, ...]:
        """Class names."""
        return self._detector.names

    @property
    def card(self) -> ModelCard:
        """Where the model came from."""
        return self._detector.card

    @property
    def score_threshold(self) -> float:
        """The deployed threshold."""
        return self._detector.score_threshold

    @property
    def model(self) -> object:
        """The network, whose modes and hooks attributions put back; None where there is none to be seen."""
        return getattr(self._detector, "model", None)

    @property
    def sees_candidates(self) -> bool:
        """Whether ``forward`` gives what was considered before suppression."""
        return self._detector.sees_candidates

    @property
    def differentiable(self) -> bool:
        """Whether scores pass a gradient to the input."""
        return self._detector.differentiable

    def prepare(self, photos: Sequence[Pixels]) -> list[Prepared]:
        """Preprocess photos, in two halves where there is no room for all."""

        def of(start: int, end: int) -> list[list[Prepared]]:
            found = self._detector.prepare(photos[start:end])
            return [[replace(part, indices=tuple(start + index for index in part.indices)) for part in found]]

        return [part for found in self._halving(of, len(photos), limited=False) for part in found]

    def forward(self, inputs: Tensor) -> Candidates:
        """Candidates of preprocessed inputs, in parts where there is no room for all."""
        found = self._halving(lambda start, end: [self._detector.forward(inputs[start:end])], len(inputs))
        return found[0] if len(found) == 1 else _together(found)

    def select(self, candidates: Candidates, prepared: Prepared) -> list[Detections]:
        """The deployed detections."""
        return self._detector.select(candidates, prepared)

    def _halving(self, work: Callable[[int, int], list[Result]], count: int, *, limited: bool = True) -> list[Result]:
        """Work on ``count`` photos, as many at once as there is room for."""
        import torch

        results: list[Result] = []
        start, size = 0, min(count, self.most or count) if limited else count
        while start < count or not results:
            with told("one photo"):
                try:
                    results += work(start, min(start + size, count))
                    start += size
                    continue
                except torch.OutOfMemoryError:
                    if size <= 1:
                        raise
            # Behind the handler: what it holds of the failed try is let go first.
            size = size // 2 if limited else -(-size // 2)
            if limited:
                self.most = size
            say(size)
        return results


def _together(parts: Sequence[Candidates]) -> Candidates:
    """Stack what was found in parts of a batch; photos with fewer candidates are padded as in one batch."""
    import torch
    from torch.nn.functional import pad

    most = max(part.scores.shape[1] for part in parts)

    def stacked(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([pad(item, (0, 0) * (item.ndim - 2) + (0, most - item.shape[1])) for item in tensors])

    return Candidates(
        boxes=stacked([part.boxes for part in parts]),
        scores=stacked([part.scores for part in parts]),
        features=tuple(torch.cat(level) for level in zip(*(part.features for part in parts), strict=True)),
        proposals=parts[0].proposals,
    )

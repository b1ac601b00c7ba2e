"""What an entry of the catalog is: an attribute and its bins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attributes.views import Floats, Views


@dataclass(frozen=True, slots=True)
class Bin:
    """A named range of an attribute: ``low <= value < high``, the last bin's ``high`` inclusive, ``None`` open."""

    name: str
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Attribute:
    """A measured property of a photo or of an object in it.

    Attributes:
        name: the column's name.
        level: ``image`` or ``object``.
        unit: of the values; empty for shares and severities.
        range: smallest and largest possible value, ``None`` where open.
        bins: by rising threshold.
        why: what the thresholds rest on.
        definition: what a value says, in one sentence.
        function: photos and boxes → (B,) or (N,) values, NaN where it cannot be told.
        source: where the measure comes from.
        accuracy: what `tests/benchmarks/attribute_accuracy.py` measured, and on what; empty where the value is exact by
            its definition.
        bin_error: share of values, 0–1, that lay in a wrong bin there, rounded up to 0.01; ``None`` where the bin is
            exact by its definition or was not judged.
    """

    name: str
    level: str
    unit: str
    range: tuple[float | None, float | None]
    bins: tuple[Bin, ...]
    why: str
    definition: str
    function: Callable[[Views], Floats]
    source: str
    accuracy: str = ""
    bin_error: float | None = None


def bins(*parts: str | float) -> tuple[Bin, ...]:
    """Bins from names and the thresholds between them: ``bins("low", 0.1, "high")``."""
    names, cuts = parts[0::2], parts[1::2]
    lows, highs = [None, *map(float, cuts)], [*map(float, cuts), None]
    return tuple(Bin(str(name), low, high) for name, low, high in zip(names, lows, highs, strict=True))

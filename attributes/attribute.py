"""What an entry of the catalog is: an attribute, its bins, and how well both are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attributes.arrays import Floats
from attributes.views import Views

FEWEST_JUDGED = 10
"""Values below which a share of wrong bins is not stated: one error more would move it by ten per cent and more."""


@dataclass(frozen=True, slots=True)
class Bin:
    """A named range of an attribute: ``low <= value < high``, the last bin's ``high`` inclusive, ``None`` open.

    The shares are those of `tests/benchmarks/attribute_accuracy.py`, 0–1; ``None`` where the bin is exact by the
    attribute's definition, or where fewer than ``FEWEST_JUDGED`` values were judged. ``missed`` and ``stray`` do not
    depend on how common the condition is, ``error`` does.

    Attributes:
        name: of the bin.
        low: lower threshold.
        high: upper threshold.
        error: share of the values told as in this bin that lie in another.
        missed: share of the values in this bin that are told as in another.
        stray: share of the values in other bins that are told as in this one; at most the share of everyday photos that
            are told so, where that was counted.
    """

    name: str
    low: float | None
    high: float | None
    error: float | None = None
    missed: float | None = None
    stray: float | None = None


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
        cost: milliseconds on one core for one photo of 640×480, or for 8 boxes in it, what other attributes need too
            included (`tests/benchmarks/attribute_speed.py --profile`).
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
    cost: float | None = None


def bins(*parts: str | float, judged: Sequence[Sequence[int]] = (), everyday: Sequence[int] = ()) -> tuple[Bin, ...]:
    """Bins from names and the thresholds between them: ``bins("low", 0.1, "high")``.

    Args:
        parts: names and thresholds in turn.
        judged: how many values of each bin (rows) were told as in which bin (columns); empty where that is exact.
        everyday: how many everyday photos were told as in each bin. No more than those can have strayed there, while
            among strengths that were planted evenly many lie just beyond a threshold.

    Raises:
        ValueError: ``judged`` is not one row and one column a bin, or ``everyday`` not one count a bin.

    >>> low, high = bins("low", 0.1, "high", judged=[(76, 4), (1, 19)])
    >>> low.error, low.missed, low.stray  # 1 of 77, 4 of 80, 1 of 20
    (0.013, 0.05, 0.05)
    """
    names, cuts = [str(name) for name in parts[0::2]], parts[1::2]
    lows, highs = [None, *map(float, cuts)], [*map(float, cuts), None]
    made = [Bin(name, low, high) for name, low, high in zip(names, lows, highs, strict=True)]
    if not judged:
        return tuple(made)
    if len(judged) != len(made) or any(len(row) != len(made) for row in judged):
        raise ValueError(f"expected {len(made)} rows of {len(made)} counts, one a bin, got {[*map(len, judged)]}")
    if everyday and len(everyday) != len(made):
        raise ValueError(f"expected {len(made)} counts of everyday photos, one a bin, got {len(everyday)}")
    total = sum(map(sum, judged))
    for place, row in enumerate(judged):
        right, lying, told = row[place], sum(row), sum(other[place] for other in judged)
        if lying < FEWEST_JUDGED:  # what is told of other values alone says nothing of this bin
            continue
        stray = _share(told - right, total - lying)
        if everyday and stray is not None:
            # One more than were seen: a hundred photos may lack what the next one has.
            stray = min(stray, round((everyday[place] + 1) / (sum(everyday) + 1), 4))
        shares = _share(told - right, told), _share(lying - right, lying), stray
        made[place] = Bin(made[place].name, made[place].low, made[place].high, *shares)
    return tuple(made)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole >= FEWEST_JUDGED else None

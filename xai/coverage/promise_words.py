"""The sentence that a promise is answered with."""

from __future__ import annotations

PRACTICAL = 100
"""Nobody labels more than this many times the photos that are labelled already."""


def nothing(part: str | None, metric: str, target: float) -> str:
    """Say that nothing was measured."""
    where = f" for {part}" if part else ""
    return f"Nothing was measured{where}, so the promised {metric} of {percent(target)} is not shown."


def sentence(
    part: str | None,
    metric: str,
    target: float,
    confidence: float,
    answer: str,
    bounds: tuple[float, float],
    counts: tuple[int, int, int],
    drawn: int | None,
    needed: int | None,
    every: int,
    every_group: int | None = None,
) -> str:
    """Say what was counted, what it shows at this confidence, and what would show more.

    Args:
        part: the class or slice that is asked about, None for all objects.
        metric: ``recall`` or ``precision``.
        target: the promised figure.
        confidence: of each bound.
        answer: ``inside``, ``broken`` or ``not shown``.
        bounds: lower and upper.
        counts: right, all, photos.
        drawn: groups that the photos with objects were drawn in, None where each is a draw.
        needed: photos that would show it.
        every: photos in all.
        every_group: groups that these were drawn in, None where each is a draw.
    """
    right, total, photos = counts
    thing, verb = ("object", "found") if metric == "recall" else ("detection", "right")
    groups = "" if drawn is None else f" ({_counted(drawn, 'group')})"
    where = f"{part}: " if part else ""
    base = (
        f"{where}{_counted(right, thing, of=total)} in {_counted(photos, 'photo')}{groups} "
        f"{'was' if right == 1 else 'were'} {verb} ({percent(right / total)})"
    )
    sure, promised = f"with {percent(confidence)} confidence {metric}", f"so the promised {percent(target)}"
    if answer == "inside":
        return f"{base}; {sure} is at least {percent(bounds[0])}, {promised} is kept."
    if answer == "broken":
        return f"{base}; {sure} is at most {percent(bounds[1])}, {promised} is broken."
    range_ = f"{metric} may lie between {percent(bounds[0])} and {percent(bounds[1])}"
    # The tolerance keeps 9 / 10 from falling short of 0.9.
    if right / total < target - 1e-12:
        rest = f"the promised {percent(target)} is not met here, but too few photos show that it is broken"
    elif needed is None or needed > PRACTICAL * every:
        rest = f"the promised {percent(target)} is so close that no practical number of photos would show it"
    else:
        alike = "" if every_group is None else f", in about {round(needed / every * every_group):,} groups,"
        rest = f"about {needed:,} photos in all{alike} would show the promised {percent(target)} at this rate"
    return f"{base}; {range_}, so {rest}."


def _counted(count: int, thing: str, *, of: int | None = None) -> str:
    number, noun = (f"{count:,}", count) if of is None else (f"{count:,} of {of:,}", of)
    return f"{number} {thing}{'' if noun == 1 else 's'}"


def percent(share: float) -> str:
    """Write a share in percent with the digits that matter near 100% too."""
    value = 100 * share
    digits = 1 if 1 <= value <= 99 else 2
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") + "%"

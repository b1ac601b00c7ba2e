"""The catalog for readers: as text for a terminal, as Markdown for the documentation, as plain values for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from attributes.attribute import Attribute, Bin
from attributes.catalog import ALIKE

_MARGIN = 12
"""Columns before the text of a field."""

_PREFACE = """\
# Attributes

What `attributes.tag` and `xai tag` measure. Made of [`catalog.py`](catalog.py) by
`xai tag --list --format md > attributes/README.md`; change it there.

Null says that a value could not be told; it is never written as 0. Accuracies are those of
`python tests/benchmarks/attribute_accuracy.py`, on photos that nothing was tuned on. There, strengths are drawn evenly,
so that more values lie near a threshold than in photos at large. "Wrong" is the share of the values told as in a bin
that lie in another, "missed" the share of the values in the bin that are told as in another, "stray" the share of the
values of other bins that are told as in this one; `xai` widens what it says of a bin by the last two. Costs are for one
photo of 640×480 or for 8 boxes in it, each attribute by itself with all that it needs, on one core of an AMD EPYC; many
needs are shared, so that all together cost less than the sum.

![How far each attribute moves under each planted change](../.github/cross_talk.png)

![The sharpness of boxes of all sizes over that of their photos](../.github/box_size.png)

Each change was planted into 30 photos in several strengths (`--pictures .github`). Some conditions are physically
alike, and no measure of a photo can hold them apart:
"""


def rows(catalog: Mapping[str, Attribute]) -> Iterator[dict[str, Any]]:
    """Yield each attribute as plain JSON values; bins with bounds and measured shares."""
    for name, attribute in catalog.items():
        yield {
            "name": name,
            "level": attribute.level,
            "unit": attribute.unit,
            "range": list(attribute.range),
            "bins": {part.name: [part.low, part.high] for part in attribute.bins},
            "why": attribute.why,
            "definition": attribute.definition,
            "source": attribute.source,
            "accuracy": attribute.accuracy,
            "bin_error": attribute.bin_error,
            "bin_errors": {
                part.name: {"wrong": part.error, "missed": part.missed, "stray": part.stray} for part in attribute.bins
            },
            "cost_ms": attribute.cost,
        }


def text(catalog: Mapping[str, Attribute], width: int = 100) -> str:
    """Return the catalog as a block of lines for each attribute, none longer than ``width``."""
    return "\n".join(_block(attribute, width) for attribute in catalog.values())


def markdown(catalog: Mapping[str, Attribute], alike: Mapping[str, frozenset[str]] = ALIKE) -> str:
    """Return the catalog as a Markdown page: what is alike, a table of all attributes, then a section for each."""
    groups = [f"- {group}: {', '.join(f'`{name}`' for name in sorted(names))}" for group, names in alike.items()]
    head = ["attribute", "of", "values", "bins", "wrong bin", "cost", "definition"]
    table = [_row(head), _row(["---"] * len(head))]
    table += [
        _row(
            [
                f"[`{attribute.name}`](#{attribute.name})",
                attribute.level,
                _values(attribute),
                _scale(attribute.bins),
                _percent(attribute.bin_error),
                _cost(attribute),
                attribute.definition,
            ]
        )
        for attribute in catalog.values()
    ]
    return "\n".join([_PREFACE, *groups, "", *table, "", *(_section(attribute) for attribute in catalog.values())])


def _block(attribute: Attribute, width: int) -> str:
    facts = " · ".join([attribute.level, _values(attribute), _cost(attribute)])
    lines = [f"{attribute.name:<{_MARGIN + 8}}{facts}", *_wrapped("is", attribute.definition, width)]
    lines += _wrapped("bins", _scale(attribute.bins), width)
    lines += _wrapped("why", attribute.why, width)
    lines += _wrapped("source", attribute.source, width)
    lines += _wrapped("accuracy", attribute.accuracy or "exact by its definition", width)
    if attribute.bin_error is not None:
        lines += _wrapped("wrong bin", f"{_percent(attribute.bin_error)} in all", width)
        lines += [" " * _MARGIN + _shares(part) for part in attribute.bins if part.error is not None]
    return "\n".join(lines) + "\n"


def _wrapped(title: str, said: str, width: int) -> list[str]:
    return textwrap.wrap(
        said,
        width,
        initial_indent=f"  {title:<{_MARGIN - 2}}",
        subsequent_indent=" " * _MARGIN,
        break_on_hyphens=False,
    )


def _section(attribute: Attribute) -> str:
    lines = [f"## {attribute.name}", "", f"{_sentence(attribute.definition)} Thresholds: {attribute.why}."]
    lines += ["", f"Source: {attribute.source}. Accuracy: {attribute.accuracy or 'exact by its definition'}."]
    judged = [part for part in attribute.bins if part.error is not None]
    if judged:
        lines += ["", _row(["bin", "wrong", "missed", "stray"]), _row(["---"] * 4)]
        lines += [_row([part.name, *map(_percent, (part.error, part.missed, part.stray))]) for part in judged]
    return "\n".join([*lines, ""])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _scale(bins: tuple[Bin, ...]) -> str:
    """Names and thresholds along the axis: ``none < 0.35 ≤ mild < 0.5 ≤ strong``."""
    return bins[0].name + "".join(f" < {part.low:g} ≤ {part.name}" for part in bins[1:])


def _values(attribute: Attribute) -> str:
    low, high = attribute.range
    unit = f" {attribute.unit}" if attribute.unit else ""
    if low is None and high is None:
        return f"any number{unit and f' of{unit}'}"
    return f"{low:g} to {high:g}{unit}" if high is not None else f"from {low:g}{unit}"


def _cost(attribute: Attribute) -> str:
    if attribute.cost is None:
        return "cost not measured"
    return f"{attribute.cost:.2g} ms per {'photo' if attribute.level == 'image' else '8 boxes'}"


def _shares(part: Bin) -> str:
    return f"{part.name}: {_percent(part.error)} wrong, {_percent(part.missed)} missed, {_percent(part.stray)} stray"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}".replace(".0%", "%")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."

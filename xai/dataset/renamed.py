"""Class names that changed: new, gone and renamed against a training profile, and misspelled within a data set."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from xai.dataset import codes

ALIKE = 0.8
"""Similarity of two names from which one may stand for the other, unless their boxes contradict it."""

SOMEWHAT_ALIKE = 0.6
"""From here on too, if boxes of the two look alike."""

EXPECTED = 3.0
"""Objects of a class that a data set of this size should have, from which it is a finding that there are none: of
independent objects, fewer than one set in twenty lacks the class by chance."""

RARE = 0.02
"""A class with at most this part of the objects of one that is spelled almost alike may be a slip."""

MIN_BOXES = 20
"""Boxes of a class from which its shape and size are told."""

SHAPES_ALIKE = 0.15
"""Decades by which the median width-to-height of two classes may differ ..."""

SIZES_ALIKE = 0.4
"""... and their median relative size."""


class Boxes(NamedTuple):
    """What the boxes of a class look like, log10 of medians."""

    objects: int
    aspect: float
    size: float


def compare_classes(
    objects: pl.DataFrame, declared: Sequence[str], known: pl.DataFrame, *, split: str | None
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Compare the classes of a data set with those of a profile.

    A class is new if the profile has no object of it, and gone if this data set has none although some three were to be
    expected, or does not even declare it. A new class whose name is like that of one that is gone was probably renamed:
    names are compared without case, spaces, signs and plural; those that are merely similar only where the boxes do not
    contradict it.

    Args:
        objects: ``label``, ``object_size`` (0–1), ``object_aspect`` (width / height) of the data set.
        declared: its class names, those without objects too.
        known: the same columns of the profile's objects.
        split: what the issues name as the split.

    Returns:
        Issues ``class_new``, ``class_gone`` and ``class_renamed``; and the new name → the profile's name of the last.
    """
    ours, theirs = _boxes(objects), _boxes(known)
    new = [name for name in ours if name not in theirs]
    gone = [name for name in theirs if name not in ours]
    renamed = _pair(new, gone, ours, theirs)
    rows = []
    for name, old in renamed.items():
        message = f"{_counted(ours[name].objects)} of class {name!r}, which looks like the profile's {old!r}"
        rows.append(codes.issue("class_renamed", message, split=split))
    for name in (name for name in new if name not in renamed):
        near = max(gone, key=lambda old, name=name: _similarity(name, old), default=None)  # type: ignore[misc]
        hint = f"; its nearest name is {near!r}" if near and _similarity(name, near) >= SOMEWHAT_ALIKE else ""
        message = f"{_counted(ours[name].objects)} of class {name!r}, of which the profile has none{hint}"
        rows.append(codes.issue("class_new", message, split=split))
    unexpected, unsurprising = [], []
    total = sum(boxes.objects for boxes in theirs.values())
    for name in (name for name in gone if name not in renamed.values()):
        expected = theirs[name].objects / total * len(objects)
        if expected >= EXPECTED:
            unexpected.append(
                f"no object of class {name!r}, where about {expected:,.0f} of {len(objects):,} would be expected: the "
                f"profile has {theirs[name].objects:,} of {total:,}"
            )
        elif name not in declared:
            unsurprising.append(
                f"no object of class {name!r}, which may be chance among {len(objects):,}: the profile has "
                f"{theirs[name].objects:,} of {total:,}"
            )
    rows += [codes.issue("class_gone", message, split=split) for message in (*unexpected, *unsurprising)]
    return codes.table(rows), renamed


def misspelled(objects: pl.DataFrame, *, split: str | None) -> pl.DataFrame:
    """Return an issue for every rare class whose name is almost that of a frequent one of the same data set.

    Args:
        objects: ``label``.
        split: what the issues name as the split.
    """
    counts = {str(name): int(count) for name, count in objects["label"].value_counts(sort=True).iter_rows()}
    rows = []
    for name, count in counts.items():
        larger = [other for other, many in counts.items() if many > count]
        same = [other for other in larger if _plain(other) == _plain(name)]
        near = [other for other in larger if count <= RARE * counts[other] and _similarity(name, other) >= ALIKE]
        for other in [*same, *near][:1]:
            message = f"{_counted(count)} of class {name!r}, {counts[other]:,} of class {other!r}"
            rows.append(codes.issue("class_spelling", message, split=split))
    return codes.table(rows)


def _counted(count: int) -> str:
    return f"{count:,} object{'' if count == 1 else 's'}"


def _boxes(objects: pl.DataFrame) -> dict[str, Boxes]:
    """Return by class, most frequent first, what its boxes look like."""
    told = (
        objects.filter(pl.col("label").is_not_null())
        .group_by("label")
        .agg(
            count=pl.len(), aspect=pl.col("object_aspect").log10().median(), size=pl.col("object_size").log10().median()
        )
        .sort(["count", "label"], descending=[True, False])
    )
    return {name: Boxes(count, aspect, size) for name, count, aspect, size in told.iter_rows()}


def _pair(
    new: Sequence[str], gone: Sequence[str], ours: Mapping[str, Boxes], theirs: Mapping[str, Boxes]
) -> dict[str, str]:
    """Match new names with gone ones, or with any that differ in spelling alone, best first, each gone one once."""
    scored = [
        (score, name, old)
        for name in new
        for old in theirs
        if (score := _score(name, old, ours[name], theirs[old])) and (old in gone or score == 1)
    ]
    pairs: dict[str, str] = {}
    for _, name, old in sorted(scored, key=lambda item: (-item[0], item[1], item[2])):
        if name not in pairs and (old not in gone or old not in pairs.values()):
            pairs[name] = old
    return pairs


def _score(name: str, old: str, ours: Boxes, theirs: Boxes) -> float:
    """Return how alike two classes are, 0 where too little speaks for it."""
    score = _similarity(name, old)
    if score == 1:
        return score
    alike = _look_alike(ours, theirs)
    plain, other = _plain(name), _plain(old)
    contained = plain.startswith(other) or plain.endswith(other) or other.startswith(plain) or other.endswith(plain)
    if alike is False or not (score >= ALIKE or (alike and (contained or score >= SOMEWHAT_ALIKE))):
        return 0.0
    return max(score, ALIKE / 2)


def _similarity(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, _plain(name), _plain(other), autojunk=False).ratio()


def _plain(name: str) -> str:
    """Take case, signs, spaces and plural away.

    >>> _plain("Traffic_Lights"), _plain("traffic light"), _plain("bus"), _plain("Buses"), _plain("Straße")
    ('trafficlight', 'trafficlight', 'bus', 'bus', 'strasse')
    """
    letters = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
    if letters.endswith(("sses", "xes", "ches", "shes", "uses")):
        return letters[:-2]
    return (
        letters[:-1] if len(letters) > 3 and letters.endswith("s") and not letters.endswith(("ss", "us")) else letters
    )


def _look_alike(ours: Boxes, theirs: Boxes) -> bool | None:
    """Tell whether the boxes of two classes look alike, None where there are too few."""
    if min(ours.objects, theirs.objects) < MIN_BOXES or None in (*ours, *theirs):
        return None
    return abs(ours.aspect - theirs.aspect) <= SHAPES_ALIKE and abs(ours.size - theirs.size) <= SIZES_ALIKE

"""The data set's class names and the detector's."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import polars as pl

from xai.dataset import codes
from xai.exceptions import ConfigError


def rename_classes(labels: pl.DataFrame, mapping: Mapping[str, str]) -> pl.DataFrame:
    """Rename the classes in ``label``; all at once, so that names can be swapped."""
    return labels.with_columns(pl.col("label").replace(dict(mapping)))


def spell(mapping: Mapping[str, str], labels: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Add to a class mapping the labels that differ from a detector's name in case or in outer spaces only.

    People write "Car" where the detector says "car".

    >>> spell({}, ["Car", "bus"], ["car", "bus"])
    {'Car': 'car'}
    """
    known = {name.casefold().strip(): name for name in names}
    alike = {label: known.get(label.casefold().strip()) for label in labels if label not in (*names, *mapping)}
    return {**mapping, **{label: name for label, name in alike.items() if name is not None}}


def map_classes(
    labels: pl.DataFrame,
    mapping: Mapping[str, str],
    detector_names: Sequence[str],
    *,
    declared: Sequence[str] | None = None,
    split: str | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Name the classes as the detector does, and mark those that it lacks.

    Args:
        labels: ``types.Dataset.labels``.
        mapping: the data set's name → the detector's name.
        detector_names: classes that the detector knows.
        declared: all classes of the data set, where it declares them; a mapping of any other is refused. Without it a
            class that the mapping names may merely not occur in this split: then it is refused only where it looks
            like a misspelling of a class that needs a mapping.
        split: what the issues name as the split.

    Returns:
        Labels in the detector's names; objects of classes that it lacks have ``ignore`` = ``class`` unless they were
        ignored before. Issues: one per class that the detector lacks, with its count, and one per unused mapping.

    Raises:
        ConfigError: the mapping names a class that is not there; the message gives the nearest one.
    """
    counts = {str(name): int(count) for name, count in labels["label"].value_counts().iter_rows()}
    known = set(detector_names)
    for name, target in mapping.items():
        if target not in known:
            hint = _nearest(target, detector_names)
            raise ConfigError(f"data.classes: {name!r} is mapped to {target!r}, which the detector lacks{hint}")
    unmapped = sorted(set(counts) - set(mapping) - known)
    rows: list[codes.Row] = []
    for name in sorted(set(mapping) - set(counts) - set(declared or ())):
        alike = difflib.get_close_matches(name, unmapped, n=1, cutoff=0.7)
        if declared is not None or alike:
            raise ConfigError(
                f"data.classes: the data set has no class {name!r}{_nearest(name, [*unmapped, *(declared or counts)])}"
            )
        rows.append(
            codes.issue("class_mapping_unused", f"data.classes renames {name!r}, which no label has", split=split)
        )
    rows += [
        codes.issue(
            "class_not_in_detector",
            f"{counts[name]} objects of class {name!r} are not scored: the detector lacks the class"
            + _close(name, detector_names),
            split=split,
        )
        for name in unmapped
    ]
    lacking = pl.when(~pl.col("label").is_in(sorted(known))).then(pl.lit("class"))
    renamed = rename_classes(labels, mapping).with_columns(ignore=pl.coalesce("ignore", lacking))
    return renamed, codes.table(rows)


def _close(name: str, names: Sequence[str]) -> str:
    """Return ``; did you mean ...?`` with the nearest name, nothing where none is near."""
    folded = {other.casefold(): other for other in names}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def _nearest(name: str, names: Sequence[str]) -> str:
    """Return the nearest name as ``_close`` does, else what names there are."""
    shown = ", ".join(list(dict.fromkeys(names))[:8]) + (", ..." if len(names) > 8 else "")
    return _close(name, names) or (f"; it has {shown}" if names else "")

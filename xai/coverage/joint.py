"""Joint counts of bins: every combination of two or three attributes is one contingency table, counted exactly.

An object adds one to one cell of each table, so the work is objects × combinations of attributes, whatever the number
of bins; there is no loop over the combinations of bins that the tables hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from xai.coverage.intervals import Bools, Floats, Integers

Codes = NDArray[np.uint8]
"""(A, n): the place of each object's bin among the conditions of the attribute, or their number where it shows none."""

Triple = tuple[int, int, int]

_FIRST = 2**18
"""Objects after which it is first asked which triples need more, then after twice as many, and so on."""

_BLOCK = 16384
"""Objects that are counted at a time: their keys stay in the cache."""


def count_pairs(codes: Codes, sizes: Integers, flagged: Bools | None = None) -> Floats:
    """Count the objects, and the flagged ones, that show two conditions; the diagonals count those that show one.

    Args:
        codes: (A, n).
        sizes: (A,) conditions of each attribute; B in all.
        flagged: (n,) misses, say; left out, none is.

    Returns:
        (2, B, B), symmetric.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])
    counts = np.zeros((2, starts[-1], starts[-1]))
    both = list(combinations(range(len(sizes)), 2))
    for (a, b), table in zip(both, _tables(codes, sizes, flagged, both), strict=True):
        rows, columns = slice(starts[a], starts[a + 1]), slice(starts[b], starts[b + 1])
        counts[:, rows, columns] = table
        counts[:, columns, rows] = table.swapaxes(1, 2)
    alone = [(item,) for item in range(len(sizes))]
    single = np.concatenate([np.zeros((2, 0)), *_tables(codes, sizes, flagged, alone)], axis=1)
    counts[:, np.arange(starts[-1]), np.arange(starts[-1])] = single
    return counts


def count_triples(
    codes: Codes, sizes: Integers, flagged: Bools | None = None, among: Sequence[Triple] | None = None
) -> Iterator[tuple[Triple, Floats]]:
    """Yield for every three attributes a < b < c their places, and (2, Ka, Kb, Kc) as ``count_pairs`` counts.

    ``among`` are the triples to count, in order; all if left out.
    """
    triples = list(combinations(range(len(sizes)), 3)) if among is None else among
    yield from zip(triples, _tables(codes, sizes, flagged, triples), strict=True)


def thin_triples(
    codes: Codes, sizes: Integers, threshold: int, wanted: Callable[[Triple], Bools]
) -> dict[Triple, Floats]:
    """Count the triples of attributes of which some wanted combination is shown by fewer than ``threshold`` objects.

    Counts only grow: triples whose wanted combinations have reached the threshold among the first objects are not
    counted to the end.

    Args:
        codes: (A, n).
        sizes: (A,) conditions of each attribute.
        threshold: objects.
        wanted: gives (Ka, Kb, Kc), which combinations are asked for.

    Returns:
        Places → (Ka, Kb, Kc) objects.
    """
    counts = {
        group: np.zeros(sizes[list(group)]) for group in combinations(range(len(sizes)), 3) if wanted(group).any()
    }
    start, count = 0, _FIRST
    while start < codes.shape[1] and counts:
        for group, table in count_triples(codes[:, start : start + count], sizes, among=list(counts)):
            counts[group] += table[0]
        counts = {group: table for group, table in counts.items() if (wanted(group) & (table < threshold)).any()}
        start, count = start + count, start + count
    return counts


def _tables(codes: Codes, sizes: Integers, flagged: Bools | None, chosen: Sequence[tuple[int, ...]]) -> list[Floats]:
    """Return the tables (2, K, ...) of groups of attributes, which stand in order."""
    width = len(chosen[0]) if chosen else 0
    # One more place per attribute for objects that show none of its conditions, and one bit for the flag.
    full = (sizes + 1).tolist()
    shapes = [(2, *(full[item] for item in group)) for group in chosen]
    counts = [np.zeros(int(np.prod(shape)), dtype=np.int64) for shape in shapes]
    flags = np.zeros(codes.shape[1], dtype=np.bool_) if flagged is None else flagged
    for start in range(0, codes.shape[1], _BLOCK):
        block = codes[:, start : start + _BLOCK].astype(np.intp)
        prefix: dict[tuple[int, ...], NDArray[np.intp]] = {(): flags[start : start + _BLOCK].astype(np.intp)}
        for position, group in enumerate(chosen):
            stem = group[:-1]
            if stem not in prefix:
                # Groups come in order, so only the stem's own stems are needed from here on.
                prefix = {part: key for part, key in prefix.items() if part == stem[: len(part)]}
                for length in range(1, width):
                    part = stem[:length]
                    if part not in prefix:
                        prefix[part] = prefix[part[:-1]] * full[part[-1]] + block[part[-1]]
            key = prefix[stem] * full[group[-1]] + block[group[-1]]
            counts[position] += np.bincount(key, minlength=len(counts[position]))
    kept = [tuple(slice(int(sizes[item])) for item in group) for group in chosen]
    tables = [count.reshape(shape) for count, shape in zip(counts, shapes, strict=True)]
    summed = (np.stack([table.sum(axis=0), table[1]]) for table in tables)
    return [table[(slice(None), *part)].astype(np.float64) for table, part in zip(summed, kept, strict=True)]

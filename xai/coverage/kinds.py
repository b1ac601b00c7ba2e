"""Objects counted by draw and kind: what the statistics of an attribute need of a million objects.

Objects that share bin, stratum, group and outcome are of one kind. A draw is then a short row of counts, and every sum
over the objects of a draw is a product with a small matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from xai.coverage.intervals import Bools, Floats, Integers, split_rows
from xai.coverage.joint import Codes
from xai.coverage.ratios import Grouping


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Units (draws or photos) in groups (labels, or all objects in one): a unit is a row in each group that it is in.

    Attributes:
        order: (m,) objects that belong to a group, row after row; None for all as they stand.
        first: (R + 1,) where each row starts among them.
        of_row: (R,) group of each row.
        of_object: (m,) group of each object in ``order``; None where there is one group.
        groups: G.
        units: in all, those without an object of any group included.
    """

    order: Integers | None
    first: Integers
    of_row: Integers
    of_object: Integers | None
    groups: int
    units: int

    @classmethod
    def of(cls, unit: Integers, group: Integers | None = None, groups: int = 1) -> Rows:
        """Sort objects into rows.

        Args:
            unit: (n,) codes from 0.
            group: (n,) codes 0–G−1, −1 for objects of no group; left out, all objects are one group.
            groups: G.
        """
        units = int(unit.max(initial=-1)) + 1
        order = of_object = None
        if group is not None:
            kept = np.flatnonzero(group >= 0).astype(np.int32)
            order = kept[np.lexsort((unit[kept], group[kept]))]
            of_object = group[order]
        elif not (unit[:-1] <= unit[1:]).all():
            order = np.argsort(unit, kind="stable").astype(np.int32)
        ordered = unit if order is None else unit[order]
        starts = np.ones(len(ordered), dtype=np.bool_)
        starts[1:] = ordered[1:] != ordered[:-1]
        if of_object is not None:
            starts[1:] |= of_object[1:] != of_object[:-1]
        first = np.flatnonzero(starts)
        of_row = np.zeros(len(first), dtype=np.int64) if of_object is None else of_object[first].astype(np.int64)
        return cls(order, np.append(first, len(ordered)), of_row, of_object, groups, units)

    def count(self, kind: Integers, kinds: int) -> sparse.csr_array:
        """Return the (R, kinds) matrix of how many objects of each kind a row holds; ``kind`` (m,) in ``order``."""
        ones = np.ones(len(kind))
        # A kind that occurs twice in a row is two entries, which products add up.
        return sparse.csr_array((ones, kind.astype(np.int32), self.first.astype(np.int32)), (len(self.of_row), kinds))


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """C kinds of objects by rows.

    Attributes:
        counts: (R, C) objects of each kind in each row.
        code: (C,) bin.
        stratum: (C,) stratum within the group.
        miss: (C,) not found.
        grouping: groups of rows and kinds.
    """

    counts: sparse.csr_array
    code: Integers
    stratum: Integers
    miss: Bools
    grouping: Grouping

    @classmethod
    def of(cls, rows: Rows, code: Codes, bins: int, miss: Bools, stratum: Integers | None) -> Kinds:
        """Count kinds.

        Args:
            rows: of the objects.
            code: (n,) bin of each object, 0–K−1.
            bins: K.
            miss: (n,).
            stratum: (n,) codes from 0; None for one stratum.
        """
        layers = 1 if stratum is None else int(stratum.max(initial=0)) + 1
        total = rows.groups * bins * layers * 2
        place = code.astype(np.int32) * np.int32(2 * layers)
        if stratum is not None:
            place += 2 * stratum.astype(np.int32)
        place += miss
        place = place if rows.order is None else place[rows.order]
        if rows.of_object is not None:
            place += rows.of_object.astype(np.int32) * np.int32(bins * layers * 2)
        seen = np.bincount(place, minlength=total) > 0
        occurring = np.flatnonzero(seen)
        position = np.cumsum(seen, dtype=np.int32) - 1
        group, rest = np.divmod(occurring, bins * layers * 2)
        bin_, rest = np.divmod(rest, layers * 2)
        counts = rows.count(position[place], len(occurring))
        return cls(counts, bin_, rest // 2, rest % 2 == 1, Grouping(rows.of_row, group, rows.groups))

    def inside(self, bins: int) -> Bools:
        """Return (C, K) which kind lies in which of the first ``bins`` bins."""
        return np.asarray(self.code[:, None] == np.arange(bins))

    def by_bin(self, bins: int) -> Iterator[tuple[Floats, Floats, sparse.csr_array]]:
        """Yield (r, K) objects and misses of some rows in each bin, with the (G, r) indicator of their groups."""
        inside = self.inside(bins).astype(np.float64)
        wanted = np.concatenate([inside, inside * self.miss[:, None]], axis=1)
        for counts, groups in split_rows(self.counts, self.grouping.of_row, self.grouping.count, wanted.shape[1]):
            both = counts @ wanted
            yield both[:, :bins], both[:, bins:], groups

"""Objects counted by draw and kind: what the statistics of an attribute need of a million objects.

Objects that share bin, stratum, group and outcome are of one kind. A draw is then a short row of counts, and every sum
over the objects of a draw is a product with a small matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from xai.coverage.intervals import Bools, Floats, Integers, indicator
from xai.coverage.joint import Codes
from xai.coverage.ratios import Grouping


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Units (draws or photos) in groups (labels, or all objects in one): a unit is a row in each group that it is in.

    Attributes:
        order: (m,) objects that belong to a group, row after row.
        first: (R + 1,) where each row starts among them.
        of_row: (R,) group of each row.
        of_object: (m,) group of each object in ``order``.
        groups: G.
        units: in all, those without an object of any group included.
        sums: (G, R) indicator, which sums over the rows of each group.
        in_order: whether ``order`` is that of the objects themselves.
    """

    order: Integers
    first: Integers
    of_row: Integers
    of_object: Integers
    groups: int
    units: int
    sums: sparse.csr_array
    in_order: bool

    @classmethod
    def of(cls, unit: Integers, group: Integers | None = None, groups: int = 1) -> Rows:
        """Sort objects into rows.

        Args:
            unit: (n,) codes from 0.
            group: (n,) codes 0–G−1, −1 for objects of no group; left out, all objects are one group.
            groups: G.
        """
        units = int(unit.max(initial=-1)) + 1
        if group is None:
            order = np.argsort(unit, kind="stable")
            of_object = np.zeros(len(unit), dtype=np.int64)
        else:
            kept = np.flatnonzero(group >= 0)
            order = kept[np.lexsort((unit[kept], group[kept]))]
            of_object = group[order]
        keys = of_object * max(units, 1) + unit[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        of_row = of_object[starts]
        sums = indicator(of_row, groups)
        in_order = len(order) == len(unit) and bool((order == np.arange(len(order))).all())
        return cls(order, np.append(starts, len(order)), of_row, of_object, groups, units, sums, in_order)

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
        place = code.astype(np.int64) * (2 * layers)
        if stratum is not None:
            place += 2 * stratum
        place += miss
        place = place if rows.in_order else place[rows.order]
        if rows.groups > 1:
            place = place + rows.of_object * (bins * layers * 2)
        seen = np.bincount(place, minlength=total) > 0
        occurring = np.flatnonzero(seen)
        position = np.cumsum(seen) - 1
        group, rest = np.divmod(occurring, bins * layers * 2)
        bin_, rest = np.divmod(rest, layers * 2)
        counts = rows.count(position[place], len(occurring))
        return cls(counts, bin_, rest // 2, rest % 2 == 1, Grouping(rows.of_row, group, rows.groups))

    def inside(self, bins: int) -> Bools:
        """Return (C, K) which kind lies in which of the first ``bins`` bins."""
        return np.asarray(self.code[:, None] == np.arange(bins))

    def by_bin(self, bins: int) -> tuple[Floats, Floats]:
        """Return (R, K) objects and misses of each row in each bin."""
        inside = self.inside(bins).astype(np.float64)
        both = self.counts @ np.concatenate([inside, inside * self.miss[:, None]], axis=1)
        return both[:, :bins], both[:, bins:]

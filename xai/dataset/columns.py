"""The labels' own columns (``label_*``) and flags: the same values whichever format carried them."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

FLAGS = {"": False, "0": False, "1": True, "false": False, "true": True, "no": False, "yes": True}
"""What a flag of an object may say, in small letters."""

MAX_COLUMNS = 200
"""Own columns that are kept. Each is an attribute to bin and to test; where there are more, names hold values."""

_UNKNOWN = ("", "Unspecified")


def typed(texts: pl.Series) -> pl.Series:
    """Return a column of texts as whole numbers, else numbers, where all of them are; unknown ones become null.

    >>> import polars as pl
    >>> typed(pl.Series(["1", "", None, "0"])).to_list()
    [1, None, None, 0]
    >>> typed(pl.Series(["Frontal", "Unspecified"])).to_list()
    ['Frontal', None]
    """
    known = texts.set(texts.is_in(_UNKNOWN).fill_null(False), None)
    for dtype in (pl.Int64, pl.Float64):
        cast = known.cast(dtype, strict=False)
        if cast.null_count() == known.null_count() and known.null_count() < len(known) and cast.is_finite().all():
            return cast
    return known


def as_text(value: Any) -> str | None:
    """Return a scalar as a text file would hold it, truth as 1 and 0; None for what is no scalar or no number.

    >>> [as_text(value) for value in (True, 2, 0.5, "Left", None, float("nan"), [1])]
    ['1', '2', '0.5', 'Left', None, None, None]
    """
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    return None

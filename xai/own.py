"""A user's own attributes of photos: functions that the config names in ``data.attributes``.

::

    def warmth(photo):               # H×W×3 RGB uint8, displayed upright
        return "warm" if photo[..., 0].mean() > photo[..., 2].mean() + 8 else "cold"

What it returns is the photo's value: a word, which is its bin; a number, which is cut at the quartiles of the
evaluation set; None or NaN where it cannot be told. The column is ``meta_NAME``, tested like any attribute, and
verdicts can name it. The function may be called from several threads.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import re
import secrets
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xai import importing
from xai.exceptions import ConfigError, RequestError
from xai.types import Pixels

if TYPE_CHECKING:
    import polars as pl

KEY = "data.attributes"

Value = float | str | None


@dataclass(frozen=True, slots=True)
class Own:
    """One attribute.

    Attributes:
        column: of the photos' table, ``meta_NAME``.
        source: ``python:MODULE.NAME``.
        sha256: of its code; None where nothing tells.
        function: photo → value.
    """

    column: str
    source: str
    sha256: str | None
    function: Callable[[Pixels], Any]


def load(sources: Sequence[str]) -> tuple[Own, ...]:
    """Import the functions.

    Raises:
        ConfigError: there is no such function, or two would have the same column.
    """
    found: dict[str, Own] = {}
    for source in sources:
        function = importing.named(source, key=KEY, error=ConfigError)
        if not callable(function):
            raise ConfigError(f"{KEY} {source}: expected a function of a photo, got {type(function).__name__}")
        column = "meta_" + re.sub(r"\W+", "_", source.rpartition(".")[2])
        if column in found:
            raise ConfigError(f"{KEY}: {found[column].source} and {source} would both be called {column!r}; rename one")
        found[column] = Own(column, source, importing.origin(function)[1], function)
    return tuple(found.values())


def fingerprint(own: Iterable[Own]) -> list[tuple[str, str | None]]:
    """Return what rows depend on; where nothing tells the code of a function, what is never the same again."""
    return [(item.source, item.sha256 or secrets.token_hex(16)) for item in own]


def measure(own: Sequence[Own], photos: Mapping[str, Pixels]) -> dict[str, list[Value]]:
    """Tell the values of photos.

    Args:
        own: the attributes.
        photos: by ``image_id``.

    Returns:
        Column → a value a photo.

    Raises:
        RequestError: a function fails, or returns neither number, word nor None; the message names photo and line.
    """
    return {item.column: [_value(item, name, pixels) for name, pixels in photos.items()] for item in own}


def _value(item: Own, image_id: str, pixels: Pixels) -> Value:
    pixels = pixels.view()
    pixels.flags.writeable = False  # the detector is shown the same photo
    try:
        value = item.function(pixels)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        raise RequestError(f"{KEY} {item.source} failed on {image_id}: {error!r}{place}") from error
    if value is None or isinstance(value, str):
        return None if value is None else str(value)  # numpy has strings of its own
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if isinstance(value, numbers.Real) or (getattr(value, "shape", None) == () and kind in set("biuf")):
        with contextlib.suppress(OverflowError):  # a whole number beyond all floats
            number = float(value)
            return number if math.isfinite(number) else None
    raise RequestError(
        f"{KEY} {item.source}: expected a number, a word or None for a photo, got {type(value).__name__} for {image_id}"
    )


def columns(own: Sequence[Own], values: Mapping[str, Sequence[Value]]) -> list[pl.Series]:
    """Return the values of a batch as columns, of numbers or of words.

    Raises:
        RequestError: a function returned both.
    """
    return [_column(item, values[item.column]) for item in own]


def _column(item: Own, values: Sequence[Value]) -> pl.Series:
    import polars as pl  # the batch core, which measures, works without tables

    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1:
        raise _mixed(item.column)
    dtype = pl.String if kinds == {str} else pl.Float64 if kinds else pl.Null
    return pl.Series(item.column, values, dtype=dtype)


def agree(frames: Iterable[pl.DataFrame]) -> None:
    """Check that a column has numbers or words in all parts of a table; parts without any value fit both.

    Raises:
        RequestError: it has both.
    """
    import polars as pl

    kinds: dict[str, pl.DataType] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            if name.startswith("meta_") and dtype != pl.Null and kinds.setdefault(name, dtype) != dtype:
                raise _mixed(name)


def _mixed(column: str) -> RequestError:
    name = column.removeprefix("meta_")
    return RequestError(f"{KEY}: {name} returned numbers for some photos and words for others; return one of the two")

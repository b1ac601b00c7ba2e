"""The misses of a run: one, some, or all, with the verdict on each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from xai import extras
from xai.exceptions import RequestError, RunError
from xai.notebook import html
from xai.notebook.coverage_table import matching
from xai.notebook.drawing import Picture
from xai.report import format as fmt
from xai.report import gallery, miss_lines, words
from xai.report.causes import cause_lines
from xai.report.source import Source

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 12
"""Misses that a notebook shows; all are in ``frame``."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why one object was missed: a row of ``verdicts.parquet``; None where something is not known."""

    error_id: str
    cause: str | None
    verdict: str
    strength: float | None
    mechanism: str | None
    attribute: str | None
    value: str | None
    bin: str | None
    train_share: float | None
    eval_share: float | None
    miss_share: float | None
    risk_ratio: float | None
    repair: str | None
    sentence: str | None
    runner_up: str | None
    runner_up_strength: float | None

    def __str__(self) -> str:
        return self.sentence or self.verdict

    def _repr_html_(self) -> str:
        name = words.VERDICTS.get(self.verdict, (self.verdict, ""))[0]
        told = [("verdict", name), ("cause", words.short(self.cause) if self.cause else fmt.UNKNOWN)]
        told += [("strength", fmt.number(self.strength))]
        stage = self.mechanism or "unknown"
        told += [("stage of the detector", words.MECHANISMS.get(stage, (stage, ""))[0])]
        shares = (self.miss_share, self.eval_share, self.train_share)
        told += [("of misses, evaluation set, training", ", ".join(map(fmt.share, shares)))]
        told += [("risk ratio", fmt.ratio(self.risk_ratio))]
        if self.runner_up and (self.runner_up_strength or 0) >= 0.005:
            told.append(("runner-up", f"{words.short(self.runner_up)} ({fmt.number(self.runner_up_strength)})"))
        return f"<p><b>{html.text(self)}</b></p>{html.table(('', ''), told)}"


_VERDICT = tuple(field.name for field in fields(Verdict))


@dataclass(frozen=True, eq=False)
class Miss:
    """One object that was not found.

    Attributes:
        source: the run.
        row: the error, its object's box and its photo's size (``Source.misses``).
    """

    source: Source
    row: Mapping[str, Any]

    @property
    def error_id(self) -> str:
        """As in ``errors.parquet``."""
        return str(self.row["error_id"])

    @property
    def image_id(self) -> str:
        """The photo's path in the data set's folder."""
        return str(self.row["image_id"])

    @property
    def label(self) -> str:
        """The class of the object."""
        return str(self.row["label"])

    @property
    def kind(self) -> str:
        """``missed``, ``confused`` or ``mislocated``."""
        return str(self.row["kind"])

    @property
    def mechanism(self) -> str | None:
        """The stage of the detector at which the object was lost."""
        return self.row["mechanism"]  # type: ignore[no-any-return]

    @property
    def conditions(self) -> tuple[str, ...]:
        """What holds of the object and its photo, as ``attribute=bin``."""
        return tuple(self.row["conditions"] or ())

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """``x1 y1 x2 y2`` in pixels of the displayed photo; None of a reported miss without one."""
        if self.row["x1"] is None:
            return None
        return self.row["x1"], self.row["y1"], self.row["x2"], self.row["y2"]

    @property
    def photo(self) -> Path:
        """The file, which may have been moved since."""
        return Path(self.source.info["data"][self.source.split]["path"]) / self.image_id

    @property
    def verdict(self) -> Verdict | None:
        """Why it was missed; None where nothing was judged."""
        judged = self.row["verdict"] is not None
        return Verdict(**{name: self.row[name] for name in _VERDICT}) if judged else None

    @cached_property
    def evidence(self) -> pl.DataFrame:
        """The ledger: its rows of ``evidence.parquet``."""
        return self.source.table("evidence").filter(pl.col("error_id") == self.error_id)

    @property
    def text(self) -> tuple[str, ...]:
        """All that the run says of it, line by line."""
        return tuple(miss_lines(self.source.path, self.error_id))

    def plot(self) -> Picture:
        """Draw the photo with the object's box and what was detected around it, beside it the heat map if there is one.

        Raises:
            RunError: neither the run nor the data set's folder holds the photo any more.
        """
        from xai.notebook.photo import draw

        return draw(self)

    def __repr__(self) -> str:
        return f"Miss({self.error_id}: {self.label} in {self.image_id}, {self.row['cause'] or self.kind})"

    def _repr_html_(self) -> str:
        first, *rest = self.text
        lines = "".join(f"<div style='white-space:pre-wrap'>{html.text(line)}</div>" for line in rest)
        try:
            picture = self.plot().tag(html.text(self))
        except RunError as error:  # what is known of the miss can be read without its photo
            picture = f"<p>{html.text(error)}</p>"
        return f"{picture}<p><b>{html.text(first)}</b></p>{lines}"


@dataclass(frozen=True, slots=True, eq=False)
class Misses:
    """Misses of a run in the order of the report, by cause and then by strength; a sequence of ``Miss``.

    Attributes:
        source: the run.
        frame: one row a miss: error, verdict, box and size of the photo.
    """

    source: Source
    frame: pl.DataFrame

    @classmethod
    def of(cls, source: Source) -> Misses:
        """Take all misses of a run."""
        rows = gallery.ordered(source.misses, [line.cause for line in cause_lines(source)])
        return cls(source, rows.drop("shown_cause", "place", "turn"))

    def where(self, **values: object) -> Misses:
        """Keep the misses with these values: ``where(cause="glare", label="car")``."""
        unknown = [name for name in values if name not in self.frame.columns]
        if unknown:
            raise RequestError(f"expected columns of the misses ({', '.join(self.frame.columns)}), got {unknown[0]!r}")
        return Misses(self.source, self.frame.filter(matching(values)))

    def find(self, error_id: str) -> Miss:
        """Return the miss whose id begins like this.

        Raises:
            RequestError: none or several do.
        """
        found = self.frame.filter(pl.col("error_id").str.starts_with(error_id)) if error_id else self.frame.clear()
        if len(found) != 1:
            some = ", ".join((found if len(found) else self.frame)["error_id"].head(3))
            raise RequestError(
                f"expected the error_id of one miss, {len(found) or 'none'} of {len(self):,} begins with {error_id!r}"
                + (f"; there are {some}" if some else "")
            )
        return Miss(self.source, found.row(0, named=True))

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a miss as a pandas data frame."""
        extras.need("pandas", "notebooks")
        return self.frame.to_pandas()

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Miss]:
        return (Miss(self.source, row) for row in self.frame.iter_rows(named=True))

    def __getitem__(self, place: int) -> Miss:
        if not -len(self) <= place < len(self):
            raise IndexError(f"expected a place in 0–{len(self) - 1}, got {place}")
        return Miss(self.source, self.frame.row(place, named=True))

    def __repr__(self) -> str:
        return f"Misses({len(self)} of {self.source.path})"

    def _repr_html_(self) -> str:
        rows = [
            (row["error_id"], row["label"], row["image_id"], words.short(row["cause"] or "unexplained"),
             fmt.number(row["strength"]), row["sentence"])
            for row in self.frame.head(SHOWN).iter_rows(named=True)
        ]  # fmt: skip
        table = html.table(("error_id", "class", "photo", "cause", "strength", "why"), rows, numbers=(4,))
        left = len(self) - SHOWN
        more = f"<p>and {left:,} more: <code>.frame</code> holds all</p>" if left > 0 else ""
        return f"<p><b>{fmt.plural(len(self), 'miss', 'misses')}</b></p>{table}{more}"

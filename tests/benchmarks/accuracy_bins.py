"""How often each bin of an attribute is told wrongly: what the catalog keeps beside the bin."""

from __future__ import annotations

import numpy as np
from harness import Ledger
from numpy.typing import NDArray

from attributes import ATTRIBUTES
from attributes.arrays import Floats
from attributes.attribute import bins

Counts = NDArray[np.int64]


def bin_of(name: str, values: Floats) -> Counts:
    """(n,) index of the bin that each value lies in."""
    return np.searchsorted([part.low for part in ATTRIBUTES[name].bins[1:]], values, side="right")


def judge_bins(
    ledger: Ledger, name: str, truth: Counts, told: Counts, note: str, everyday: Counts | None = None
) -> None:
    """Add the share of values whose bin is wrong, then what that means for each bin.

    Args:
        ledger: gets the figures; their targets are those that the catalog states.
        name: of the attribute.
        truth: (n,) index of the bin that each value lies in.
        told: (n,) index of the bin that it was told as.
        note: what was judged.
        everyday: (m,) index of the bin that everyday photos were told as.
    """
    wrong = float(np.mean(truth != told))
    ledger.add(f"{name}: bin wrong", wrong, ATTRIBUTES[name].bin_error, "lower", note)
    judge_each(ledger, name, truth, told, everyday)


def judge_each(ledger: Ledger, name: str, truth: Counts, told: Counts, everyday: Counts | None = None) -> None:
    """Add for each bin how many of the values told as in it lie in another, and print the counts for the catalog."""
    stated = ATTRIBUTES[name].bins
    counts = np.zeros((len(stated), len(stated)), dtype=np.int64)
    np.add.at(counts, (truth, told), 1)
    parts: list[str | float] = [stated[0].name]
    for part in stated[1:]:
        parts += [float(part.low or 0), part.name]
    usual = [] if everyday is None else np.bincount(everyday, minlength=len(stated)).tolist()
    judged = bins(*parts, judged=counts.tolist(), everyday=usual)
    for place, (found, kept) in enumerate(zip(judged, stated, strict=True)):
        if found.error is None:
            continue
        lying = f"{counts[place].sum()} lie in it, {_percent(found.missed)} of them told as another"
        note = f"{counts[:, place].sum()} told so; {lying}; so told {_percent(found.stray)} of the rest"
        ledger.add(f"{name}: told as {found.name}, wrongly", found.error, kept.error, "lower", note)
    rows = ", ".join(f"({', '.join(map(str, row))})" for row in counts.tolist())
    beside = f", everyday=({', '.join(map(str, usual))})" if usual else ""
    print(f"for the catalog, {name}: judged=({rows}){beside}")


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.1%}"

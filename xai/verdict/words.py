"""Numbers and nouns as people write them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

IRREGULAR: Mapping[str, str] = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice", "knife": "knives",
    "sheep": "sheep", "fish": "fish", "deer": "deer", "scissors": "scissors", "skis": "skis", "broccoli": "broccoli",
    "policeman": "policemen", "leaf": "leaves", "shelf": "shelves", "goose": "geese", "foot": "feet", "tooth": "teeth",
}  # fmt: skip


def plural(noun: str) -> str:
    """Return the plural of a class name; names that are not plain English words are quoted and called objects.

    >>> [plural(noun) for noun in ("car", "bus", "wine glass", "knife", "lorry", "person")]
    ['cars', 'buses', 'wine glasses', 'knives', 'lorries', 'people']
    >>> plural("veh_01")
    '“veh_01” objects'
    """
    *first, last = noun.split(" ")
    if not (last.isascii() and last.isalpha() and noun == noun.lower()):
        return f"“{noun}” objects"
    if last in IRREGULAR:
        end = IRREGULAR[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        end = f"{last}es"
    elif last.endswith("y") and last[-2:-1] not in set("aeiou"):
        end = f"{last[:-1]}ies"
    else:
        end = f"{last}s"
    return " ".join([*first, end])


def article(noun: str) -> str:
    """Return the noun with "a" or "an".

    >>> article("car"), article("airplane"), article("user")
    ('a car', 'an airplane', 'a user')
    """
    vowel = noun[:1].lower() in set("aeio") or (noun[:1].lower() == "u" and noun[:3].lower() not in ("uni", "use"))
    return f"{'an' if vowel else 'a'} {noun}"


def percent(share: float) -> str:
    """Return a share of 0–1 in percent with the digits that matter.

    >>> [percent(share) for share in (0, 0.00042, 0.021, 0.31, 0.9995, 1)]
    ['0%', '0.04%', '2.1%', '31%', '99.95%', '100%']
    """
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f}%"
    if value < 0.005:
        return "under 0.01%"
    digits = 2 if value < 1 or value > 99 else 1 if value < 10 else 0
    return f"{value:.{digits}f}".removesuffix(".0").removesuffix(".00") + "%"


def under(share: float, limit: float) -> str:
    """Return a share in percent that is not rounded up to a limit which it lies under.

    >>> under(0.495, 0.5), under(0.38, 0.5), under(0.4999, 0.5), under(0.6, 0.5)
    ('49.5%', '38%', '49.9%', '60%')
    """
    told = percent(share)
    if share >= limit or float(told.rstrip("%").removeprefix("under ")) < 100 * limit:
        return told
    return f"{math.floor(1000 * share) / 10:g}%"


def number(value: float) -> str:
    """Return a number with two significant digits, whole from 10 on.

    >>> [number(value) for value in (0.034, 0.98, 3.14159, 12.4, 1234.5)]
    ['0.034', '0.98', '3.1', '12', '1,234']
    """
    if abs(value) >= 9.95:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def with_unit(value: float, unit: str) -> str:
    """Return a measured value with its unit.

    >>> with_unit(-17.3, "°"), with_unit(0.412, ""), with_unit(8.21, "grey levels")
    ('-17°', '0.41', '8.2 grey levels')
    """
    signs = {"degrees": "°", "degree": "°", "deg": "°"}
    unit = signs.get(unit, unit)
    return f"{number(value)}{'' if unit in ('', '°', '%') else ' '}{unit}"


def capitalise(text: str) -> str:
    """Return the text with its first letter upper, the rest as it is."""
    return text[:1].upper() + text[1:]


def listing(items: Sequence[str]) -> str:
    """Return items joined by commas and "and".

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)

"""How figures are written: one place for counts, shares, ratios and intervals; what is unknown is a dash."""

from __future__ import annotations

import math

UNKNOWN = "–"
"""What stands where a figure is unknown: null in a table, or not a number."""


def known(value: object) -> bool:
    """Tell whether a figure is known: neither absent, null nor NaN (infinite ratios are known).

    >>> known(0), known(float("inf")), known(None), known(float("nan"))
    (True, True, False, False)
    """
    return isinstance(value, int | float) and not math.isnan(value)


def count(value: float | None) -> str:
    """Write a count with thousands separators.

    >>> count(12345), count(None)
    ('12,345', '–')
    """
    return f"{round(value):,}" if value is not None and math.isfinite(value) else UNKNOWN


def about(value: float | None) -> str:
    """Write a number that was estimated, of things that are counted.

    >>> about(13.6), about(0.2), about(0.0), about(None)
    ('about 14', 'under 1', 'none', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "none"
    return f"about {value:,.0f}" if value >= 0.95 else "under 1"


def share(value: float | None) -> str:
    """Write a fraction as a percentage with one decimal; a share that is not quite 0 or 1 never reads as if it were.

    >>> share(0.1372), share(0.0), share(1.0), share(0.0002), share(0.9999), share(float("nan"))
    ('13.7%', '0%', '100%', '<0.1%', '>99.9%', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value in (0, 1):
        return f"{value:.0%}"
    if 0 < value < 0.0005:
        return "<0.1%"
    if 0.9995 <= value < 1:
        return ">99.9%"
    return f"{value:.1%}"


def percent(value: float) -> str:
    """Write a figure that somebody chose, with the digits that it was given.

    >>> percent(0.9), percent(0.995)
    ('90%', '99.5%')
    """
    return f"{100 * value:.6g}%"


def ratio(value: float | None) -> str:
    """Write a risk ratio: two significant digits and a multiplication sign.

    >>> ratio(2.345), ratio(0.42), ratio(14.6), ratio(250.0), ratio(float("inf")), ratio(None)
    ('2.3×', '0.42×', '15×', '>100×', '∞', '–')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞"
    return ">100×" if value > 100 else f"{_two_digits(value)}×"


def share_interval(low: float | None, high: float | None) -> str:
    """Write an interval of shares.

    >>> share_interval(0.112, 0.165), share_interval(0.722, 0.9996), share_interval(None, 0.2)
    ('11.2–16.5%', '72.2% to >99.9%', '–')
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return UNKNOWN
    if share(low)[0] in "<>" or share(high)[0] in "<>":
        return f"{share(low)} to {share(high)}"
    return f"{share(low).removesuffix('%')}–{share(high)}"


def ratio_interval(low: float | None, high: float | None) -> str:
    """Write an interval of ratios; an open upper end is infinite.

    >>> ratio_interval(1.12, 4.6), ratio_interval(0.9, float("inf")), ratio_interval(None, None)
    ('1.1–4.6', '0.90–∞', '–')
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return UNKNOWN
    return f"{ratio(low).removesuffix('×')}–{ratio(high).removesuffix('×')}"


def number(value: float | None) -> str:
    """Write a score, an overlap or another measured value with two decimals, large ones whole.

    >>> number(0.3141), number(-0.5), number(1234.5), number(None)
    ('0.31', '−0.50', '1,234', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}").replace("-", "−")


def signed(value: float | None) -> str:
    """Write a difference with its sign.

    >>> signed(0.314), signed(-0.5), signed(0.0)
    ('+0.31', '−0.50', '0.00')
    """
    text = number(value)
    return f"+{text}" if value is not None and value > 0 and text != UNKNOWN else text


def plural(amount: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun.

    >>> plural(1, "miss", "misses"), plural(2000, "photo")
    ('1 miss', '2,000 photos')
    """
    return f"{count(amount)} {one if amount == 1 else many or one + 's'}"


def seconds(value: float | None) -> str:
    """Write a duration.

    >>> seconds(3.21), seconds(75), seconds(7260)
    ('3.2 s', '1 min 15 s', '2 h 1 min')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def money(value: float, currency: str) -> str:
    """Write an amount of money.

    >>> money(12.5, "USD"), money(1150.0, "USD")
    ('USD 12.50', 'USD 1,150')
    """
    amount = f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"
    return f"{currency} {amount}".strip()


def sentence(text: str) -> str:
    """Start with a capital letter and leave the rest as it is.

    >>> sentence("level photos")
    'Level photos'
    """
    return text[:1].upper() + text[1:]


def _two_digits(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 2)}f}"

"""Text that came from data, made harmless to show."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Show what would steer a terminal.

    >>> printable("a\x1b[31m b\nc")
    'a\\x1b[31m b\\nc'
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)

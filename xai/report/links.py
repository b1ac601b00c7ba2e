"""Addresses within the page; they stay the same from run to run as long as what they name does."""

from __future__ import annotations

from urllib.parse import quote, urlencode


def filter_link(**chosen: str) -> str:
    """Return the address within the page of the gallery with a filter.

    >>> filter_link(cause="label_pose:Rear")
    '#gallery?cause=label_pose%3ARear'
    """
    return f"#gallery?{urlencode(chosen, quote_via=quote)}"

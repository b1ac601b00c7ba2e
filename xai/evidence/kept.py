"""What the detector was asked about each photo can be kept, so that a run that was killed does not ask again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Kept = Callable[[str, str, Callable[[], Any]], Any]
"""(stage, ``image_id``, work) → what the work returns, from this run or an earlier one; None where the photo cannot be
read any more. The work returns JSON values and nothing but files depends on it besides; tuples may come back as lists.
"""


def not_kept(stage: str, image_id: str, work: Callable[[], Any]) -> Any:
    """Do the work, and leave what it raises to the caller."""
    return work()

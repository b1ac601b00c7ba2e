"""From tables and experiments to one verdict per miss; no torch."""

from xai.verdict.judge import judge
from xai.verdict.rank import plan, rank

__all__ = ["judge", "plan", "rank"]

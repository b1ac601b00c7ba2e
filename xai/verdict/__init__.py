"""From tables and experiments to one verdict per miss; no torch."""

from xai.verdict.detections import judge_detections
from xai.verdict.judge import judge
from xai.verdict.rank import plan, rank
from xai.verdict.upright import upright_lines, with_upright

__all__ = ["judge", "judge_detections", "plan", "rank", "upright_lines", "with_upright"]

"""From tables and experiments to one verdict per miss; no torch."""

from xai.verdict.cut_off import cut_lines
from xai.verdict.detections import judge_detections
from xai.verdict.judge import judge
from xai.verdict.label_checks import label_lines
from xai.verdict.parts import own_parts
from xai.verdict.rank import controls, plan, rank
from xai.verdict.upright import level_lines, upright_lines, with_hidden, with_level, with_upright

__all__ = [
    "controls",
    "cut_lines",
    "judge",
    "judge_detections",
    "label_lines",
    "level_lines",
    "own_parts",
    "plan",
    "rank",
    "upright_lines",
    "with_hidden",
    "with_level",
    "with_upright",
]

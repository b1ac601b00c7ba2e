"""Where in the detector a miss was lost, as a sentence."""

from __future__ import annotations

from xai.verdict.words import article, percent


def inside(
    mechanism: str | None, label: str, score: float | None, iou: float | None, seen: str | None, threshold: float
) -> str:
    """Say where the object was lost; nothing where the mechanism is not known.

    Args:
        mechanism: of the error.
        label: the object's class.
        score: ``best_score`` of the error, 0–1.
        iou: ``best_iou`` of the error, 0–1.
        seen: ``best_label`` of the error.
        threshold: the deployed score threshold.

    >>> inside("wrong_class", "car", 0.61, 0.9, "truck", 0.25)
    'The detector takes it for a truck (score 0.61).'
    >>> inside("unknown", "car", None, None, None, 0.25)
    ''
    """
    scored = "" if score is None else f" (score {score:.2f})"
    if mechanism == "no_candidate":
        return "The detector proposes nothing above noise at its place."
    if mechanism == "wrong_class" and seen is not None:
        return f"The detector takes it for {article(seen)}{scored}."
    if mechanism == "poor_box" and iou is not None:
        seen_there = f"The detector sees {article(label)} there{scored}"
        return f"{seen_there}, but its surest box overlaps this one by {percent(iou)} only."
    if mechanism == "low_score" and score is not None:
        told = f"{score:.2g}" if round(score, 2) < threshold else f"{score:.3g}"
        return f"The detector sees it with a score of {told}, below the deployed threshold of {threshold:.3g}."
    if mechanism == "suppressed":
        return f"The detector sees it{scored}, but that box gave way to one that overlaps it."
    return ""

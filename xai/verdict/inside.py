"""Where in the detector a miss was lost, as a sentence."""

from __future__ import annotations

from xai.verdict.label_checks import FITS
from xai.verdict.scene import Scene
from xai.verdict.words import article, percent, plural, under

FAINT = 0.5
"""Share of the deployed threshold below which a score is a faint guess."""

OFTEN = 2
"""Other misses of a class that are called the same class which no label has: then the labels may call it otherwise."""

NEAR = 0.1
"""Overlap that is less than what counts by this much is near it."""

SMALL = 0.01
"""Score below which two places tell nothing."""

HEARD = 0.1
"""Share of the deployed threshold below which a score is noise, as in ``detect.mechanism``."""


def inside(scene: Scene) -> str:
    """Say where the object was lost; nothing where the mechanism is not known."""
    if scene.mechanism == "no_candidate":
        return "The detector proposes nothing above noise at its place."
    if scene.mechanism == "wrong_class" and scene.seen is not None:
        return _another_class(scene, scene.seen)
    if scene.mechanism == "poor_box" and scene.iou is not None:
        return _poor_box(scene, scene.iou)
    if scene.mechanism == "low_score" and scene.score is not None:
        if scene.score < FAINT * scene.score_threshold:
            return f"The detector has only a faint guess of it (score {_low(scene)}, threshold {_threshold(scene)})."
        return f"The detector scores it {_low(scene)}, under the deployed threshold of {_threshold(scene)}."
    if scene.mechanism == "suppressed":
        return _suppressed(scene)
    return ""


def says_why(scene: Scene) -> bool:
    """Whether the way in which the detector lost it is all there is to say of the reason."""
    if scene.mechanism == "suppressed":
        return scene.claimed
    passes = scene.score is None or scene.score >= scene.score_threshold
    return scene.mechanism == "wrong_class" and passes and scene.unused and scene.likewise >= OFTEN and _fits(scene)


def _another_class(scene: Scene, seen: str) -> str:
    other, score = article(seen), _scored(scene)
    if scene.score is not None and scene.score < scene.score_threshold:
        return f"The detector's surest guess there is {other} (score {_low(scene)}, threshold {_threshold(scene)})."
    overlap = _overlap(scene)
    if scene.claimed:
        share = "" if overlap is None else f" that overlaps it by {percent(overlap)}"
        return f"The detector reports {other}{score}{share} and counts for another object."
    if overlap is None:
        return f"The detector's surest guess there is {other}{score}."
    if not _fits(scene):
        return (
            f"The detector reports {other}{score} that overlaps it by {percent(overlap)}, which may be another object."
        )
    own = scene.own if scene.own is not None and scene.own >= HEARD * scene.score_threshold else None
    passes = own is not None and own >= scene.score_threshold
    mild = "" if own is None or passes else f"; as {article(scene.label)} {_number(own, scene.score_threshold)}"
    text = f"The detector calls it {other}{f'{score[:-1]}{mild})' if score else ''}"
    if scene.unused and scene.likewise >= OFTEN:
        text += (
            f", like {scene.likewise:,} other missed {plural(scene.label)}; these labels never use that class: check "
        )
        text += "which class such objects should have"
    elif scene.unused:
        text += ", a class that these labels never use"
    if not passes:
        return f"{text}."
    joint = ". As" if scene.unused else "; as"
    also = "above the threshold, but that box is not among the detections"
    return f"{text}{joint} {article(scene.label)} it scores {own:.2f} there, {also}."


def _poor_box(scene: Scene, iou: float) -> str:
    this, overlap = article(scene.label), under(iou, scene.match_iou)
    if scene.score is not None and scene.score < scene.score_threshold:
        figures = f"(score {_low(scene)}, threshold {_threshold(scene)})"
        if scene.score < FAINT * scene.score_threshold:
            return (
                f"The detector has only a faint guess of {this} there {figures}, which overlaps this one by {overlap}."
            )
        return f"The detector's surest box of {this} there {figures} overlaps this one by {overlap} only."
    if scene.claimed:
        box = f"The detector's box of {this} there{_scored(scene)}"
        return f"{box} overlaps this one by {overlap} and counts for another object."
    text = f"The detector sees {this} there{_scored(scene)}, but its surest box overlaps this one by {overlap} only"
    if scene.match_iou - NEAR <= iou < scene.match_iou:
        text += f", under the {percent(scene.match_iou)} that count"
    if scene.own is not None and FAINT * scene.score_threshold <= scene.own < scene.score_threshold:
        told = _number(scene.own, scene.score_threshold)
        text += f"; a box that fits scores {told}, under the threshold of {_threshold(scene)}"
    return f"{text}."


def _suppressed(scene: Scene) -> str:
    if scene.claimed:
        return f"One box{_scored(scene)} covers this {scene.label} and its neighbour, and counts for the neighbour."
    share = "A box on it" if scene.iou is None else f"A box that overlaps it by {percent(scene.iou)}"
    return f"{share}{_scored(scene)} was dropped for a surer one."


def _overlap(scene: Scene) -> float | None:
    return scene.iou if scene.iou is not None else scene.box_iou


def _fits(scene: Scene) -> bool:
    overlap = _overlap(scene)
    return overlap is not None and overlap >= FITS and not scene.claimed


def _scored(scene: Scene) -> str:
    return "" if scene.score is None else f" (score {scene.score:.2f})"


def _low(scene: Scene) -> str:
    return _number(scene.score or 0.0, scene.score_threshold)


def _number(score: float, threshold: float) -> str:
    """A score to two places, to three digits where two places would lift it to the threshold."""
    if score < threshold <= round(score, 2):
        return f"{score:.3g}"
    return f"{score:.2g}" if score < SMALL else f"{score:.2f}"


def _threshold(scene: Scene) -> str:
    return f"{scene.score_threshold:.3g}"

"""The words of a verdict: one template per kind, one phrase per condition and repair, figures from the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xai.catalog import OF_DETECTOR
from xai.causes import CAUSES
from xai.verdict.inside import inside, says_why
from xai.verdict.label_words import doubt_label
from xai.verdict.phrases import REPAIRS, measured, phrase
from xai.verdict.rates import coverage, held, report_risk, reports, risk, set_name
from xai.verdict.scene import Repaired, Scene
from xai.verdict.vain import by_luck, changed, found_anyway, loosely, nothing, told
from xai.verdict.words import capitalise, listing, number, percent

TELL = ("wrong_class", "suppressed", "poor_box", "low_score")
"""Mechanisms that add a figure to what is said of a condition."""

RARE = 0.05
"""Share of found objects up to which a value is worth calling extreme: what speaks for a cause that nothing shows."""


def sentence(verdict: str, scene: Scene) -> str:
    """Return what the verdict says, in one to five plain sentences; every figure stands in the run's tables."""
    parts = {
        "label": doubt_label,
        "coverage_gap": _condition,
        "hard": _condition,
        "threshold": _threshold,
        "chance": _chance,
        "unexplained": _unexplained,
    }[verdict](verdict, scene)
    return " ".join(part for part in parts if part)


def _condition(verdict: str, scene: Scene) -> list[str]:
    condition = scene.condition
    if condition is None:
        raise ValueError(f"a verdict {verdict} names a condition, got none")
    lost = inside(scene) if scene.mechanism in TELL else ""
    if condition.get("asked"):
        # Nobody measured it: the detector was asked, of photos with misses alone, so that there are no rates.
        this = f"this {scene.label}"
        return [_asked(scene, condition, this), held(scene, condition), _repair(scene, condition)]
    if _only_part(condition):
        # Shares and rates are of objects that other boxes hide, which nothing says of this one.
        return [_part(scene, condition), _repair(scene, condition), lost]
    return [
        _named(scene, condition),
        _part(scene, condition),
        reports(scene, condition) if scene.reported else coverage(verdict, scene, condition),
        report_risk(condition) if scene.reported else risk(condition),
        _beside(scene, condition),
        _repair(scene, condition),
        lost,
    ]


def _named(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say the condition, and how far it is shown to be the cause."""
    here = phrase(condition)[0].format(this=f"this {scene.label}")
    known = [*_measured(scene, condition), *_shortened(scene, condition), *_doubted(condition)]
    figures = f" ({'; '.join(known)})" if known else ""
    if condition["elevated"]:
        return f"{capitalise(here)}{figures}."
    tail = condition.get("tail_share")
    # Of words and turns it is the share of the same kind, and beside reports nobody knows what was found.
    extreme = condition["value"] is not None and condition["attribute"] != "rotation" and not scene.reported
    if extreme and tail is not None and tail <= RARE and not condition["succeeded"]:
        known.append(f"at most {percent(tail)} of found objects are as extreme")
    figures = f" ({'; '.join(known)})" if known else ""
    return f"Suspected{'' if condition['succeeded'] else ', not shown'}: {here}{figures}."


def _beside(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say what else may make an object look unlike others: what the detector sees is no cause that can be repaired."""
    if condition["attribute"] not in OF_DETECTOR or not (others := told(scene)[:2]):
        return ""
    names = [loosely(item).format(this="it") for item in others]
    return f"Beside that, {listing(names)}."


def _asked(scene: Scene, condition: Mapping[str, Any], this: str) -> str:
    """Say what the detector told of the photo, of which no attribute could be measured."""
    done = "levelled than tilted further" if condition["cause"] == "tilt" else "turned"
    here = phrase(condition)[0].format(this=this)
    known = _measured(scene, condition)
    return f"The detector is surer of the photo {done}, as where {here}{f' ({known[0]})' if known else ''}."


def _only_part(condition: Mapping[str, Any]) -> bool:
    """Whether nothing but the detector's view of a part tells that the object is hidden."""
    hidden = condition["cause"] == "occlusion" and condition.get("part_side") is not None
    return hidden and condition["value"] is None


def _part(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say which part of a hidden object the detector sees, where it was asked and sees one."""
    if condition["cause"] != "occlusion" or condition.get("part_side") is None:
        return ""
    side = {"top": "upper", "bottom": "lower"}.get(condition["part_side"], condition["part_side"])
    figures = f"(score × overlap {condition['part_after']:.2f}, {condition['part_before']:.2f} for the whole)"
    if _only_part(condition):
        return (
            f"The detector sees the {side} part of this {scene.label} better than all of it {figures}: something may "
            "hide the rest."
        )
    return f"The detector sees its {side} part {figures}."


def _measured(scene: Scene, condition: Mapping[str, Any]) -> list[str]:
    value = condition["value"]
    return [] if value is None else [measured(condition["attribute"], value, set_name(scene))]


def _shortened(scene: Scene, condition: Mapping[str, Any]) -> list[str]:
    """Say by its shape how much of an object the edge cuts off, where that is clearly more than of most."""
    if condition.get("cut_here") is None:
        return []
    usual, here = (number(condition[name]) for name in ("cut_usual", "cut_here"))
    wide = "as wide as high" if here in ("1", "1.0") else f"{here} times as wide as high"
    return [f"its box is {wide}, that of the middle whole {scene.label} {usual} times"]


def _doubted(condition: Mapping[str, Any]) -> list[str]:
    """Say how often the attribute errs that tells the condition, where that was measured."""
    error = condition["tag_error"]
    return [f"{percent(error)} of such tags are wrong"] if error else []


def _repair(scene: Scene, condition: Mapping[str, Any]) -> str:
    cause = CAUSES.get(condition["cause"])
    if cause is None or cause.repair is None or condition["after"] is None:
        return ""
    done, doing = REPAIRS.get(cause.repair, (f"after {cause.repair}", cause.repair))
    after, before = f"{condition['after']:.2f}", f"{condition['before']:.2f}"
    placebo = condition["placebo"]
    if condition["succeeded"]:
        luck = "" if placebo is None else f"; changes that mean nothing reach {placebo:.2f} at most"
        return f"{capitalise(done)}, the detector finds it (score × overlap {after}, {before} before{luck})."
    if condition["failed"]:
        return " ".join(
            [
                f"{capitalise(doing)} does not bring it back (score × overlap {after}, {before} before).",
                *found_anyway(scene),
            ]
        )
    return by_luck(
        scene, Repaired(cause.repair, condition["before"], condition["after"], placebo, condition["hit_placebo"])
    )


def _threshold(verdict: str, scene: Scene) -> list[str]:
    score = "" if scene.score is None else f" {scene.score:.3g}"
    shown = any(item["cause"] in CAUSES for item in scene.others)
    rest = "no condition that was measured is likely enough to be named" if shown else "nothing else stands out"
    return [
        f"The detector scores this {scene.label}{score}, just under the deployed threshold of "
        f"{scene.score_threshold:.3g}, and {rest}: a slightly lower threshold may find it.",
        *changed(scene),
    ]


def _chance(verdict: str, scene: Scene) -> list[str]:
    parts = [*nothing(scene), *changed(scene)]
    if scene.promise is not None:
        count, total = scene.promise.misses, scene.promise.objects
        verb = "is" if count == 1 else "are"
        where = "In the labelled sample, " if scene.reported else ""
        parts.append(
            f"{where}{count:,} of {total:,} objects {verb} missed, inside the promised recall of "
            f"{percent(scene.promise.target)}, so misses like this one are expected."
        )
    return parts


def _unexplained(verdict: str, scene: Scene) -> list[str]:
    why = "" if says_why(scene) else "Why it is missed, these data do not tell."
    return [*nothing(scene), *changed(scene), inside(scene), why]

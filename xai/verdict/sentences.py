"""The words of a verdict: one template per kind, one phrase per condition and repair, figures from the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xai.catalog import CATALOG
from xai.causes import CAUSES
from xai.verdict.inside import inside
from xai.verdict.label_words import doubt_label
from xai.verdict.phrases import REPAIRS, phrase
from xai.verdict.scene import Scene
from xai.verdict.weights import LEAST
from xai.verdict.words import capitalise, listing, number, percent, plural, with_unit


def sentence(verdict: str, scene: Scene) -> str:
    """Return what the verdict says, in one to four plain sentences; every figure stands in the run's tables."""
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
    here, _ = phrase(condition)
    this = f"this {scene.label}"
    if condition.get("asked"):
        # Nobody measured it: the detector was asked, of photos with misses alone, so that there are no rates.
        return [_asked(condition, this), _held(scene, condition), _repair(scene, condition)]
    known = [*_measured(condition), *_shortened(scene, condition), *_doubted(condition)]
    measured = f" ({'; '.join(known)})" if known else ""
    return [
        *([] if _only_part(condition) else [f"{capitalise(here.format(this=this))}{measured}."]),
        _part(scene, condition),
        _reports(scene, condition) if scene.reported else _coverage(verdict, scene, condition),
        _report_risk(condition) if scene.reported else _risk(scene, condition),
        _repair(scene, condition),
        _lost(scene) if scene.mechanism in ("wrong_class", "suppressed") else "",
    ]


def _asked(condition: Mapping[str, Any], this: str) -> str:
    """Say what the detector told of the photo, of which no attribute could be measured."""
    done = "levelled" if condition["cause"] == "tilt" else "turned"
    here = phrase(condition)[0].format(this=this)
    known = _measured(condition)
    return f"The detector is surer of the photo {done}, as where {here}{f' ({known[0]})' if known else ''}."


def _held(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say how much training holds of a condition, where nothing is known of the evaluation set."""
    if not scene.has_training or condition["train_count"] is None:
        return "There is no training set to compare with."
    set_name, (_, many) = ("training" if scene.is_training_set else "reference"), phrase(condition)
    if condition["train_count"] == 0:
        return f"No {set_name} objects {many}."
    return f"{condition['train_count']:,} {set_name} objects {many} ({percent(condition['train_share'])})."


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
            f"The detector sees the {side} part of this {scene.label} better than all of it {figures}, as it does "
            "where something hides the rest."
        )
    return f"The detector sees its {side} part {figures}."


def _measured(condition: Mapping[str, Any]) -> list[str]:
    name, value = condition["attribute"], condition["value"]
    if value is None:
        return []
    unit = CATALOG[name].unit if name in CATALOG else ""
    return [f"{name.replace('_', ' ')} {with_unit(value, unit)}"]


def _shortened(scene: Scene, condition: Mapping[str, Any]) -> list[str]:
    """Say by its shape how much of an object the edge cuts off, where that is clearly more than of most."""
    if condition.get("cut_here") is None:
        return []
    usual, here = (f"{condition[name]:.2g}" for name in ("cut_usual", "cut_here"))
    return [f"its box is {here} times as wide as high, that of the middle whole {scene.label} {usual} times"]


def _doubted(condition: Mapping[str, Any]) -> list[str]:
    """Say how often the attribute errs that tells the condition, where that was measured."""
    error = condition["tag_error"]
    return [f"{percent(error)} of such tags are wrong"] if error else []


def _coverage(verdict: str, scene: Scene, condition: Mapping[str, Any]) -> str:
    if not scene.has_training or condition["train_count"] is None:
        return "There is no training set to compare with."
    _, many = phrase(condition)
    set_name = "training" if scene.is_training_set else "reference"
    things = plural(condition["scope"]) if condition["scope"] is not None else "objects"
    here = percent(condition["eval_share"])
    if condition["train_count"] == 0:
        return f"No {set_name} {things} {many}; in the evaluation set, {here} do."
    share, count = percent(condition["train_share"]), condition["train_count"]
    scarce = condition["train_share"] < condition["eval_share"] / 2
    if verdict == "coverage_gap" and condition["train_share"] > condition["eval_share"]:
        return (
            f"{count:,} {set_name} {things} {many}: a larger share than in the evaluation set ({share}; {here}), "
            "but few to learn from."
        )
    if verdict == "coverage_gap" and not scarce:
        return f"Only {count:,} {set_name} {things} {many} ({share}; {here} in the evaluation set)."
    text = f"{'Only ' if scarce else ''}{share} of the {set_name} {things} {many}, {here} in the evaluation set"
    if verdict == "coverage_gap" or not condition["elevated"]:
        return f"{text}."
    if not scarce:
        return f"{text}: it is hard although there are examples."
    return f"{text}; yet it is hard by itself, since {percent(condition['train_miss_rate'])} of those are missed too."


def _reports(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say the shares of a run without labels: of reported misses, of production photos, of training."""
    _, many = phrase(condition)
    by_photo = condition["eval_share"] is not None
    others = [f"{percent(condition['eval_share'])} of the production photos"] if by_photo else []
    if scene.has_training and condition["train_share"] is not None:
        set_name = "training" if scene.is_training_set else "reference"
        others.append(f"{percent(condition['train_share'])} of the {set_name} {'photos' if by_photo else 'objects'}")
    against = f", against {listing(others)}" if others else ""
    return f"{percent(condition['miss_share'])} of the reported misses {many}{against}."


def _report_risk(condition: Mapping[str, Any]) -> str:
    ratio, low, high = (condition[name] for name in ("adjusted_risk_ratio", "adjusted_low", "adjusted_high"))
    if ratio is None or low is None:
        return "How often such objects are missed is not known, since nobody labelled the photos."
    interval = f"{number(low)}–{number(high)}" if high is not None else f"from {number(low)} up"
    text = f"Such photos are reported {number(ratio)} times as often as others (95% interval {interval})"
    return f"{text}." if condition["elevated"] else f"{text}, which alone does not show it."


def _risk(scene: Scene, condition: Mapping[str, Any]) -> str:
    if _only_part(condition):
        return ""  # rates are of objects that other boxes hide, which nothing says of this one
    things = plural(condition["scope"]) if condition["scope"] is not None else "objects"
    if condition["miss_rate"] is None or condition["other_rate"] is None:
        return f"No other {things} are there to compare with."
    rates = (
        f"Of such {things}, {percent(condition['miss_rate'])} are missed, of others {percent(condition['other_rate'])}"
    )
    ratio, low, high = (condition[name] for name in ("adjusted_risk_ratio", "adjusted_low", "adjusted_high"))
    if ratio is None or low is None:
        return f"{rates}."
    interval = f"{number(low)}–{number(high)}" if high is not None else f"from {number(low)} up"
    like = _adjusted_for(condition)
    text = f"{rates} (risk ratio {number(ratio)}{like}, 95% interval {interval})"
    if condition["elevated"]:
        return f"{text}."
    chance = "which among so many comparisons may be chance" if low > 1 else "which alone does not show it"
    return f"{text}, {chance}."


def _adjusted_for(condition: Mapping[str, Any]) -> str:
    kept = [
        *(["size"] if condition["attribute"] != "object_size" else []),
        *(["class"] if condition["scope"] is None else []),
    ]
    return f" at equal {' and '.join(kept)}" if kept else ""


def _repair(scene: Scene, condition: Mapping[str, Any]) -> str:
    cause = CAUSES.get(condition["cause"])
    if cause is None or cause.repair is None or condition["after"] is None:
        return ""
    done, doing = REPAIRS.get(cause.repair, (f"after {cause.repair}", cause.repair))
    after, before = f"{condition['after']:.2f}", f"{condition['before']:.2f}"
    if condition["succeeded"]:
        placebo = condition["placebo"]
        luck = "" if placebo is None else f"; changes that mean nothing reach {placebo:.2f} at most"
        return f"{capitalise(done)}, the detector finds it (score × overlap {after}, {before} before{luck})."
    if condition["failed"]:
        return f"{capitalise(doing)} does not bring it back (score × overlap {after}, {before} before)."
    return _by_luck(cause.repair, condition["hit_placebo"], condition["after"], condition["placebo"])


def _by_luck(repair: str, hit_placebo: float | None, after: float, placebo: float | None) -> str:
    """Say of a repair after which the object is found why it shows nothing: what placebos do."""
    text = f"{capitalise(REPAIRS[repair][0])}, the detector finds it (score × overlap {after:.2f})"
    reach = "" if placebo is None else f" ({placebo:.2f} at most)"
    if hit_placebo:
        return f"{text}, but so it does after {percent(hit_placebo)} of the changes that mean nothing{reach}."
    return f"{text}, but no more surely than without that or after changes that mean nothing{reach}."


def _threshold(verdict: str, scene: Scene) -> list[str]:
    score = "" if scene.score is None else f" {scene.score:.3g}"
    shown = any(item["cause"] in CAUSES for item in scene.others)
    rest = "no condition that was measured is likely enough to be named" if shown else "nothing else stands out"
    return [
        f"The detector scores this {scene.label}{score}, just under the deployed threshold of "
        f"{scene.score_threshold:.3g}, and {rest}: a slightly lower threshold may find it."
    ]


def _chance(verdict: str, scene: Scene) -> list[str]:
    parts = _nothing(scene)
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
    return [*_nothing(scene), _lost(scene), "Why it is missed, these data do not tell."]


def _lost(scene: Scene) -> str:
    return inside(scene.mechanism, scene.label, scene.score, scene.iou, scene.seen, scene.score_threshold)


def _nothing(scene: Scene) -> list[str]:
    """Say what was looked at in vain, and what could not be looked at."""
    this = f"this {scene.label}"
    blind = []
    if scene.untold:
        names = listing([name.replace("_", " ") for name in scene.untold])
        blind = [f"{capitalise(names)} could not be measured here."]
    if not scene.placed:
        blind.append(
            "Nobody said where in the photo it is, so the object itself was not measured and nothing was tried."
        )
    # What only the detector was asked is not said where it did not convince.
    told = [item for item in scene.others if item["cause"] in CAUSES and not item.get("asked")]
    told.sort(key=lambda item: not item["elevated"])
    if not told:
        what = f"{this} or its photo" if scene.placed else f"the photo of {this}"
        return [f"Nothing unusual was measured on {what}.", *blind]
    names = listing([_loosely(item).format(this="it" if index else this) for index, item in enumerate(told[:2])])
    reasons = ["objects like it are not missed clearly more often"]
    if scene.reported:
        by_photo = any(item["eval_share"] is not None for item in told[:2])
        unknown = "how often such objects are missed is not known"
        reasons = ["such photos are not reported clearly more often" if by_photo else unknown]
    elevated = next((item for item in told[:2] if item["elevated"]), None)
    if elevated is not None:
        reasons = [_outweighed(scene, elevated)]
    if scene.tried:
        repairs = (
            "the repair tried does not bring" if scene.tried == 1 else f"none of {scene.tried} repairs tried brings"
        )
        reasons.append(f"{repairs} it back")
    joint = ", but" if elevated is None else ";"
    return [f"{capitalise(names)}{joint} {listing(reasons)}.", *_restored(scene), *blind]


def _loosely(condition: Mapping[str, Any]) -> str:
    """What is said of one object under a condition that is named for nothing: a box at the edge may be whole."""
    return "{this} reaches the photo's edge" if condition["attribute"] == "truncation" else phrase(condition)[0]


def _outweighed(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say why a condition that is shown to be missed more often is not named: what it was compared with."""
    things = plural(condition["scope"]) if condition["scope"] is not None else "objects"
    such = "such photos are reported" if scene.reported else f"{things} that {phrase(condition)[1]} are missed"
    like = "" if scene.reported else _adjusted_for(condition)
    text = f"{such} {number(condition['adjusted_risk_ratio'])} times as often as others{like}, yet"
    if condition["struck"]:
        return f"{text} the way in which the detector lost this one speaks against it"
    if condition["admissible"]:
        return f"{text} on this miss other conditions are as likely"
    if condition["weight"] >= LEAST:
        return f"{text} nothing that was measured on this miss speaks for it"
    return f"{text} what was measured on this miss does not make it likely"


def _restored(scene: Scene) -> list[str]:
    """Say which repairs brought the object back although their cause is not named."""
    done = [REPAIRS[repair][0] for repair in scene.restored if repair in REPAIRS]
    alone = (
        [f"{capitalise(listing(done))}, the detector finds it, which alone does not show the cause."] if done else []
    )
    return [*alone, *(_by_luck(*found) for found in scene.lucky[:2])]

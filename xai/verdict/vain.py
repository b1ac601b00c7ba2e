"""The words of a verdict on what was looked at in vain: conditions that are not named, and changes of the photo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xai.causes import CAUSES
from xai.verdict.phrases import REPAIRS, phrase
from xai.verdict.rates import adjusted_for, things
from xai.verdict.scene import Repaired, Scene
from xai.verdict.weights import LEAST
from xai.verdict.words import capitalise, listing, number, percent


def told(scene: Scene) -> list[Mapping[str, Any]]:
    """The other conditions that may be spoken of, elevated ones first; what only the detector was asked is left out."""
    known = [item for item in scene.others if item["cause"] in CAUSES and not item.get("asked")]
    return sorted(known, key=lambda item: not item["elevated"])


def loosely(condition: Mapping[str, Any]) -> str:
    """What is said of one object under a condition that is named for nothing: a box at the edge may be whole."""
    if condition["attribute"] == "truncation":
        return "{this} reaches the photo's edge"
    if condition["attribute"] == "occlusion" and condition["value"] is None:
        return "something may hide a part of {this}"
    return phrase(condition)[0]


def nothing(scene: Scene) -> list[str]:
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
    shown = told(scene)[:2]
    if not shown:
        what = f"{this} or its photo" if scene.placed else f"the photo of {this}"
        return [f"Nothing unusual was measured on {what}.", *blind]
    names = listing([loosely(item).format(this="it" if index else this) for index, item in enumerate(shown)])
    reasons = ["objects like it are not missed clearly more often"]
    if scene.reported:
        by_photo = any(item["eval_share"] is not None for item in shown)
        unknown = "how often such objects are missed is not known"
        reasons = ["such photos are not reported clearly more often" if by_photo else unknown]
    # Rates are of boxes in front, which say nothing of what only a part tells.
    rated = [item for item in shown if item["attribute"] != "occlusion" or item["value"] is not None]
    elevated = next((item for item in rated if item["elevated"]), None)
    if elevated is not None:
        reasons = [_outweighed(scene, elevated)]
    reasons += _failed(shown)
    joint = ", but" if elevated is None else ";"
    return [f"{capitalise(names)}{joint} {listing(reasons)}.", *blind]


def _failed(shown: list[Mapping[str, Any]]) -> list[str]:
    """Say which repairs of the named conditions were tried in vain."""
    causes = [CAUSES[item["cause"]].repair for item in shown if item.get("failed")]
    tried = [REPAIRS[repair][1] for repair in causes if repair is not None]
    if not tried:
        return []
    one = len(tried) == 1
    return [f"{tried[0]} does not bring it back" if one else f"neither {' nor '.join(tried)} brings it back"]


def _outweighed(scene: Scene, condition: Mapping[str, Any]) -> str:
    """Say why a condition that is shown to be missed more often is not named: what it was compared with."""
    such = (
        "such photos are reported" if scene.reported else f"{things(condition)} that {phrase(condition)[1]} are missed"
    )
    like = "" if scene.reported else adjusted_for(condition)
    text = f"{such} {number(condition['adjusted_risk_ratio'])} times as often as others{like}, yet"
    if condition["struck"]:
        return f"{text} the way in which the detector lost this one speaks against it"
    if condition["admissible"]:
        return f"{text} on this miss other conditions are as likely"
    if condition["weight"] >= LEAST:
        return f"{text} nothing that was measured on this miss speaks for it"
    return f"{text} that alone is too little to name it as the cause"


def changed(scene: Scene) -> list[str]:
    """Say which changes of the photo brought the object back although no cause is named."""
    restored = _restored(scene)
    lucky = [] if restored or scene.covered else [by_luck(scene, item) for item in scene.lucky[:1]]
    return [*restored, *(found_anyway(scene) or lucky)]


def _restored(scene: Scene) -> list[str]:
    done = [item for item in scene.restored if item.repair in REPAIRS]
    if not done:
        return []
    best = sorted(done, key=lambda item: -item.after)
    reached = [item.placebo for item in best if item.placebo is not None]
    luck = f"; changes that mean nothing reach {max(reached):.2f} at most" if reached else ""
    if len(best) == 1:
        item = best[0]
        figures = f"(score × overlap {item.after:.2f}, {item.before:.2f} before{luck})"
        after = capitalise(REPAIRS[item.repair][0])
        return [f"{after}, the detector finds it {figures}, which alone does not show the cause."]
    names = listing([f"{REPAIRS[item.repair][0]} ({item.after:.2f})" for item in best])
    return [
        f"Several changes bring it back, so that none alone shows the cause: {names}; score × overlap, "
        f"{best[0].before:.2f} before{luck}."
    ]


def found_anyway(scene: Scene) -> list[str]:
    """Say where the photo as it is, or changes of it that mean nothing, give the object: repairs tell little then."""
    if scene.covered and scene.mechanism == "suppressed" and scene.claimed:
        return []  # that box counts for another object, which is said of where the miss was lost
    if scene.covered:
        return ["A box covers it in the photo as it is, so that changes of the photo tell nothing."]
    if scene.idle is None or not scene.idle[0]:
        return []
    count, many, _ = scene.idle
    verb = "finds" if count == 1 else "find"
    which = f"{count} of {many}" if many > 1 else "The one"
    changes = "changes" if many > 1 else "change"
    means = "mean" if many > 1 else "means"
    return [f"{which} {changes} that {means} nothing {verb} it: it lies on the edge of being found."]


def by_luck(scene: Scene, item: Repaired) -> str:
    """Say of a repair after which the object is found why it shows nothing: what placebos do."""
    if scene.covered:
        return "".join(found_anyway(scene))
    text = f"{capitalise(REPAIRS[item.repair][0])}, the detector finds it (score × overlap {item.after:.2f})"
    if item.hit_placebo:
        if (
            scene.idle is not None and not scene.idle[0]
        ):  # all that it was found after is a turn, of which idle knows none
            return f"{text}, but so it does after a turn that does not bring it upright."
        share, reach = f"{percent(item.hit_placebo)} of the", item.placebo
        if scene.idle is not None and scene.idle[0]:
            share, reach = f"{scene.idle[0]} of {scene.idle[1]}", scene.idle[2]
        told_ = "" if reach is None else f" ({reach:.2f})"
        return f"{text}, but so it does after {share} changes that mean nothing{told_}."
    reach_ = "" if item.placebo is None else f" ({item.placebo:.2f} at most)"
    return f"{text}, but no more surely than without that or after changes that mean nothing{reach_}."

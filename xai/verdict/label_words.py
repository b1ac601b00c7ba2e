"""The words of a verdict on a label that the detector, or another label, contradicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xai.verdict.scene import Scene
from xai.verdict.words import article, percent

SURE_WORD = 0.5
"""Score below which the detector is not called sure."""


def doubt_label(verdict: str, scene: Scene) -> list[str]:
    """Return what is said of a miss whose label is doubted."""
    name, before, after = scene.doubt or ("label_error", None, None)
    if before is not None and after is not None and name != "label_error":
        return [_DOUBTS[name](scene, before, after)]
    if scene.score is None or scene.iou is None:
        return [f"The annotation of this {scene.label} contradicts what the detector sees: check the label."]
    if scene.iou >= 0.5:
        return [
            f"Another annotated {scene.label}, which is found, has nearly the same box (overlap {percent(scene.iou)}): "
            "the object seems to be annotated twice; check the label."
        ]
    return [
        f"The detector {_sees(scene.score)} {article(scene.label)} ({scene.score:.2f}) of the size of this box, but at "
        f"another place (overlap {percent(scene.iou)}): check the label."
    ]


def _sees(score: float) -> str:
    return "is sure of" if score >= SURE_WORD else "sees"


def _drawn_elsewhere(scene: Scene, drawn: float, turned: float) -> str:
    return (
        f"The labels of this photo overlap what is detected by {percent(drawn)} as they are, by {percent(turned)} "
        f"turned from the photo as stored into the photo as displayed, so that this {scene.label} seems to lie "
        "elsewhere: set label_frame: stored if all labels were drawn so, or draw them on the photo as displayed."
    )


def _other_class(scene: Scene, overlap: float, score: float) -> str:
    seen = "an object of another class" if scene.seen in (None, scene.label) else article(str(scene.seen))
    return (
        f"The detector {_sees(score)} {seen} ({score:.2f}) in this very box (overlap {percent(overlap)}) and nothing "
        f"of {article(scene.label)} in it: check the label's class."
    )


def _loose_box(scene: Scene, overlap: float, score: float) -> str:
    return (
        f"The detector's box of {article(scene.label)} (score {score:.2f}) lies inside this one and is much smaller "
        f"(overlap {percent(overlap)}): the label is too large, or only a part is seen: look at it."
    )


_DOUBTS: Mapping[str, Callable[[Scene, float, float], str]] = {
    "exif_mismatch": _drawn_elsewhere,
    "label_class": _other_class,
    "label_box": _loose_box,
}

"""The causes that a verdict may name: what tells each one and which repair takes it away.

One literal table, read by the ranking, the experiments and the verdicts. The words are the report's: ``condition`` is
the subject of a sentence ("Strong glare covers 38% of this car"), ``advice`` tells the team what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """One condition that can explain a miss.

    Attributes:
        told_by: attribute → the bins that stand for the condition.
        repair: name of the repair in ``evidence.repair.REPAIRS``, or None where nothing takes the condition away.
        condition: noun phrase for a sentence.
        advice: what to do when the training set lacks the condition.
        augmentable: whether augmentation can make more of it.
        ruled_out_by: mechanisms under which it cannot have made the miss.
        leaves: the mechanism that is its mark, or None.
    """

    told_by: Mapping[str, tuple[str, ...]]
    repair: str | None
    condition: str
    advice: str
    augmentable: bool
    ruled_out_by: tuple[str, ...] = ()
    leaves: str | None = None


CAUSES: Mapping[str, Cause] = {
    "glare": Cause(
        {"glare": ("strong",), "object_glare": ("mild", "strong")},
        "tone_down_glare",
        "strong glare",
        "collect photos taken against the light",
        False,
    ),
    "haze": Cause(
        {"haze": ("heavy",)},
        "dehaze",
        "haze",
        "collect photos taken in fog and haze, or augment with a veil",
        True,
    ),
    "darkness": Cause(
        {"brightness": ("dark",), "object_brightness": ("dark",)},
        "lift_shadows",
        "darkness",
        "collect dark photos, or augment with lower exposure",
        True,
    ),
    "overexposure": Cause(
        {"clipped": ("much",), "brightness": ("bright",), "object_brightness": ("bright",)},
        "compress_highlights",
        "overexposure",
        "collect overexposed photos, or augment with higher exposure",
        True,
    ),
    "low_contrast": Cause(
        {"contrast": ("low",), "object_contrast": ("low",)},
        "stretch_contrast",
        "low contrast",
        "collect low-contrast photos, or augment contrast downwards",
        True,
    ),
    "blur": Cause(
        {"sharpness": ("blurred",), "object_sharpness": ("blurred",)},
        "sharpen",
        "blur",
        "collect blurred photos, or augment with blur",
        True,
    ),
    "noise": Cause(
        {"noise": ("strong",)},
        "denoise",
        "strong noise",
        "collect noisy photos, or augment with sensor noise",
        True,
    ),
    "compression": Cause(
        {"jpeg_quality": ("low",)},
        "deblock",
        "strong JPEG compression",
        "keep the photos' quality, or augment with JPEG compression",
        True,
    ),
    "rotation": Cause(
        {"rotation": ("90", "180", "270")},
        "turn_upright",
        "a photo that is not upright",
        "turn photos upright before detection, or augment with quarter turns",
        True,
    ),
    "tilt": Cause(
        {"roll": ("left", "right")},
        "level",
        "a tilted camera",
        "level photos before detection, or augment with rotation",
        True,
    ),
    "camera_angle": Cause(
        {"pitch": ("down", "up")},
        None,
        "a camera that looks steeply up or down",
        "collect photos from this camera angle",
        False,
    ),
    "small_object": Cause(
        {"object_size": ("tiny", "small")},
        "zoom_in",
        "a small object",
        "collect photos with small objects, or detect at a larger image size",
        True,
    ),
    "large_object": Cause(
        {"object_size": ("huge",)},
        "zoom_out",
        "an object that fills the photo",
        "collect close-up photos",
        True,
    ),
    "truncation": Cause(
        {"truncation": ("cut",)},
        "pad",
        "an object cut off by the photo's edge",
        "collect photos with objects at the edge, or augment with crops",
        True,
    ),
    "crowding": Cause(
        {"crowding": ("crowded",)},
        "hide_neighbours",
        "other objects crowding this one",
        "collect photos of crowded scenes",
        False,
        leaves="suppressed",
    ),
    "occlusion": Cause(
        {"occlusion": ("much",)},
        None,
        "something in front of the object",
        "collect photos of partly hidden objects, or augment by erasing parts",
        True,
        # What is hidden gets no box and score that pass the threshold: here the detector saw it well enough.
        ("suppressed",),
    ),
    "unusual_shape": Cause(
        {"object_aspect": ("tall", "wide")},
        None,
        "an unusually long shape",
        "collect objects of this shape and seen from this side",
        False,
    ),
    "unusual_view": Cause(
        {"novelty": ("novel",)},
        None,
        "an object unlike the examples of its class",
        "compare with the nearest examples, and collect what these misses have and those lack",
        False,
    ),
}

ALIKE: tuple[frozenset[str], ...] = (
    frozenset({"glare", "haze", "low_contrast", "overexposure"}),
    frozenset({"darkness", "low_contrast"}),
)
"""Causes that one physical change may go by: a veil, be it of fog or of glare, brightens and flattens, and less light
flattens (``attributes.catalog.ALIKE`` has the attributes that it moves)."""


ONE_CHANGE = frozenset({"glare", "haze", "low_contrast"})
"""Names of a veil over the photo, which no measure holds apart: each is right where another is."""


def same_change(cause: str, other: str) -> bool:
    """Whether two causes are one, or names of one physical change either of which is right."""
    return cause == other or {cause, other} <= ONE_CHANGE


def alike(cause: str, other: str) -> bool:
    """Whether two causes may be one physical change under two names."""
    return any({cause, other} <= names for names in ALIKE)

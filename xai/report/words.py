"""The report's vocabulary: what mechanisms, verdicts, assessments and bins are called in plain words.

Sentences live in ``templates/sentences.j2``; here are only names and definitions, one literal table each. A name that a
table does not list (a user's own attribute, a label's column) is written as it stands, with underscores as spaces.
"""

from __future__ import annotations

from collections.abc import Mapping

from xai.causes import CAUSES

KINDS: Mapping[str, str] = {
    "missed": "not found",
    "confused": "taken for another class",
    "mislocated": "found with a poor box",
}
"""The kinds of error that are misses."""

MECHANISMS: Mapping[str, tuple[str, str]] = {
    "no_candidate": ("Never proposed", "Nothing the detector considered lies on the object."),
    "poor_box": ("Poor box", "The object was recognised, but its box fits too badly to count."),
    "wrong_class": ("Wrong class", "The object was located, but another class scored higher."),
    "low_score": ("Low score", "The right box and class were there, below the deployed score threshold."),
    "suppressed": ("Suppressed", "A good box was removed in favour of an overlapping detection."),
    "annotation": ("Annotation", "The annotation and the photo seem to disagree."),
    "unknown": ("Unknown", "The detector's inside could not be looked at, or nobody said where the object is."),
}
"""Mechanism → name, what it means."""

LOSSES: Mapping[str, str] = {
    "no_candidate": "never proposed",
    "poor_box": "given a box that fits too badly",
    "wrong_class": "taken for another class",
    "low_score": "scored too low",
    "suppressed": "removed in favour of an overlapping detection",
    "annotation": "at odds with the annotation",
    "unknown": "lost at a stage that could not be looked at",
}
"""Mechanism → what became of the objects, after "were"."""

VERDICTS: Mapping[str, tuple[str, str]] = {
    "coverage_gap": ("Coverage gap", "The condition is missed more often and is rare in the {reference}."),
    "hard": (
        "Hard condition",
        "The condition is missed more often although the {reference} shows it, or it fails there too.",
    ),
    "suspected": (
        "Suspected condition",
        "The evidence on this one miss points to it; that objects in it are missed more often is not shown.",
    ),
    "threshold": ("Score threshold", "A threshold slightly below the deployed one finds the object."),
    "label": ("Label problem", "The annotation is probably wrong: review it before blaming the detector."),
    "chance": ("Chance", "Nothing stands out, and the run is inside its promise."),
    "unexplained": ("Unexplained", "Nothing that was measured stands out."),
}
"""Verdict → name, what it means."""

ASSESSMENTS: Mapping[str, tuple[str, str]] = {
    "coverage_gap": ("Gap", "Missed more often, and rare in the {reference}: collect such photos."),
    "hard": (
        "Hard",
        "Missed more often although the {reference} shows it, or it fails there too: more photos alone may not help.",
    ),
    "rare_harmless": (
        "Rare, harmless",
        "Rare in the {reference}, by its share or with under 50 objects, yet not missed more often.",
    ),
    "too_few": (
        "Too few to tell",
        "Its figures, one of many comparisons, still allow both no effect and a tripled risk.",
    ),
    "fine": ("Fine", "Neither rare nor missed more often."),
}
"""Assessment of a bin → name, what it means."""

QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "evaluate": {"misses": "misses", "compared": "evaluation set", "of_compared": "of all evaluation objects"},
    "reported": {
        "misses": "reported misses",
        "compared": "production photos",
        "of_compared": "of the production photos",
    },
}
"""What was asked → what is explained, and what it is compared with."""

IGNORED: Mapping[str, str] = {
    "difficult": "marked as difficult",
    "crowd": "marked as a crowd",
    "duplicate": "annotated twice",
    "class": "of a class that the detector lacks",
}
"""Why an annotated object does not count → words."""

OTHER_CAUSES: Mapping[str, tuple[str, str]] = {
    "label_error": ("a doubtful annotation", "review and correct the labels"),
    "exif_mismatch": (
        "labels drawn on a turned photo",
        "set label_frame: stored if all labels were drawn so, or draw them on the photo as displayed",
    ),
    "score_threshold": (
        "a score just below the threshold",
        "lower the score threshold slightly and watch the false alarms",
    ),
    "unexplained": ("nothing that stands out", "look at the photos; the cause is not among the measured conditions"),
}
"""Causes that no attribute tells → noun phrase, advice."""

BINS: Mapping[tuple[str, str], str] = {
    ("brightness", "dark"): "dark photo",
    ("brightness", "normal"): "photo of normal brightness",
    ("brightness", "bright"): "bright photo",
    ("contrast", "low"): "low-contrast photo",
    ("contrast", "normal"): "photo of normal contrast",
    ("contrast", "high"): "high-contrast photo",
    ("clipped", "little"): "hardly any burnt-out area",
    ("clipped", "some"): "some burnt-out area",
    ("clipped", "much"): "much burnt-out area",
    ("haze", "none"): "clear photo",
    ("haze", "light"): "light haze",
    ("haze", "heavy"): "heavy haze",
    ("glare", "none"): "no glare in the photo",
    ("glare", "mild"): "mild glare in the photo",
    ("glare", "strong"): "strong glare in the photo",
    ("sharpness", "blurred"): "blurred photo",
    ("sharpness", "soft"): "soft photo",
    ("sharpness", "sharp"): "sharp photo",
    ("noise", "low"): "little noise",
    ("noise", "moderate"): "moderate noise",
    ("noise", "strong"): "strong noise",
    ("jpeg_quality", "low"): "strongly compressed photo",
    ("jpeg_quality", "medium"): "compressed photo",
    ("jpeg_quality", "high"): "hardly compressed photo",
    ("colorfulness", "grey"): "photo without colours",
    ("colorfulness", "normal"): "photo of normal colours",
    ("colorfulness", "vivid"): "vivid photo",
    ("layout", "portrait"): "upright format",
    ("layout", "square"): "square format",
    ("layout", "landscape"): "landscape format",
    ("layout", "panorama"): "panorama",
    ("rotation", "0"): "upright photo",
    ("rotation", "90"): "photo lying on its side (90° to upright)",
    ("rotation", "180"): "photo upside down",
    ("rotation", "270"): "photo lying on its side (270° to upright)",
    ("roll", "left"): "camera tilted left",
    ("roll", "level"): "camera level",
    ("roll", "right"): "camera tilted right",
    ("pitch", "down"): "camera looks down",
    ("pitch", "level"): "camera looks straight ahead",
    ("pitch", "up"): "camera looks up",
    ("object_size", "tiny"): "tiny object",
    ("object_size", "small"): "small object",
    ("object_size", "medium"): "medium-sized object",
    ("object_size", "large"): "large object",
    ("object_size", "huge"): "object that fills the photo",
    ("truncation", "whole"): "object inside the photo",
    ("truncation", "touching"): "object touching the photo's edge",
    ("truncation", "cut"): "object cut off by the photo's edge",
    ("crowding", "alone"): "object alone",
    ("crowding", "some"): "some objects around it",
    ("crowding", "crowded"): "object crowded by others",
    ("occlusion", "none"): "object in full view",
    ("occlusion", "some"): "object partly hidden",
    ("occlusion", "much"): "object largely hidden",
    ("object_aspect", "tall"): "object unusually tall for its width",
    ("object_aspect", "normal"): "object of usual shape",
    ("object_aspect", "wide"): "object unusually wide for its height",
    ("object_position", "centre"): "object in the middle",
    ("object_position", "off-centre"): "object off the middle",
    ("object_position", "edge"): "object near the edge",
    ("object_glare", "none"): "no glare on the object",
    ("object_glare", "mild"): "mild glare on the object",
    ("object_glare", "strong"): "strong glare on the object",
    ("object_contrast", "low"): "object hardly stands out",
    ("object_contrast", "normal"): "object stands out",
    ("object_contrast", "high"): "object stands out strongly",
    ("object_sharpness", "blurred"): "blurred object",
    ("object_sharpness", "soft"): "soft object",
    ("object_sharpness", "sharp"): "sharp object",
    ("object_brightness", "dark"): "dark object",
    ("object_brightness", "normal"): "object of normal brightness",
    ("object_brightness", "bright"): "bright object",
    ("novelty", "familiar"): "object like the examples of its class",
    ("novelty", "uncommon"): "object little like the examples of its class",
    ("novelty", "novel"): "object unlike the examples of its class",
}
"""(attribute, bin) → plain words."""

EVIDENCE: Mapping[str, str] = {
    "unusualness": "How unusual",
    "risk": "Risk",
    "joint_risk": "Risk, others allowed for",
    "coverage": "Coverage",
    "mechanism": "Inside the detector",
    "upright": "Which way up",
    "severity": "How far",
    "cut": "How much is cut off",
    "part": "Seen in part",
    "neighbours_part": "Neighbour seen in its place",
    "repair": "Repair, score",
    "repair_found": "Repair, found",
    "saliency": "Heat map",
    "suppressor": "What holds it back, hidden",
    "faithfulness": "Trust in the map",
    "control": "Control, score",
    "control_found": "Control, found",
    "placebo": "Placebo, score",
    "placebo_found": "Placebo, found",
}
"""Kind of a line of evidence → name."""

STRESSES: Mapping[str, str] = {
    "glare": "glare on the object",
    "haze": "veil over the photo",
    "darkness": "too little light",
    "overexposure": "too much light",
    "low_contrast": "loss of contrast",
    "blur": "blur",
    "noise": "noise",
    "compression": "compression",
    "tilt": "tilt",
    "rotation": "quarter turns",
    "small_object": "smaller objects",
    "occlusion": "lower part hidden",
}
"""Condition that is added to photos in doses → its name."""

LEDGER: Mapping[str, str] = {
    "heat map": "Where the detector looks",
    "placebo": "Changes that should not matter",
    "control": "Repairs of conditions that it does not show",
}
"""Group of evidence that speaks of no cause → heading."""

PARTS: Mapping[str, str] = {"top": "upper", "bottom": "lower", "left": "left", "right": "right"}
"""Side of a box → name of the part beside it."""

SALIENCY: Mapping[str, str] = {
    "inside_box": "of what helps lies inside the box",
    "suppressing_inside_box": "of what holds it back lies inside the box",
    "suppressing_other_boxes": "of what holds it back lies on other objects",
    "suppressing_context": "of what holds it back lies elsewhere in the photo",
    "suppressing_glare": "of what holds it back lies in glare",
}
"""Share of a heat map → what it is a share of."""


def name(word: str) -> str:
    """Write an identifier as words.

    >>> name("label_pose"), name("meta_weather")
    ('label pose', 'weather')
    """
    return word.removeprefix("meta_").replace("_", " ")


def condition(attribute: str, bin_name: str) -> str:
    """Say a bin in plain words.

    >>> condition("glare", "strong"), condition("label_pose", "Frontal"), condition("glare", "unknown")
    ('strong glare in the photo', 'labelled “pose: Frontal”', 'glare: could not be told')
    >>> condition("label", "car"), condition("label_truncated", "1"), condition("label_truncated", "0")
    ('class car', 'labelled “truncated”', 'not labelled “truncated”')
    """
    if attribute == "label":
        return f"class {bin_name}"
    if bin_name == "unknown":
        return f"{name(attribute)}: could not be told"
    return BINS.get((attribute, bin_name), _column(attribute, bin_name))


def pattern(text: str) -> str:
    """Say ``attribute=bin`` in plain words.

    >>> pattern("object_size=tiny")
    'tiny object'
    """
    attribute, sign, bin_name = text.partition("=")
    return condition(attribute, bin_name) if sign else name(text)


def cause(text: str) -> tuple[str, str | None]:
    """Return the noun phrase of a cause and the advice; a column's value (``COLUMN:VALUE``) has no advice.

    >>> cause("label_pose:Rear")
    ('objects labelled “pose: Rear”', None)
    >>> cause("meta_weather:rain")
    ('objects in photos marked “weather: rain”', None)
    """
    if text in CAUSES:
        return CAUSES[text].condition, CAUSES[text].advice
    if text in OTHER_CAUSES:
        return OTHER_CAUSES[text]
    column, sign, value = text.partition(":")
    return (f"objects {_column(column, value)}" if sign else name(text)), None


def _column(column: str, value: str) -> str:
    """Say a value of a column that came with the labels or from the user."""
    if column.startswith("meta_"):
        return f"in photos marked “{name(column)}: {value}”"
    words = name(column.removeprefix("label_"))
    if value in ("0", "1"):
        return f"{'' if value == '1' else 'not '}labelled “{words}”"
    return f"labelled “{words}: {value}”"


def short(text: str) -> str:
    """Name a cause, or a verdict that stands for one (``chance``, ``unexplained``), in a word or two.

    >>> short("darkness"), short("unexplained")
    ('darkness', 'unexplained')
    """
    return VERDICTS[text][0].lower() if text in VERDICTS else cause(text)[0]


def about(text: str, reference: str | None) -> str:
    """Fill in what the training split is called.

    >>> about("rare in the {reference}", None)
    'rare in the training set'
    """
    return text.format(reference=reference or "training set")

"""What is said of each condition and repair: one literal table each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from xai.catalog import CATALOG
from xai.verdict.words import number, percent, with_unit

CONDITIONS: Mapping[str, tuple[str, str]] = {
    "glare=strong": ("strong glare lies over the photo of {this}", "are in photos with strong glare"),
    "object_glare=strong": ("strong glare covers {this}", "have strong glare on them"),
    "object_glare=mild": ("glare lies on {this}", "have glare on them"),
    "haze=heavy": ("the photo of {this} is hazy", "are in hazy photos"),
    "brightness=dark": ("the photo of {this} is dark", "are in dark photos"),
    "object_brightness=dark": ("{this} is dark", "are dark"),
    "clipped=much": ("much of the photo of {this} is burned out", "are in photos that are burned out"),
    "brightness=bright": ("the photo of {this} is very bright", "are in very bright photos"),
    "object_brightness=bright": ("{this} is very bright", "are very bright"),
    "contrast=low": ("the photo of {this} has low contrast", "are in photos of low contrast"),
    "object_contrast=low": (
        "{this} has much the same colours as its surroundings",
        "have much the colours of their surroundings",
    ),
    "sharpness=blurred": ("the photo of {this} is blurred", "are in blurred photos"),
    "object_sharpness=blurred": ("{this} is blurred", "are blurred"),
    "noise=strong": ("the photo of {this} is very noisy", "are in very noisy photos"),
    "jpeg_quality=low": ("the photo of {this} is strongly compressed", "are in strongly compressed photos"),
    "rotation=90": ("the photo of {this} lies on its side", "are in photos that lie on this side"),
    "rotation=180": ("the photo of {this} is upside down", "are in photos that are upside down"),
    "rotation=270": ("the photo of {this} lies on its side", "are in photos that lie on this side"),
    "roll=left": ("the photo of {this} is tilted to the left", "are in photos tilted to the left"),
    "roll=right": ("the photo of {this} is tilted to the right", "are in photos tilted to the right"),
    "pitch=down": ("the camera looks steeply down on {this}", "are in photos that look steeply down"),
    "pitch=up": ("the camera looks steeply up at {this}", "are in photos that look steeply up"),
    "object_size=tiny": ("{this} is tiny in the photo", "are tiny"),
    "object_size=small": ("{this} is small in the photo", "are small"),
    "object_size=huge": ("{this} fills the photo", "fill the photo"),
    "truncation=cut": ("{this} is cut off by the photo's edge", "are cut off by the edge"),
    "crowding=crowded": ("other objects crowd {this}", "are crowded by other objects"),
    "occlusion=much": ("boxes in front cover much of {this}", "are covered for a large part by boxes in front"),
    "object_aspect=tall": ("{this} is unusually tall for its width", "are unusually tall for their width"),
    "novelty=novel": ("{this} looks unlike the examples of its class", "look so unlike the others of their class"),
    "object_aspect=wide": ("{this} is unusually wide for its height", "are unusually wide for their height"),
}
"""``attribute=bin`` → what is said of one object, what is said of many."""

REPAIRS: Mapping[str, tuple[str, str]] = {
    "tone_down_glare": ("with the glare toned down", "toning the glare down"),
    "lift_shadows": ("with the shadows lifted", "lifting the shadows"),
    "compress_highlights": ("with the highlights compressed", "compressing the highlights"),
    "stretch_contrast": ("with the contrast stretched", "stretching the contrast"),
    "sharpen": ("with the photo sharpened", "sharpening the photo"),
    "denoise": ("with the noise removed", "removing the noise"),
    "dehaze": ("with the haze taken off", "taking the haze off"),
    "deblock": ("with the compression's blocks smoothed", "smoothing the compression's blocks"),
    "turn_upright": ("with the photo turned upright", "turning the photo upright"),
    "level": ("with the photo levelled", "levelling the photo"),
    "zoom_in": ("zoomed in", "zooming in"),
    "zoom_out": ("zoomed out", "zooming out"),
    "pad": ("with room added at the edge", "adding room at the edge"),
    "hide_neighbours": ("with its neighbours hidden outside its own box", "hiding its neighbours"),
}
"""Repair → what it did, what doing it is called."""

SHARES: Mapping[str, tuple[str, float]] = {
    "truncation": ("{} of its outline lies on the edge", 1),
    "crowding": ("their boxes cover {} of its own", 1),
    "occlusion": ("{} of its box", 1),
    "object_brightness": ("its mean brightness is {} of full white", 1),
    "brightness": ("its mean brightness is {} of full white", 1),
    "clipped": ("{} of its pixels", 1),
    "haze": ("a veil adds {} of its light", 1),
    "object_size": ("its box covers {} of it", 2),
}
"""Attribute that is a share → what it says of one object or photo, and the power of the value that is that share."""


def measured(attribute: str, value: float, set_name: str) -> str:
    """Return a measured value in words that stand behind what is said of one object.

    >>> measured("truncation", 0.36, "training"), measured("noise", 6.0, "training")
    ('36% of its outline lies on the edge', 'noise 6.0 grey levels')
    >>> measured("object_aspect", -1.9, "training")
    '3.7 times as high as wide'
    >>> measured("novelty", 98.4, "reference")
    'further from them than 98% of the reference objects of its class'
    """
    if attribute in SHARES:
        words, power = SHARES[attribute]
        return words.format(percent(value**power))
    if attribute == "object_aspect":
        return f"{number(2 ** abs(value))} times as {'high as wide' if value < 0 else 'wide as high'}"
    if attribute == "novelty":
        many = f"every {set_name} object" if value >= 100 else f"{math.floor(value)}% of the {set_name} objects"
        return f"further from them than {many} of its class"
    unit = CATALOG[attribute].unit if attribute in CATALOG else ""
    return f"{attribute.replace('_', ' ')} {with_unit(value, unit)}"


def phrase(condition: Mapping[str, Any]) -> tuple[str, str]:
    """Return what is said of one object (a template with ``{this}``) and of many under a condition.

    Args:
        condition: ``attribute`` and ``bin``; a user's column is quoted.
    """
    attribute, name = condition["attribute"], condition["bin"]
    column = attribute.removeprefix("label_").removeprefix("meta_")
    told = f"“{column.replace('_', ' ')}: {name}”"
    # What is said of one object is a template, so that braces in a user's word are doubled there.
    here = told.replace("{", "{{").replace("}", "}}")
    default = f"{{this}} is labelled {here}", f"are labelled {told}"
    if attribute.startswith("meta_"):
        default = f"the photo of {{this}} is marked {here}", f"are in photos marked {told}"
    return CONDITIONS.get(f"{attribute}={name}", default)

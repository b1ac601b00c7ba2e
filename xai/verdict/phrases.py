"""What is said of each condition and repair: one literal table each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    "object_contrast=low": ("{this} hardly stands out from its surroundings", "hardly stand out from theirs"),
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
    "occlusion=much": ("much of {this} is hidden by what is in front of it", "are hidden for a large part"),
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
    "hide_neighbours": ("with its neighbours hidden", "hiding its neighbours"),
}
"""Repair → what it did, what doing it is called."""


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

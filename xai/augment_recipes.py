"""The recipes: for each bin that pixels can be brought to, the albumentations steps, their strength from its bounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DETAIL = 640
"""Longest side, pixels, at which sharpness and noise are told."""

GREY = 114
"""Fill of what a photo does not show, as YOLO pads. A mirrored border would show objects that no box names."""


@dataclass(frozen=True, slots=True)
class Typical:
    """What the photos to be augmented are like.

    Attributes:
        longest: median longest side, pixels.
        medians: attribute → median over photos or objects.
    """

    longest: float
    medians: Mapping[str, float]


def import_quietly() -> Any:
    """Import albumentations without its look for a newer version on the network."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


Recipe = Callable[[float, float, Typical], "list[Any] | None"]


def _scaled(attribute: str, argument: str, parts: tuple[float, float]) -> Recipe:
    """Multiply the photo's tones so that the typical value lands between two parts of the bin's bound."""

    def recipe(low: float, high: float, typical: Typical) -> list[Any] | None:
        median = typical.medians.get(attribute)
        if not median:
            return None
        bound = high if np.isfinite(high) else low
        factors = sorted(float(np.clip(part * bound / median, 0.02, 6)) for part in parts)
        neutral = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
        return [import_quietly().ColorJitter(**{**neutral, argument: tuple(factors)}, p=1)]

    return recipe


def _brighter(first: float, last: float) -> Recipe:
    """Multiply tones until light burns out."""

    def recipe(low: float, high: float, typical: Typical) -> list[Any] | None:
        neutral = {"contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
        return [import_quietly().ColorJitter(brightness=(first, last), **neutral, p=1)]

    return recipe


def _veil(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Mix the photo with a white veil, whose share is what haze is told by."""
    albumentations = import_quietly()
    top = high if np.isfinite(high) else 1.9 * low
    own = min(typical.medians.get("haze", 0.0), 0.5 * low)
    # A veil over a photo that has one of its own: what is left of the scene's light multiplies.
    shares = 1 - (1 - np.linspace(low + 0.2 * (top - low), low + 0.7 * (top - low), 5)) / (1 - own)
    veils = [
        albumentations.RandomBrightnessContrast(
            brightness_limit=(0.92 * share, 0.92 * share), contrast_limit=(-share, -share), p=1
        )
        for share in shares.tolist()
    ]
    return [albumentations.OneOf(veils, p=1)]


def _blur(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Blur by the s px that the bin's values stand for: sharpness is 1 / √(1 + s²) at 640 px."""
    albumentations = import_quietly()
    least, most = (0.62 * high, 0.92 * high) if not np.isfinite(low) else (low + 0.1 * (high - low), high)
    scale = max(typical.longest, DETAIL) / DETAIL
    if np.isfinite(low):  # photos bring some blur of their own
        least, most = low + 0.35 * (high - low), low + 0.95 * (high - low)
    weak, strong = (scale * float(np.sqrt(1 / value**2 - 1)) for value in (most, least))
    gaussian = albumentations.GaussianBlur(blur_limit=0, sigma_limit=(weak, strong), p=1)
    if np.isfinite(low):
        return [gaussian]
    # A box of length n has the standard deviation n / √12.
    lengths = sorted(max(3, 2 * round(np.sqrt(12) * sigma / 2) + 1) for sigma in (weak, strong))
    motion = albumentations.MotionBlur(blur_limit=tuple(lengths), allow_shifted=False, p=1)
    return [albumentations.OneOf([gaussian, motion], p=1)]


def _noise(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Add noise of so many grey levels at 640 px; of three channels' noise luma keeps two thirds."""
    top = high if np.isfinite(high) else 3 * low
    own = typical.medians.get("noise", 0.0)
    scale = max(typical.longest, DETAIL) / DETAIL / 255 / 0.669
    first, last = low + 0.2 * (top - low), low + 0.8 * (top - low)
    levels = [scale * float(np.sqrt(max(level**2 - own**2, 0.1))) for level in (first, last)]
    return [import_quietly().GaussNoise(std_range=tuple(min(level, 1.0) for level in levels), p=1)]


def _jpeg(low: float, high: float, typical: Typical) -> list[Any] | None:
    bottom, top = (low if np.isfinite(low) else 12), (high if np.isfinite(high) else 92)
    return [import_quietly().ImageCompression(quality_range=(int(bottom) + 3, int(top) - 3), p=1)]


def _grey(low: float, high: float, typical: Typical) -> list[Any] | None:
    return [import_quietly().ToGray(p=1)]


def _turned(*steps: str) -> Recipe:
    """Turn by quarters, pixel by pixel."""

    def recipe(low: float, high: float, typical: Typical) -> list[Any] | None:
        albumentations = import_quietly()
        return [getattr(albumentations, step)(p=1) for step in steps]

    return recipe


def _tilted(sign: int) -> Recipe:
    """Rotate by more than the bin's bound and cut the borders off."""

    def recipe(low: float, high: float, typical: Typical) -> list[Any] | None:
        bound = abs(low if np.isfinite(low) else high)
        angles = sorted((sign * (bound + 2), sign * (bound + 15)))
        return [import_quietly().Rotate(limit=tuple(angles), crop_border=True, p=1)]

    return recipe


def _zoom(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Scale the photo about its centre so that a typical object gets a size of the bin."""
    median = typical.medians.get("object_size")
    if not median:
        return None
    least, most = (low if low > 0 else 0.4 * high), (high if np.isfinite(high) else 1.2 * low)
    first, last = least + 0.15 * (most - least), least + 0.75 * (most - least)
    factors = (float(np.clip(first / median, 0.05, 4)), float(np.clip(last / median, 0.06, 5)))
    return [import_quietly().Affine(scale=factors, keep_ratio=True, fill=GREY, p=1)]


def _cut(low: float, high: float, typical: Typical) -> list[Any] | None:
    sides = dict.fromkeys(("crop_left", "crop_right", "crop_top", "crop_bottom"), 0.45)
    return [import_quietly().RandomCropFromBorders(**sides, p=1)]


def _shaped(low: float, high: float, typical: Typical) -> list[Any] | None:
    """Crop to a shape of the bin."""
    least, most = (low if np.isfinite(low) else 0.6), (high if np.isfinite(high) else 1.25 * low)
    first, last = least + 0.2 * (most - least), least + 0.8 * (most - least)
    middle = (first + last) / 2
    side = round(min(typical.longest, 1280))
    width, height = (side, round(side / middle)) if middle > 1 else (round(side * middle), side)
    crop = import_quietly().RandomResizedCrop(size=(height, width), scale=(0.4, 1.0), ratio=(first, last), p=1)
    return [crop]


def _erase(low: float, high: float, typical: Typical) -> list[Any] | None:
    holes = (0.08, 0.25)
    return [
        import_quietly().CoarseDropout(
            num_holes_range=(3, 8), hole_height_range=holes, hole_width_range=holes, fill=GREY, p=1
        )
    ]


RECIPES: Mapping[tuple[str, str], Recipe] = {
    ("brightness", "dark"): _scaled("brightness", "brightness", (0.3, 0.85)),
    ("brightness", "bright"): _scaled("brightness", "brightness", (1.45, 2.2)),
    ("object_brightness", "dark"): _scaled("object_brightness", "brightness", (0.3, 0.85)),
    ("object_brightness", "bright"): _scaled("object_brightness", "brightness", (1.45, 2.2)),
    ("contrast", "low"): _scaled("contrast", "contrast", (0.35, 0.8)),
    ("contrast", "high"): _scaled("contrast", "contrast", (1.6, 2.8)),
    ("object_contrast", "low"): _scaled("object_contrast", "contrast", (0.2, 0.6)),
    ("clipped", "much"): _brighter(2.4, 3.6),
    ("haze", "light"): _veil,
    ("haze", "heavy"): _veil,
    ("sharpness", "blurred"): _blur,
    ("sharpness", "soft"): _blur,
    ("object_sharpness", "blurred"): _blur,
    ("object_sharpness", "soft"): _blur,
    ("noise", "moderate"): _noise,
    ("noise", "strong"): _noise,
    ("jpeg_quality", "low"): _jpeg,
    ("jpeg_quality", "medium"): _jpeg,
    ("colorfulness", "grey"): _grey,
    ("colorfulness", "vivid"): _scaled("colorfulness", "saturation", (1.4, 2.4)),
    ("layout", "portrait"): _shaped,
    ("layout", "square"): _shaped,
    ("layout", "landscape"): _shaped,
    ("layout", "panorama"): _shaped,
    ("rotation", "90"): _turned("Transpose", "VerticalFlip"),
    ("rotation", "180"): _turned("HorizontalFlip", "VerticalFlip"),
    ("rotation", "270"): _turned("Transpose", "HorizontalFlip"),
    ("roll", "left"): _tilted(-1),
    ("roll", "right"): _tilted(1),
    ("object_size", "tiny"): _zoom,
    ("object_size", "small"): _zoom,
    ("object_size", "large"): _zoom,
    ("object_size", "huge"): _zoom,
    ("truncation", "cut"): _cut,
    ("occlusion", "some"): _erase,
    ("occlusion", "much"): _erase,
}
"""(attribute, bin) → the transforms that bring photos there."""

UNTOLD: Mapping[str, str] = {
    "occlusion": "erased parts are not told by the attribute, which looks at other objects' boxes"
}
"""Attribute → why what its recipe does cannot be checked by tagging."""

REASONS: Mapping[str, str] = {
    "glare": "painted flares are not the light that scatters in a lens: collect photos taken against the light",
    "object_glare": "painted flares are not the light that scatters in a lens: collect photos taken against the light",
    "pitch": "another camera angle shows other sides of things, which no photo holds",
    "crowding": "objects pasted beside others look pasted, which detectors learn: collect crowded scenes",
    "object_aspect": "stretched objects have a shape that no camera sees",
    "object_position": "crops that move objects to the edge also change their size: collect such views",
    "novelty": "what looks like nothing in training cannot be made of training",
}
"""Attribute → why photos cannot be augmented towards any of its bins."""

"""Loads photos again that the scan has seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from attributes import frames
from attributes.decode import DecodeError, Photo, read
from xai.types import Pixels

Load = Callable[[str], Pixels]
"""``image_id`` → photo; raises ``DecodeError`` where it is gone, or another one now."""


def loaders(root: Path, images: pl.DataFrame) -> tuple[Load, Load]:
    """Return what loads a photo as displayed, and as stored.

    Args:
        root: folder of the photos.
        images: rows of the split's photos, with ``sha256``; without it any photo will do.
    """

    def load(image_id: str) -> Photo:
        photo = read(root / image_id, within=root)
        known = images.filter(pl.col("image_id") == image_id).get_column("sha256", default=None)
        if known is not None and photo.sha256 not in known.to_list():
            raise DecodeError("photo_changed", f"expected the photo that was scanned, found another: {root / image_id}")
        return photo

    def as_displayed(image_id: str) -> Pixels:
        return load(image_id).pixels

    def as_stored(image_id: str) -> Pixels:
        photo = load(image_id)
        return frames.stored_pixels(photo.pixels, photo.exif_orientation)

    return as_displayed, as_stored

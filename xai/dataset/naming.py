"""Photos that are of another format than their name says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import polars as pl

from attributes.extract import SUFFIXES
from xai.dataset import codes

_FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "jpeg"),
    ".png": "png",
    ".webp": "webp",
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    **dict.fromkeys((".bmp", ".dib"), "bmp"),
}
"""File name ending → the format of ``attributes.decode.Photo`` that it stands for."""


def misnamed(image_ids: Sequence[str], formats: Sequence[str], *, split: str) -> pl.DataFrame:
    """Return an issue for every photo whose content is of another format than its name says.

    The photo is used all the same; tools that trust the name may fail on it, or leave it out without a word.

    Args:
        image_ids: photos that were read.
        formats: of their contents, as ``attributes.decode.Photo`` names them.
        split: what the issues name as the split.
    """
    rows = []
    for image_id, found in zip(image_ids, formats, strict=True):
        ending = PurePosixPath(image_id).suffix.lower()
        if ending in SUFFIXES and _FORMATS.get(ending) != found:
            message = f"the name ends in {ending}, the file is a {found.upper()}; it was read"
            rows.append(codes.issue("photo_format_mismatch", message, split=split, image_id=image_id, file=image_id))
    return codes.table(rows)

"""What the accuracy measures share: photos of the two halves, planted turns and codings, ranks."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from scipy.stats import rankdata

from attributes.arrays import Floats, Pixels
from attributes.decode import read

Half = Literal["tune", "report"]


def half(path: Path) -> Half:
    """Half that a photo belongs to, by its name, so that it stays there when photos are added."""
    return "report" if zlib.crc32(path.stem.encode()) & 1 else "tune"


def paths(folder: Path, part: Half | None = "report", most: int | None = None) -> list[Path]:
    """Photos of one half of a folder, or of both, sorted; at most ``most`` of them, evenly spread."""
    found = [path for path in sorted(folder.glob("*.jp*g")) if part is None or half(path) == part]
    if most is None or len(found) <= most:
        return found
    return [found[int(index)] for index in np.linspace(0, len(found) - 1, most)]


def pixels(path: Path) -> Pixels:
    """RGB of a photo in the displayed frame."""
    return read(path).pixels


def to_size(photo: Pixels, longest: int) -> Pixels:
    """Scale a photo, up or down, to a longest side in px."""
    scale = longest / max(photo.shape)
    size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, size, interpolation=how), dtype=np.uint8)


def recoded(photo: Pixels, quality: int) -> Pixels:
    """The photo after JPEG coding."""
    bgr = np.ascontiguousarray(photo[..., ::-1])
    coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def blurred(photo: Pixels, sigma: float) -> Pixels:
    """The photo after a Gaussian blur of a standard deviation in px."""
    return photo if sigma == 0 else np.asarray(cv2.GaussianBlur(photo, (0, 0), sigma), dtype=np.uint8)


def middle_square(photo: Pixels) -> Pixels:
    """The largest square in the middle."""
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return photo[top : top + side, left : left + side]


def clockwise(photo: Pixels, turns: int) -> Pixels:
    """The photo turned clockwise by quarter turns."""
    return np.ascontiguousarray(np.rot90(photo, -turns))


def turned_inside(photo: Pixels, degrees: float) -> Pixels:
    """Turn the content counter-clockwise about the middle, as a camera turned clockwise does; crop inside."""
    height, width = photo.shape[:2]
    sine, cosine = np.sin(np.radians(abs(degrees))), np.cos(np.radians(degrees))
    part = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    size = int(width * part) - 2, int(height * part) - 2
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    matrix[:, 2] -= [(width - size[0]) / 2, (height - size[1]) / 2]
    return np.asarray(cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_CUBIC), dtype=np.uint8)


def auc(positive: Sequence[float] | Floats, negative: Sequence[float] | Floats) -> float:
    """Probability that a positive exceeds a negative, ties counted half (Mann & Whitney 1947)."""
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)].sum()
    return float((ranks - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))

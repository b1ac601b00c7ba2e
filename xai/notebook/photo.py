"""The photo of a miss with the object's box, what was detected around it, and the heat map beside it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attributes.decode import DecodeError, read
from xai.exceptions import RunError
from xai.notebook.drawing import Picture
from xai.report import cards
from xai.types import Pixels

if TYPE_CHECKING:
    from xai.notebook.misses import Miss

MISSED, DETECTED = "#D55E00", "#56B4E9"
"""Okabe and Ito's vermilion and sky blue."""

_INCHES, _DPI = 5.5, 100


def draw(miss: Miss) -> Picture:
    """Draw one miss.

    Raises:
        RunError: the photo is nowhere any more.
    """
    pixels = _pixels(miss)
    heat_map = miss.source.path / "maps" / f"{miss.error_id}.png"
    panels = [pixels, *([read(heat_map).pixels] if heat_map.is_file() else [])]
    ratio = pixels.shape[0] / pixels.shape[1]
    figure = Figure(figsize=(_INCHES * len(panels), _INCHES * ratio + 0.4), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        axis.imshow(panel)
        axis.set_axis_off()
    _boxes(axes[0], miss, pixels.shape[1] / (miss.row["width"] or pixels.shape[1]))
    axes[0].set_title(_plain(f"{miss.label}, not found"), fontsize=10, color=MISSED, loc="left")
    if len(panels) > 1:
        axes[1].set_title("where the detector looks: amber helps, blue holds back", fontsize=10, loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Picture(buffer.getvalue())


def _pixels(miss: Miss) -> Pixels:
    """Read the run's own copy of the photo, else the original."""
    files = [miss.source.path / "gallery" / f"{miss.error_id}.jpg", miss.photo]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise RunError(f"expected the photo of miss {miss.error_id} at {files[0]} or {files[1]}, found neither")
    try:
        return read(file).pixels
    except DecodeError as error:
        raise RunError(f"the photo of miss {miss.error_id} cannot be read any more: {error}") from error


def _boxes(axis: Axes, miss: Miss, scale: float) -> None:
    predictions = miss.source.table("predictions").filter(pl.col("split") == miss.source.split)
    row = pl.DataFrame([miss.row], schema=miss.source.misses.schema)
    nearby: Sequence[Mapping[str, Any]] = cards.facts(row, miss.evidence, predictions)["nearby"]
    for found in nearby:
        corners = np.array([found[side] for side in ("x1", "y1", "x2", "y2")]) * scale
        _frame(axis, corners, DETECTED, 1.2)
        told = _plain(f"{found['label']} {found['score']:.2f}")
        axis.text(
            corners[0], corners[3], told, fontsize=7, va="top", bbox={"facecolor": DETECTED, "lw": 0, "pad": 1}
        )  # fmt: skip
    if miss.box is not None:
        _frame(axis, np.array(miss.box) * scale, MISSED, 2.2)


def _frame(axis: Axes, corners: np.ndarray, colour: str, width: float) -> None:
    x1, y1, x2, y2 = corners.tolist()
    axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width))


def _plain(text: str) -> str:
    """Keep matplotlib from taking dollar signs for formulas."""
    return text.replace("$", r"\$")

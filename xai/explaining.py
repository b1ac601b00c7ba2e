"""One miss in depth: where the detector looks for it, with as many forwards as asked, and all that is known of it.

A run spends its budget on many misses; here one miss gets what it takes. The run itself is not changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from attributes.decode import read
from xai import config as configs
from xai import detect, evidence, experiments, report, room
from xai.exceptions import RequestError, RunError
from xai.progress import or_bars
from xai.rules import MISSES
from xai.run import Run
from xai.types import Detector, Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "explain"
"""Where the pictures go, in the run directory."""

N_MASKS = 600
"""Forwards for a map; a run uses at most 200."""


SHEET = 24
"""Heat maps on a contact sheet."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What is known of one miss.

    Attributes:
        error_id: of the miss, as in ``errors.parquet``.
        evidence: its lines of evidence, columns of ``tables.TABLES["evidence"]``; those of the heat map are of this
            one, not of the run's.
        saliency: (h, w) float32, signed, −1 to 1: positive helps the detection, negative holds it back.
        scale: change of the target, overlap × score of the best candidate, that 1 stands for.
        box: (4,) the object's, in pixels of ``saliency``.
        picture: the heat map over the photo with its scale and figures beneath, PNG.
        bare: the same without.
        text: what the command line prints.
    """

    error_id: str
    evidence: pl.DataFrame
    saliency: NDArray[np.float32]
    scale: float
    box: NDArray[np.float64]
    picture: Path
    bare: Path
    text: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.text)

    def figure(self) -> Figure:
        """Draw the photo under the heat map, with its scale, as a matplotlib figure."""
        from xai.evidence.pictures import figure

        return figure(self.bare, self.scale, self.text[0])

    def _repr_png_(self) -> bytes:
        return self.picture.read_bytes()


@room.told("the heat map")
def explain(
    run: str | Path,
    error_id: str,
    *,
    n_masks: int = N_MASKS,
    device: str | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain one miss of a finished run.

    Loads the detector of the run and shows it the photo with parts of it hidden: ``n_masks / 3`` times with the
    gradient (``evidence.extremal``), or ``n_masks`` times where the detector passes none or these are under 96
    (``evidence.drise``); and about a hundred times more to judge the map. Writes ``RUN/explain/ERROR_ID.png`` and
    ``.npz``.

    Args:
        run: the run directory.
        error_id: of the miss, or the beginning of it.
        n_masks: masked copies of the photo, even; one with its gradient counts as three.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:i``; the run's own if left out.
        seed: of the masks; the run's own if left out.
        progress: told when the map is made; in a notebook that is shown if left out.

    Raises:
        RequestError: no miss or several have this id, it has no box, the detector is a file of results or a function
            whose candidates say nothing of it, or the number of masks is odd or too small.
        RunError: there is no finished run, or its detector or photo is not the same any more.
    """
    opened = Run(run)
    if n_masks < evidence.MIN_MASKS or n_masks % 2:
        raise RequestError(f"expected an even number of masks, {evidence.MIN_MASKS} or more; got {n_masks}")
    miss = _find(opened, error_id)
    config = configs.from_dict(opened.info["config"], where=f"the config in {opened.path / 'run.json'}")
    if config.detector.kind == "predictions":
        raise RequestError(f"{opened.path} is of a results file, which cannot be asked again: heat maps need a model")
    detector = _load(opened, config, device)
    root = Path(opened.info["data"][_split(opened)]["path"])
    objects = opened.objects.filter(pl.col("split") == _split(opened))
    found = experiments.map_miss(
        config,
        miss,
        objects.filter(pl.col("image_id") == miss["image_id"][0]),
        opened.images.filter(pl.col("split") == _split(opened)),
        detector,
        root,
        opened.path / FOLDER,
        n_masks=n_masks,
        seed=config.seed if seed is None else seed,
    )
    or_bars(progress)("explain", 1, 1)
    name = str(miss["error_id"][0])
    kept = opened.evidence.filter(
        (pl.col("error_id") == name) & ~pl.col("kind").is_in(found["kind"].unique().to_list())
    )
    lines = pl.concat([kept, found])
    with np.load(opened.path / FOLDER / f"{name}.npz") as stored:
        saliency, scale, box = stored["saliency"].astype(np.float32), float(stored["scale"]), stored["box"]
    picture = opened.path / FOLDER / f"{name}.png"
    bare = picture.with_suffix(".overlay.png")
    picture.replace(bare)
    evidence.write_captioned(bare, picture, _caption(str(miss["label"][0]), lines, scale))
    text = tuple(report.miss_lines(opened.path, name, lines))
    return Explanation(name, lines, saliency, scale, box, picture, bare, text)


def sheet(run: str | Path, *, count: int = SHEET, out: str | Path | None = None) -> Path:
    """Lay the heat maps of a finished run side by side, with their scale and figures; no detector is asked.

    Maps that are no better than random are there, and marked.

    Args:
        run: the run directory.
        count: maps at most, in order of their misses' ids.
        out: the PNG; ``RUN/explain/sheet.png`` if left out.

    Raises:
        RequestError: the run has no maps, or ``count`` is not positive.
        RunError: there is no finished run.
    """
    opened = Run(run)
    if count < 1:
        raise RequestError(f"expected at least 1 map for the sheet, got {count}")
    found = sorted((opened.path / "maps").glob("*.npz"))[:count]
    if not found:
        raise RequestError(f"{opened.path} has no heat maps: triage with explain.maps above 0")
    labels = dict(opened.errors.select("error_id", "label").iter_rows())
    tiles = []
    for file in found:
        with np.load(file) as stored:
            saliency, scale, box = stored["saliency"].astype(np.float32), float(stored["scale"]), stored["box"]
        photo = read(opened.path / "gallery" / f"{file.stem}.jpg").pixels
        factor = np.tile([photo.shape[1] / saliency.shape[1], photo.shape[0] / saliency.shape[0]], 2)
        lines = opened.evidence.filter(pl.col("error_id") == file.stem)
        caption = _caption(labels[file.stem], lines, scale, error_id=file.stem)
        tiles.append((evidence.overlay(photo, saliency, box * factor), caption))
    path = opened.path / FOLDER / "sheet.png" if out is None else Path(out)
    evidence.write_sheet(tiles, path)
    return path


def _caption(label: str, lines: pl.DataFrame, scale: float, *, error_id: str = "") -> evidence.Caption:
    """Say under a map what it is of, the target before and after, and what speaks for the map."""
    told = {(row["kind"], row["name"]): row for row in lines.iter_rows(named=True)}
    text = [f"{label} {error_id}".strip()]
    if (hidden := told.get(("suppressor", "hidden"))) is not None:
        text.append(
            f"overlap × score {hidden['before']:.3f}, {hidden['after']:.3f} without what holds back; "
            f"elsewhere up to {hidden['placebo']:.3f}"
        )
    trusted = ("faithfulness", evidence.TRUSTED) in told
    for (kind, _), row in told.items():
        if kind == "faithfulness":
            text.append(f"insertion − deletion {row['effect']:+.3f}, random {row['placebo']:+.3f}")
    return evidence.Caption(tuple(text), scale, trusted)


def _split(run: Run) -> str:
    return "production" if run.info.get("question") == "reported" else "eval"


def _find(run: Run, error_id: str) -> pl.DataFrame:
    """Return the one miss whose id begins like this, with its object's columns."""
    misses = run.errors.filter(pl.col("kind").is_in(MISSES))
    found = misses.filter(pl.col("error_id").str.starts_with(error_id)) if error_id else misses.clear()
    if len(found) != 1:
        what = "no miss" if found.is_empty() else f"{len(found)} misses"
        some = ", ".join((misses if found.is_empty() else found)["error_id"].head(3))
        raise RequestError(
            f"expected the error_id of a miss in {run.path}, {what} begins with {error_id!r}"
            + (f"; there are {some} and others in errors.parquet" if some else "; the run has no misses")
        )
    keys = ["image_id", "object_id"]
    objects = run.objects.filter(pl.col("split") == _split(run))
    miss = found.select("error_id", *keys, "mechanism").join(objects, on=keys)
    if miss["x1"][0] is None:
        raise RequestError(
            f"miss {found['error_id'][0]} was reported without a box: report it with one to have it mapped"
        )
    return miss


def _load(run: Run, config: configs.Config, device: str | None) -> Detector:
    detector = cast(Detector, detect.load(config.detector, device or config.device))
    then, now = run.info["model"]["sha256"], detector.card.sha256
    if now and then not in (now, "unknown"):
        raise RunError(f"{detector.card.file} is not what made {run.path}: it has changed since; run xai triage again")
    return detector

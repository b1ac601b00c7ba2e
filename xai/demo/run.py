"""The demo: photos with planted conditions, a config to triage them, and the verdicts compared with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from xai import tables
from xai.demo import dataset
from xai.demo.conditions import AS_RIGHT, EXPECTED, HARMLESS, NONE
from xai.exceptions import RequestError, RunError
from xai.files import make_folder, owned
from xai.progress import or_bars
from xai.rules import MISSES
from xai.run import Run
from xai.types import Progress

CHECKPOINT = Path(__file__).with_name("detector.pt")
"""The shipped detector, made by ``python -m xai.demo.train``."""

HARMLESS_CAUSE = "noise"
"""The cause that would be named if misses were blamed on the harmless condition."""


@dataclass(frozen=True, slots=True)
class DemoPaths:
    """Where the demo lies.

    Attributes:
        config: YAML for ``xai triage``.
        truth: CSV with ``image_id object_id condition`` of all evaluated objects.
    """

    config: Path
    truth: Path


def make_demo(out: str | Path, *, share: float = 1.0, progress: Progress | None = None) -> DemoPaths:
    """Write photos, labels, truth and config into a folder.

    Args:
        out: the folder; made if it is not there.
        share: of the photos that are written, above 0 to 1; with few of them little can be shown.
        progress: told after each photo; in a notebook a bar is drawn if left out.

    Raises:
        RequestError: ``share`` is no such share, or the folder cannot be made.
    """
    if not 0 < share <= 1:
        raise RequestError(f"expected a share of the demo's photos above 0 and up to 1, got {share}")
    make_folder(Path(out))
    data = Path(out) / "data"
    dataset.write(data, share=share, progress=or_bars(progress))
    paths = DemoPaths(Path(out) / "demo.yaml", data / "truth.csv")
    paths.config.write_text(yaml.safe_dump(_config(), sort_keys=False), encoding="utf-8")
    return paths


def demo_run(out: str | Path = "runs/demo", *, share: float = 1.0, progress: Progress | None = None) -> Run:
    """Open the run of the demo in a folder; where there is none yet, make it, which takes a minute or two.

    Args:
        out: as ``--out`` of ``xai demo``.
        share: of the photos, where it is made.
        progress: told how far it is; in a notebook bars are drawn if left out.
    """
    from xai import pipeline

    folder = Path(out) / "run"
    if not (folder / "run.json").is_file():
        told = or_bars(progress)
        with owned(Path(out)):
            pipeline.triage(make_demo(out, share=share, progress=told).config, out=folder, progress=told)
    return Run(folder)


def _config() -> dict[str, Any]:
    return {
        "data": {
            "train": {"path": "data/train", "format": "voc", "is_training_set": True, "detect": 240},
            "eval": {"path": "data/eval", "format": "voc"},
        },
        "detector": {
            "kind": "torchvision",
            "weights": str(CHECKPOINT),
            "score_threshold": 0.45,
            "nms_iou": 0.6,
            "max_detections": 100,
        },
        "match": {"iou": 0.5},
        "promise": {"recall": 0.90, "confidence": 0.95},
        "explain": {"budget": 6, "maps": 4, "repairs": True},
        "report": {"title": "Demo: rendered scenes with planted conditions"},
    }


def score(run: Path, truth: Path) -> pl.DataFrame:
    """Compare the verdicts of a run with what was planted.

    Args:
        run: run directory of a finished triage of the demo.
        truth: ``DemoPaths.truth``.

    Returns:
        A row for each planted condition, for the harmless one and for ``none``: ``condition``; ``expected`` cause, null
        where none should be named, "A or B" where either is right; scored ``objects`` under it; ``misses`` of them;
        misses ``named`` by the expected cause; their ``share`` of the misses, null without any; misses ``blamed`` on
        the condition's cause that do not lie under it (under the harmless one: all that are blamed on it).

    Raises:
        RunError: the run is not finished, or not of this demo.
    """
    keys = ["image_id", "object_id"]
    planted = pl.read_csv(truth, schema={"image_id": pl.String, "object_id": pl.Int64, "condition": pl.String})
    objects = tables.read(run, "objects").filter(pl.col("split") == "eval", pl.col("outcome") != "ignored")
    objects = objects.join(planted, on=keys, how="left").select(*keys, "outcome", "condition")
    if objects["condition"].null_count():
        raise RunError(f"expected a run of the photos that {truth} describes, but {run} holds other objects")
    verdicts = tables.read(run, "verdicts").select("error_id", "cause")
    causes = tables.read(run, "errors").join(verdicts, on="error_id").select(*keys, "cause")
    misses = objects.filter(pl.col("outcome").is_in(MISSES)).join(causes, on=keys, how="left")
    expected = {**EXPECTED, HARMLESS: HARMLESS_CAUSE, NONE: None}
    rows = [_row(condition, cause, objects, misses) for condition, cause in expected.items()]
    return pl.DataFrame(rows, schema=_SCORE)


_SCORE = {
    "condition": pl.String,
    "expected": pl.String,
    "objects": pl.Int64,
    "misses": pl.Int64,
    "named": pl.Int64,
    "share": pl.Float64,
    "blamed": pl.Int64,
}


def _row(condition: str, cause: str | None, objects: pl.DataFrame, misses: pl.DataFrame) -> dict[str, Any]:
    under = pl.col("condition") == condition
    here = misses.filter(under)
    row = {"condition": condition, "objects": objects.filter(under).height, "misses": here.height}
    if cause is None:
        return row
    right = (cause, *AS_RIGHT.get(condition, ()))
    blamed = misses.filter(pl.col("cause").is_in(right))
    if condition == HARMLESS:
        return {**row, "blamed": blamed.height}
    named = blamed.filter(under).height
    share = named / here.height if here.height else None
    return {**row, "expected": " or ".join(right), "named": named, "share": share, "blamed": blamed.height - named}

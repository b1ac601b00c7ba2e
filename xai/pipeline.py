"""The stages in order: read, scan, match, cover, rank, experiment, judge, report.

Data flows one way. A stage reads tables and returns tables; this module hands them on and writes them down.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from xai import coverage, detect, evidence, provenance, reference, report, tables, verdict
from xai import run as runs
from xai.config import Config, load
from xai.exceptions import DataError
from xai.reference import Reference, profile
from xai.scan import Split, scan
from xai.types import Detector, PredictedOnly, Progress, no_progress

__all__ = ["profile", "triage"]


def triage(
    config: Config | str | Path, *, out: str | Path | None = None, progress: Progress = no_progress, command: str = ""
) -> runs.Run:
    """Explain every miss of a detector on an evaluation set.

    Args:
        config: a config or the path of one.
        out: run directory; one that was interrupted is resumed. Default: ``config.out``, else ``runs/triage``.
        progress: told how far each stage is.
        command: what the provenance names as the command that made the run.

    Raises:
        ConfigError, DetectorError: the request is wrong.
        DataError: more than ``data.max_bad`` of the photos is unusable.
    """
    config = config if isinstance(config, Config) else load(Path(config))
    folder = Path(out or config.out or Path("runs") / "triage")
    folder.mkdir(parents=True, exist_ok=True)
    clock = _Clock()
    with clock("read"):
        evaluation_data = reference.read_split(config, "eval")
        detector = detect.load(config.detector, config.device, image_ids=evaluation_data.image_ids)
        evaluation_data = reference.name_as_detector(evaluation_data, config, detector.names)
    with clock("scan train"):
        train = reference.reference(config, detector, folder / "shards" / "train", progress)
    with clock("scan eval"):
        evaluation = scan(
            evaluation_data,
            detector=detector,
            detect_ids=frozenset(evaluation_data.image_ids),
            match_iou=config.match.iou,
            fingerprint=reference.fingerprint(config, detector),
            folder=folder / "shards" / "eval",
            workers=config.workers or os.cpu_count() or 1,
            progress=progress,
        )
        _refuse_bad(evaluation, config)
    with clock("match"):
        errors = detect.errors(evaluation.objects, evaluation.predictions)
        errors = detect.mechanisms(
            errors,
            evaluation.objects,
            evaluation.predictions,
            score_threshold=detector.score_threshold,
            match_iou=config.match.iou,
        )
    with clock("cover"):
        found = coverage.analyse(
            train.tables if train else None, evaluation, train_detected=bool(train and train.detected)
        )
        promises = coverage.promise(evaluation.objects, evaluation.predictions, config.promise)
    with clock("explain"):
        lines = verdict.rank(errors, evaluation.objects, evaluation.images, found.coverage)
        if isinstance(detector, PredictedOnly):
            tried = tables.empty(tables.TABLES["evidence"])
        else:
            tried = _experiment(config, detector, evaluation, errors, lines, folder, progress)
        lines = tables.stack([lines, tried], tables.TABLES["evidence"])
        verdicts = verdict.judge(
            errors,
            evaluation.objects,
            evaluation.images,
            found.coverage,
            lines,
            promises=promises,
            score_threshold=detector.score_threshold,
            is_training_set=train.is_training_set if train else True,
        )
    made = {
        "images": _both(train, evaluation, "images"),
        "objects": _both(train, evaluation, "objects"),
        "predictions": _both(train, evaluation, "predictions"),
        "issues": _both(train, evaluation, "issues"),
        "errors": errors,
        "coverage": found.coverage,
        "slices": found.slices,
        "uncovered": found.uncovered,
        "evidence": lines,
        "verdicts": verdicts,
    }
    with clock("write"):
        for name, frame in made.items():
            tables.write(tables.conform(frame, tables.TABLES[name]), folder / f"{name}.parquet")
        info = _info(config, detector, train, evaluation, evaluation_data, clock, command)
        runs.write_info({**info, "promise": [asdict(answer) for answer in promises]}, folder)
        report.render(folder)
    return runs.Run(folder)

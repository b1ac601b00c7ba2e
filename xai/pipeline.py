"""The stages in order: read, scan, match, cover, rank, experiment, judge, report.

Data flows one way. A stage reads tables and returns tables; this module hands them on and writes them down.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from attributes.decode import read
from xai import coverage, dataset, detect, evidence, provenance, reference, report, tables, verdict
from xai import run as runs
from xai.config import Config, load
from xai.exceptions import DataError
from xai.reference import Reference, profile
from xai.scan import Split, scan
from xai.types import Dataset, Detector, Pixels, PredictedOnly, Progress, no_progress

__all__ = ["profile", "triage"]

SCANNED = ("images", "objects", "predictions", "issues")


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
    (folder / "run.json").unlink(missing_ok=True)
    clock = _Clock()
    with clock("read"):
        as_read = reference.read_split(config, "eval")
        detector = detect.load(config.detector, config.device, image_ids=as_read.image_ids)
        data = reference.name_as_detector(as_read, config.data.classes, detector.names)
    with clock("scan train"):
        train = reference.reference(config, detector, folder / "shards" / "train", progress)
    with clock("scan eval"):
        evaluation = _scan_evaluation(config, detector, data, folder, progress)
        described = {"train": dict(train.info)} if train else {}
        described["eval"] = reference.describe(
            as_read, evaluation, config.data.eval.format if config.data.eval else None, None
        )
        _refuse_bad(described, config.data.max_bad)
        if train:
            leaked = dataset.leaks(train.tables.images, evaluation.images)
            evaluation = replace(evaluation, issues=tables.stack([evaluation.issues, leaked], tables.ISSUES))
    with clock("match"):
        errors = detect.errors(
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
        lines = verdict.rank(
            errors,
            evaluation.objects,
            evaluation.images,
            found.coverage,
            bins=found.bins,
            score_threshold=detector.score_threshold,
        )
        tried = _experiment(config, detector, evaluation, data.root, errors, lines, folder, progress)
        lines = tables.stack([lines, tried], tables.TABLES["evidence"])
        verdicts = verdict.judge(
            errors,
            evaluation.objects,
            evaluation.images,
            found.coverage,
            lines,
            bins=found.bins,
            promises=promises,
            score_threshold=detector.score_threshold,
            is_training_set=train.is_training_set if train else True,
        )
    with clock("write"):
        made = {name: _both(train, evaluation, name) for name in SCANNED}
        made |= {"errors": errors, "evidence": lines, "verdicts": verdicts}
        made |= {"coverage": found.coverage, "slices": found.slices, "uncovered": found.uncovered}
        _write(made, folder)
        runs.write_info(_info(config, detector, described, promises, clock, command), folder)
        report.render(folder)
    return runs.Run(folder)


def _scan_evaluation(
    config: Config, detector: Detector | PredictedOnly, data: Dataset, folder: Path, progress: Progress
) -> Split:
    return scan(
        data,
        detector=detector,
        detect_ids=frozenset(data.image_ids),
        match_iou=config.match.iou,
        fingerprint=reference.fingerprint(config, detector),
        folder=folder / "shards" / "eval",
        workers=config.workers or os.cpu_count() or 1,
        progress=progress,
    )


def _write(made: Mapping[str, pl.DataFrame], folder: Path) -> None:
    for name, frame in made.items():
        tables.write(tables.conform(frame, tables.TABLES[name]), folder / f"{name}.parquet")


def _experiment(
    config: Config,
    detector: Detector | PredictedOnly,
    evaluation: Split,
    root: Path,
    errors: pl.DataFrame,
    lines: pl.DataFrame,
    folder: Path,
    progress: Progress,
) -> pl.DataFrame:
    """Keep the misses' photos, repair and map them within the budget; return the lines of evidence that this adds."""
    keys = ["image_id", "object_id"]
    misses = (
        errors.filter(pl.col("kind").is_in(["missed", "confused", "mislocated"]))
        .select("error_id", *keys, "mechanism")
        .join(evaluation.objects, on=keys)
        .join(evaluation.images.drop("split"), on="image_id")
    )

    def load_pixels(image_id: str) -> Pixels:
        return read(root / image_id).pixels

    for name in ("gallery", "maps"):
        shutil.rmtree(folder / name, ignore_errors=True)
    if isinstance(detector, PredictedOnly):
        evidence.keep_photos(misses, load_pixels=load_pixels, folder=folder)
        return tables.empty(tables.TABLES["evidence"])
    return evidence.explain(
        misses,
        plan=verdict.plan(lines, errors, config.explain.budget) if config.explain.repairs else None,
        objects=evaluation.objects,
        load_pixels=load_pixels,
        detector=detector,
        budget=config.explain.budget,
        maps=config.explain.maps,
        match_iou=config.match.iou,
        seed=config.seed,
        folder=folder,
        progress=progress,
    )


def _refuse_bad(described: Mapping[str, Mapping[str, Any]], max_bad: float) -> None:
    """Stop where more than ``max_bad`` of a split's photos or of its label rows were lost."""
    for split, told in described.items():
        counts = {(step["step"], step["unit"]): step for step in told["funnel"]}
        for unit, last in (("photos", "read"), ("objects", "valid")):
            found, kept = counts["found", unit]["count"], counts[last, unit]
            lost = found - kept["count"]
            if found and lost / found > max_bad:
                reasons = ", ".join(f"{count} {reason}" for reason, count in kept["lost"].items())
                raise DataError(
                    f"{lost} of {found} {unit} of data.{split} cannot be used ({lost / found:.0%}; data.max_bad allows "
                    f"{max_bad:.0%}): {reasons}. Mend them or raise data.max_bad"
                )


def _both(train: Reference | None, evaluation: Split, name: str) -> pl.DataFrame:
    frames = [getattr(train.tables, name)] if train else []
    return tables.stack([*frames, getattr(evaluation, name)], tables.TABLES[name])


class _Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.started_at = provenance.now()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)


def _info(
    config: Config,
    detector: Detector | PredictedOnly,
    described: dict[str, Any],
    promises: list[Any],
    clock: _Clock,
    command: str,
) -> dict[str, Any]:
    """Return ``run.json``: what the run can be asked later."""
    return {
        "schema": provenance.SCHEMA,
        "version": provenance.version(),
        "versions": provenance.versions(),
        "seed": config.seed,
        "command": command or "xai.triage(...)",
        "config": config.model_dump(mode="json"),
        "started_at": clock.started_at,
        "finished_at": provenance.now(),
        "model": provenance.model(detector.card),
        "data": described,
        "funnel": {split: data.pop("funnel") for split, data in described.items()},
        "promise": [asdict(answer) for answer in promises],
        "timings": clock.seconds,
    }

"""The stages in order: read, scan, match, cover, rank, experiment, judge, report.

Data flows one way. A stage reads tables and returns tables; this module hands them on and writes them down.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from xai import (
    coverage,
    dataset,
    detect,
    journal,
    label_frames,
    labels,
    lookalikes,
    own,
    provenance,
    question,
    reference,
    report,
    room,
    run_json,
    tables,
    verdict,
)
from xai import run as runs
from xai.config import Config, load
from xai.dataset import metadata, watch
from xai.exceptions import DataError
from xai.experiments import ask_level, ask_upright, experiment, stress
from xai.files import owned
from xai.integrations import mlflow
from xai.novelty import COLUMN as NOVELTY
from xai.novelty import with_novelty
from xai.progress import or_bars
from xai.question import Question, Scanned
from xai.reference import Reference, profile
from xai.sampling import sample
from xai.scan import Split
from xai.types import Detector, PredictedOnly, Progress

__all__ = ["profile", "sample", "triage"]

SCANNED = ("images", "objects", "predictions", "issues")


def triage(
    config: Config | str | Path, *, out: str | Path | None = None, progress: Progress | None = None, command: str = ""
) -> runs.Run:
    """Explain every miss of a detector on an evaluation set.

    Args:
        config: a config or the path of one.
        out: run directory; one that was interrupted is resumed. Default: ``config.out``, else ``runs/triage``.
        progress: told how far each stage is; in a notebook bars are drawn if left out.
        command: what the provenance names as the command that made the run.

    Raises:
        ConfigError, DetectorError, RequestError: the request is wrong, ``out`` cannot be made, or another process is at
            work in it.
        DataError: more than ``data.max_bad`` of the photos is unusable.
    """
    progress = or_bars(progress)
    config = config if isinstance(config, Config) else load(Path(config))
    folder = Path(out or config.out or Path("runs") / "triage")
    with owned(folder):
        return _triage(config, folder, progress, command)


def _triage(config: Config, folder: Path, progress: Progress, command: str) -> runs.Run:
    if config.mlflow is not None:
        mlflow.experiment_id(config.mlflow.experiment)  # a server that cannot be reached is told before the work
    (folder / "run.json").unlink(missing_ok=True)
    clock = _Clock()
    with clock("read"):
        asked = question.read(config)
        read_labels = [watch.seen(data) for data in (asked.data, asked.audit) if data]
        detector = detect.load(config.detector, config.device, image_ids=asked.image_ids)
    with clock("scan train"):
        train = reference.reference(config, detector, folder / "shards" / "train", progress)
    with clock("scan eval"):
        scanned = question.scan(config, asked, detector, folder, progress)
        described = {**({"train": dict(train.info)} if train else {}), **scanned.info}
        _refuse_bad(described, config.data.max_bad)
        evaluation, audit, train, known = _with_metadata(config, scanned, train)
        evaluation = _with_leaks(train, evaluation)
        own.agree([split.images for split in (train.tables if train else None, evaluation) if split])
        train, evaluation, nearest = with_novelty(train, evaluation, detector.card, config.device)
    with clock("match"):
        errors = detect.errors(
            evaluation.objects,
            evaluation.predictions,
            score_threshold=detector.score_threshold,
            match_iou=config.match.iou,
            neighbours=not asked.reported,
        )
        evaluation, misplaced = _with_mismatches(asked, evaluation)
        relabel = _relabel(asked, evaluation, train)
    with clock("cover"):
        analyse = coverage.analyse_cases if asked.reported else coverage.analyse
        found = analyse(train.tables if train else None, evaluation, train_detected=bool(train and train.detected))
        promises = _promises(config, asked, evaluation, audit, scanned.info)
        parts = _promises_of_parts(config, asked, evaluation, audit, found)
    with clock("explain"):
        compared = evaluation.objects if found.compared is None else found.compared
        kept = journal.open_journal(config, folder, asked.data.split)
        upright = ask_upright(config, detector, evaluation, asked.data.root, errors, progress, kept)
        images, bins = verdict.with_upright(evaluation.images, found.bins, upright.told)
        turned = replace(evaluation, images=images)
        level = ask_level(config, detector, turned, asked.data.root, errors, progress, kept)
        images, bins = verdict.with_level(images, bins, level.told)

        def rank(objects: pl.DataFrame, bins: pl.DataFrame) -> pl.DataFrame:
            return verdict.rank(
                errors,
                objects,
                images,
                found.coverage,
                bins=bins,
                measured=found.bins,
                score_threshold=detector.score_threshold,
            )

        looked_at = [(split.objects, split.images) for split in [*([train.tables] if train else []), evaluation]]
        more = [verdict.upright_lines(upright.told, errors), verdict.level_lines(level.told, errors)]
        more.append(verdict.cut_lines(errors, looked_at, looked_at[-1]))
        lines = tables.stack([rank(compared, bins), *more], tables.TABLES["evidence"])
        shown = replace(evaluation, images=images)
        tried = experiment(
            config,
            detector,
            shown,
            asked.data.root,
            errors,
            lines,
            folder,
            progress,
            spent=upright.forwards + level.forwards,
            kept=kept,
        )
        if config.detector.exif != "ignore":  # else parts are sides of the photo as stored, and boxes are not
            tried = verdict.own_parts(tried, errors, *_seen(evaluation))
        hiding, bins = verdict.with_hidden(compared, bins, errors, tried)
        if hiding is not compared:
            lines = tables.stack([rank(hiding, bins), *more], tables.TABLES["evidence"])
        doubted = [label_frames.evidence(misplaced, errors)]
        if not asked.reported:  # beside a reported miss nothing is annotated: what is detected may be another object
            doubted.append(verdict.label_lines(errors, *_seen(evaluation), detector.score_threshold))
        lines = tables.stack([lines, tried, *doubted], tables.TABLES["evidence"])
        verdicts = verdict.judge(
            errors,
            hiding,
            images,
            found.coverage,
            lines,
            bins=bins,
            promises=promises,
            score_threshold=detector.score_threshold,
            is_training_set=train.is_training_set if train else True,
            reported=asked.reported,
            predictions=evaluation.predictions,
            match_iou=config.match.iou,
        )
        extra = verdict.judge_detections(
            errors,
            *_seen(evaluation),
            score_threshold=detector.score_threshold,
            match_iou=config.match.iou,
            nms_iou=config.detector.nms_iou,
        )
    with clock("stress"):
        curves = stress(config, detector, evaluation, train.tables if train else None, asked.data.root, progress, kept)
        kept.finish()
        changed = [journal.lost_photos(kept, asked.data.split), *map(watch.changes, read_labels)]
        evaluation = replace(evaluation, issues=tables.stack([evaluation.issues, *changed], tables.ISSUES))
    with clock("write"):
        splits = [*([train.tables] if train else []), evaluation, *([audit] if audit else [])]
        made = {name: _stacked(splits, name) for name in SCANNED}
        made |= {"errors": _with_conditions(errors, found.bins), "evidence": lines, "verdicts": verdicts}
        made["objects"] = tables.conform(made["objects"], {**tables.TABLES["objects"], NOVELTY: pl.Float64})
        made |= {"nearest": nearest, "relabel": relabel}
        made |= {"coverage": found.coverage, "slices": found.slices, "uncovered": found.uncovered}
        made |= {"stress": curves, "false_detections": extra}
        _write(made, folder)
        labels.to_csv(relabel, folder / labels.CSV)
        labels.to_coco(relabel, evaluation.images, folder / labels.COCO)
        if train:
            lookalikes.keep(nearest, errors, train.tables.objects, Path(train.info["path"]), folder)
        told = _info(config, asked, detector, described, promises, known, clock, command)
        told |= {"promise_parts": [asdict(part) for part in parts], "plan": found.plan.to_dicts()}
        run_json.write(told, folder)
        report.render(folder)
    run = runs.Run(folder)
    if config.mlflow is not None:
        mlflow.log_run(run, experiment=config.mlflow.experiment, run_name=config.mlflow.run_name)
    return run


def _seen(split: Split) -> tuple[pl.DataFrame, pl.DataFrame]:
    return split.objects, split.predictions


def _with_metadata(
    config: Config, scanned: Scanned, train: Reference | None
) -> tuple[Split, Split | None, Reference | None, dict[str, str]]:
    """Join what is known of the photos, and tell their groups; the last is the type of each column."""
    splits = {"judged": scanned.split, "audit": scanned.audit, "train": train.tables if train else None}
    images = {name: split.images for name, split in splits.items() if split}
    known = metadata.attach(images, config.data.metadata, config.data.group)
    told = {name: replace(split, images=known.images[name]) for name, split in splits.items() if split}
    judged = told["judged"]
    judged = replace(judged, issues=tables.stack([judged.issues, known.issues], tables.ISSUES))
    reference = replace(train, tables=told["train"]) if train else None
    return judged, told.get("audit"), reference, known.types


def _with_leaks(train: Reference | None, evaluation: Split) -> Split:
    if train is None:
        return evaluation
    leaked = dataset.leaks(train.tables.images, evaluation.images)
    return replace(evaluation, issues=tables.stack([evaluation.issues, leaked], tables.ISSUES))


def _with_mismatches(asked: Question, evaluation: Split) -> tuple[Split, pl.DataFrame]:
    """Name the photos whose labels seem to be drawn on another frame, where the labels do not say on which."""
    # Beside a reported miss nothing is annotated: a detection that it fits when turned may be of a neighbour.
    is_open = asked.data.label_frame == "auto" and not asked.reported
    labels = asked.data.labels if is_open else asked.data.labels.clear()
    found = label_frames.mismatches(evaluation.objects, evaluation.predictions, evaluation.images, labels)
    named = label_frames.issues(found, asked.data.split)
    return replace(evaluation, issues=tables.stack([evaluation.issues, named], tables.ISSUES)), found


def _relabel(asked: Question, evaluation: Split, train: Reference | None) -> pl.DataFrame:
    """List the labels to look at; beside reported misses nobody labelled anything, so that nothing contradicts."""
    if asked.reported:
        return tables.empty(tables.BESIDE["relabel"])
    reference = (train.tables.objects, train.tables.images) if train else None
    found = labels.review(
        evaluation.objects,
        evaluation.images,
        evaluation.predictions,
        reference=reference,
        reference_predictions=train.tables.predictions if train and train.detected else None,
    )
    return labels.ordered([found, labels.from_issues(evaluation.issues)])


def _promises(
    config: Config, asked: Question, evaluation: Split, audit: Split | None, info: Mapping[str, Any]
) -> list[coverage.Answer]:
    """Answer the promise from annotated photos; reported misses alone cannot."""
    judged = audit if asked.reported else evaluation
    if judged is None:
        return coverage.unanswered(config.promise)
    price = config.report.cost_per_miss
    answers = coverage.promise(
        judged.objects, judged.predictions, config.promise, judged.images, cost_per_miss=price
    )  # fmt: skip
    if not asked.reported:
        return answers
    read = judged.images["status"].eq("ok").sum()
    where = f"In the labelled sample of {read:,} {'photo' if read == 1 else 'photos'}"
    strange, left = info["audit"]["not_drawn"], info["audit"]["unlabelled"]
    doubts = [f"{strange:,} of them not drawn at random"] * (strange > 0)
    doubts += [f"{left:,} more were drawn and are not labelled"] * (left > 0)
    where += f" ({'; '.join(doubts)}: the answer may be biased)" if doubts else ""
    return [replace(answer, sentence=f"{where}, {_continued(answer.sentence)}") for answer in answers]


def _promises_of_parts(
    config: Config, asked: Question, evaluation: Split, audit: Split | None, found: coverage.Analysis
) -> list[coverage.Answer]:
    """Answer the promise for every class, and where all objects are annotated for every slice."""
    judged = audit if asked.reported else evaluation
    if judged is None:
        return []
    return coverage.promise_of_parts(
        judged.objects,
        judged.predictions,
        config.promise,
        judged.images,
        slices=[] if asked.reported else found.slices["conditions"].to_list(),
        bins=None if asked.reported else found.bins,
        cost_per_miss=config.report.cost_per_miss,
    )


def _continued(sentence: str) -> str:
    """Write a sentence so that words can stand before it."""
    return sentence[:1].lower() + sentence[1:]


def _with_conditions(errors: pl.DataFrame, bins: pl.DataFrame) -> pl.DataFrame:
    """Add the bins that each missed object lies in, as slices name them (``conditions``: list of ``attribute=bin``)."""
    keys = ["image_id", "object_id"]
    named = [pl.format("{}={}", pl.lit(name), name) for name in bins.columns if name not in keys]
    lost = bins.join(errors, on=keys, how="semi")
    told = lost.select(*keys, conditions=pl.concat_list(named)) if named else lost.select(keys)
    return errors.join(told.unique(keys, keep="first"), on=keys, how="left", maintain_order="left")


def _write(made: Mapping[str, pl.DataFrame], folder: Path) -> None:
    for name, frame in made.items():
        tables.write(tables.conform(frame, (tables.TABLES | tables.BESIDE)[name]), folder / f"{name}.parquet")


def _refuse_bad(described: Mapping[str, Mapping[str, Any]], max_bad: float) -> None:
    """Stop where more than ``max_bad`` of a split's photos or of its label rows were lost."""
    for split, told in described.items():
        counts = {(step["step"], step["unit"]): step for step in told["funnel"]}
        for unit, last in (("photos", "read"), ("objects", "valid")):
            if (split, unit) == ("production", "objects"):
                continue  # a short list written by hand: what is not understood in it is told line by line
            found, kept = counts["found", unit]["count"], counts[last, unit]
            lost = found - kept["count"]
            if found and lost / found > max_bad:
                reasons = ", ".join(f"{count} {reason}" for reason, count in kept["lost"].items())
                raise DataError(
                    f"{lost} of {found} {unit} of data.{split} cannot be used ({lost / found:.0%}; data.max_bad allows "
                    f"{max_bad:.0%}): {reasons}. Mend them or raise data.max_bad"
                )


def _stacked(splits: Sequence[Split], name: str) -> pl.DataFrame:
    return tables.stack([getattr(split, name) for split in splits], tables.TABLES[name])


class _Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.started_at = provenance.now()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        with room.told(f"the stage '{stage}'"):
            yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)


def _info(
    config: Config,
    asked: Question,
    detector: Detector | PredictedOnly,
    described: dict[str, Any],
    promises: list[Any],
    known: dict[str, str],
    clock: _Clock,
    command: str,
) -> dict[str, Any]:
    """Return ``run.json``: what the run can be asked later."""
    return {
        "version": provenance.version(),
        "versions": provenance.versions(),
        "seed": config.seed,
        "command": command or "xai.triage(...)",
        "config": config.model_dump(mode="json"),
        "started_at": clock.started_at,
        "finished_at": provenance.now(),
        "model": {**provenance.model(detector.card), "names": list(detector.names)},
        "question": "reported" if asked.reported else "evaluate",
        "metadata": known,
        "attributes": dict(own.fingerprint(own.load(config.data.attributes))),
        "data": described,
        "funnel": {split: data.pop("funnel") for split, data in described.items()},
        "promise": [asdict(answer) for answer in promises],
        "timings": clock.seconds,
    }

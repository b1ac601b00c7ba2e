"""What a run asks about: the misses of an annotated evaluation set, or those that people reported in production.

Both become one data set whose objects are scanned and matched alike. Reported misses need three things more: cases
without a box are added to the objects, what photos without labels cannot tell becomes null, and the promise is answered
by a labelled sample of the production photos (the audit), where there is one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from xai import alone, dataset, engines, own, reference, tables
from xai import scan as scans
from xai.config import Config, EvalData
from xai.dataset import codes, metadata
from xai.dataset.reader import Role
from xai.dataset.reported import Cases, read_cases, read_production
from xai.doubts import doubts
from xai.exceptions import ConfigError
from xai.scan import Split
from xai.types import Dataset, Detector, PredictedOnly, Progress

SAMPLE = "sample.csv"
"""The random sample that ``xai sample`` drew, in the run directory."""

NEIGHBOURS = ("crowding", "occlusion")
"""Attributes that other objects' boxes decide: where most objects have no label, they cannot be told."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """The photos and objects that a run explains.

    Attributes:
        data: as read; ``data.split`` is ``eval`` or ``production``.
        format: of its labels.
        cases: the reported misses, those without a box too; None where the set is annotated.
        audit: the labelled sample of the production photos.
        audit_format: of its labels.
    """

    data: Dataset
    format: str
    cases: pl.DataFrame | None = None
    audit: Dataset | None = None
    audit_format: str = ""

    @property
    def reported(self) -> bool:
        """Whether the misses are reported cases."""
        return self.cases is not None

    @property
    def image_ids(self) -> tuple[str, ...]:
        """All photos that the detector is asked about."""
        return (*self.data.image_ids, *(self.audit.image_ids if self.audit else ()))


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """What the scan found.

    Attributes:
        split: the photos with the objects whose misses are explained.
        audit: the labelled sample, where there is one.
        info: what ``run.json`` says of each, by split.
    """

    split: Split
    audit: Split | None
    info: dict[str, Any]


def read(config: Config) -> Question:
    """Read the evaluation set, or the production photos and the reported misses, that a config names."""
    # What is wrong with these is told before photos are scanned for hours.
    engines.check(config)
    columns = {item.column: item.source for item in own.load(config.data.attributes)}
    if config.data.metadata is not None:
        twice = sorted(columns.keys() & set(metadata.read(config.data.metadata).columns))
        if twice:
            raise ConfigError(
                f"{own.KEY}: {columns[twice[0]]} and a column of {config.data.metadata.path} would both be called "
                f"{twice[0]!r}; rename one"
            )
    if config.data.eval is not None:
        return Question(_annotated(config.data.eval, "eval"), config.data.eval.format)
    production, reported = config.data.production, config.data.reported
    if production is None or reported is None:
        raise ConfigError("expected 'data.eval', or 'data.production' with 'data.reported'")
    cases: Cases = read_cases(reported, read_production(production.path))
    question = Question(cases.data, "reported cases", cases.listed)
    if config.data.audit is None:
        return question
    section = config.data.audit
    if section.format == "coco" and section.photos is None:
        section = section.model_copy(update={"photos": production.path})
    return replace(question, audit=_annotated(section, "audit"), audit_format=section.format)


def scan(
    config: Config, question: Question, detector: Detector | PredictedOnly, folder: Path, progress: Progress
) -> Scanned:
    """Tag the photos of a question, run the detector on them and match what it finds.

    Args:
        config: of the run.
        question: from ``read``.
        detector: is asked about every photo.
        folder: the run directory; shards are kept in it.
        progress: told after each batch.
    """
    split = _scan(config, question.data, detector, folder, progress)
    doubtful = doubts(split.objects, split.predictions, split.images)
    split = replace(split, issues=tables.stack([split.issues, doubtful], tables.ISSUES))
    if question.cases is not None:
        mapping = dataset.spell(config.data.classes, question.cases["label"].unique().to_list(), detector.names)
        split = complete(split, question, mapping, detector.names)
    info = {question.data.split: reference.describe(question.data, split, question.format, None)}
    audit = None
    if question.audit is not None:
        audit = _scan(config, question.audit, detector, folder, progress)
        strange, left = undrawn(audit, split, folder), unlabelled(audit, split, folder)
        about = reference.describe(question.audit, audit, question.audit_format, None)
        audit = replace(audit, issues=tables.stack([audit.issues, strange, left], tables.ISSUES))
        info["audit"] = {**about, "not_drawn": len(strange), "unlabelled": len(left)}
    return Scanned(split, audit, info)


def _scan(
    config: Config,
    as_read: Dataset,
    detector: Detector | PredictedOnly,
    folder: Path,
    progress: Progress,
) -> Split:
    data = reference.name_as_detector(as_read, config.data.classes, detector.names)
    return scans.scan(
        data,
        detector=detector,
        detect_ids=frozenset(data.image_ids),
        match_iou=config.match.iou,
        fingerprint=reference.fingerprint(config, detector),
        folder=folder / "shards" / data.split,
        workers=config.workers or os.cpu_count() or 1,
        progress=progress,
        as_stored=config.detector.exif == "ignore",
        attributes=own.load(config.data.attributes),
        engine=engines.engine(config, detector),
        opening=alone.opening(config, detector),
    )


def _annotated(section: EvalData, role: Role) -> Dataset:
    return dataset.read(
        section.path,
        section.format,
        role=role,
        split=section.split,
        photos=section.photos,
        label_frame=section.label_frame,
    )


def complete(scanned: Split, question: Question, mapping: Mapping[str, str], names: Sequence[str]) -> Split:
    """Add to the scanned production photos the cases without a box, and say what the detector says of the cases.

    Args:
        scanned: the photos, with the cases that have a box as objects.
        question: the cases.
        mapping: their class names → the detector's.
        names: the detector's classes.

    Returns:
        Objects with ``note``, cases without a box appended: ``missed`` (``ignored`` where the detector lacks the class)
        with null box, attributes and candidates. Attributes that other objects' boxes decide are null. Issues gain
        ``case_without_photo``, ``case_unknown_class``, ``case_repeated``, ``case_found`` and ``case_ambiguous`` rows.
    """
    if question.cases is None:
        return scanned
    keys = ["image_id", "object_id"]
    placed = question.data.labels.select(keys)
    read_photos = scanned.images.filter(pl.col("status") == "ok").select("image_id")
    without_box = question.cases.join(placed, on=keys, how="anti")
    unplaced = without_box.join(read_photos, on="image_id", how="semi")
    unseen = without_box.join(read_photos, on="image_id", how="anti")
    lacking = ~pl.col("label").is_in(list(names))
    named = dataset.rename_classes(unplaced, mapping).sort(keys)
    added = named.with_columns(
        split=pl.lit("production"),
        ignore=pl.when(lacking)
        .then(pl.lit("class"))
        .when(~pl.struct("image_id", "label").is_first_distinct())
        .then(pl.lit("duplicate")),
    ).with_columns(outcome=pl.when(pl.col("ignore").is_null()).then(pl.lit("missed")).otherwise(pl.lit("ignored")))
    blank = [pl.lit(None, pl.Float64).alias(name) for name in NEIGHBOURS if name in scanned.objects.columns]
    objects = scanned.objects.join(question.cases.select(*keys, "note"), on=keys, how="left").with_columns(blank)
    objects = tables.stack([objects, added], tables.TABLES["objects"]).sort(keys)
    rows = [*_unseen(unseen), *_unknown(objects), *_repeated(added), *_found(objects)]
    rows += _ambiguous(added, scanned.predictions)
    issues = codes.table(rows)
    return replace(scanned, objects=objects, issues=tables.stack([scanned.issues, issues], tables.ISSUES))


def _unseen(cases: pl.DataFrame) -> list[codes.Row]:
    return [
        codes.issue("case_without_photo", "the photo cannot be read", split="production", image_id=image_id)
        | {"object_id": object_id}
        for image_id, object_id in cases.select("image_id", "object_id").iter_rows()
    ]


def _unknown(objects: pl.DataFrame) -> list[codes.Row]:
    return [
        codes.issue(
            "case_unknown_class",
            f"the detector has no class {label!r}, so it cannot miss one; the case is not explained",
            split="production",
            image_id=image_id,
        )
        | {"object_id": object_id}
        for image_id, object_id, label in objects.filter(pl.col("ignore") == "class")
        .select("image_id", "object_id", "label")
        .iter_rows()
    ]


def _repeated(added: pl.DataFrame) -> list[codes.Row]:
    return [
        codes.issue(
            "case_repeated",
            f"a {label} of this photo was reported before, also without a box: counted once",
            split="production",
            image_id=image_id,
        )
        | {"object_id": object_id}
        for image_id, object_id, label in added.filter(pl.col("ignore") == "duplicate")
        .select("image_id", "object_id", "label")
        .iter_rows()
    ]


def _found(objects: pl.DataFrame) -> list[codes.Row]:
    return [
        codes.issue(
            "case_found",
            f"the reported {label} is found at {score:.2f}: the report may speak of another object or another model",
            split="production",
            image_id=image_id,
        )
        | {"object_id": object_id}
        for image_id, object_id, label, score in objects.filter(pl.col("outcome") == "found")
        .select("image_id", "object_id", "label", "score")
        .iter_rows()
    ]


def _ambiguous(added: pl.DataFrame, predictions: pl.DataFrame) -> list[codes.Row]:
    """Name the cases without a box in whose photo the detector finds something of the class."""
    counts = predictions.group_by("image_id", "label").len("found")
    unclear = (
        added.filter(pl.col("ignore").is_null()).join(counts, on=["image_id", "label"]).sort("image_id", "object_id")
    )
    return [
        codes.issue(
            "case_ambiguous",
            f"no box was given, and the detector finds {found} {label} in the photo: the reported one is taken to be "
            "another",
            split="production",
            image_id=image_id,
        )
        | {"object_id": object_id}
        for image_id, object_id, label, found in unclear.select("image_id", "object_id", "label", "found").iter_rows()
    ]


def undrawn(audit: Split, production: Split, run: Path) -> pl.DataFrame:
    """Return an issue for every labelled photo that is not of the sample that was drawn, told by content.

    Args:
        audit: the labelled sample.
        production: the photos that it was drawn from.
        run: the run directory; without a drawn sample in it any production photo will do.
    """
    drawn = production.images if (names := _drawn(run)) is None else production.images.join(names, on="image_id")
    known = drawn["sha256"].drop_nulls().to_list()
    strange = audit.images.filter((pl.col("status") == "ok") & ~pl.col("sha256").is_in(known))
    return _audit_issues(
        "audit_photo_not_drawn",
        "expected a photo of the random sample, this one is not: the promise may be answered by a biased choice",
        strange,
    )


def unlabelled(audit: Split, production: Split, run: Path) -> pl.DataFrame:
    """Return an issue for every photo that was drawn and has no labels, told by content; arguments as in ``undrawn``.

    Those that were left out may be the difficult ones.
    """
    names = _drawn(run)
    if names is None:
        return tables.empty(tables.ISSUES)
    labelled = audit.images["sha256"].drop_nulls().to_list()
    drawn = production.images.join(names, on="image_id").filter(pl.col("status") == "ok")
    return _audit_issues(
        "audit_photo_unlabelled",
        "this photo was drawn and is not among the labelled ones: what is left out may be what is difficult",
        drawn.filter(~pl.col("sha256").is_in(labelled)),
    )


def _drawn(run: Path) -> pl.DataFrame | None:
    """Return ``image_id`` of the photos that ``xai sample`` drew, None where it drew none."""
    if not (run / SAMPLE).is_file():
        return None
    return pl.read_csv(run / SAMPLE, columns=["image_id"], schema_overrides={"image_id": pl.String}).unique()


def _audit_issues(code: str, message: str, photos: pl.DataFrame) -> pl.DataFrame:
    ids = photos["image_id"].sort().to_list()
    return codes.table(codes.issue(code, message, split="audit", image_id=name, file=name) for name in ids)

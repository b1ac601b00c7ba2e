"""pandas and supervision, in and out: detections made elsewhere become a run's input, a run's tables become theirs.

What comes in is written as a COCO results file, with the names of photos and classes beside it, which a detector of the
kind ``predictions`` is read from::

    written = frames.write_detections(frame, "detections")  # image_id label score x1 y1 x2 y2
    config["detector"] = {**written.detector, "score_threshold": 0.3}

What goes out: ``run.verdicts.to_pandas()`` and so on for every table, and ``to_supervision`` for the boxes of a photo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from xai import extras
from xai.exceptions import RequestError
from xai.files import make_folder, replacing

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv

    from xai.run import Run

COLUMNS = ("image_id", "label", "score", "x1", "y1", "x2", "y2")

_BOX = ["x1", "y1", "x2", "y2"]


@dataclass(frozen=True, slots=True)
class Written:
    """Detections on disk.

    Attributes:
        results: COCO results file.
        annotations: COCO file that names photos and classes.
        detector: what a config says of them: its ``detector`` section.
    """

    results: Path
    annotations: Path

    @property
    def detector(self) -> dict[str, str]:
        """The ``detector`` section of a config; the score threshold is yours to add."""
        return {"kind": "predictions", "weights": str(self.results), "annotations": str(self.annotations)}


def write_detections(
    frame: pl.DataFrame | pd.DataFrame, folder: str | Path, *, names: Sequence[str] | None = None
) -> Written:
    """Write a table of detections as files that a config can name.

    Args:
        frame: polars or pandas, one row a detection: ``image_id`` (path of the photo in the data set's folder, or its
            file name), ``label``, ``score`` 0–1, ``x1 y1 x2 y2`` in pixels of the displayed photo.
        folder: where ``results.json`` and ``names.json`` are written.
        names: the detector's classes; those that the table names if left out.

    Raises:
        RequestError: a column is missing, a value is, or a label is not among the names; a score is not in 0–1, a box
            is not finite or its corners are swapped.
    """
    table = frame if isinstance(frame, pl.DataFrame) else pl.from_pandas(frame)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise RequestError(f"expected the columns {', '.join(COLUMNS)}; {', '.join(missing)} not among them")
    table = table.select(COLUMNS)
    empty = [name for name in COLUMNS if table[name].null_count()]
    if empty:
        raise RequestError(
            f"expected a value in every row, column {empty[0]} has {table[empty[0]].null_count()} without"
        )
    _refuse_impossible(table)
    known = list(names) if names is not None else table["label"].cast(pl.String).unique().sort().to_list()
    codes = {name: code for code, name in enumerate(known, 1)}
    strange = [label for label in table["label"].cast(pl.String).unique().sort() if label not in codes]
    if strange:
        raise RequestError(f"expected labels among {', '.join(known)}; got {strange[0]!r}")
    photos = {name: number for number, name in enumerate(table["image_id"].cast(pl.String).unique().sort(), 1)}
    rows = [
        {
            "image_id": photos[str(image_id)],
            "category_id": codes[str(label)],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image_id, label, score, x1, y1, x2, y2 in table.iter_rows()
    ]
    named = {
        "images": [{"id": number, "file_name": name} for name, number in photos.items()],
        "categories": [{"id": code, "name": name} for name, code in codes.items()],
        "annotations": [],
    }
    written = Written(Path(folder) / "results.json", Path(folder) / "names.json")
    make_folder(Path(folder))
    for path, content in ((written.results, rows), (written.annotations, named)):
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return written


def _refuse_impossible(table: pl.DataFrame) -> None:
    """Refuse detections that no detector makes: as numbers of a file they would be lost, or refused by a later run."""
    wrong = [name for name in ("score", *_BOX) if not (table[name].dtype.is_numeric() or not len(table))]
    if wrong:
        raise RequestError(f"expected numbers in the column {wrong[0]}, got {table[wrong[0]].dtype}")
    numbers = table.with_columns(pl.col("score", *_BOX).cast(pl.Float64))
    score = pl.col("score")
    ruled_out = {
        "finite numbers": ~pl.all_horizontal(pl.col("score", *_BOX).is_finite()),
        "a score of 0 to 1": ~score.is_between(0, 1),
        "x1 < x2 and y1 < y2": (pl.col("x1") >= pl.col("x2")) | (pl.col("y1") >= pl.col("y2")),
    }
    for expected, impossible in ruled_out.items():
        bad = numbers.with_row_index("row").filter(impossible)
        if len(bad):
            row = bad.row(0, named=True)
            values = " ".join(f"{row[name]:g}" for name in ("score", *_BOX))
            raise RequestError(
                f"expected {expected} in every row; {len(bad):,} of {len(table):,} have none, the first is row "
                f"{row['row']} ({row['image_id']}): score x1 y1 x2 y2 = {values}. Correct or drop them"
            )


def from_supervision(detections: Mapping[str, sv.Detections], *, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Return supervision's detections of photos as a table for ``write_detections``.

    Args:
        detections: by ``image_id``.
        names: class names by ``class_id``, where ``data["class_name"]`` does not tell them.

    Raises:
        RequestError: scores or class names are not told.
    """
    parts = []
    for image_id, found in detections.items():
        if not len(found):
            continue
        if found.confidence is None:
            raise RequestError(f"{image_id}: expected detections with confidence, got none")
        labels = found.data.get("class_name")
        if labels is None:
            if names is None or found.class_id is None:
                raise RequestError(f"{image_id}: expected data['class_name'], or class_id and names")
            outside = [code for code in found.class_id.tolist() if code not in range(len(names))]
            if outside:
                raise RequestError(f"{image_id}: expected a class_id in 0–{len(names) - 1}, got {outside[0]}")
            labels = [names[code] for code in found.class_id.tolist()]
        box = {name: found.xyxy[:, side].astype(np.float64) for side, name in enumerate(_BOX)}
        scores = found.confidence.astype(np.float64)
        parts.append(pl.DataFrame({"image_id": image_id, "label": list(map(str, labels)), "score": scores, **box}))
    schema = {name: pl.String if name in ("image_id", "label") else pl.Float64 for name in COLUMNS}
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def to_supervision(
    run: Run, image_id: str, *, of: Literal["predictions", "objects"] = "predictions", split: str | None = None
) -> sv.Detections:
    """Return the detections or the annotated objects of a photo for supervision's annotators.

    ``data`` holds ``class_name``, ``outcome`` and ``prediction_id`` or ``object_id``; objects have no confidence.

    Args:
        run: a finished run.
        image_id: the photo.
        of: what is returned.
        split: of the photo; the one whose misses are explained if left out.

    Raises:
        RequestError: supervision is not installed, or the run knows no such photo.
    """
    supervision = extras.need("supervision", "supervision")
    split = split or ("production" if run.info.get("question") == "reported" else "eval")
    if run.images.filter(split=split, image_id=image_id).is_empty():
        raise RequestError(f"expected a photo of the split {split} of {run.path}, it has no {image_id!r}")
    rows = run.table(of).filter(split=split, image_id=image_id).drop_nulls(_BOX)
    names: list[str] = list(run.info["model"].get("names") or ())
    codes = {name: code for code, name in enumerate(dict.fromkeys([*names, *rows["label"].unique().sort()]))}
    identity = "prediction_id" if of == "predictions" else "object_id"
    made: Any = supervision.Detections(
        xyxy=rows.select(_BOX).to_numpy().astype(np.float32),
        confidence=rows["score"].to_numpy().astype(np.float32) if of == "predictions" else None,
        class_id=np.array([codes[label] for label in rows["label"]], dtype=np.int64),
        data={
            "class_name": np.array(rows["label"].to_list(), dtype=str),
            "outcome": np.array(rows["outcome"].fill_null("unknown").to_list(), dtype=str),
            identity: rows[identity].to_numpy().astype(np.int64),
        },
    )
    return made

"""A finished run as the report reads it: tables, ``run.json``, and the two selections that all sections share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from xai import run_json, tables
from xai.report import words
from xai.rules import ELEVATED


@dataclass(frozen=True)
class Source:
    """A finished run on disk; what of its tables is asked for is read then, and not the rest.

    Attributes:
        path: the run directory.
        info: ``run.json``.
    """

    path: Path
    info: Mapping[str, Any]

    def scan(self, name: str) -> pl.LazyFrame:
        """Open one table: those of photos, objects and detections may be larger than what is to be said of them."""
        return tables.scan(self.path, name)

    def table(self, name: str) -> pl.DataFrame:
        """Read one table whole, once."""
        if name not in self._read:
            self._read[name] = tables.read(self.path, name)
        return self._read[name]

    @cached_property
    def nearest(self) -> pl.DataFrame:
        """What missed objects look most alike to in training, nearest first, with its outcome; empty where not told.

        Columns ``image_id object_id train_image_id train_object_id distance outcome``.
        """
        file = self.path / "nearest.parquet"
        if not file.is_file():
            return pl.DataFrame(schema=dict.fromkeys(("image_id", "object_id"), pl.Null))
        rows = self.table("nearest").sort("image_id", "object_id", "rank")
        keys = ["train_image_id", "train_object_id"]
        trained = self.scan("objects").filter(pl.col("split") == "train")
        seen = trained.select(train_image_id="image_id", train_object_id="object_id", outcome="outcome")
        seen = seen.join(rows.lazy().select(keys), on=keys, how="semi")
        return rows.join(gathered(seen), on=keys, how="left", maintain_order="left")

    @cached_property
    def _read(self) -> dict[str, pl.DataFrame]:
        return {}

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved config; empty where the run did not keep one."""
        return self.info.get("config") or {}

    @property
    def logo(self) -> Path | None:
        """The configured logo, where its file is there."""
        named = (self.config.get("report") or {}).get("logo")
        return Path(named) if named and Path(named).is_file() else None

    @property
    def question(self) -> str:
        """``evaluate`` an annotated set, or explain ``reported`` misses."""
        return str(self.info.get("question") or "evaluate")

    @property
    def split(self) -> str:
        """The split whose misses are explained."""
        return "production" if self.question == "reported" else "eval"

    @property
    def judged_split(self) -> str:
        """The split that rates rest on: the evaluation set, or the labelled sample of production."""
        return "audit" if self.question == "reported" else "eval"

    @property
    def scored(self) -> pl.LazyFrame:
        """The objects whose misses are explained and that count: neither ignored nor unjudged."""
        return self._scored(self.split)

    @property
    def judged(self) -> pl.LazyFrame:
        """The scored objects that rates rest on: those of the evaluation set, or of the labelled sample."""
        return self._scored(self.judged_split)

    def _scored(self, split: str) -> pl.LazyFrame:
        objects = self.scan("objects").filter(pl.col("split") == split)
        return objects.filter(pl.col("outcome").is_not_null() & (pl.col("outcome") != "ignored"))

    @cached_property
    def misses(self) -> pl.DataFrame:
        """One row per miss: the error, its verdict where one was reached, the object's box and the photo's size.

        ``standing`` is the verdict, or ``suspected`` where it names a condition that is not shown to be missed more
        often: neither over all objects nor over those of the class.
        """
        keys = ["image_id", "object_id"]
        errors = self.table("errors").filter(pl.col("kind").is_in(list(words.KINDS)))
        if "conditions" not in errors.columns:
            errors = errors.with_columns(conditions=pl.lit(None, pl.List(pl.String)))
        objects = self.scan("objects").filter(pl.col("split") == self.split)
        note = pl.col("note") if "note" in objects.collect_schema() else pl.lit(None, pl.String).alias("note")
        box = objects.select(*keys, "x1", "y1", "x2", "y2", note).join(errors.lazy().select(keys), on=keys, how="semi")
        photos = self.scan("images").filter(pl.col("split") == self.split).select("image_id", "width", "height")
        found = (
            errors.join(self.table("verdicts").drop("mechanism"), on="error_id", how="left")
            .join(gathered(box), on=keys, how="left")
            .join(photos.collect(), on="image_id", how="left")
        )
        condition = pl.col("verdict").is_in(ELEVATED) & pl.col("attribute").is_not_null()
        suspected = condition & ~pl.col("error_id").is_in(self._elevated(found))
        return found.with_columns(standing=pl.when(suspected).then(pl.lit("suspected")).otherwise("verdict"))

    def _elevated(self, found: pl.DataFrame) -> list[str]:
        """Return the misses whose condition is elevated in the row of the coverage table that their verdict quotes."""
        rows = self.table("coverage").filter(pl.col("assessment").is_in(ELEVATED))
        rows = rows.select("attribute", "bin", scope="label", risk_ratio="adjusted_risk_ratio")
        named = found.join(rows, on=["attribute", "bin", "risk_ratio"])
        return named.filter(pl.col("scope").is_null() | (pl.col("scope") == pl.col("label")))["error_id"].to_list()

    @property
    def reference(self) -> str | None:
        """What the training split is called: training set, reference set, or None where there is none."""
        described = (self.info.get("data") or {}).get("train")
        if not described:
            return None
        return "training set" if described.get("is_training_set", True) else "reference set"


def gathered(rows: pl.LazyFrame) -> pl.DataFrame:
    """Read some rows of a large table, or sums over it, a part of the table at a time."""
    return rows.collect(engine="streaming")


def open_run(run_dir: Path) -> Source:
    """Open a finished run.

    Raises:
        RunError: there is no ``run.json``, it is damaged, or another version wrote it.
    """
    return Source(run_dir, run_json.read(run_dir))

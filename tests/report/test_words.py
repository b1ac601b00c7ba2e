from pathlib import Path

import polars as pl
import pytest
from make_run import make_run

from xai import report, tables
from xai.catalog import CATALOG
from xai.report import words


def test_every_bin_of_the_catalog_has_words() -> None:
    assert {(name, part.name) for name, attribute in CATALOG.items() for part in attribute.bins} <= words.BINS.keys()


@pytest.mark.parametrize(("share", "told"), [(0.4, True), (0.9, False)])
def test_the_usual_state_is_no_condition(tmp_path: Path, share: float, told: bool) -> None:
    """Where one object in ten is crowded and those are found, nine in ten are missed more often: no news."""
    make_run(tmp_path)
    coverage = tables.read(tmp_path, "coverage")
    row = coverage["label"].is_null() & (coverage["attribute"] == "crowding") & (coverage["bin"] == "alone")
    assert row.sum() == 1
    changed = coverage.with_columns(
        pl.when(row).then(pl.lit("hard")).otherwise("assessment").alias("assessment"),
        pl.when(row).then(share).otherwise("eval_share").alias("eval_share"),
    )
    tables.write(changed, tmp_path / "coverage.parquet")
    elevated = {(line["attribute"], line["bin"]) for line in report.summarize(tmp_path).elevated}
    assert (("crowding", "alone") in elevated) == told

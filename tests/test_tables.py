"""Tables keep their columns and reach the disk whole."""

from pathlib import Path

import polars as pl
import pytest

from xai import tables
from xai.exceptions import RunError


@pytest.mark.parametrize("name", tables.TABLES)
def test_an_empty_table_round_trips(tmp_path: Path, name: str) -> None:
    frame = tables.empty(tables.TABLES[name])
    tables.write(frame, tmp_path / f"{name}.parquet")
    assert tables.read(tmp_path, name).schema == frame.schema


def test_conform_orders_casts_and_keeps_what_is_more() -> None:
    frame = pl.DataFrame({"glare": [0.5], "image_id": ["a.jpg"], "width": [3.0]})
    made = tables.conform(frame, tables.TABLES["images"])
    assert made.columns == [*tables.TABLES["images"], "glare"]
    assert made["width"].to_list() == [3]
    assert made["camera"].to_list() == [None]


def test_stack_fills_absent_columns_with_null() -> None:
    made = tables.stack(
        [pl.DataFrame({"image_id": ["a"], "label_pose": ["Left"]}), pl.DataFrame({"image_id": ["b"]})], {}
    )
    assert made["label_pose"].to_list() == ["Left", None]


def test_a_failed_write_leaves_the_old_table_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "errors.parquet"
    tables.write(pl.DataFrame({"a": [1]}), path)

    def fail(self: pl.DataFrame, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(OSError, match="disk full"):
        tables.write(pl.DataFrame({"a": [2]}), path)
    assert pl.read_parquet(path)["a"].to_list() == [1]
    assert [item.name for item in tmp_path.iterdir()] == ["errors.parquet"]


def test_absent_and_outdated_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"errors\.parquet"):
        tables.read(tmp_path, "errors")
    tables.write(pl.DataFrame({"error_id": ["x"]}), tmp_path / "errors.parquet")
    with pytest.raises(RunError, match="lacks the columns kind"):
        tables.read(tmp_path, "errors")
    file = tmp_path / "errors.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"errors\.parquet is damaged"):
        tables.read(tmp_path, "errors")

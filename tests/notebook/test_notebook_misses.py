"""Misses and verdicts as a notebook shows them."""

from pathlib import Path

import polars as pl
import pytest
from report.make_run import make_run

from attributes.decode import read
from xai import Run, tables
from xai.exceptions import RequestError, RunError
from xai.notebook import Miss, Misses

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(
        make_run(tmp_path_factory.mktemp("run"), labels=("car", HOSTILE), gallery=20, image_name="a<b>/{:03d}.jpg")
    )


def test_all_misses_are_there_once_by_cause_and_strength(run: Run) -> None:
    errors = run.errors.filter(pl.col("kind").is_in(["missed", "confused", "mislocated"]))
    assert sorted(run.misses.frame["error_id"]) == sorted(errors["error_id"])
    assert len(run.misses) == len(list(run.misses)) == len(errors)
    named = run.misses.frame.filter(~pl.col("verdict").is_in(["chance", "unexplained"]))
    runs = named["cause"].rle().struct.field("value")
    assert runs.n_unique() == len(runs)
    for _, part in named.group_by("cause"):
        assert part["strength"].is_sorted(descending=True)


def test_a_miss_tells_what_the_tables_hold(run: Run) -> None:
    miss = run.misses[0]
    row = run.errors.filter(error_id=miss.error_id).row(0, named=True)
    assert (miss.image_id, miss.label, miss.kind) == (row["image_id"], row["label"], row["kind"])
    found = run.objects.filter(split="eval", image_id=miss.image_id, object_id=row["object_id"])
    assert miss.box == found.select("x1", "y1", "x2", "y2").row(0)
    verdict = miss.verdict
    assert verdict is not None
    told = run.verdicts.filter(error_id=miss.error_id).row(0, named=True)
    assert {name: getattr(verdict, name) for name in tables.TABLES["verdicts"] if name != "mechanism"} == {
        name: value for name, value in told.items() if name != "mechanism"
    }
    assert str(verdict) == told["sentence"]
    assert len(miss.evidence) == len(run.evidence.filter(error_id=miss.error_id))


def test_one_miss_by_the_beginning_of_its_id(run: Run) -> None:
    name = run.misses[-1].error_id
    assert run.miss(name[:10]).error_id == name
    with pytest.raises(RequestError, match=r"none of .* begins with 'x'"):
        run.miss("x")
    with pytest.raises(RequestError, match="none"):
        run.miss("")


def test_some_misses(run: Run) -> None:
    cars = run.misses.where(label="car")
    assert isinstance(cars, Misses)
    assert {miss.label for miss in cars} == {"car"}
    assert cars.to_pandas()["error_id"].tolist() == cars.frame["error_id"].to_list()
    with pytest.raises(RequestError, match="got 'colour'"):
        run.misses.where(colour="red")
    with pytest.raises(IndexError, match="expected a place in 0"):
        run.misses[len(run.misses)]


def test_what_comes_from_data_is_escaped(run: Run) -> None:
    hostile = run.misses.where(label=HOSTILE)
    shown = hostile._repr_html_() + hostile[0]._repr_html_()
    assert "<script" not in shown
    assert "a<b>" not in shown
    assert "&lt;script&gt;" in shown
    assert hostile[0].verdict is not None
    assert "<script" not in hostile[0].verdict._repr_html_()


def test_the_picture_shows_the_photo_and_the_heat_map(run: Run, tmp_path: Path) -> None:
    mapped = next(miss for miss in run.misses if (run.path / "maps" / f"{miss.error_id}.png").is_file())
    plain = _kept(run)
    wide, narrow = (read(miss.plot().save(tmp_path / f"{miss.error_id}.png")).pixels for miss in (mapped, plain))
    assert wide.shape[1] == 2 * narrow.shape[1] == 1100
    red = (narrow[..., 0] == 0xD5) & (narrow[..., 1] == 0x5E) & (narrow[..., 2] == 0)
    assert red.sum() > 100  # the frame around the object
    assert mapped.plot()._repr_png_().startswith(b"\x89PNG")


def test_a_photo_that_is_gone_is_said(run: Run) -> None:
    lost = next(miss for miss in run.misses if not (run.path / "gallery" / f"{miss.error_id}.jpg").is_file())
    with pytest.raises(RunError, match="found neither"):
        lost.plot()
    assert "found neither" in lost._repr_html_()


def test_a_run_without_misses(tmp_path: Path) -> None:
    empty = Run(make_run(tmp_path, missing=False))
    assert len(empty.misses) == 0
    assert "0 misses" in empty.misses._repr_html_()
    assert "nothing to draw" in empty.plot()._repr_html_()


def test_a_miss_that_nobody_judged(tmp_path: Path) -> None:
    miss = Run(make_run(tmp_path, judged=False)).misses[0]
    assert miss.verdict is None
    assert miss.kind in repr(miss)


def _kept(run: Run) -> Miss:
    names = {path.stem for path in (run.path / "gallery").glob("*.jpg")} - {
        path.stem for path in (run.path / "maps").glob("*.png")
    }
    return run.miss(min(names))
